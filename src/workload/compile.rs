//! Scenario → Workload, collecting every problem on the way.

use std::{collections::BTreeMap, ops::Range, path::Path, time::Duration};

use super::{Arrivals, End, Flow, Load, Profile, Secrets, Workload, data, steps, target};
use crate::{
    metric,
    run::{Fingerprint, ScenarioText, hash},
    scenario::{self, At, Loaded, Problems, Scenario, Text},
    threshold::{Limit, Source, Threshold},
    units,
};

/// A scenario with problems; nothing was started.
#[derive(Debug)]
pub struct Rejected {
    /// What it was read from.
    pub text: Text,
    /// All that is wrong with it.
    pub problems: Problems,
}

/// Compiles a scenario. `variable` looks up `${NAME}`, normally in the environment.
///
/// # Errors
/// With every problem found, those of loading included.
pub fn compile(loaded: Loaded, variable: &dyn Fn(&str) -> Option<String>) -> Result<Workload, Box<Rejected>> {
    let Loaded {
        scenario,
        text,
        problems,
    } = loaded;
    let mut compiler = Compiler {
        variable,
        problems,
        secrets: Secrets::default(),
        whole: 0..text.toml.len(),
    };

    let name = compiler.name(&scenario);
    let seed = compiler.seed(&scenario);
    let targets = target::compile(&mut compiler, &scenario.target);
    let load = compiler.load(scenario.load.as_ref());
    let data = data::compile(&mut compiler, &scenario.data, Path::new(&text.path));
    let steps = steps::compile(&mut compiler, &scenario, targets, &data);
    let thresholds = compiler.thresholds(
        &scenario,
        &steps.measured.iter().map(|step| step.name.as_str()).collect::<Vec<_>>(),
        &text,
    );
    let fingerprint = fingerprint(&scenario, seed, &data.file_hashes);

    let Compiler { problems, secrets, .. } = compiler;
    let (Some(load), true) = (load, problems.is_empty()) else {
        return Err(Box::new(Rejected { text, problems }));
    };
    Ok(Workload {
        name,
        seed,
        source: ScenarioText {
            text: secrets.mask(&text.toml),
            path: text.path,
        },
        fingerprint,
        targets: steps.targets,
        load,
        setup: steps.setup,
        flows: steps.flows,
        teardown: steps.teardown,
        measured: steps.measured,
        thresholds,
        variables: steps.variables,
        variable_names: steps.variable_names,
        draws_per_pass: steps.draws_per_pass,
        secrets,
    })
}

/// What all parts of compiling share.
pub(super) struct Compiler<'a> {
    variable: &'a dyn Fn(&str) -> Option<String>,
    pub(super) problems: Problems,
    pub(super) secrets: Secrets,
    whole: Range<usize>,
}

