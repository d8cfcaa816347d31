//! `loadgate http` and `loadgate sql`: arguments → the text of a one-step
//! scenario, which then goes the way of every scenario.

mod http;

use std::collections::BTreeMap;

use toml_edit::{Array, ArrayOfTables, DocumentMut, InlineTable, Item, Table, Value, value};

use super::{
    args::{HttpArgs, OneLinerLoad, SqlArgs},
    exit::{Exit, Failure},
    print::Console,
    run::{Output, Telling, compile, measure},
};
use crate::{metric, scenario};

/// Loads one URL.
pub(super) fn http(args: &HttpArgs, console: &Console) -> Result<Exit, Failure> {
    let document = http::scenario(args).map_err(Failure::usage)?;
    perform("loadgate http", &document, &args.load, console)
}

/// Loads one statement.
pub(super) fn sql(args: &SqlArgs, console: &Console) -> Result<Exit, Failure> {
    let document = sql_scenario(args).map_err(Failure::usage)?;
    perform("loadgate sql", &document, &args.load, console)
}

fn perform(command: &str, document: &DocumentMut, load: &OneLinerLoad, console: &Console) -> Result<Exit, Failure> {
    let text = scenario::Text {
        path: format!("({command})"),
        toml: document.to_string(),
    };
    let workload = compile(scenario::parse(text, &[]).map_err(Failure::usage)?, console)?;
    let out = load.out.clone().map_or(Output::None, Output::Given);
    let telling = Telling {
        ci: load.ci,
        metrics: None,
        samples: false,
    };
    measure(workload, BTreeMap::new(), &load.judging, &telling, out, console)
}

fn sql_scenario(args: &SqlArgs) -> Result<DocumentMut, String> {
    // With two addresses before them the words that are left are the statement.
    let (addresses, statement) = match (args.variants.both(), &args.statement) {
        (Some(both), None) => (both.to_vec(), &args.url),
        (Some(_), Some(_)) => return Err("with --base and --candidate there is no other address".into()),
        (None, statement) => (
            vec![args.url.as_str()],
            statement.as_ref().ok_or("the statement is missing")?,
        ),
    };
    let mut targets = Vec::new();
    for address in addresses {
        targets.push(database(address, args.protocol.as_deref())?);
    }
    let mut data = BTreeMap::new();
    let mut params = Array::new();
    for (number, generator) in args.param.iter().enumerate() {
        let name = format!("p{}", number + 1);
        params.push(format!("{{{{ {name} }}}}"));
        data.insert(
            name,
            parameter(generator).map_err(|reason| format!("--param {generator}: {reason}"))?,
        );
    }
    let line = statement.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut step = Table::new();
    step["name"] = value(short(&line, 80));
    step["sql"] = value(statement);
    if !params.is_empty() {
        step["params"] = value(params);
    }
    let mut targets = targets.into_iter();
    let target = targets.next().unwrap_or_default();
    let mut document = document(&format!("sql {line}"), target, step, data, &args.load)?;
    if let Some(candidate) = targets.next() {
        let mut own = Table::new();
        own["target"] = nested("main", candidate);
        beside(&mut document, own);
    }
    Ok(document)
}

/// The target of an address.
fn database(address: &str, protocol: Option<&str>) -> Result<Table, String> {
    let mut target = Table::new();
    if address.starts_with("postgres://") || address.starts_with("postgresql://") || address == "env" {
        target["postgres"] = value(address);
        if let Some(protocol) = protocol {
            target["protocol"] = value(protocol);
        }
    } else if let Some((scheme, _)) = address.split_once("://").filter(|(scheme, _)| *scheme != "sqlite") {
        return Err(format!(
            "{scheme}:// is not spoken yet; loadgate knows postgres:// and SQLite files"
        ));
    } else {
        let path = address
            .strip_prefix("sqlite://")
            .or_else(|| address.strip_prefix("sqlite:"))
            .unwrap_or(address);
        target["sqlite"] = value(path);
    }
    Ok(target)
}

/// Makes the scenario the base, and adds the candidate that is otherwise in these keys.
fn beside(document: &mut DocumentMut, own: Table) {
    let mut base = Table::new();
    base["name"] = value("base");
    let mut candidate = own;
    candidate["name"] = value("candidate");
    let mut variants = ArrayOfTables::new();
    variants.push(base);
    variants.push(candidate);
    document["variant"] = Item::ArrayOfTables(variants);
}

