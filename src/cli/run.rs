//! `loadgate run`: from a scenario to a verdict.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    args::{Ci, FailOn, Format, Judging, RunArgs},
    ci,
    exit::{Exit, Failure},
    interrupt,
    metrics::Metrics,
    print::Console,
    progress::Progress,
};
use crate::{
    baseline::{Baseline, Baselines},
    comparison::{self, Comparison, Options},
    lab::postgres::Site,
    observer,
    recorder::SampleLog,
    report::{self, Detail, Terminal},
    run::{self, Run},
    scenario::{self, Loaded},
    trial::{self, Exchange, Setting, TrialError},
    workload::{self, Workload},
};

/// Performs the verb.
pub(super) fn run(args: &RunArgs, console: &Console) -> Result<Exit, Failure> {
    let mut set = args.set.clone();
    set.extend(args.seed.map(|seed| format!("seed={seed}")));
    let loaded = scenario::load(&args.scenario, &set).map_err(Failure::usage)?;
    let workload = compile(loaded, console)?;
    let labels = args.label.iter().cloned().collect();
    if args.once {
        return once(&Arc::new(workload), labels, console);
    }
    let out = args
        .out
        .clone()
        .map_or_else(|| Output::Fresh(workload.name.clone()), Output::Given);
    let telling = Telling {
        ci: args.ci,
        metrics: args.metrics_listen,
        samples: args.samples,
    };
    measure(workload, labels, &args.judging, &telling, out, console)
}

