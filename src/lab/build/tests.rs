//! Builds with a real git in a repository of the test's own.

use std::{fs, thread};

use tokio::time::timeout;

use super::*;

/// A repository with two commits, a cache, and a file that counts how often the command ran.
struct Desk {
    directory: tempfile::TempDir,
    command: String,
}

impl Desk {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let ran = directory.path().join("ran");
        let command = format!("sh -c 'cat program > built; echo x >> {}'", ran.display());
        let desk = Self { directory, command };
        fs::create_dir_all(desk.repository().join("service")).unwrap();
        desk.git(&["init", "--quiet", "--initial-branch=main"]);
        desk.commit("first");
        desk.commit("second");
        desk
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn repository(&self) -> PathBuf {
        self.path().join("repository")
    }

    fn git(&self, arguments: &[&str]) -> String {
        let output = Command::new("git")
            .args(["-c", "user.name=t", "-c", "user.email=t@example.com"])
            .args(["-c", "commit.gpgsign=false"])
            .args(arguments)
            .current_dir(self.repository())
            .output()
            .unwrap();
        assert!(output.status.success(), "git {arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// Commits a `program` with that text, also in a subdirectory, and a file kept from releases.
    fn commit(&self, text: &str) {
        for file in ["program", "service/program"] {
            fs::write(self.repository().join(file), format!("{file} {text}")).unwrap();
        }
        fs::write(self.repository().join(".gitattributes"), "program export-ignore\n").unwrap();
        self.git(&["add", "."]);
        self.git(&[
            "commit",
            "--quiet",
            "--no-verify",
            "-m",
            &format!("{text} of all\n\nbody"),
        ]);
    }

    async fn build(&self, revision: &str, command: &str) -> Result<Build, BuildError> {
        self.build_in(&self.repository(), revision, command).await
    }

    async fn build_in(&self, repository: &Path, revision: &str, command: &str) -> Result<Build, BuildError> {
        let cache = self.path().join("cache");
        let spec = BuildSpec {
            repository,
            revision,
            command,
            cache: Some(&cache),
            secrets: &["hunter2".to_owned()],
        };
        Build::make(&spec).await
    }

    /// What an error says, without what differs from run to run.
    async fn error(&self, revision: &str, command: &str) -> String {
        let error = self.build(revision, command).await.unwrap_err();
        assert!(error.is_scenario());
        let text = error.to_string().replace(&self.path().display().to_string(), "DIR");
        text.replace(&self.git(&["rev-parse", "HEAD"])[..10], "HEAD")
    }

    fn times_run(&self) -> usize {
        fs::read_to_string(self.path().join("ran")).map_or(0, |text| text.lines().count())
    }

    /// The one entry of the cache.
    fn entry(&self) -> PathBuf {
        let mut entries = fs::read_dir(self.path().join("cache/builds")).unwrap();
        entries.next().unwrap().unwrap().path()
    }
}

fn built(build: &Build) -> String {
    fs::read_to_string(build.directory().join("built")).unwrap()
}

#[tokio::test]
async fn two_commits_are_built_once_each_and_the_work_tree_is_left_alone() {
    let desk = Desk::new();
    fs::write(desk.repository().join("program"), "not committed").unwrap();
    let before = fs::read(desk.repository().join(".git/index")).unwrap();
    for _ in 0..2 {
        let candidate = desk.build("HEAD", &desk.command).await.unwrap();
        let base = desk.build("main~1", &desk.command).await.unwrap();
        assert_eq!(
            (built(&candidate), built(&base)),
            ("program second".into(), "program first".into())
        );
        assert_eq!(
            (candidate.subject.as_str(), base.subject.as_str()),
            ("second of all", "first of all")
        );
        assert_eq!(base.commit, desk.git(&["rev-parse", "HEAD~1"]));
    }
    assert_eq!(desk.times_run(), 2);
    assert_eq!(before, fs::read(desk.repository().join(".git/index")).unwrap());
    assert_eq!(
        desk.git(&["worktree", "list", "--porcelain"])
            .matches("worktree ")
            .count(),
        1
    );
    assert_eq!(desk.git(&["status", "--porcelain"]), "M program");
}

#[tokio::test]
async fn in_a_subdirectory_the_command_runs_there() {
    let desk = Desk::new();
    let service = desk.repository().join("service");
    let build = desk.build_in(&service, "HEAD", &desk.command).await.unwrap();
    assert_eq!(built(&build), "service/program second");
    let whole = desk.build("HEAD", &desk.command).await.unwrap();
    assert_eq!(built(&whole), "program second");
    fs::create_dir(desk.repository().join("new")).unwrap();
    let error = desk
        .build_in(&desk.repository().join("new"), "HEAD", "true")
        .await
        .unwrap_err();
    assert!(error.to_string().ends_with("has no directory `new/`"), "{error}");
}

#[tokio::test]
async fn a_command_that_fails_says_what_it_printed_last_and_runs_again() {
    let desk = Desk::new();
    let command = "sh -c 'echo linking; echo \"no crate hunter2\" >&2; exit 3'";
    insta::assert_snapshot!(desk.error("HEAD", command).await, @r#"
    `sh -c 'echo linking; echo "no crate ***" >&2; exit 3'` failed in commit HEAD (exit status: 3); it printed last:
      linking
      no crate ***
    "#);
    let command = format!("{} && exit 1'", desk.command.trim_end_matches('\''));
    desk.error("HEAD", &command).await;
    desk.error("HEAD", &command).await;
    assert_eq!(desk.times_run(), 2);
}

#[tokio::test]
async fn what_cannot_be_built_says_why() {
    let desk = Desk::new();
    insta::assert_snapshot!(desk.error("topic", "true").await, @"DIR/repository has no revision `topic`; git fetch origin topic may bring it, as FETCH_HEAD; else see git branch --all");
    desk.git(&["update-ref", "refs/remotes/origin/topic", "HEAD"]);
    insta::assert_snapshot!(desk.error("topic", "true").await, @"DIR/repository has no revision `topic`; there is `origin/topic`: name that");
    insta::assert_snapshot!(desk.error("--all", "true").await, @"DIR/repository has no revision `--all`; git fetch origin --all may bring it, as FETCH_HEAD; else see git branch --all");
    insta::assert_snapshot!(desk.error("HEAD", "no-such-program").await, @"`no-such-program` cannot be started in commit HEAD: No such file or directory (os error 2)");
    insta::assert_snapshot!(desk.error("HEAD", " ").await, @"the command ` ` is empty");
    insta::assert_snapshot!(desk.error("HEAD", "make 'it").await, @"the command `make 'it` has a quote that is not closed");
    let error = desk.build_in(desk.path(), "HEAD", "true").await.unwrap_err();
    assert!(
        error.is_scenario() && error.to_string().contains("not a git repository"),
        "{error}"
    );
    let error = desk
        .build_in(&desk.path().join("absent"), "HEAD", "true")
        .await
        .unwrap_err();
    assert!(error.to_string().contains("cannot change to"), "{error}");
}

#[tokio::test]
async fn a_shallow_clone_is_told_how_to_get_more() {
    let desk = Desk::new();
    let from = format!("file://{}", desk.repository().display());
    desk.git(&["clone", "--quiet", "--depth=1", &from, "../shallow"]);
    let error = desk
        .build_in(&desk.path().join("shallow"), "HEAD~1", "true")
        .await
        .unwrap_err();
    assert!(error.to_string().contains("git fetch --unshallow"), "{error}");
}

#[tokio::test]
async fn a_build_that_was_cut_off_is_made_anew() {
    let desk = Desk::new();
    drop(desk.build("HEAD", &desk.command).await.unwrap());
    // As a kill leaves it: all but the mark, and files half written.
    fs::remove_file(desk.entry().join("finished")).unwrap();
    fs::write(desk.entry().join("tree/program"), "half").unwrap();
    fs::write(desk.entry().join("index.lock"), "").unwrap();
    let again = desk.build("HEAD", &desk.command).await.unwrap();
    assert_eq!((built(&again).as_str(), desk.times_run()), ("program second", 2));
}

#[tokio::test]
async fn a_build_that_is_dropped_ends_with_all_it_has_started() {
    let desk = Desk::new();
    let pid = desk.path().join("pid");
    let command = format!("sh -c 'sh -c \"echo \\$\\$ > {}; sleep 60\" & wait'", pid.display());
    let started = timeout(Duration::from_secs(2), desk.build("HEAD", &command)).await;
    assert!(started.is_err(), "it goes on for a minute");
    let grandchild = fs::read_to_string(pid).unwrap();
    let process = Path::new("/proc").join(grandchild.trim());
    let gone = || fs::read_to_string(process.join("stat")).map_or(true, |stat| stat.contains(") Z "));
    for _ in 0..500 {
        if gone() {
            break;
        }
        thread::sleep(Duration::from_millis(10));
    }
    assert!(gone());
    assert!(!desk.entry().join("finished").exists());
}

#[tokio::test]
async fn of_two_that_want_the_same_one_builds() {
    let desk = Desk::new();
    let command = format!("{}; sleep 0.5'", desk.command.trim_end_matches('\''));
    let (first, second) = tokio::join!(desk.build("HEAD", &command), desk.build("main", &command));
    assert_eq!(
        (built(&first.unwrap()), built(&second.unwrap())),
        ("program second".into(), "program second".into())
    );
    assert_eq!(desk.times_run(), 1);
}

#[tokio::test]
async fn without_a_cache_nothing_stays() {
    let desk = Desk::new();
    let repository = desk.repository();
    let spec = BuildSpec {
        repository: &repository,
        revision: "HEAD",
        command: &desk.command,
        cache: None,
        secrets: &[],
    };
    let build = Build::make(&spec).await.unwrap();
    let directory = build.directory().to_owned();
    assert_eq!(built(&build), "program second");
    drop(build);
    assert!(!directory.exists());
}