/// `uniform:1..100000` and its like as the data item of a scenario.
fn parameter(text: &str) -> Result<Table, String> {
    const KINDS: &str = "use uniform:1..100000, zipf:1..100000, sequence:1, choice:a,b or const:x";
    let (kind, rest) = text.split_once(':').ok_or(KINDS)?;
    let mut data = Table::new();
    match kind {
        "uniform" | "zipf" => {
            let (from, to) = rest.split_once("..").ok_or("the bounds are written 1..100000")?;
            let mut bounds = InlineTable::new();
            bounds.insert("from", integer(from)?.into());
            bounds.insert("to", integer(to)?.into());
            data[kind] = value(bounds);
        }
        "sequence" => {
            let mut sequence = InlineTable::new();
            sequence.insert("from", integer(rest)?.into());
            data[kind] = value(sequence);
        }
        "choice" => data[kind] = value(rest.split(',').map(scalar).collect::<Array>()),
        "const" | "constant" => data["constant"] = Item::Value(scalar(rest)),
        _ => return Err(format!("no generator is called \"{kind}\"; {KINDS}")),
    }
    Ok(data)
}

fn integer(text: &str) -> Result<i64, String> {
    text.trim()
        .replace('_', "")
        .parse()
        .map_err(|_| format!("\"{text}\" is no integer"))
}

/// A number where it reads as one, else text.
fn scalar(text: &str) -> Value {
    text.parse::<i64>()
        .map(Value::from)
        .or_else(|_| text.parse::<f64>().map(Value::from))
        .unwrap_or_else(|_| text.into())
}

fn document(
    name: &str,
    target: Table,
    step: Table,
    data: BTreeMap<String, Table>,
    load: &OneLinerLoad,
) -> Result<DocumentMut, String> {
    let mut document = DocumentMut::new();
    document["name"] = value(short(name, 100));
    document["seed"] = value(i64::from(load.seed));
    document["target"] = nested("main", target);
    document["load"] = Item::Table(load_table(load));
    let mut all_data = Table::new();
    all_data.set_implicit(true);
    for (name, item) in data {
        all_data[&name] = Item::Table(item);
    }
    document["data"] = Item::Table(all_data);
    let mut flow = Table::new();
    flow["name"] = value("main");
    flow["step"] = list(step);
    document["flow"] = list(flow);
    let mut thresholds = ArrayOfTables::new();
    for limit in &load.limit {
        thresholds.push(threshold(limit).map_err(|reason| format!("--limit {limit}: {reason}"))?);
    }
    document["threshold"] = Item::ArrayOfTables(thresholds);
    Ok(document)
}

fn load_table(load: &OneLinerLoad) -> Table {
    let connections = i64::from(load.connections);
    let mut table = Table::new();
    match &load.rate {
        Some(rate) => {
            table["rate"] = value(if rate.contains('/') {
                rate.clone()
            } else {
                format!("{rate}/s")
            });
            table["max_in_flight"] = value(connections);
        }
        None => {
            // More users than operations would have nothing to do.
            table["users"] = value(
                load.requests
                    .map_or(connections, |requests| connections.min(i64::from(requests))),
            );
        }
    }
    match load.requests {
        Some(requests) => table["iterations"] = value(i64::from(requests)),
        None => table["duration"] = value(load.duration.as_deref().unwrap_or("10s")),
    }
    table
}

/// `p95<80ms` as a threshold with a critical limit.
fn threshold(text: &str) -> Result<Table, String> {
    let (name, limit) = text.split_once(['<', '>']).ok_or("write it as p95<80ms")?;
    let name = name.trim();
    let metric = metric::find(name).ok_or_else(|| format!("no metric is called \"{name}\""))?;
    let floor = metric.better == metric::Better::Higher;
    if text.contains('>') != floor {
        return Err(format!(
            "for {name} write {name}{}{limit}",
            if floor { '>' } else { '<' }
        ));
    }
    let mut threshold = Table::new();
    threshold["metric"] = value(name);
    threshold["critical"] = value(limit.trim());
    Ok(threshold)
}

fn nested(name: &str, inner: Table) -> Item {
    let mut outer = Table::new();
    outer.set_implicit(true);
    outer[name] = Item::Table(inner);
    Item::Table(outer)
}

fn list(only: Table) -> Item {
    let mut list = ArrayOfTables::new();
    list.push(only);
    Item::ArrayOfTables(list)
}