impl Compiler<'_> {
    /// Adds a problem at the place of a value.
    pub(super) fn problem<T>(
        &mut self,
        at: &At<T>,
        title: impl Into<String>,
        label: impl Into<String>,
        help: Option<String>,
    ) {
        self.problems.add(at.span(), title, label, help);
    }

    /// The value of a variable of the environment; a secret where its name says so.
    pub(super) fn lookup(&mut self, name: &str) -> Option<String> {
        let value = (self.variable)(name)?;
        if is_secret_name(name) {
            self.secrets.add(&value);
        }
        Some(value)
    }

    /// The text with `${NAME}` and `${NAME:-default}` filled in.
    pub(super) fn resolve(&mut self, at: &At<String>) -> String {
        let mut out = String::new();
        let mut rest = at.value.as_str();
        while let Some(open) = rest.find("${") {
            let Some(close) = rest[open..].find('}').map(|length| open + length) else {
                break;
            };
            let inside = &rest[open + 2..close];
            let (name, default) = inside
                .split_once(":-")
                .map_or((inside, None), |(name, default)| (name, Some(default)));
            out.push_str(&rest[..open]);
            match self.lookup(name).or_else(|| default.map(str::to_owned)) {
                Some(value) => out.push_str(&value),
                None => self.problem(
                    at,
                    format!("the variable {name} is not set"),
                    "needed here",
                    Some(format!("set it in the environment, or give a default: ${{{name}:-…}}")),
                ),
            }
            rest = &rest[close + 1..];
        }
        out.push_str(rest);
        out
    }

    /// Reads a value with `parse`, or reports what is wrong with it.
    pub(super) fn quantity<T>(
        &mut self,
        at: &At<String>,
        what: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        let before = self.problems.sorted().len();
        let text = self.resolve(at);
        if self.problems.sorted().len() > before {
            return None;
        }
        match parse(&text) {
            Ok(value) => Some(value),
            Err(reason) => {
                self.problem(at, format!("not a {what}"), reason, None);
                None
            }
        }
    }

    /// A duration, or the default where none is written.
    pub(super) fn duration(&mut self, at: Option<&At<String>>, default: Duration) -> Duration {
        at.and_then(|at| self.quantity(at, "duration", units::parse_duration))
            .unwrap_or(default)
    }

    /// One of a closed set of words, or the default where none is written.
    pub(super) fn word<T: Copy>(&mut self, at: Option<&At<String>>, words: &[(&str, T)], default: T) -> T {
        let Some(at) = at else { return default };
        match words.iter().find(|(word, _)| *word == at.value) {
            Some((_, value)) => *value,
            None => {
                let known: Vec<_> = words.iter().map(|(word, _)| format!("\"{word}\"")).collect();
                self.problem(at, "unknown word", format!("use {}", known.join(" or ")), None);
                default
            }
        }
    }

    /// An integer within bounds, or the default where none is written.
    pub(super) fn integer(
        &mut self,
        at: Option<&At<i64>>,
        what: &str,
        bounds: std::ops::RangeInclusive<i64>,
        default: i64,
    ) -> i64 {
        let Some(at) = at else { return default };
        if bounds.contains(&at.value) {
            return at.value;
        }
        self.problem(
            at,
            format!("{what} is out of bounds"),
            format!("must be from {} to {}", bounds.start(), bounds.end()),
            None,
        );
        default
    }

    fn name(&mut self, scenario: &Scenario) -> String {
        match &scenario.name {
            Some(name)
                if name.value.trim().is_empty()
                    || name.value.len() > 100
                    || name.value.chars().any(char::is_control) =>
            {
                self.problem(
                    name,
                    "not a usable name",
                    "a name has 1 to 100 characters on one line",
                    None,
                );
                String::new()
            }
            Some(name) => name.value.clone(),
            None => {
                let help = Some("write at the top: name = \"checkout\"".into());
                self.problems.add_missing(
                    self.whole.clone(),
                    "the scenario has no name",
                    "`name` is missing",
                    help,
                );
                String::new()
            }
        }
    }

    fn seed(&mut self, scenario: &Scenario) -> u64 {
        self.integer(scenario.seed.as_ref(), "the seed", 0..=i64::MAX, 1) as u64
    }

    fn load(&mut self, load: Option<&At<scenario::Load>>) -> Option<Load> {
        let Some(load) = load else {
            let help =
                Some("add [load] with rate = \"100/s\" (open) or users = 10 (closed), and duration = \"30s\"".into());
            self.problems.add_missing(
                self.whole.clone(),
                "the scenario has no load",
                "`[load]` is missing",
                help,
            );
            return None;
        };
        let profile = self.profile(load)?;
        let end = self.end(load, &profile)?;
        let scenario::Load { warm_up, drain, .. } = &load.value;
        Some(Load {
            profile,
            end,
            warm_up: self.duration(warm_up.as_ref(), Duration::ZERO),
            drain: self.duration(drain.as_ref(), Duration::from_secs(10)),
        })
    }

    fn profile(&mut self, load: &At<scenario::Load>) -> Option<Profile> {
        let scenario::Load {
            rate,
            users,
            arrivals,
            ramp,
            max_in_flight,
            queue,
            ..
        } = &load.value;
        match (rate, users) {
            (Some(rate), None) => {
                self.only_with("users", "a closed model", [ramp.as_ref().map(|at| ("ramp", at.span()))]);
                let arrivals = self.word(
                    arrivals.as_ref(),
                    &[("even", Arrivals::Even), ("poisson", Arrivals::Poisson)],
                    Arrivals::Even,
                );
                let max_in_flight = self.integer(max_in_flight.as_ref(), "max_in_flight", 1..=10_000, 64) as usize;
                let queue = self.integer(queue.as_ref(), "queue", 0..=10_000_000, 1000) as usize;
                let rate = self.quantity(rate, "rate", units::parse_rate)?;
                Some(Profile::Open {
                    rate,
                    arrivals,
                    max_in_flight,
                    queue,
                })
            }
            (None, Some(users)) => {
                self.only_with(
                    "rate",
                    "an open model",
                    [
                        arrivals.as_ref().map(|at| ("arrivals", at.span())),
                        max_in_flight.as_ref().map(|at| ("max_in_flight", at.span())),
                        queue.as_ref().map(|at| ("queue", at.span())),
                    ],
                );
                let users = self.integer(Some(users), "users", 1..=10_000, 1) as usize;
                Some(Profile::Closed {
                    users,
                    ramp: self.duration(ramp.as_ref(), Duration::ZERO),
                })
            }
            (Some(rate), Some(_)) => {
                let help =
                    Some("keep `rate` (open: arrivals do not wait) or `users` (closed: users wait for answers)".into());
                self.problem(
                    rate,
                    "two load models at once",
                    "`rate` and `users` exclude each other",
                    help,
                );
                None
            }
            (None, None) => {
                let help = Some("write rate = \"100/s\" (open) or users = 10 (closed)".into());
                self.problems
                    .add_missing(load.span(), "the load has no model", "neither `rate` nor `users`", help);
                None
            }
        }
    }

    fn only_with<const N: usize>(&mut self, partner: &str, model: &str, keys: [Option<(&str, Range<usize>)>; N]) {
        for (key, span) in keys.into_iter().flatten() {
            self.problems.add(
                span,
                format!("`{key}` does not belong here"),
                format!("it is for {model}, with `{partner}`"),
                None,
            );
        }
    }

    fn end(&mut self, load: &At<scenario::Load>, profile: &Profile) -> Option<End> {
        let scenario::Load {
            duration, iterations, ..
        } = &load.value;
        match (duration, iterations) {
            (Some(duration), None) => {
                let length = self.quantity(duration, "duration", units::parse_duration)?;
                if length < Duration::from_millis(100) {
                    self.problem(duration, "the duration is too short", "at least 100ms", None);
                    return None;
                }
                Some(End::After(length))
            }
            (None, Some(iterations)) => {
                if matches!(profile, Profile::Open { .. }) {
                    self.problem(
                        iterations,
                        "`iterations` does not belong here",
                        "it is for a closed model, with `users`",
                        None,
                    );
                }
                Some(End::Passes(
                    self.integer(Some(iterations), "iterations", 1..=1_000_000_000, 1) as u64,
                ))
            }
            (Some(_), Some(iterations)) => {
                self.problem(
                    iterations,
                    "two ends at once",
                    "`duration` and `iterations` exclude each other",
                    None,
                );
                None
            }
            (None, None) => {
                let help = Some("write duration = \"30s\"".into());
                self.problems
                    .add_missing(load.span(), "the load has no end", "`duration` is missing", help);
                None
            }
        }
    }

    fn thresholds(&mut self, scenario: &Scenario, steps: &[&str], text: &Text) -> Vec<Threshold> {
        let mut thresholds = Vec::new();
        for written in &scenario.threshold {
            let line = 1 + text.toml[..written.start.min(text.toml.len())].matches('\n').count();
            let source = Source {
                file: text.path.clone(),
                line,
            };
            thresholds.extend(self.threshold(written, steps, source));
        }
        thresholds
    }

    fn threshold(&mut self, written: &At<scenario::Threshold>, steps: &[&str], source: Source) -> Option<Threshold> {
        let scenario::Threshold {
            step,
            metric: name,
            warning,
            critical,
        } = &written.value;
        if let Some(step) = step
            && !steps.contains(&step.value.as_str())
        {
            let help = Some(format!("steps: {}", steps.join(", ")));
            self.problem(
                step,
                format!("no step is called \"{}\"", step.value),
                "unknown step",
                help,
            );
        }
        let Some(name) = name else {
            let help = Some("write for example metric = \"p95\"".into());
            self.problems.add_missing(
                written.span(),
                "a threshold without a metric",
                "`metric` is missing",
                help,
            );
            return None;
        };
        let Some(metric) = metric::find(&name.value) else {
            let known: Vec<_> = metric::METRICS.iter().map(|metric| metric.name).collect();
            self.problem(
                name,
                format!("no metric is called \"{}\"", name.value),
                "unknown metric",
                Some(format!("metrics: {}", known.join(", "))),
            );
            return None;
        };
        if metric.measure == metric::Measure::DroppedRate
            && let Some(step) = step
        {
            self.problem(
                step,
                "dropped_rate is a figure of the whole run",
                "leave `step` out",
                None,
            );
        }
        if warning.is_none() && critical.is_none() {
            let help = Some("write for example warning = \"+5%\" and critical = \"+10%\"".into());
            self.problems.add_missing(
                written.span(),
                "a threshold without a limit",
                "neither `warning` nor `critical`",
                help,
            );
        }
        let warning = self.limit(warning.as_ref(), metric);
        let critical = self.limit(critical.as_ref(), metric);
        Some(Threshold {
            step: step.as_ref().map(|step| step.value.clone()),
            metric,
            warning,
            critical,
            source,
        })
    }

    fn limit(&mut self, at: Option<&At<String>>, metric: &'static metric::Metric) -> Option<Limit> {
        self.quantity(at?, "limit", |text| Limit::parse(text, metric))
    }
}