/// Compiles what was loaded, or shows every problem of it.
pub(super) fn compile(loaded: Loaded, console: &Console) -> Result<Workload, Failure> {
    workload::compile(loaded, &variable)
        .map_err(|rejected| Failure::usage(rejected.problems.render(&rejected.text, console.err_colour)))
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Where reports go.
pub(super) enum Output {
    /// A directory of its own under `reports/runs`, by the name of the scenario.
    Fresh(String),
    /// What `--out` says.
    Given(PathBuf),
    /// Nowhere.
    None,
}

/// Who is told of a run besides its user.
pub(super) struct Telling {
    /// The service in whose job it is.
    pub(super) ci: Ci,
    /// Where the figures so far are served.
    pub(super) metrics: Option<SocketAddr>,
    /// Whether every operation is written beside the reports.
    pub(super) samples: bool,
}

/// From a workload to a verdict: the table of contents of the program.
pub(super) fn measure(
    workload: Workload,
    labels: BTreeMap<String, String>,
    judging: &Judging,
    telling: &Telling,
    out: Output,
    console: &Console,
) -> Result<Exit, Failure> {
    let baseline = find_baseline(judging, &workload.name)?; // before any load: a bad one must not cost a run
    let out = out.prepare()?;
    if telling.samples && workload.load.search.is_some() {
        let reason = "--samples writes the operations of one load, and a search makes many: leave one of them out";
        return Err(Failure::usage(reason));
    }
    let samples = out.as_deref().filter(|_| telling.samples);
    let setting = Setting {
        samples: samples.map(|out| sample_log(out, &workload)).transpose()?,
        ..calibrated(setting(labels)?, judging, &workload)?
    };
    let run = conduct(workload, &setting, telling.metrics, console)?;
    if let Some(why) = setting.samples.and_then(|samples| samples.finish()) {
        console.warning(&format!("{SAMPLES} is not whole: {why}"));
    }
    save(&run, out.as_deref())?;
    let comparison = judge(&run, baseline.as_ref(), judging);
    let exit = show(&run, &comparison, baseline.as_ref(), judging, out.as_deref(), console)?;
    ci::tell(telling.ci, &run, &comparison, exit, out.as_deref(), console);
    Ok(exit)
}

/// The file for every operation.
const SAMPLES: &str = "samples.csv";

fn sample_log(out: &Path, workload: &Workload) -> Result<Arc<SampleLog>, Failure> {
    let others = workload.others.iter().map(Arc::as_ref);
    let of = |variant: &Workload| {
        let name = variant.variant_name().unwrap_or_default().to_owned();
        let steps = variant.measured.iter();
        steps
            .map(move |step| [name.clone(), step.name.clone()])
            .collect::<Vec<_>>()
    };
    let steps = std::iter::once(workload).chain(others).flat_map(of).collect();
    let created = SampleLog::create(&out.join(SAMPLES), steps);
    created.map(Arc::new).map_err(Failure::usage)
}

/// The baseline of that name for a scenario.
pub(super) fn find_baseline(judging: &Judging, scenario: &str) -> Result<Option<Baseline>, Failure> {
    baselines(&judging.baselines)?
        .find(scenario, &judging.baseline)
        .map_err(Failure::usage)
}

/// The baselines of a directory or an object store, with the credentials of the environment.
pub(super) fn baselines(location: &Path) -> Result<Baselines, Failure> {
    let text = |(name, value): (OsString, OsString)| Some((name.into_string().ok()?, value.into_string().ok()?));
    Baselines::at(location, std::env::vars_os().filter_map(text)).map_err(Failure::usage)
}

/// The verdict on a run.
pub(super) fn judge(run: &Run, baseline: Option<&Baseline>, judging: &Judging) -> Comparison {
    comparison::compare(
        run,
        baseline,
        &Options {
            require_baseline: judging.require_baseline,
        },
    )
}

/// Writes the reports, prints the result; how to exit.
pub(super) fn show(
    run: &Run,
    comparison: &Comparison,
    baseline: Option<&Baseline>,
    judging: &Judging,
    out: Option<&Path>,
    console: &Console,
) -> Result<Exit, Failure> {
    let exit = interrupt::exit().unwrap_or_else(|| Exit::of(comparison.verdict, judging.fail_on == FailOn::Warning));
    let reference = baseline.map(|baseline| &baseline.run);
    if let Some(out) = out {
        report::write(out, run, comparison, reference, exit as u8).map_err(Failure::usage)?;
    }
    let page = out.map(|out| out.join(report::PAGE));
    match judging.format {
        Format::Json => console.result(&report::json_text(run, comparison, exit as u8).map_err(Failure::unexpected)?),
        Format::Text => {
            let terminal = Terminal {
                colour: console.out_colour,
                width: console.width,
                detail: match (console.quiet, judging.all) {
                    (true, _) => Detail::Verdict,
                    (false, true) => Detail::All,
                    (false, false) => Detail::Usual,
                },
            };
            console.result(&report::text(run, comparison, exit as u8, page.as_deref(), terminal));
        }
    }
    Ok(exit)
}

impl Output {
    /// Makes the directory and makes sure that it can be written to.
    pub(super) fn prepare(self) -> Result<Option<PathBuf>, Failure> {
        let directory = match self {
            Self::None => return Ok(None),
            Self::Given(directory) => directory,
            Self::Fresh(scenario) => fresh_directory(&scenario),
        };
        let unwritable = |error| {
            Failure::usage(format!(
                "the reports cannot be written to {}: {error}; choose another directory with --out",
                directory.display()
            ))
        };
        fs::create_dir_all(&directory).map_err(unwritable)?;
        tempfile::tempfile_in(&directory).map_err(unwritable)?;
        Ok(Some(directory))
    }
}

fn fresh_directory(scenario: &str) -> PathBuf {
    let time = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ");
    let id = ulid::Ulid::new().to_string().to_lowercase();
    directory_of_runs(Path::new("reports/runs"), scenario).join(format!("{time}-{}", &id[id.len() - 6..]))
}

/// Where the runs of a scenario are, below the directory of all.
pub(super) fn directory_of_runs(all: &Path, scenario: &str) -> PathBuf {
    let name: String = scenario
        .chars()
        .map(|c| {
            if c.is_alphanumeric() || "-_.".contains(c) {
                c
            } else {
                '-'
            }
        })
        .collect();
    all.join(name.trim_start_matches('.'))
}

pub(super) fn save(run: &Run, out: Option<&Path>) -> Result<(), Failure> {
    out.map_or(Ok(()), |out| {
        run::save(run, &out.join(run::FILE_NAME)).map_err(Failure::usage)
    })
}

/// Loads what was compiled.
pub(super) fn conduct(
    workload: Workload,
    setting: &Setting,
    listen: Option<SocketAddr>,
    console: &Console,
) -> Result<Run, Failure> {
    let workload = Arc::new(workload);
    let progress = Progress::new(&workload, console);
    let end = workload.load.end;
    let secrets = workload.secrets.clone();
    let metrics = Metrics::default();
    let mut on_event = |event| {
        progress.show(event, end);
        metrics.look(event);
    };
    let run = runtime()?.block_on(async {
        interrupt::watch_sigterm(setting.interrupt.clone());
        if let Some(listen) = listen {
            let address = metrics.serve(listen).await?;
            console.note(&format!("metrics on http://{address}/metrics"));
        }
        Ok(trial::conduct(workload, setting, &mut on_event).await)
    });
    progress.finish();
    run?.map_err(|error| failed(&error, &secrets))
}

fn once(workload: &Arc<Workload>, labels: BTreeMap<String, String>, console: &Console) -> Result<Exit, Failure> {
    let setting = setting(labels)?;
    let mut fine = true;
    let mut show = |Exchange { text, ok }: Exchange| {
        fine &= ok;
        console.result(&text);
    };
    let stop = setting.interrupt.stop.clone();
    let ended = runtime()?.block_on(async {
        interrupt::watch_sigterm(setting.interrupt.clone());
        tokio::select! {
            ended = trial::once(workload, &setting, &mut show) => ended,
            () = stop.cancelled() => Err(TrialError::Interrupted),
        }
    });
    ended.map_err(|error| failed(&error, &workload.secrets))?;
    Ok(if fine { Exit::Pass } else { Exit::Critical })
}

/// With what the calibration of the scenario on this class of machine says, where there is one.
fn calibrated(setting: Setting, judging: &Judging, workload: &Workload) -> Result<Setting, Failure> {
    if workload.others.is_empty() {
        return Ok(setting);
    }
    let known = baselines(&judging.baselines)?
        .calibration(&workload.name, &setting.environment.machine_class(), None)
        .map_err(Failure::usage)?;
    let inflation = known.and_then(|known| comparison::calibration::inflation(&known));
    Ok(Setting {
        inflation: inflation.unwrap_or(setting.inflation),
        ..setting
    })
}

/// What a trial needs besides its workload.
pub(super) fn setting(labels: BTreeMap<String, String>) -> Result<Setting, Failure> {
    Ok(Setting {
        environment: observer::environment(variable),
        labels,
        executable: std::env::current_exe().map_err(Failure::unexpected)?,
        site: Site::new(variable),
        inflation: 1.0,
        injection: None,
        samples: None,
        interrupt: interrupt::install(),
    })
}

/// The runtime of everything but the load itself.
pub(super) fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Failure::unexpected)
}

fn failed(error: &TrialError, secrets: &workload::Secrets) -> Failure {
    let exit = match error {
        TrialError::Interrupted => interrupt::exit().unwrap_or(Exit::Interrupted),
        TrialError::Drive(_) | TrialError::Directory(_) => Exit::Unexpected,
        error if error.is_scenario() => Exit::Usage,
        _ => Exit::NoAnswer,
    };
    Failure::new(exit, secrets.mask(&error.to_string()))
}
