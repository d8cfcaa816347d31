//! Scenario → fingerprint: hashes of what decides the work.

use std::collections::BTreeMap;

use super::{Connections, Kind, Link, Pooler, Protocol, Provision, Workload, compile::Compiler, data::DataSet, steps};
use crate::{
    run::{Fingerprint, hash},
    scenario::{self, At, Scenario},
};

/// Hashes of what decides the work, as written: without places, addresses, limits and absent keys.
/// Values of the environment count in `[load]` only; elsewhere they may be secrets.
pub(super) fn compute(
    compiler: &mut Compiler<'_>,
    scenario: &Scenario,
    steps: &steps::Compiled,
    data: &DataSet,
    seed: u64,
) -> Fingerprint {
    let alone = scenario.target.values().filter(|written| written.value.of.is_none());
    let mut kinds: BTreeMap<&str, (&str, Option<String>)> = alone
        .zip(&steps.targets)
        .map(|(written, target)| {
            let words = [
                target.provision.as_ref().map(Provision::words),
                target.pooler.as_ref().map(Pooler::words),
                target.link.as_ref().and_then(Link::words),
                policies(&written.value),
            ];
            let protocol = words.into_iter().fold(protocol(&target.kind, &written.value), with);
            (target.name.as_str(), (target.kind.name(), protocol))
        })
        .collect();
    // How many share the work, and how, is what is tuned.
    kinds.extend(steps.groups.iter().map(|group| (group.name.as_str(), ("group", None))));
    // Those without steps of their own keep the fingerprint they always had.
    let flows = if scenario.user_setup.is_empty() {
        serde_json::to_value((&scenario.flow, &scenario.setup, kinds))
    } else {
        serde_json::to_value((&scenario.flow, &scenario.setup, kinds, &scenario.user_setup))
    };
    // What was read from TOML can be written as JSON.
    let flows = flows.unwrap_or_default();
    let mut file_hashes = data.file_hashes.clone();
    // No name of data has a space.
    file_hashes.extend(
        compiler
            .body_hashes()
            .into_iter()
            .map(|(number, hash)| (format!("body {number}"), hash)),
    );
    let load = scenario.load.as_ref().map(|load| resolved(compiler, &load.value));
    // A variant is its name and what it does to its databases; its flows, targets and data are above.
    let variant = scenario.variant.first().map(|variant| &variant.value);
    let variant = variant.map(|variant| digest(&(&variant.name, &variant.setup)));
    Fingerprint {
        flows: variant.map_or_else(|| digest(&flows), |variant| digest(&(&flows, variant))),
        // What is counted is part of the work, where it is spoken of.
        data: match &scenario.trial {
            None => digest(&(&scenario.data, file_hashes)),
            Some(trial) => digest(&(&scenario.data, file_hashes, trial)),
        },
        load: digest(&load),
        seed,
    }
}

/// Of all variants together; of one alone what it always was.
pub(super) fn of_all(workloads: &[Workload]) -> Fingerprint {
    let all = |part: fn(&Fingerprint) -> &str| match workloads {
        [only] => part(&only.fingerprint).to_owned(),
        several => {
            let parts: Vec<&str> = several.iter().map(|workload| part(&workload.fingerprint)).collect();
            hash(parts.join(" ").as_bytes())
        }
    };
    Fingerprint {
        flows: all(|fingerprint| &fingerprint.flows),
        data: all(|fingerprint| &fingerprint.data),
        load: all(|fingerprint| &fingerprint.load),
        seed: workloads.first().map_or(0, |workload| workload.seed),
    }
}

/// A database made for the run is work prepared (settings are no part of it, as no other target's are);
/// a link that is slow or faulty is other work.
fn with(protocol: Option<String>, words: Option<String>) -> Option<String> {
    match (protocol, words) {
        (Some(protocol), Some(words)) => Some(format!("{protocol}, {words}")),
        (protocol, words) => protocol.or(words),
    }
}

/// What is tried again, and what is not even tried, is work too; nothing where neither is written.
fn policies(written: &scenario::Target) -> Option<String> {
    let scenario::Target { retry, breaker, .. } = written;
    let any = retry.is_some() || breaker.is_some();
    any.then(|| format!("policies {}", digest(&(retry, breaker))))
}

