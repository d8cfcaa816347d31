//! A pull request: two revisions of a small server, built and measured in one job.

use std::{fs, path::Path, process::Command};

use super::{Slots, Told, run_command, support::program::Desk};

/// Work before each answer; a commit replaces the number.
const WORK: &str = "const ROUNDS: u64 = 2_000_000;";
const TWICE: &str = "const ROUNDS: u64 = 4_000_000;";

/// Answers every request on the port that is its argument.
const SERVER: &str = r#"
use std::{env, hint::black_box, io::{Read, Write}, net::{TcpListener, TcpStream}, thread};
const ROUNDS: u64 = 2_000_000;
fn work() -> u64 {
    (0..ROUNDS).fold(1, |sum, i| black_box(sum.wrapping_mul(31).wrapping_add(i)))
}
fn serve(mut stream: TcpStream) {
    let mut request = [0; 4096];
    while let Ok(1..) = stream.read(&mut request) {
        black_box(work());
        if stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").is_err() { return }
    }
}
fn main() {
    let port = env::args().nth(1).unwrap().parse::<u16>().unwrap();
    for stream in TcpListener::bind(("127.0.0.1", port)).unwrap().incoming().flatten() {
        thread::spawn(|| serve(stream));
    }
}
"#;

const SCENARIO: &str = r#"
name = "pull request"
[target.shop]
http = "http://127.0.0.1:{port}"
build = "rustc -O server.rs -o server"
start = "{build}/server {port}"
[load]
users = 1
duration = "6s"
[[flow]]
name = "visit"
[[flow.step]]
name = "visit"
get = "/"
[[variant]]
name = "base"
target.shop.revision = "base"
[[variant]]
name = "candidate"
target.shop.revision = "${CANDIDATE}"
[[threshold]]
step = "visit"
metric = "p50"
critical = "+10%"
"#;

fn git(repository: &Path, arguments: &[&str]) -> String {
    let output = Command::new("git")
        .args(["-c", "user.name=Somebody", "-c", "user.email=somebody@example.com"])
        .args(arguments)
        .current_dir(repository)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_SYSTEM", "/dev/null")
        .output()
        .unwrap();
    assert!(output.status.success(), "git {arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// A repository with three commits: `base`, `equal` to it but for a comment, and a `slower` one.
fn repository() -> Desk {
    let desk = Desk::new();
    git(desk.path(), &["init", "--quiet"]);
    let commits = [
        ("base", "A shop", SERVER.to_owned()),
        ("equal", "Say what it is for", format!("// A shop.\n{SERVER}")),
        ("slower", "Count everything twice", SERVER.replace(WORK, TWICE)),
    ];
    for (tag, subject, text) in commits {
        fs::write(desk.path().join("server.rs"), text).unwrap();
        git(desk.path(), &["add", "server.rs"]);
        git(desk.path(), &["commit", "--quiet", "--message", subject]);
        git(desk.path(), &["tag", tag]);
    }
    fs::write(desk.path().join("pr.toml"), SCENARIO).unwrap();
    desk
}

fn pull_request(desk: &Desk, candidate: &str, sets: &[&str]) -> Told {
    let mut command = run_command(desk, "pr.toml", sets);
    command
        .env("CANDIDATE", candidate)
        .env("LOADGATE_CACHE", desk.path().join("cache"));
    Told::by(desk, command)
}

/// Places of the builds in the cache, with the times at which their programs were written.
fn builds(desk: &Desk) -> Vec<(String, std::time::SystemTime)> {
    let entries = fs::read_dir(desk.path().join("cache/builds")).unwrap().flatten();
    let mut builds: Vec<_> = entries
        .map(|entry| {
            let program = fs::metadata(entry.path().join("tree/server")).unwrap();
            (entry.file_name().into_string().unwrap(), program.modified().unwrap())
        })
        .collect();
    builds.sort();
    builds
}

#[test]
fn a_pull_request_and_its_base_are_built_and_measured_in_one_job() {
    let _slots = Slots::all();
    let desk = repository();
    let told = pull_request(&desk, "slower", &[]).exits(3);
    let commit = |tag: &str| git(desk.path(), &["rev-parse", tag]);
    for (at, tag, subject) in [(0, "base", "A shop"), (1, "slower", "Count everything twice")] {
        let build = &told.report["targets"][at]["build"];
        assert_eq!(
            (&build["revision"], &build["commit"], &build["subject"]),
            (&tag.into(), &commit(tag).into(), &subject.into())
        );
        let on_page = format!("{tag} {} &#34;{subject}&#34;", &commit(tag)[..9]);
        assert!(told.page.contains(&on_page), "{on_page}");
    }
    let comparison = &told.report["comparisons"][0];
    let change = comparison["change"].as_f64().unwrap();
    assert!((0.3..2.5).contains(&change), "{comparison}");
    assert_eq!(comparison["verdict"], "critical");

    let first = builds(&desk);
    assert_eq!(first.len(), 2);
    pull_request(&desk, "slower", &["load.duration=250ms", "trial.epochs=1"]);
    assert_eq!(builds(&desk), first, "both from the cache");

    let told = pull_request(&desk, "equal", &[]);
    assert_ne!(told.ended.code, 3, "{}", told.ended.printed());
    assert_eq!(told.report["targets"][1]["build"]["subject"], "Say what it is for");
    assert_eq!(builds(&desk).len(), 3);

    // What was built left no trace in the repository.
    assert_eq!(git(desk.path(), &["status", "--porcelain", "--untracked-files=no"]), "");
    assert_eq!(git(desk.path(), &["worktree", "list"]).lines().count(), 1);
}