/// At most that many bytes, cut between characters, on one line.
fn short(text: &str, most: usize) -> String {
    let mut out = String::new();
    for c in text.chars().filter(|c| !c.is_control()) {
        if out.len() + c.len_utf8() > most {
            break;
        }
        out.push(c);
    }
    out
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::{
        cli::args::{Arguments, Verb},
        workload::{self, End, Profile},
    };

    fn compiled(arguments: &[&str]) -> Result<workload::Workload, String> {
        let verb = Arguments::try_parse_from([&["loadgate"], arguments].concat())
            .map_err(|error| error.to_string())?
            .verb;
        let document = match verb {
            Verb::Http(args) => http::scenario(&args)?,
            Verb::Sql(args) => sql_scenario(&args)?,
            _ => unreachable!(),
        };
        let text = scenario::Text {
            path: "test".into(),
            toml: document.to_string(),
        };
        workload::compile(scenario::parse(text, &[]).unwrap(), &|_| None)
            .map_err(|rejected| rejected.problems.render(&rejected.text, false))
    }

    #[test]
    fn a_url_becomes_a_closed_scenario_of_exactly_so_many_requests() {
        let workload = compiled(&["http", "http://127.0.0.1:8080/a?b=1", "-n", "1000", "-c", "50"]).unwrap();
        assert_eq!(workload.load.end, End::Passes(1000));
        assert_eq!(
            workload.load.profile,
            Profile::Closed {
                users: 50,
                ramp: std::time::Duration::ZERO,
                stages: Vec::new(),
                think: None,
                throttle: None,
            }
        );
        assert_eq!(workload.measured[0].name, "GET /a?b=1");
    }

    #[test]
    fn what_curl_can_ask_can_be_asked_here() {
        let mut arguments = vec![
            "http",
            "https://127.0.0.1/a",
            "--http2",
            "--host",
            "shop.example",
            "-u",
            "ann:pass:word",
        ];
        arguments.extend([
            "--form",
            "q=a b",
            "--form",
            "n=1",
            "--max-redirs",
            "3",
            "--compressed",
            "-m",
            "2s",
            "-k",
        ]);
        let workload = compiled(&arguments).unwrap();
        let workload::Kind::Http(target) = &workload.targets[0].kind else {
            panic!()
        };
        assert!(target.http2 && target.tls.insecure);
        assert_eq!(target.host.as_ref().unwrap(), "shop.example");
        assert_eq!(workload.measured[0].name, "POST /a");
        let workload::Action::Step(step) = &workload.flows[0].actions[0] else {
            panic!()
        };
        let workload::Request::Http(http) = &step.request else {
            panic!()
        };
        assert_eq!((http.redirects, step.timeout), (3, std::time::Duration::from_secs(2)));
        assert_eq!(http.headers["authorization"], "Basic YW5uOnBhc3M6d29yZA==");
        assert_eq!(http.headers["accept-encoding"], "gzip, br");
        assert!(matches!(&http.body, Some(workload::Body::Constant(body)) if *body == "n=1&q=a%20b"));
        assert_eq!(
            workload.secrets.mask("ann:pass:word pass:word YW5uOnBhc3M6d29yZA=="),
            "••• ••• •••"
        );
    }

    #[test]
    fn a_rate_makes_it_open() {
        let workload = compiled(&["http", "127.0.0.1:8080", "-r", "300", "-d", "5s", "--limit", "p95<80ms"]).unwrap();
        let Profile::Open {
            rates, max_in_flight, ..
        } = &workload.load.profile
        else {
            panic!("not open")
        };
        assert_eq!((rates.highest(), *max_in_flight), (300.0, 10));
        assert_eq!(workload.thresholds.len(), 1);
    }

    #[test]
    fn parameters_become_data() {
        let workload = compiled(&["sql", "x.db", "SELECT $1, $2", "-p", "uniform:1..9", "-p", "choice:a,b"]).unwrap();
        assert_eq!(*workload.statements, ["SELECT ?1, ?2"]);
    }

    #[test]
    fn what_cannot_be_says_so() {
        assert!(
            compiled(&["sql", "mysql://x/y", "SELECT 1"])
                .unwrap_err()
                .contains("mysql:// is not spoken")
        );
        assert!(
            compiled(&["sql", "x.db", "SELECT $1", "-p", "normal:1"])
                .unwrap_err()
                .contains("no generator")
        );
        assert!(
            compiled(&["sql", "x.db", "SELECT $1"])
                .unwrap_err()
                .contains("parameters do not match")
        );
        assert!(
            compiled(&["http", "127.0.0.1", "--limit", "throughput<5/s"])
                .unwrap_err()
                .contains("throughput>5/s")
        );
        for (arguments, told) in [
            (&["-u", "ann"][..], "user:password"),
            (&["--form", "a=1", "--form", "a=2"], "given twice"),
            (&["--form", "a=1", "--body", "x"], "cannot be used with"),
            (&["--bearer", "t", "-u", "a:b"], "cannot be used with"),
            (&["--cert", "c.pem"], "--key"),
            (&["--cacert", "nowhere.pem"], "no such file"),
            (&["--host", "http://x"], "not a host"),
        ] {
            let error = compiled(&[&["http", "127.0.0.1"], arguments].concat()).unwrap_err();
            assert!(error.contains(told), "{arguments:?}: {error}");
        }
        assert!(
            compiled(&["http", "127.0.0.1", "-r", "0/s"])
                .unwrap_err()
                .contains("above zero")
        );
    }
}