/// Whether the value of a variable of that name must not be shown.
fn is_secret_name(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    [
        "PASS",
        "SECRET",
        "TOKEN",
        "KEY",
        "CREDENTIAL",
        "AUTH",
        "COOKIE",
        "DSN",
        "DATABASE_URL",
    ]
    .iter()
    .any(|part| name.contains(part))
}

/// Hashes of what decides the work: as written, without places, addresses, limits and absent keys.
fn fingerprint(scenario: &Scenario, seed: u64, file_hashes: &BTreeMap<String, String>) -> Fingerprint {
    let kinds: BTreeMap<&str, (&str, Option<&str>)> = scenario
        .target
        .iter()
        .map(|(name, target)| {
            let scenario::Target {
                http, sqlite, protocol, ..
            } = &target.value;
            let kind = if http.is_some() {
                "http"
            } else if sqlite.is_some() {
                "sqlite"
            } else {
                "postgres"
            };
            (
                name.as_str(),
                (kind, protocol.as_ref().map(|protocol| protocol.value.as_str())),
            )
        })
        .collect();
    Fingerprint {
        flows: digest(&(&scenario.flow, &scenario.setup, kinds)),
        data: digest(&(&scenario.data, file_hashes)),
        load: digest(&scenario.load),
        seed,
    }
}

/// Absent keys are left out, so that a key added to loadgate later changes no fingerprint.
fn digest(part: &impl serde::Serialize) -> String {
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
    // What was read from TOML can be written as JSON.
    let mut value = serde_json::to_value(part).unwrap_or_default();
    drop_empty(&mut value);
    hash(value.to_string().as_bytes())
}

impl Flow {
    /// Flows with their weights added up.
    pub(super) fn cumulate(weighted: Vec<(String, u64, Vec<super::Action>)>) -> Vec<Self> {
        let mut sum = 0;
        weighted
            .into_iter()
            .map(|(name, weight, actions)| {
                sum += weight;
                Self {
                    name,
                    cumulative_weight: sum,
                    actions,
                }
            })
            .collect()
    }
}
