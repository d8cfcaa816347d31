//! What can be typed. The doc comments are the help texts.

use std::{fmt, net::SocketAddr, path::PathBuf, str::FromStr};

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::executor::Injection;

/// Load tests for HTTP services and databases that say whether it got slower, really.
#[derive(Debug, Parser)]
#[command(name = "loadgate", version, max_term_width = 100, after_help = EXIT_CODES)]
pub(super) struct Arguments {
    /// Print nothing but the result and errors: of a run, its verdict
    #[arg(short, long, global = true)]
    pub(super) quiet: bool,
    /// How progress, notes and errors are told on stderr
    #[arg(long, value_enum, value_name = "FORMAT", default_value = "text", global = true)]
    pub(super) log_format: LogFormat,
    #[command(subcommand)]
    pub(super) verb: Verb,
}

const EXIT_CODES: &str = "\
Exit codes:
  0    pass, or warnings without --fail-on warning
  1    unexpected failure
  2    the command line or the scenario is wrong
  3    critical: the gate failed
  4    inconclusive or invalid: no trustworthy answer
  5    warning, only with --fail-on warning
  130  interrupted (143: terminated); what was measured is written first";

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Run a scenario, compare it with its baseline, write reports
    Run(RunArgs),
    /// Load one URL: a one-step scenario
    Http(Box<HttpArgs>),
    /// Load one SQL statement: a one-step scenario
    Sql(SqlArgs),
    /// Report every problem in a scenario, without any load
    Check(CheckArgs),
    /// Judge a stored run again, without any load
    Compare(CompareArgs),
    /// Render the reports of a stored run again
    Report(ReportArgs),
    /// Accept, add to, list and show baselines
    Baseline(BaselineArgs),
    /// Show the runs of a scenario in a row: trends, accepted and detected changes
    History(HistoryArgs),
    /// Find where a series of figures changed for good
    Changes(ChangesArgs),
    /// Run a scenario against itself: how often it raises a false alarm here, and how small a change it sees
    Calibrate(CalibrateArgs),
    /// Run the shipped experiments as a suite of tests, with one report over all
    Suite(SuiteArgs),
    /// Write a first scenario for a URL or a database
    Init(InitArgs),
    /// Start the built-in service to try things on
    Demo(DemoArgs),
    /// Print a JSON Schema: of scenarios, for editors, or of report.json
    Schema(SchemaArgs),
    /// Print a script that completes command lines
    Completions(CompletionsArgs),
    /// Print the manual page (roff)
    Man,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum LogFormat {
    /// For people
    Text,
    /// For programs: an object per line, with time, level and event
    Json,
}