/// What changes the work on a target beside its kind; nothing by default.
fn protocol(kind: &Kind, written: &scenario::Target) -> Option<String> {
    match kind {
        Kind::Postgres(postgres) => {
            let protocol = match postgres.protocol {
                Protocol::Prepared => "prepared",
                Protocol::Pipelined => "pipelined",
                Protocol::Extended => "extended",
                Protocol::Simple => "simple",
            };
            // The limits of a pool are what is tuned, as settings of the server are.
            Some(match postgres.connections {
                Connections::PerSession => protocol.to_owned(),
                Connections::PerOperation => format!("{protocol}, a connection per operation"),
                Connections::Pooled(_) => format!("{protocol}, pool"),
            })
        }
        Kind::Sqlite { .. } => None,
        Kind::Http(http) => {
            let is_on = |key: &Option<At<bool>>| key.as_ref().is_some_and(|at| at.value);
            let mut words = Vec::new();
            words.extend(http.http2.then(|| "http2".to_owned()));
            words.extend((!http.cookies).then(|| "no cookies".to_owned()));
            words.extend(is_on(&written.compression).then(|| "compression".to_owned()));
            let redirects = written.redirects.as_ref().map_or(0, |at| at.value);
            words.extend((redirects > 0).then(|| format!("redirects {redirects}")));
            (!words.is_empty()).then(|| words.join(", "))
        }
    }
}

fn resolved(compiler: &mut Compiler<'_>, load: &scenario::Load) -> scenario::Load {
    let think = load
        .think
        .as_ref()
        .map(|think| think.with(resolved_wait(compiler, think)));
    let mut resolve = |text: &Option<At<String>>| {
        text.as_ref()
            .map(|at| at.with(compiler.resolve(at).unwrap_or_default()))
    };
    let stages = load.stages.as_ref().map(|stages| {
        stages.with(
            stages
                .value
                .iter()
                .map(|stage| {
                    stage.with(scenario::Stage {
                        duration: resolve(&stage.value.duration),
                        rate: resolve(&stage.value.rate),
                        users: stage.value.users.clone(),
                    })
                })
                .collect(),
        )
    });
    let search = load.search.as_ref().map(|search| {
        search.with(scenario::Search {
            from: resolve(&search.value.from),
            to: resolve(&search.value.to),
            precision: resolve(&search.value.precision),
        })
    });
    scenario::Load {
        stages,
        think,
        search,
        // What would end a run early is no part of its work.
        abort_when: Vec::new(),
        throttle: resolve(&load.throttle),
        rate: resolve(&load.rate),
        arrivals: resolve(&load.arrivals),
        ramp: resolve(&load.ramp),
        duration: resolve(&load.duration),
        warm_up: resolve(&load.warm_up),
        drain: resolve(&load.drain),
        ..load.clone()
    }
}

fn resolved_wait(compiler: &mut Compiler<'_>, at: &At<scenario::Wait>) -> scenario::Wait {
    let mut resolve = |text: &str| compiler.resolve(&at.with(text.to_owned())).unwrap_or_default();
    match &at.value {
        scenario::Wait::Fixed(text) => scenario::Wait::Fixed(resolve(text)),
        scenario::Wait::Random(random) => scenario::Wait::Random(scenario::RandomWait {
            uniform: random.uniform.as_ref().map(|bounds| scenario::WaitBounds {
                from: bounds.from.as_deref().map(&mut resolve),
                to: bounds.to.as_deref().map(&mut resolve),
            }),
            exponential: random.exponential.as_deref().map(&mut resolve),
        }),
    }
}

/// Absent keys are left out, so that a key added to loadgate later changes no fingerprint.
fn digest(part: &impl serde::Serialize) -> String {
    // What was read from TOML can be written as JSON.
    let mut value = serde_json::to_value(part).unwrap_or_default();
    drop_empty(&mut value);
    hash(value.to_string().as_bytes())
}

fn drop_empty(value: &mut serde_json::Value) {
    match value {
        serde_json::Value::Object(object) => {
            object.values_mut().for_each(drop_empty);
            object.retain(|_, value| !is_empty(value));
            object.sort_keys();
        }
        serde_json::Value::Array(array) => array.iter_mut().for_each(drop_empty),
        _ => {}
    }
}

fn is_empty(value: &serde_json::Value) -> bool {
    match value {
        serde_json::Value::Null => true,
        serde_json::Value::Object(object) => object.is_empty(),
        serde_json::Value::Array(array) => array.is_empty(),
        _ => false,
    }
}
