//! The page, in two forms: as one file that asks for nothing, with the charts
//! inside; and with a style sheet and pictures beside it, for viewers whose
//! content policy forbids style and pictures inside of a page.
//!
//! The words are in `templates/report.html`, the looks in
//! `templates/report.css`. Names are escaped by askama; only our own SVG and
//! CSS pass unescaped.

use askama::Template;
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};

use super::{
    chart::{self, Chart, Format, Scene},
    claims,
    counted::{Counted, DifferenceRow, counted, differences},
    document::{Artifact, Document},
    links::{self, LinkRow},
    pools::{self, PoolRow},
    seen::{self, SeenRow, UsedRow},
    tables::{self, CacheRow, ErrorRow, GateRow, PhaseRow, RateRow, ShownRow, StepRow},
    timeline::Column,
    tried::{self, BreakerRow, RetryRow},
    words::{self, NAME, SENTENCE, UNKNOWN, printable},
};
use crate::{
    comparison::{Comparison, Verdict},
    metric::Statistic,
    run::{self, Database, Model, Run, Target},
    units,
};

/// A scenario's text is shown up to this many characters.
const LONGEST_SCENARIO: usize = 100_000;

/// The style sheet of [`Pages::linked`].
pub(super) const STYLE: &str = include_str!("../../templates/report.css");

/// The page in both forms.
pub(super) struct Pages {
    /// One file with all inside.
    pub(super) alone: String,
    /// With the style sheet and the charts beside it: no style, script or SVG inside.
    pub(super) linked: String,
}

/// Fills in the page.
///
/// # Errors
/// When the template cannot be rendered.
pub(super) fn render(
    run: &Run,
    comparison: &Comparison,
    [shown, beside]: [Option<&Run>; 2],
    document: &Document,
    scene: &Scene<'_>,
) -> Result<Pages, askama::Error> {
    let (passing, gates) = tables::gates(comparison)
        .into_iter()
        .partition(|gate| gate.verdict == Some(Verdict::Pass));
    let mut page = Page {
        alone: true,
        scenario: printable(&run.scenario, NAME),
        shape: words::shape(Some(comparison.verdict)),
        word: words::word(Some(comparison.verdict)),
        sentence: printable(&comparison.sentence, SENTENCE),
        exit_code: document.exit_code,
        partial: run.partial.as_deref().map(|text| printable(text, SENTENCE)),
        reasons: sentences(&comparison.reasons),
        notes: [sentences(&run.incidents), sentences(&comparison.notes)].concat(),
        load: tables::load(document),
        valid: document.validity.ok,
        checks: checks(comparison),
        gates,
        passing,
        shown: tables::shown(comparison),
        claims: claims::rows(comparison),
        claim_header: claims::HEADER,
        what: what(run, comparison),
        subject: scene.subject(),
        percentiles: percentiles(shown.unwrap_or(run), beside, scene),
        figures: scene.charts().map(|chart| Figure::new(scene, chart)).collect(),
        reference: words::reference(run),
        counted: counted(run),
        answers: differences(run),
        used: seen::used(run),
        seen: seen::seen(run),
        links: links::rows(run),
        link_figures: links::FIGURES,
        search: run.search.as_ref().map(|search| SearchSection {
            ended: printable(&search.ended, SENTENCE),
            rates: tables::rates(search),
        }),
        caches: tables::caches(document),
        phases: tables::phases(document),
        pools: pools::rows(&document.pools),
        pool_header: pools::HEADER,
        steps: tables::steps(document),
        columns: scene
            .timeline
            .columns
            .iter()
            .filter(|column| column.known)
            .map(ColumnRow::new)
            .collect(),
        accounting: accounting(run),
        errors: tables::errors(document),
        retries: tried::retry_rows(document),
        breakers: tried::breaker_rows(run),
        closed: run.load.model == Model::Closed,
        reproduce: words::reproduce(run),
        text: words::printable_lines(&run.source.text, LONGEST_SCENARIO),
        environment: environment(run),
        artifacts: &document.artifacts,
        version: document.loadgate,
        fonts: fonts(),
        dark: chart::dark_css(),
    };
    let alone = page.render()?;
    page.alone = false;
    let linked = page.render()?;
    Ok(Pages { alone, linked })
}

