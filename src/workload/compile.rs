//! Scenario → Workload, collecting every problem on the way.

use std::{
    collections::BTreeMap,
    ops::{Range, RangeInclusive},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;

use super::{
    Load, Wait, Workload, data, fingerprint, group, link,
    secrets::{Secrets, is_secret_name},
    steps, target, variant,
};
use crate::{
    metric::Measure,
    run::{ScenarioText, hash, read_bounded},
    scenario::{self, At, Loaded, Problems, Scenario, Text},
    threshold::Threshold,
    units,
};

/// A larger file is no body: 64 MiB.
const LARGEST_BODY_FILE: u64 = 64 << 20;

/// A scenario with problems; nothing was started.
#[derive(Debug)]
pub struct Rejected {
    /// What it was read from, secrets blotted out.
    pub text: Text,
    /// All that is wrong with it.
    pub problems: Problems,
}

/// Compiles a scenario, once for each of its variants. `variable` looks up `${NAME}`, normally in the environment.
///
/// # Errors
/// With every problem found, those of loading included.
pub fn compile(loaded: Loaded, variable: &dyn Fn(&str) -> Option<String>) -> Result<Workload, Box<Rejected>> {
    let Loaded {
        scenario,
        variants,
        text,
        problems,
    } = loaded;
    let mut all = Compiler::new(variable, &scenario, &text, problems);
    let written = if variants.is_empty() { vec![scenario] } else { variants };
    let mut workloads: Vec<Workload> = written.iter().filter_map(|scenario| all.one(scenario, &text)).collect();
    variant::check(&mut all, &written, &workloads);
    if !all.problems.is_empty() || workloads.is_empty() {
        return Err(Box::new(all.reject(text)));
    }
    let fingerprint = fingerprint::of_all(&workloads);
    let others = workloads.split_off(1);
    let reference = workloads.into_iter().next();
    reference
        .map(|reference| Workload {
            fingerprint,
            others: others.into_iter().map(Arc::new).collect(),
            source: ScenarioText {
                text: all.secrets.mask(&text.toml),
                path: text.path.clone(),
            },
            secrets: all.secrets.clone(),
            ..reference
        })
        .ok_or_else(|| Box::new(all.reject(text)))
}

/// What all parts of compiling share.
pub(super) struct Compiler<'a> {
    variable: &'a dyn Fn(&str) -> Option<String>,
    /// Files are relative to it: that of the scenario.
    pub(super) directory: PathBuf,
    /// Files that are sent, in the order in which they were first named.
    body_files: BTreeMap<PathBuf, (usize, Bytes)>,
    /// By the names that targets use.
    pub(super) fixtures: BTreeMap<String, At<scenario::Fixture>>,
    pub(super) problems: Problems,
    pub(super) secrets: Secrets,
}

