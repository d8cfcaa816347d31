//! The cases: which contenders meet on which server.

use std::{path::Path, sync::atomic::Ordering};

use super::{
    Failed,
    measure::{self, Contender, Duel, Extent, INTERRUPTED},
    servers::{Nginx, PAGE_BYTES, Postgres, find_postgres},
    tools::{
        self, AB, HEY, HTTP_CONNECTIONS, Loadgate, NGINX, OHA, PGBENCH, ROWS, SQL_CONNECTIONS, SYSBENCH, Tool, WRK,
    },
};

/// pgbench's own statement with -S.
const PGBENCH_STATEMENT: &str = "SELECT abalance FROM pgbench_accounts WHERE aid = $1";

/// sysbench's own statement.
const SYSBENCH_STATEMENT: &str = "SELECT c FROM sbtest1 WHERE id = $1";

/// Some duels on one server.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    pub(crate) title: String,
    /// What an operation is: one, several.
    pub(crate) operation: [&'static str; 2],
    /// What was done, in sentences.
    pub(crate) about: String,
    /// Whether loadgate meets itself and no peer.
    pub(crate) own: bool,
    pub(crate) duels: Vec<Duel>,
    /// Who did not take part, and why.
    pub(crate) left_out: Vec<String>,
    /// Versions of those who did.
    pub(crate) versions: Vec<String>,
}

/// What all cases need.
pub(crate) struct Bench<'a> {
    pub(crate) loadgate: Loadgate,
    pub(crate) extent: Extent,
    /// Where the contenders run.
    pub(crate) directory: &'a Path,
    /// Tells how it goes.
    pub(crate) say: &'a mut dyn FnMut(&str),
}

impl Bench<'_> {
    fn duel(&mut self, case: &mut Case, ours: &Contender, theirs: &Contender) -> Result<(), Failed> {
        match measure::duel(ours, theirs, self.extent, self.directory, self.say) {
            Ok(duel) => case.duels.push(duel),
            Err(error) if INTERRUPTED.load(Ordering::Relaxed) => return Err(error),
            Err(error) => self.leave_out(case, &format!("{} beside {}: {error}", ours.name, theirs.name)),
        }
        Ok(())
    }

    fn leave_out(&mut self, case: &mut Case, what: &str) {
        (self.say)(&format!("SKIPPED {what}"));
        case.left_out.push(what.to_owned());
    }

    /// The program, or why its part is left out.
    fn find(&mut self, case: &mut Case, tool: Tool) -> Option<std::path::PathBuf> {
        let found = tool.find();
        match &found {
            Some(path) => case.versions.push(tool.version(path)),
            None => self.leave_out(case, &not_installed(tool)),
        }
        found
    }
}

fn not_installed(tool: Tool) -> String {
    format!("{}: not installed ({})", tool.name, tool.from)
}

/// A small page by nginx.
pub(crate) fn http(bench: &mut Bench<'_>) -> Result<Case, Failed> {
    let mut case = Case {
        title: "HTTP/1.1 GET".into(),
        operation: ["request", "requests"],
        about: format!(
            "GET of a static page of {PAGE_BYTES} bytes over kept connections, from an nginx with one worker; \
             every contender has {HTTP_CONNECTIONS} connections and waits for its answers."
        ),
        own: false,
        duels: Vec::new(),
        left_out: Vec::new(),
        versions: Vec::new(),
    };
    let Some(nginx) = bench.find(&mut case, NGINX) else {
        return Ok(case);
    };
    let nginx = Nginx::start(&nginx)?;
    for tool in [WRK, AB, HEY, OHA] {
        if let Some(path) = bench.find(&mut case, tool) {
            let ours = bench.loadgate.http("loadgate", &nginx.url);
            let theirs = tools::http_peer(tool, &path, &nginx.url);
            bench.duel(&mut case, &ours, &theirs)?;
        }
    }
    Ok(case)
}

/// One row by its key from PostgreSQL.
pub(crate) fn postgres(bench: &mut Bench<'_>) -> Result<Case, Failed> {
    let mut case = Case {
        title: "PostgreSQL, prepared SELECT".into(),
        operation: ["query", "queries"],
        about: format!(
            "One row of {ROWS} by its key, drawn uniformly, over TCP on 127.0.0.1 by {SQL_CONNECTIONS} connections for all; loadgate performs the \
             statement of the peer that it stands beside: `{PGBENCH_STATEMENT}` of pgbench (`-S -M prepared`), \
             `{SYSBENCH_STATEMENT}` of sysbench (`oltp_point_select`)."
        ),
        own: false,
        duels: Vec::new(),
        left_out: Vec::new(),
        versions: Vec::new(),
    };
    let Some(programs) = find_postgres() else {
        bench.leave_out(
            &mut case,
            "PostgreSQL: not installed (Debian: postgresql; or PG_BINDIR=DIRECTORY)",
        );
        return Ok(case);
    };
    let postgres = Postgres::start(programs)?;
    // Debian's pgbench in $PATH is a script that looks for this one.
    let pgbench = Some(postgres.program("pgbench")).filter(|path| path.is_file());
    match &pgbench {
        Some(path) => case.versions.push(PGBENCH.version(path)),
        None => bench.leave_out(&mut case, &not_installed(PGBENCH)),
    }
    let sysbench = bench.find(&mut case, SYSBENCH);
    tools::fill(&postgres, pgbench.as_deref(), sysbench.as_deref())?;
    if let Some(path) = pgbench {
        let ours = bench.loadgate.sql(&postgres, PGBENCH_STATEMENT);
        bench.duel(&mut case, &ours, &tools::pgbench(&path, &postgres))?;
    }
    if let Some(path) = sysbench {
        let ours = bench.loadgate.sql(&postgres, SYSBENCH_STATEMENT);
        bench.duel(&mut case, &ours, &tools::sysbench(&path, &postgres))?;
    }
    Ok(case)
}

/// loadgate's ways to make the same load.
pub(crate) fn own(bench: &mut Bench<'_>) -> Result<Case, Failed> {
    let mut case = Case {
        title: "loadgate beside itself".into(),
        operation: ["request", "requests"],
        about: "The same page. A scenario whose flow has five steps beside the one-liner, per request. The open model \
                at half and at nine tenths of the rate that the closed one reached just before, beside the closed one \
                that does what it can; and at half beside the closed one held to the same rate by its throttle. Below \
                saturation a turn of the thread serves fewer answers, and each costs more for it."
            .into(),
        own: true,
        duels: Vec::new(),
        left_out: Vec::new(),
        versions: Vec::new(),
    };
    let Some(nginx) = bench.find(&mut case, NGINX) else {
        return Ok(case);
    };
    let nginx = Nginx::start(&nginx)?;
    let flow = bench.loadgate.flow(&nginx);
    let closed = bench.loadgate.http("one-liner", &nginx.url);
    bench.duel(&mut case, &flow, &closed)?;
    let closed = bench.loadgate.http("closed", &nginx.url);
    let reached = measure::rate(&closed, bench.extent.short, bench.directory)?;
    let at = |share: f64| (reached * share).round() as u64;
    let nearly = bench.loadgate.http_at("open at 9/10", &nginx.url, at(0.9));
    bench.duel(&mut case, &nearly, &closed)?;
    let half = bench.loadgate.http_at("open at half", &nginx.url, at(0.5));
    bench.duel(&mut case, &half, &closed)?;
    let held = bench.loadgate.throttled(&nginx, at(0.5));
    bench.duel(&mut case, &half, &held)?;
    Ok(case)
}