#[derive(Debug, Args)]
pub(super) struct SuiteArgs {
    /// The tests: index_query, bulk_insert, connection_pool, partition_query, memory_usage, query_cache, concurrent_load, resilience [default: all]
    #[arg(value_name = "TEST")]
    pub(super) tests: Vec<String>,
    /// How much is done, and what decides
    #[arg(long, value_enum, default_value = "ci")]
    pub(super) profile: SuiteProfile,
    /// Directory for all reports [default: reports/runs/suite/<time>-<id>]
    #[arg(long, value_name = "DIR")]
    pub(super) out: Option<PathBuf>,
    /// What makes the program fail
    #[arg(long, value_enum, default_value = "critical")]
    pub(super) fail_on: FailOn,
    /// What to print on stdout
    #[arg(long, value_enum, default_value = "text")]
    pub(super) format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum SuiteProfile {
    /// Three minutes: exact counts and errors decide, times are shown with their intervals
    Ci,
    /// The experiments as they are written: times decide too
    Full,
}

#[derive(Debug, Args)]
pub(super) struct InitArgs {
    /// http://…, https://…, postgres://… or sqlite:FILE
    pub(super) url: String,
    /// The file to write
    #[arg(long, value_name = "FILE", default_value = "scenario.toml")]
    pub(super) out: PathBuf,
}

#[derive(Debug, Args)]
pub(super) struct CompletionsArgs {
    /// For which shell
    #[arg(value_enum)]
    pub(super) shell: clap_complete::Shell,
}

#[derive(Debug, Args)]
pub(super) struct SchemaArgs {
    /// Of what
    #[arg(value_enum, default_value = "scenario")]
    pub(super) of: SchemaOf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum SchemaOf {
    /// Scenario files
    Scenario,
    /// report.json, which --format json prints too
    Report,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum FailOn {
    /// Exit 5 on a warning
    Warning,
    /// Warnings exit 0
    Critical,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For people
    Text,
    /// For programs; of a run, the content of report.json
    Json,
}

/// How a run is judged and shown; the same for all verbs that end with a verdict.
#[derive(Debug, Clone, Args)]
pub(super) struct Judging {
    /// Baselines: a directory, or s3://bucket/prefix (gs, az) with the feature `object-store`
    #[arg(long, value_name = "DIR|URL", default_value = "reports/baselines")]
    pub(super) baselines: PathBuf,
    /// Name of the baseline to compare with
    #[arg(long, value_name = "NAME", default_value = "default")]
    pub(super) baseline: String,
    /// What makes the program fail
    #[arg(long, value_enum, default_value = "critical")]
    pub(super) fail_on: FailOn,
    /// Exit 4 when there is no comparable baseline
    #[arg(long)]
    pub(super) require_baseline: bool,
    /// What to print on stdout
    #[arg(long, value_enum, default_value = "text")]
    pub(super) format: Format,
    /// Show all limits, those that hold too
    #[arg(long)]
    pub(super) all: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Ci {
    /// The service whose job this is, by its variables
    Auto,
    /// GitHub: annotations at the limits' own lines, outputs of the step, its summary
    Github,
    /// GitLab: loadgate.env beside the reports, for `artifacts: reports: dotenv`
    Gitlab,
    /// Nothing but the reports and the exit code
    None,
}

#[derive(Debug, Args)]
pub(super) struct RunArgs {
    /// The scenario file (TOML)
    pub(super) scenario: PathBuf,
    /// Directory for run.json and the reports [default: reports/runs/<scenario>/<time>-<id>]
    #[arg(long, value_name = "DIR")]
    pub(super) out: Option<PathBuf>,
    /// Set a value of the scenario, as in load.rate=100/s or flow.buy.weight=2
    #[arg(long, value_name = "KEY=VALUE")]
    pub(super) set: Vec<String>,
    /// Seed of everything random, instead of the scenario's
    #[arg(long)]
    pub(super) seed: Option<u32>,
    /// Label for the run
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_value)]
    pub(super) label: Vec<(String, String)>,
    /// The service to tell of the result
    #[arg(long, value_enum, default_value = "auto")]
    pub(super) ci: Ci,
    /// Write every operation to samples.csv beside the reports: when it was due, started and ended, and how
    #[arg(long)]
    pub(super) samples: bool,
    /// Serve the figures so far at http://ADDRESS/metrics while it runs, for Prometheus
    #[arg(long, value_name = "ADDRESS")]
    pub(super) metrics_listen: Option<SocketAddr>,
    /// Perform each flow once and show every request, answer and value
    #[arg(long)]
    pub(super) once: bool,
    #[command(flatten)]
    pub(super) judging: Judging,
}

#[derive(Debug, Args)]
pub(super) struct CalibrateArgs {
    /// The scenario file (TOML); of several variants the first is taken
    pub(super) scenario: PathBuf,
    /// How many trials there are to be in all; those that are kept from before count
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub(super) trials: usize,
    /// Put trouble into the copy, to see whether it is found: slower=5%, errors=1% or stalls=100ms, which loadgate makes itself, or a setting of the scenario that only the copy has, as in "target.api.start=env EXTRA_QUERY=1 ./api"; may be repeated
    #[arg(long, value_name = "TROUBLE|KEY=VALUE")]
    pub(super) inject: Vec<Injected>,
    /// Forget the trials that are kept
    #[arg(long)]
    pub(super) fresh: bool,
    /// How often a day the gate runs, for the false alarms to expect in a month
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub(super) runs_per_day: u32,
    /// Set a value of the scenario, as in load.duration=30s
    #[arg(long, value_name = "KEY=VALUE")]
    pub(super) set: Vec<String>,
    /// Directory of baselines, beside which trials are kept
    #[arg(long, value_name = "DIR", default_value = "reports/baselines")]
    pub(super) baselines: PathBuf,
    /// What to print on stdout
    #[arg(long, value_enum, default_value = "text")]
    pub(super) format: Format,
}

/// How much load a one-liner makes.
#[derive(Debug, Args)]
pub(super) struct OneLinerLoad {
    /// Connections: concurrent users, or sessions with --rate
    #[arg(short = 'c', long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(super) connections: u32,
    /// Number of operations, exactly; no warm-up
    #[arg(short = 'n', long, value_name = "N", conflicts_with_all = ["duration", "rate"], value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) requests: Option<u32>,
    /// How long [default: 10s]
    #[arg(short = 'd', long, value_name = "TIME")]
    pub(super) duration: Option<String>,
    /// Open model: operations per second, as in 300 or 300/s
    #[arg(short = 'r', long, value_name = "RATE")]
    pub(super) rate: Option<String>,
    /// Limit on a metric, as in p95<80ms or error_rate<1%
    #[arg(long, value_name = "METRIC<LIMIT")]
    pub(super) limit: Vec<String>,
    /// Seed of everything random
    #[arg(long, default_value_t = 1)]
    pub(super) seed: u32,
    /// Write run.json and the reports into this directory
    #[arg(long, value_name = "DIR")]
    pub(super) out: Option<PathBuf>,
    /// The service to tell of the result
    #[arg(long, value_enum, default_value = "auto")]
    pub(super) ci: Ci,
    #[command(flatten)]
    pub(super) judging: Judging,
}

/// Two targets measured beside each other.
#[derive(Debug, Args)]
pub(super) struct OneLinerVariants {
    /// Compare two: the URL of the reference
    #[arg(long, value_name = "URL", requires = "candidate")]
    pub(super) base: Option<String>,
    /// Compare two: the URL that is compared with --base, in turns
    #[arg(long, value_name = "URL", requires = "base")]
    pub(super) candidate: Option<String>,
}

impl OneLinerVariants {
    /// Both, where they are there.
    pub(super) fn both(&self) -> Option<[&str; 2]> {
        Some([self.base.as_deref()?, self.candidate.as_deref()?])
    }
}

#[derive(Debug, Args)]
pub(super) struct HttpArgs {
    /// The URL
    #[arg(required_unless_present = "base", conflicts_with = "base")]
    pub(super) url: Option<String>,
    #[command(flatten)]
    pub(super) variants: OneLinerVariants,
    /// Method of the request [default: GET, with a body POST]
    #[arg(short = 'X', long, visible_alias = "request", value_parser = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"])]
    pub(super) method: Option<String>,
    /// Header of the request, as in 'accept: text/plain'
    #[arg(short = 'H', long, value_name = "NAME: VALUE")]
    pub(super) header: Vec<String>,
    /// Body of the request
    #[arg(long, visible_alias = "data")]
    pub(super) body: Option<String>,
    /// Field of a form (urlencoded) as the body
    #[arg(long, value_name = "NAME=VALUE", value_parser = key_value, conflicts_with = "body")]
    pub(super) form: Vec<(String, String)>,
    /// User and password (basic authentication)
    #[arg(short = 'u', long, value_name = "USER:PASSWORD", conflicts_with = "bearer")]
    pub(super) user: Option<String>,
    /// Token (bearer authentication)
    #[arg(long, value_name = "TOKEN", visible_alias = "oauth2-bearer")]
    pub(super) bearer: Option<String>,
    /// Host to name in requests and in the TLS handshake, instead of that of the URL
    #[arg(long, value_name = "NAME")]
    pub(super) host: Option<String>,
    /// Speak HTTP/2: over TLS by ALPN, else with prior knowledge
    #[arg(long)]
    pub(super) http2: bool,
    /// Follow up to so many redirects within the target
    #[arg(long, value_name = "N", visible_alias = "max-redirs", value_parser = clap::value_parser!(u32).range(0..=100))]
    pub(super) redirects: Option<u32>,
    /// Ask for compressed answers
    #[arg(long, visible_alias = "compressed")]
    pub(super) compression: bool,
    /// How long one request may take [default: 30s]
    #[arg(short = 'm', long, value_name = "TIME", visible_alias = "max-time")]
    pub(super) timeout: Option<String>,
    /// How long making a connection may take
    #[arg(long, value_name = "TIME")]
    pub(super) connect_timeout: Option<String>,
    /// Certificate authorities to trust instead of the system's (PEM)
    #[arg(long, value_name = "FILE")]
    pub(super) cacert: Option<String>,
    /// Certificate of the client (PEM)
    #[arg(short = 'E', long, value_name = "FILE", requires = "key")]
    pub(super) cert: Option<String>,
    /// Private key of --cert (PEM)
    #[arg(long, value_name = "FILE", requires = "cert")]
    pub(super) key: Option<String>,
    /// Accept any certificate
    #[arg(short = 'k', long)]
    pub(super) insecure: bool,
    #[command(flatten)]
    pub(super) load: OneLinerLoad,
}

#[derive(Debug, Args)]
pub(super) struct SqlArgs {
    /// postgres://…, or sqlite:FILE, or a path to a SQLite file; left out with --base and --candidate
    pub(super) url: String,
    /// The statement, with $1, $2, … for parameters
    #[arg(required_unless_present = "base")]
    pub(super) statement: Option<String>,
    #[command(flatten)]
    pub(super) variants: OneLinerVariants,
    /// Generator of the next parameter: uniform:1..100000, zipf:1..100000, sequence:1, choice:a,b, const:x
    #[arg(short = 'p', long, value_name = "GENERATOR")]
    pub(super) param: Vec<String>,
    /// How PostgreSQL statements are sent
    #[arg(long, value_parser = ["prepared", "extended", "simple"])]
    pub(super) protocol: Option<String>,
    #[command(flatten)]
    pub(super) load: OneLinerLoad,
}

#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    /// The scenario files
    #[arg(required = true)]
    pub(super) scenarios: Vec<PathBuf>,
    /// Set a value of the scenario before checking
    #[arg(long, value_name = "KEY=VALUE")]
    pub(super) set: Vec<String>,
}

#[derive(Debug, Args)]
pub(super) struct CompareArgs {
    /// A directory that holds run.json, or that file
    pub(super) run: PathBuf,
    /// Another run to compare with, instead of the accepted baseline
    pub(super) with: Option<PathBuf>,
    /// The service to tell of the result
    #[arg(long, value_enum, default_value = "auto")]
    pub(super) ci: Ci,
    #[command(flatten)]
    pub(super) judging: Judging,
}

#[derive(Debug, Args)]
pub(super) struct ReportArgs {
    /// A directory that holds run.json, or that file
    pub(super) run: PathBuf,
    /// Directory for the reports
    #[arg(long, value_name = "DIR")]
    pub(super) out: Option<PathBuf>,
    #[command(flatten)]
    pub(super) judging: Judging,
}

#[derive(Debug, Args)]
pub(super) struct BaselineArgs {
    #[command(subcommand)]
    pub(super) verb: BaselineVerb,
}

#[derive(Debug, Subcommand)]
pub(super) enum BaselineVerb {
    /// Make a run the reference for its scenario; a new set of runs begins with it
    Accept {
        /// A directory that holds run.json, or that file
        run: PathBuf,
        /// Name of the baseline
        #[arg(long, default_value = "default")]
        name: String,
        /// Why, for the record
        #[arg(long)]
        reason: Option<String>,
        /// Baselines: a directory, or the URL of an object store
        #[arg(long, value_name = "DIR|URL", default_value = "reports/baselines")]
        baselines: PathBuf,
    },
    /// Add a run to the set of the baseline: one of the main branch that passes beside it
    Add {
        /// A directory that holds run.json, or that file
        run: PathBuf,
        /// Name of the baseline
        #[arg(long, default_value = "default")]
        name: String,
        /// Branches whose runs may be added
        #[arg(long, value_name = "BRANCH", default_values = ["main", "master"])]
        branch: Vec<String>,
        /// Baselines: a directory, or the URL of an object store
        #[arg(long, value_name = "DIR|URL", default_value = "reports/baselines")]
        baselines: PathBuf,
    },
    /// List all baselines
    List {
        /// Baselines: a directory, or the URL of an object store
        #[arg(long, value_name = "DIR|URL", default_value = "reports/baselines")]
        baselines: PathBuf,
    },
    /// Show the figures of one baseline
    Show {
        /// Name of the scenario
        scenario: String,
        /// Name of the baseline
        #[arg(long, default_value = "default")]
        name: String,
        /// Baselines: a directory, or the URL of an object store
        #[arg(long, value_name = "DIR|URL", default_value = "reports/baselines")]
        baselines: PathBuf,
    },
}

#[derive(Debug, Args)]
#[command(after_help = HISTORY)]
pub(super) struct HistoryArgs {
    /// A scenario file, or the name of a scenario
    pub(super) scenario: String,
    /// Show this step; all stands for all steps together [default: those with limits]
    #[arg(long, value_name = "STEP")]
    pub(super) step: Vec<String>,
    /// Show this metric, as in p95 or error_rate [default: those with limits]
    #[arg(long, value_name = "METRIC")]
    pub(super) metric: Vec<String>,
    /// Baselines: a directory, or the URL of an object store
    #[arg(long, value_name = "DIR|URL", default_value = "reports/baselines")]
    pub(super) baselines: PathBuf,
    /// Name of the baseline
    #[arg(long, value_name = "NAME", default_value = "default")]
    pub(super) baseline: String,
    /// Directory of runs that are in no baseline
    #[arg(long, value_name = "DIR", default_value = "reports/runs")]
    pub(super) runs: PathBuf,
    /// What to print on stdout
    #[arg(long, value_enum, default_value = "text")]
    pub(super) format: Format,
    /// Write 11-history.png into this directory
    #[arg(long, value_name = "DIR")]
    pub(super) out: Option<PathBuf>,
}

const HISTORY: &str = "\
Shows the runs that were accepted as a baseline or added to it, and the newest
of those in the directory of runs, as far as they did the same work on the same
class of machine as the baseline. A change for good takes six runs on each side.
Exits 0; 2 where the name is that of no scenario with runs.";

#[derive(Debug, Args)]
#[command(after_help = SERIES)]
pub(super) struct ChangesArgs {
    /// A CSV file with the columns index and value; - reads standard input
    pub(super) file: PathBuf,
    /// What to print on stdout
    #[arg(long, value_enum, default_value = "text")]
    pub(super) format: Format,
}

const SERIES: &str = "\
One row per run, night or build, oldest first. The first line names the columns;
`index` is any text (a number, a date, a commit), other columns are ignored.
For each change: the index of the first row of the new level, the medians before
and after it, and the relative change between them. Exits 0, changes or not.";

#[derive(Debug, Args)]
pub(super) struct DemoArgs {
    /// Where to listen
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    pub(super) listen: SocketAddr,
    /// SQLite file, made when absent, or PostgreSQL as postgres://… or host=… dbname=…; filled when empty [default: a temporary file]
    #[arg(long, value_name = "FILE|ADDRESS")]
    pub(super) database: Option<String>,
    /// Fault: every answer of the API is late by this much [env: LOADGATE_DEMO_DELAY]
    #[arg(long, value_name = "TIME")]
    pub(super) delay: Option<String>,
    /// Fault: this share of requests is answered with status 500 [env: LOADGATE_DEMO_ERROR_RATE]
    #[arg(long, value_name = "SHARE")]
    pub(super) error_rate: Option<String>,
    /// Fault: this many needless queries per request [env: LOADGATE_DEMO_EXTRA_QUERY]
    #[arg(long, value_name = "N")]
    pub(super) extra_query: Option<String>,
}

fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => Ok((key.trim().to_owned(), value.trim().to_owned())),
        _ => Err("write it as key=value".into()),
    }
}

/// What `calibrate --inject` puts into the copy.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Injected {
    /// Trouble that the generator makes.
    ByGenerator(Injection),
    /// `KEY=VALUE` of the scenario.
    Setting(String),
}

impl Injected {
    pub(super) fn by_generator(&self) -> Option<Injection> {
        match self {
            Self::ByGenerator(injection) => Some(*injection),
            Self::Setting(_) => None,
        }
    }
}

impl FromStr for Injected {
    type Err = String;

    /// A key of a scenario has a dot in it.
    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((key, _)) if key.contains('.') => Ok(Self::Setting(text.to_owned())),
            _ => text.parse().map(Self::ByGenerator),
        }
    }
}

impl fmt::Display for Injected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ByGenerator(injection) => injection.fmt(f),
            Self::Setting(setting) => f.write_str(setting),
        }
    }
}