#[derive(Template)]
#[template(path = "report.html")]
struct Page<'a> {
    /// Whether it is one file.
    alone: bool,
    scenario: String,
    shape: char,
    word: &'static str,
    sentence: String,
    exit_code: u8,
    partial: Option<String>,
    reasons: Vec<String>,
    notes: Vec<String>,
    load: Vec<String>,
    valid: bool,
    checks: Vec<(bool, String, String)>,
    gates: Vec<GateRow>,
    passing: Vec<GateRow>,
    shown: Vec<ShownRow>,
    claims: Vec<[String; 5]>,
    claim_header: [&'static str; 5],
    what: Vec<(&'static str, String)>,
    subject: String,
    percentiles: Vec<(String, String, String)>,
    figures: Vec<Figure>,
    reference: String,
    counted: Option<Counted>,
    answers: Option<(String, Vec<DifferenceRow>)>,
    used: Vec<UsedRow>,
    seen: Vec<SeenRow>,
    links: Vec<LinkRow>,
    link_figures: [&'static str; 6],
    search: Option<SearchSection>,
    caches: Vec<CacheRow>,
    phases: Vec<PhaseRow>,
    pools: Vec<PoolRow>,
    pool_header: [&'static str; 8],
    steps: Vec<StepRow>,
    columns: Vec<ColumnRow>,
    accounting: Vec<(&'static str, String, String)>,
    errors: Vec<ErrorRow>,
    retries: Vec<RetryRow>,
    breakers: Vec<BreakerRow>,
    closed: bool,
    reproduce: String,
    text: String,
    environment: Vec<(&'static str, String)>,
    artifacts: &'a [Artifact],
    version: &'static str,
    fonts: String,
    dark: String,
}

impl Page<'_> {
    /// The chart of that name, where there is something to show in it.
    fn figure(&self, name: &str) -> Option<&Figure> {
        self.figures.iter().find(|figure| figure.chart.name() == name)
    }
}

/// What a search tried.
struct SearchSection {
    ended: String,
    rates: Vec<RateRow>,
}

/// A chart in both shapes, of which the style sheet shows the one that fits, and as a file.
struct Figure {
    chart: Chart,
    title: String,
    path: String,
    shapes: [Shape; 2],
}

struct Shape {
    class: &'static str,
    view_box: String,
    elements: String,
}

impl Figure {
    fn new(scene: &Scene<'_>, chart: Chart) -> Self {
        let wide = scene.draw(chart, Format::Wide);
        let narrow = scene.draw(chart, Format::Narrow);
        Self {
            chart,
            shapes: [("wide", &wide), ("narrow", &narrow)].map(|(class, picture)| Shape {
                class,
                view_box: picture.view_box(),
                elements: picture.elements.clone(),
            }),
            title: wide.title,
            path: chart.path(),
        }
    }
}

/// One stretch of the timeline as shown.
struct ColumnRow {
    start_s: String,
    counts: [String; 5],
    times: [String; 4],
}

impl ColumnRow {
    fn new(column: &Column) -> Self {
        let time = |ns: Option<f64>| ns.map_or(UNKNOWN.to_owned(), units::format_ns);
        Self {
            start_s: words::count(column.start_s),
            counts: [
                column.planned,
                column.sent,
                column.completed,
                column.failed,
                column.dropped,
            ]
            .map(words::count),
            times: [column.p50, column.p95, column.p99, column.max].map(time),
        }
    }
}

fn sentences(texts: &[String]) -> Vec<String> {
    texts.iter().map(|text| printable(text, SENTENCE)).collect()
}

/// Each condition: whether it held, its name, its text; failed ones first.
fn checks(comparison: &Comparison) -> Vec<(bool, String, String)> {
    let mut checks: Vec<_> = comparison
        .checks
        .iter()
        .map(|check| (check.ok, printable(&check.id, NAME), printable(&check.text, SENTENCE)))
        .collect();
    checks.sort_by_key(|(ok, ..)| *ok);
    checks
}

/// What was run, and beside what.
fn what(run: &Run, comparison: &Comparison) -> Vec<(&'static str, String)> {
    let mut facts = vec![
        ("load", words::load(&run.load)),
        ("started", run.started.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()),
        ("measured", words::seconds(run.duration_s)),
        ("warm-up before it", words::seconds(run.load.warm_up_s)),
        ("sessions", words::count(run.load.sessions as u64)),
        ("seed", run.seed.to_string()),
        ("run", printable(&run.id, NAME)),
        ("fingerprint", run.fingerprint.short()),
    ];
    for target in &run.targets {
        let version = target
            .version
            .as_deref()
            .map(|version| format!(" · {}", printable(version, 2 * NAME)))
            .unwrap_or_default();
        let [name, address] = [&target.name, &target.address].map(|text| printable(text, 2 * NAME));
        let database = target.database.as_ref().map(made).unwrap_or_default();
        let build = target.build.as_ref().map_or_else(String::new, words::build);
        let variant = target.variant.as_deref();
        let variant = variant.map_or_else(String::new, |variant| format!("{}: ", printable(variant, NAME)));
        facts.push((
            "target",
            format!(
                "{variant}{name} · {} · {address}{version}{database}{build}{}",
                printable(&target.kind, NAME),
                words::shares(&target.members)
            ),
        ));
        let settings = settings(run, target);
        if !settings.is_empty() {
            facts.push(("settings changed", printable(&settings.join(", "), SENTENCE)));
        }
    }
    let environment = &run.environment;
    let revision = words::revision(environment.branch.as_deref(), environment.commit.as_deref());
    let dirty = if environment.dirty == Some(true) {
        ", with uncommitted changes"
    } else {
        ""
    };
    facts.extend(revision.map(|revision| ("commit", revision + dirty)));
    for (key, value) in &run.labels {
        facts.push((
            "label",
            format!("{} = {}", printable(key, NAME), printable(value, NAME)),
        ));
    }
    match run.variants.as_slice() {
        [] => facts.push(("baseline", baseline(comparison))),
        variants => facts.push(("variants", self::variants(run, variants))),
    }
    facts
}

/// Those of a database that was made; of a later variant those that the first does not have.
fn settings(run: &Run, target: &Target) -> Vec<String> {
    let first = run.targets.iter().find(|known| known.name == target.name);
    let known = first.filter(|first| first.variant != target.variant);
    let known = known.and_then(|first| first.database.as_ref());
    let own = target.database.iter().flat_map(|database| &database.settings);
    let new = own.filter(|(name, value)| known.is_none_or(|known| known.settings.get(*name) != Some(value)));
    new.map(|(name, value)| format!("{name}={value}")).collect()
}

/// Which there are, and how they took turns.
fn variants(run: &Run, variants: &[run::Variant]) -> String {
    let names: Vec<String> = variants.iter().map(|variant| printable(&variant.name, NAME)).collect();
    let slices: Vec<_> = run.intervals.iter().filter_map(|interval| interval.slice).collect();
    let epochs = slices
        .iter()
        .map(|slice| slice.epoch)
        .max()
        .map_or(0, |last| u64::from(last) + 1);
    let length = slices.first().map_or(0.0, |slice| slice.length_s);
    format!(
        "{} (the first is the reference) · {} with fresh instances · {} of {} in turns",
        names.join(", "),
        words::counted(epochs, "epoch", "epochs"),
        words::counted(slices.len() as u64, "slice", "slices"),
        words::seconds(length),
    )
}

/// What is said of a database that was made for the run.
fn made(database: &Database) -> String {
    let profile = database.profile.iter().map(|profile| format!("profile {profile}"));
    let fixture = database.fixture.iter().map(|fixture| match database.scale {
        Some(scale) => format!("fixture {fixture} (scale {scale})"),
        None => format!("fixture {fixture}"),
    });
    let said: Vec<String> = profile.chain(fixture).collect();
    let said = printable(&said.join(" · "), 2 * NAME);
    if said.is_empty() { said } else { format!(" · {said}") }
}

/// The baseline, and why it can be compared with or not.
fn baseline(comparison: &Comparison) -> String {
    let Some(baseline) = &comparison.baseline else {
        return "none; relative limits were not judged".into();
    };
    let mut parts = vec![
        printable(&baseline.name, NAME),
        format!("run {}", printable(&baseline.run_id, NAME)),
    ];
    parts.extend(words::revision(baseline.branch.as_deref(), baseline.commit.as_deref()));
    parts.push(baseline.started.strftime("%Y-%m-%d %H:%M:%S UTC").to_string());
    parts.extend(words::set(baseline));
    parts.push(if baseline.comparable {
        "comparable".into()
    } else {
        "NOT comparable".into()
    });
    let differences: Vec<String> = baseline
        .differences
        .iter()
        .map(|text| printable(text, SENTENCE))
        .collect();
    if !differences.is_empty() {
        parts.push(format!("differs in {}", differences.join(", ")));
    }
    parts.join(" · ")
}

/// The figures of the percentile chart: name, this run, baseline.
fn percentiles(run: &Run, baseline: Option<&Run>, scene: &Scene<'_>) -> Vec<(String, String, String)> {
    let (now, before) = (scene.latency(run), baseline.map(|baseline| scene.latency(baseline)));
    let show = |value: Option<f64>| value.map_or(UNKNOWN.to_owned(), units::format_ns);
    let row = |(name, statistic): (&str, Statistic)| {
        let before = before.as_ref().and_then(|latency| latency.statistic(statistic));
        (name.to_owned(), show(now.statistic(statistic)), show(before))
    };
    [
        ("50 %", Statistic::Quantile(0.5)),
        ("90 %", Statistic::Quantile(0.9)),
        ("95 %", Statistic::Quantile(0.95)),
        ("99 %", Statistic::Quantile(0.99)),
        ("99.9 %", Statistic::Quantile(0.999)),
        ("100 % (max)", Statistic::Max),
    ]
    .map(row)
    .to_vec()
}

/// What became of every flow that was due: name, count, share.
fn accounting(run: &Run) -> Vec<(&'static str, String, String)> {
    let accounting = &run.accounting;
    let row = |(name, count)| (name, words::count(count), words::part(count, accounting.scheduled));
    [
        ("completed", accounting.completed),
        ("failed", accounting.failed),
        ("dropped", accounting.dropped),
        ("unfinished", accounting.unfinished),
        ("scheduled", accounting.scheduled),
    ]
    .map(row)
    .to_vec()
}

fn environment(run: &Run) -> Vec<(&'static str, String)> {
    let environment = &run.environment;
    let known = |text: &Option<String>| {
        text.as_deref()
            .map_or("unknown".to_owned(), |text| printable(text, 2 * NAME))
    };
    let memory = environment.memory_bytes.map_or("unknown".to_owned(), |bytes| {
        format!("{} GiB", units::significant(bytes as f64 / f64::from(1 << 30)))
    });
    let mut facts = vec![
        ("CPU", known(&environment.cpu)),
        ("cores", words::count(environment.cores as u64)),
        ("memory", memory),
        ("system", known(&environment.os)),
        ("kernel", known(&environment.kernel)),
        ("architecture", printable(&environment.arch, NAME)),
        (
            "loadgate",
            format!(
                "{} ({} build)",
                printable(&run.loadgate, NAME),
                printable(&environment.build, NAME)
            ),
        ),
    ];
    facts.extend(environment.ci.as_deref().map(|ci| ("CI", printable(ci, NAME))));
    facts
}

/// All that a page without charts needs to look like the others.
pub(super) fn inline_style() -> String {
    fonts() + STYLE
}

/// The embedded fonts as part of the style sheet, so that the page looks the same everywhere and asks for nothing.
fn fonts() -> String {
    [(400, chart::FONT_REGULAR), (600, chart::FONT_BOLD)]
        .map(|(weight, bytes)| {
            format!(
                "@font-face{{font-family:Inter;font-weight:{weight};src:url(data:font/ttf;base64,{})}}\n",
                BASE64.encode(bytes)
            )
        })
        .concat()
}
