//! How services that run a gate are told of it, and the files in ci/ for them: their form by the
//! services' own schemas, their shell parts run with the variables that the services set.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use crate::support::program::loadgate;
use serde_json::Value;
use tempfile::TempDir;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn yaml(path: &str) -> Value {
    let text = fs::read_to_string(root().join(path)).unwrap();
    serde_yaml_ng::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[test]
fn the_files_for_services_have_the_form_that_the_services_want() {
    for (file, schema) in [
        ("ci/github/action.yml", "github-actions"),
        ("ci/github/comment.yml", "github-workflows"),
        ("ci/gitlab.yml", "gitlab-ci"),
    ] {
        let schema = root().join("tests/data/schemas").join(format!("{schema}.json"));
        let schema: Value = serde_json::from_str(&fs::read_to_string(schema).unwrap()).unwrap();
        let validator = jsonschema::validator_for(&schema).unwrap();
        let problems: Vec<String> = validator
            .iter_errors(&yaml(file))
            .map(|error| format!("{}: {error}", error.instance_path()))
            .collect();
        assert_eq!(problems, Vec::<String>::new(), "{file}");
    }
}

/// The `run` parts of an action or a workflow, with the names of their steps and variables.
fn steps(file: &str) -> Vec<(String, BTreeMap<String, String>)> {
    let whole = yaml(file);
    let steps = whole["runs"]["steps"]
        .as_array()
        .or_else(|| whole["jobs"]["comment"]["steps"].as_array());
    let step = |step: &Value| {
        let env = step["env"].as_object().cloned().unwrap_or_default();
        let env = env
            .into_iter()
            .map(|(name, value)| (name, value.as_str().unwrap().to_owned()));
        Some((step["run"].as_str()?.to_owned(), env.collect()))
    };
    steps.unwrap().iter().filter_map(step).collect()
}

#[test]
fn nothing_of_an_input_or_event_is_part_of_a_command() {
    for file in ["ci/github/action.yml", "ci/github/comment.yml"] {
        for (run, _) in steps(file) {
            assert!(!run.contains("${{"), "{file}: {run}");
        }
    }
    // In Groovy only double quotes fill in variables.
    let jenkins = fs::read_to_string(root().join("ci/Jenkinsfile")).unwrap();
    assert!(
        !jenkins.contains('"') || jenkins.matches("sh \"").count() == 0,
        "{jenkins}"
    );
}

/// A directory with a stored run that fails its gate, and a baseline for it.
struct Job {
    place: TempDir,
}

impl Job {
    fn new() -> Self {
        Self {
            place: tempfile::tempdir().unwrap(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    /// A program that only says how it was called, and what a script says besides.
    fn fake(&self, name: &str, script: &str) {
        let path = self.path("bin").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let log = self.path("calls");
        fs::write(
            &path,
            format!(
                "#!/usr/bin/env bash\necho \"{name} $*\" >> {}\n{script}\n",
                log.display()
            ),
        )
        .unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// What GitHub sets, and where programs are found.
    fn on_github(&self, command: &mut Command) {
        let path = format!("{}:{}", self.path("bin").display(), std::env::var("PATH").unwrap());
        command
            .current_dir(self.place.path())
            .env("PATH", path)
            .env("GITHUB_ACTIONS", "true")
            .env("GITHUB_ACTION_PATH", root().join("ci/github"))
            .env("GITHUB_OUTPUT", self.path("output"))
            .env("GITHUB_STEP_SUMMARY", self.path("summary"))
            .env("GITHUB_REPOSITORY", "them/shop")
            .env("ARTIFACT", "checkout")
            .env("RUNNER_TEMP", self.path("temp"))
            .env("RUNNER_TOOL_CACHE", self.path("tools"));
    }

    fn bash(&self, script: &str, variables: &[(&str, &str)]) -> Output {
        let mut command = Command::new("bash");
        // As GitHub runs it.
        command.args(["--noprofile", "--norc", "-eo", "pipefail", "-c", script]);
        self.on_github(&mut command);
        command.envs(variables.iter().copied()).output().unwrap()
    }

    #[track_caller]
    fn script(&self, name: &str, variables: &[(&str, &str)]) -> String {
        let output = self.bash(&format!("\"$GITHUB_ACTION_PATH/{name}\""), variables);
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{name}: {said}");
        said
    }

    fn outputs(&self) -> BTreeMap<String, String> {
        let text = self.read("output");
        let pairs = text.lines().map(|line| line.split_once('=').unwrap());
        pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }
}

const PROGRAM: &str = env!("CARGO_BIN_EXE_loadgate");

/// A limit that no machine keeps, on a database in a file.
const SCENARIO: &str = r#"
name = "broken"
[target.db]
sqlite = "ephemeral"
[load]
users = 1
iterations = 50
[[flow]]
name = "ask"
[[flow.step]]
name = "ask"
sql = "SELECT 1"
[[threshold]]
step = "ask"
metric = "p50"
critical = "1ns"
"#;

#[test]
fn github_gets_annotations_outputs_and_a_summary() {
    let job = Job::new();
    fs::write(job.path("broken.toml"), SCENARIO).unwrap();
    let mut command = loadgate(job.place.path(), &["run", "broken.toml", "--out", "out"]);
    job.on_github(&mut command);
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    let said = String::from_utf8_lossy(&output.stderr);
    let annotation = said
        .lines()
        .find(|line| line.starts_with("::error "))
        .unwrap_or_else(|| panic!("{said}"));
    let line = 1 + SCENARIO.lines().position(|line| line == "[[threshold]]").unwrap();
    let place = format!("::error file=broken.toml,line={line},title=critical%3A ask p50 response time::");
    assert!(annotation.starts_with(&place), "{annotation}");
    let outputs = job.outputs();
    let of = |name: &str| outputs[name].as_str();
    assert_eq!(
        (of("verdict"), of("exit-code"), of("criticals"), of("warnings")),
        ("critical", "3", "1", "0")
    );
    assert_eq!(
        (of("worst-metric"), of("report")),
        ("ask p50 response time", "out/report.html")
    );
    assert_eq!(job.read("summary"), job.read("out/summary.md"));
}

#[test]
fn gitlab_gets_variables_for_later_jobs_and_nobody_else_does() {
    let job = Job::new();
    fs::write(job.path("broken.toml"), SCENARIO).unwrap();
    let run = |ci: &[&str], variable: Option<&str>| {
        let arguments = [&["run", "broken.toml", "--out", "out"], ci].concat();
        let mut command = loadgate(job.place.path(), &arguments);
        command
            .env_remove("CI")
            .envs(variable.map(|variable| (variable, "true")));
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(3));
        let written = job.read("out/loadgate.env");
        let _ = fs::remove_file(job.path("out/loadgate.env"));
        (written, String::from_utf8_lossy(&output.stderr).contains("::error"))
    };
    let (found, annotated) = run(&[], Some("GITLAB_CI"));
    assert!(
        found.contains("LOADGATE_VERDICT=critical\nLOADGATE_EXIT_CODE=3\n"),
        "{found}"
    );
    assert!(
        found.contains("LOADGATE_WORST_METRIC=ask p50 response time\n"),
        "{found}"
    );
    assert!(!annotated);
    let verdict = |told: &str| told.lines().next().map(str::to_owned);
    assert_eq!(verdict(&run(&["--ci", "gitlab"], None).0), verdict(&found));
    assert_eq!(run(&["--ci", "none"], Some("GITLAB_CI")), (String::new(), false));
    assert_eq!(run(&[], None), (String::new(), false));
    assert_eq!(run(&["--ci", "github"], None), (String::new(), true));
}

#[test]
fn the_action_runs_the_gate_and_keeps_its_exit_code_for_the_last_step() {
    let job = Job::new();
    fs::write(job.path("broken.toml"), SCENARIO).unwrap();
    job.script("install.sh", &[("PROGRAM", PROGRAM)]);
    assert_eq!(job.outputs()["program"], PROGRAM);
    let gate = [
        ("LOADGATE", PROGRAM),
        ("SCENARIO", "broken.toml"),
        ("FAIL_ON", "critical"),
        ("BASELINES", "baselines"),
    ];
    job.script("gate.sh", &gate);
    assert_eq!(job.outputs()["exit-code"], "3");
    assert!(job.path("temp/checkout/report.html").is_file());
    // A program that is not there is told where it is looked for.
    let missing = job.bash("\"$GITHUB_ACTION_PATH/install.sh\"", &[("PROGRAM", "no-such-program")]);
    assert!(!missing.status.success());
    let (last, _) = steps("ci/github/action.yml").pop().unwrap();
    assert_eq!(job.bash(&last, &[("CODE", "3")]).status.code(), Some(3));
    assert_eq!(job.bash(&last, &[("CODE", "0")]).status.code(), Some(0));
    // A step that never came to its end has no code.
    assert_eq!(job.bash(&last, &[]).status.code(), Some(1));
    // A scenario that is none gives no verdict, and its code all the same.
    job.script("gate.sh", &[gate[0], ("SCENARIO", "none.toml"), gate[2], gate[3]]);
    assert_eq!(job.outputs()["exit-code"], "2");
}

#[test]
fn without_a_program_the_action_builds_its_own_once() {
    let job = Job::new();
    job.fake("cargo", "while [[ $# -gt 1 ]]; do [[ $1 == --root ]] && { mkdir -p \"$2/bin\"; : > \"$2/bin/loadgate\"; chmod +x \"$2/bin/loadgate\"; }; shift; done");
    for _ in 0..2 {
        job.script("install.sh", &[("PROGRAM", "")]);
    }
    let calls = job.read("calls");
    assert_eq!(calls.lines().count(), 1, "{calls}");
    assert!(calls.contains("install --locked"), "{calls}");
    let program = PathBuf::from(&job.outputs()["program"]);
    assert!(
        program.starts_with(job.path("tools")) && program.is_file(),
        "{}",
        program.display()
    );
}

#[test]
fn the_baseline_comes_from_the_last_green_run_if_there_is_one() {
    let variables = [
        ("WORKFLOW", "performance"),
        ("BRANCH", "main"),
        ("BASELINES", "baselines"),
    ];
    let job = Job::new();
    job.fake("gh", "case \"$*\" in 'run list'*) echo 4711;; api*) echo 1;; esac");
    job.script("fetch-baseline.sh", &variables);
    let calls = job.read("calls");
    assert!(
        calls.contains("run list --workflow performance --branch main --event push --status success"),
        "{calls}"
    );
    assert!(
        calls.contains("run download 4711 --name checkout-baselines --dir baselines"),
        "{calls}"
    );
    let job = Job::new();
    job.fake("gh", "true");
    let said = job.script("fetch-baseline.sh", &variables);
    assert!(said.contains("no green run of main yet"), "{said}");
    assert!(!job.read("calls").contains("download"));
    let job = Job::new();
    job.fake("gh", "case \"$*\" in 'run list'*) echo 4711;; api*) echo 0;; esac");
    let said = job.script("fetch-baseline.sh", &variables);
    assert!(said.contains("has no artifact checkout-baselines"), "{said}");
    assert!(!job.read("calls").contains("download"));
    // What cannot be fetched is not taken for nothing.
    job.fake(
        "gh",
        "case \"$*\" in 'run list'*) echo 4711;; api*) echo 1;; *) exit 1;; esac",
    );
    let output = job.bash("\"$GITHUB_ACTION_PATH/fetch-baseline.sh\"", &variables);
    assert!(!output.status.success());
}

#[test]
fn a_run_of_the_main_branch_becomes_the_baseline() {
    let job = Job::new();
    fs::write(job.path("fine.toml"), SCENARIO.replace("1ns", "10s")).unwrap();
    let gate = [
        ("LOADGATE", PROGRAM),
        ("SCENARIO", "fine.toml"),
        ("FAIL_ON", "critical"),
        ("BASELINES", "baselines"),
    ];
    job.script("gate.sh", &gate);
    let publish = [("LOADGATE", PROGRAM), ("BASELINES", "baselines"), ("BRANCH", "main")];
    let said = job.script("publish-baseline.sh", &publish);
    assert!(said.contains("accepted run"), "{said}");
    // A second one is added, which this run of no branch cannot be.
    let output = job.bash("\"$GITHUB_ACTION_PATH/publish-baseline.sh\"", &publish);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("branch"), "{said}");
}

#[test]
fn the_comment_is_rendered_from_the_run_alone_and_goes_to_the_change_with_that_head() {
    let job = Job::new();
    fs::create_dir(job.path("untrusted")).unwrap();
    fs::copy(root().join("reports/sample/run.json"), job.path("untrusted/run.json")).unwrap();
    fs::create_dir_all(job.path("bin")).unwrap();
    std::os::unix::fs::symlink(PROGRAM, job.path("bin/loadgate")).unwrap();
    let steps = steps("ci/github/comment.yml");
    let [_, (fetch, _), (render, _), (comment, names)] = steps.as_slice() else {
        panic!("{steps:?}")
    };
    job.fake("gh", "[[ $2 == list ]] && echo 4711; true");
    assert!(
        job.bash(fetch, &[("WORKFLOW", "performance"), ("BRANCH", "main")])
            .status
            .success()
    );
    let fetched = "run download 4711 --name loadgate-baselines --dir baselines";
    assert!(job.read("calls").contains(fetched), "{}", job.read("calls"));
    let rendered = job.bash(render, &[]);
    assert!(
        rendered.status.success(),
        "{}",
        String::from_utf8_lossy(&rendered.stderr)
    );
    let expected = ["BRANCH", "GH_REPO", "GH_TOKEN", "OWNER", "SHA"];
    assert_eq!(names.keys().map(String::as_str).collect::<Vec<_>>(), expected);
    let variables = [
        ("GH_REPO", "them/shop"),
        ("OWNER", "stranger"),
        ("BRANCH", "fix; rm -rf"),
        ("SHA", "abc"),
    ];
    // The head is known as pull request 12, which has no comment yet; then one.
    for (known, method) in [
        ("", "POST repos/them/shop/issues/12/comments"),
        ("99", "PATCH repos/them/shop/issues/comments/99"),
    ] {
        let answers = format!("case \"$*\" in *pulls*) echo 12;; *paginate*) echo {known};; esac");
        job.fake("gh", &answers);
        let output = job.bash(comment, &variables);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let calls = job.read("calls");
        assert!(calls.contains("head=stranger:fix; rm -rf"), "{calls}");
        assert!(calls.lines().any(|call| call.contains(method)), "{method}: {calls}");
    }
    let body = job.read("comment.md");
    assert!(body.starts_with("<!-- loadgate:"), "{body}");
    assert!(
        body.trim_end()
            .ends_with("Measured by the pull request's own workflow."),
        "{body}"
    );
    // A head that is no open change any more gets none.
    let job = Job::new();
    job.fake("gh", "true");
    let output = job.bash(comment, &variables);
    assert!(output.status.success());
    assert_eq!(job.read("calls").lines().count(), 1);
}