impl<'a> Compiler<'a> {
    fn new(
        variable: &'a dyn Fn(&str) -> Option<String>,
        scenario: &Scenario,
        text: &Text,
        problems: Problems,
    ) -> Compiler<'a> {
        Compiler {
            variable,
            directory: Path::new(&text.path).parent().unwrap_or(Path::new("")).to_owned(),
            body_files: BTreeMap::new(),
            fixtures: scenario.fixture.clone(),
            problems,
            secrets: Secrets::default(),
        }
    }

    /// Compiles the scenario as one variant has it; what is wrong with it is added to all problems.
    fn one(&mut self, scenario: &Scenario, text: &Text) -> Option<Workload> {
        let mut compiler = Compiler::new(self.variable, scenario, text, self.problems.fresh());
        let sizes = compiler.sizes(scenario);
        let mut workload = compiler.workload(scenario, text);
        if let (Some(workload), Some((records, scenarios))) = (&mut workload, sizes) {
            let sized = scenarios.map(|scenario| compiler.workload(&scenario, text).map(Arc::new));
            if let [Some(small), Some(large)] = sized {
                let [from, to] = records;
                workload.sizes = Some([(from, small), (to, large)]);
            }
        }
        let Compiler { problems, secrets, .. } = compiler;
        self.problems.merge(problems);
        secrets.texts().iter().for_each(|text| self.secrets.add(text));
        workload
    }

    fn workload(&mut self, scenario: &Scenario, text: &Text) -> Option<Workload> {
        let name = self.name(scenario);
        let seed = self.integer(scenario.seed.as_ref(), "the seed", 0..=i64::MAX, 1) as u64;
        let targets = target::compile(self, &scenario.target);
        let groups = group::compile(self, &scenario.target, &targets);
        let load = self.load(scenario);
        let data = data::compile(self, &scenario.data);
        let steps = steps::compile(self, scenario, targets, groups, &data);
        let thresholds = self.thresholds(scenario, &steps.names, text);
        let claims = self.claims(scenario, &steps.names);
        self.searchable(scenario.load.as_ref(), &thresholds);
        let abort_when = self.abort_when(scenario.load.as_ref(), &steps);
        let counts = |threshold: &Threshold| matches!(threshold.metric.measure, Measure::Counter(_));
        let counted = !scenario.variant.is_empty() || thresholds.iter().any(counts);
        let trial = self.trial(scenario.trial.as_ref(), counted);
        let variant = self.variant(scenario, &steps.targets, text);
        if let Some(load) = &load {
            data::check_stages(self, &scenario.data, load);
            link::in_time(self, scenario, load);
        }
        let load = load.filter(|_| self.problems.is_empty())?;
        let fingerprint = fingerprint::compute(self, scenario, &steps, &data, seed);
        Some(Workload {
            name,
            seed,
            source: ScenarioText {
                text: text.toml.clone(),
                path: text.path.clone(),
            },
            fingerprint,
            targets: steps.targets,
            groups: steps.groups,
            statements: steps.statements.into(),
            load: Load { abort_when, ..load },
            trial,
            variant,
            others: Vec::new(),
            sizes: None,
            setup: steps.setup,
            flows: steps.flows,
            teardown: steps.teardown,
            user_setup: steps.user_setup,
            user_teardown: steps.user_teardown,
            measured: steps.measured,
            breakers: steps.breakers,
            caches: steps.caches,
            thresholds,
            claims,
            variables: steps.variables,
            variable_names: steps.variable_names,
            draws_per_pass: steps.draws_per_pass,
            secrets: self.secrets.clone(),
        })
    }

    fn reject(self, text: Text) -> Rejected {
        let Self {
            mut problems, secrets, ..
        } = self;
        problems.rewrite(|told| secrets.mask(told));
        Rejected {
            text: Text {
                toml: secrets.blot(&text.toml),
                ..text
            },
            problems,
        }
    }

    /// Keys that mean nothing where they stand: each with its place, if it was written,
    /// whether it fits, and what it is for.
    pub(super) fn misplaced<'k>(
        &mut self,
        keys: impl IntoIterator<Item = (&'k str, Option<Range<usize>>, bool, &'k str)>,
    ) {
        for (key, place, fits, purpose) in keys {
            if let (Some(place), false) = (place, fits) {
                let title = format!("`{key}` does not belong here");
                self.problems.add(place, title, format!("it is for {purpose}"), None);
            }
        }
    }

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

    /// The text with `${NAME}` and `${NAME:-default}` filled in and `$${` as `${`;
    /// `None` when that cannot be done, which is then among the problems.
    pub(super) fn resolve(&mut self, at: &At<String>) -> Option<String> {
        let mut out = String::new();
        let mut complete = true;
        let mut rest = at.value.as_str();
        while let Some((before, after)) = rest.split_once("${") {
            if let Some(before) = before.strip_suffix('$') {
                out.push_str(before);
                out.push_str("${");
                rest = after;
                continue;
            }
            out.push_str(before);
            let Some((inside, remaining)) = after.split_once('}') else {
                let help = Some("for the text itself write $${".into());
                self.problem(at, "a variable that does not end", "`${` without `}`", help);
                return None;
            };
            match self.substitute(at, inside) {
                Some(value) => out.push_str(&value),
                None => complete = false,
            }
            rest = remaining;
        }
        out.push_str(rest);
        complete.then_some(out)
    }

    /// The value of what stands between `${` and `}`. As in a shell, `:-` also replaces an empty value.
    fn substitute(&mut self, at: &At<String>, inside: &str) -> Option<String> {
        let (name, default) = inside
            .split_once(":-")
            .map_or((inside, None), |(name, default)| (name, Some(default)));
        if !is_variable_name(name) || default.is_some_and(|default| default.contains("${")) {
            let label = format!("`${{{inside}}}` is neither ${{NAME}} nor ${{NAME:-default}}");
            let help = Some("for the text itself write $${".into());
            self.problem(at, "not a variable of the environment", label, help);
            return None;
        }
        if let Some(default) = default.filter(|_| is_secret_name(name)) {
            self.secrets.add(default);
        }
        let value = self.lookup(name);
        if let Some(default) = default {
            return value
                .filter(|value| !value.is_empty())
                .or_else(|| Some(default.to_owned()));
        }
        if value.is_none() {
            let help = Some(format!("set it in the environment, or give a default: ${{{name}:-…}}"));
            self.problem(at, format!("the variable {name} is not set"), "needed here", help);
        }
        value
    }

    /// The path of a file that must be there; relative to the scenario.
    pub(super) fn file(&mut self, at: Option<&At<String>>) -> Option<PathBuf> {
        let at = at?;
        let path = self.resolve(at)?;
        let path = self.directory.join(path);
        if !path.is_file() {
            self.problem(at, "no such file", path.display().to_string(), None);
        }
        Some(path)
    }

    /// The bytes of a file to be sent; read once however often it is named.
    pub(super) fn body_file(&mut self, at: &At<String>) -> Option<Bytes> {
        let path = self.resolve(at)?;
        let path = self.directory.join(path);
        if let Some((_, bytes)) = self.body_files.get(&path) {
            return Some(bytes.clone());
        }
        match read_bounded(&path, LARGEST_BODY_FILE) {
            Ok(bytes) => {
                let bytes = Bytes::from(bytes);
                self.body_files.insert(path, (self.body_files.len(), bytes.clone()));
                Some(bytes)
            }
            Err(error) => {
                self.problem(at, "the file cannot be sent", error.to_string(), None);
                None
            }
        }
    }

    /// Hashes of the files to be sent, by their order: their places do not count.
    pub(super) fn body_hashes(&self) -> BTreeMap<usize, String> {
        self.body_files
            .values()
            .map(|(number, bytes)| (*number, hash(bytes)))
            .collect()
    }

    /// Reads a value with `parse`, or reports what is wrong with it.
    pub(super) fn quantity<T>(
        &mut self,
        at: &At<String>,
        what: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        let text = self.resolve(at)?;
        parse(&text)
            .map_err(|reason| self.problem(at, format!("not a {what}"), reason, None))
            .ok()
    }

    /// A duration, or the default where none is written.
    pub(super) fn duration(&mut self, at: Option<&At<String>>, default: Duration) -> Duration {
        at.and_then(|at| self.quantity(at, "duration", units::parse_duration))
            .unwrap_or(default)
    }

    /// A time to wait, fixed or random.
    pub(super) fn wait(&mut self, at: &At<scenario::Wait>) -> Option<Wait> {
        let mut length = |text: &str| self.quantity(&at.with(text.to_owned()), "duration", units::parse_duration);
        let random = match &at.value {
            scenario::Wait::Fixed(text) => return length(text).map(Wait::Fixed),
            scenario::Wait::Random(random) => random,
        };
        match random {
            scenario::RandomWait {
                uniform:
                    Some(scenario::WaitBounds {
                        from: Some(from),
                        to: Some(to),
                    }),
                exponential: None,
            } => {
                let (from, to) = (length(from)?, length(to)?);
                if from > to {
                    self.problem(at, "bounds the wrong way round", "`from` is longer than `to`", None);
                }
                Some(Wait::Uniform { from, to })
            }
            scenario::RandomWait {
                uniform: None,
                exponential: Some(mean),
            } => length(mean).map(Wait::Exponential),
            _ => {
                let help = "write { uniform = { from = \"1s\", to = \"3s\" } } or { exponential = \"2s\" }";
                self.problem(
                    at,
                    "not a time to wait",
                    "exactly one of `uniform`, `exponential`",
                    Some(help.into()),
                );
                None
            }
        }
    }

    /// A duration above zero, or the default where none is written.
    pub(super) fn timeout(&mut self, at: Option<&At<String>>, default: Duration) -> Duration {
        at.and_then(|at| {
            self.quantity(at, "timeout", |text| match units::parse_duration(text)? {
                Duration::ZERO => Err("it must be above zero".into()),
                timeout => Ok(timeout),
            })
        })
        .unwrap_or(default)
    }

    /// One of a closed set of words, or the default where none is written.
    pub(super) fn word<T: Copy>(&mut self, at: Option<&At<String>>, words: &[(&str, T)], default: T) -> T {
        let Some(at) = at else { return default };
        let Some(text) = self.resolve(at) else { return default };
        match words.iter().find(|(word, _)| *word == text) {
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
        bounds: RangeInclusive<i64>,
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
        let Some(name) = &scenario.name else {
            let help = Some("write at the top: name = \"checkout\"".into());
            self.problems
                .add_missing_at_top("the scenario has no name", "`name` is missing", help);
            return String::new();
        };
        let text = &name.value;
        if text.trim().is_empty() || text.len() > 100 || text.chars().any(char::is_control) {
            let label = "a name has 1 to 100 characters on one line";
            self.problem(name, "not a usable name", label, None);
        }
        text.clone()
    }
}

fn is_variable_name(name: &str) -> bool {
    !name.starts_with(|c: char| c.is_ascii_digit())
        && !name.is_empty()
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// Where a key stands, if it was written.
pub(super) fn place<T>(at: &Option<At<T>>) -> Option<Range<usize>> {
    at.as_ref().map(At::span)
}
