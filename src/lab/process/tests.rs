//! Managed processes with real children: small programs that every system has.

use std::os::unix::process::ExitStatusExt as _;

use tokio::net::TcpListener;

use super::*;

/// Long enough for a child to print a line on a busy machine.
const SHORT: Duration = Duration::from_secs(1);
const LONG: Duration = Duration::from_secs(30);

/// An address where connections are accepted for as long as the test runs.
async fn accepting() -> Ready {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            drop(listener.accept().await);
        }
    });
    Ready::Tcp(address)
}

/// An address where nobody listens.
fn refusing() -> Ready {
    Ready::Tcp(([127, 0, 0, 1], super::super::free_port().unwrap()).into())
}

fn spec(command: &str, ready: Ready, ready_within: Duration) -> Spec<'_> {
    Spec {
        name: "target shop",
        command,
        loadgate: Path::new("/bin/echo"),
        ready,
        ready_within,
        secrets: &[],
    }
}

/// Whether any member of the group is left, reaped or not.
fn is_alive(group: i32) -> bool {
    test_kill_process_group(Pid::from_raw(group).unwrap()).is_ok()
}

/// Waits until a line appears in the output: the child has come that far.
async fn until_said(process: &Process, line: &str) {
    while !process.last_output().contains(line) {
        sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_process_is_ready_watched_and_stopped() {
    let mut process = Process::start(&spec("sleep 60", accepting().await, LONG))
        .await
        .unwrap();
    let group = process.id();
    assert!(process.exited().is_none() && is_alive(group));
    process.stop().await;
    assert!(!is_alive(group), "ended and reaped: a zombie would still be found");
}

#[tokio::test]
async fn an_end_after_readiness_is_noticed() {
    let ready = accepting().await;
    let mut process = Process::start(&spec("sh -c 'cat; exit 7'", ready, LONG)).await.unwrap();
    drop(process._parent_pipe.take());
    let status = process.wait().await.unwrap();
    assert_eq!(status.code(), Some(7));
    assert_eq!(process.exited().and_then(|status| status.code()), Some(7));
    process.stop().await;
}

#[tokio::test]
async fn an_early_end_is_an_error_with_status_and_last_words() {
    let command = "sh -c 'echo starting; echo \"cannot open hunter2.db\" >&2; exit 3'";
    let secrets = ["hunter2".to_owned()];
    let spec = Spec {
        secrets: &secrets,
        ..spec(command, refusing(), LONG)
    };
    let error = Process::start(&spec).await.unwrap_err();
    assert!(!error.is_address_in_use());
    insta::assert_snapshot!(error, @r#"
target shop: `sh -c 'echo starting; echo "cannot open ***.db" >&2; exit 3'` ended before it was ready (exit status: 3); it printed last:
  starting
  cannot open ***.db
"#);
}

#[tokio::test]
async fn a_taken_port_is_told_from_other_early_ends() {
    let command = "sh -c 'echo \"Error: Address already in use (os error 98)\" >&2; exit 1'";
    assert!(
        Process::start(&spec(command, refusing(), LONG))
            .await
            .unwrap_err()
            .is_address_in_use()
    );
}

#[tokio::test]
async fn never_ready_is_an_error_and_leaves_no_child() {
    let command = "sh -c 'echo \"group $$\"; exec sleep 60'";
    let error = Process::start(&spec(command, refusing(), SHORT)).await.unwrap_err();
    let LabError::NotReady { reason, output, .. } = &error else {
        panic!("{error}")
    };
    assert!(reason.contains("refused"), "{reason}");
    let group = output.trim().strip_prefix("group ").unwrap().parse().unwrap();
    assert!(!is_alive(group));
}

#[tokio::test]
async fn readiness_by_http_wants_a_good_status() {
    let answer = async |status: &'static str| {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("http://{}/ready", listener.local_addr().unwrap());
        tokio::spawn(async move {
            while let Ok((mut connection, _)) = listener.accept().await {
                use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
                let _ = connection.read(&mut [0; 1024]).await;
                let _ = connection
                    .write_all(format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n").as_bytes())
                    .await;
            }
        });
        Ready::Http(url)
    };
    let start = async |ready, within| Process::start(&spec("sleep 60", ready, within)).await;
    for good in ["204 No Content", "302 Found"] {
        start(answer(good).await, LONG).await.unwrap().stop().await;
    }
    let Err(LabError::NotReady { reason, .. }) = start(answer("503 Service Unavailable").await, SHORT).await else {
        panic!("503 is not ready")
    };
    assert!(
        reason.ends_with("was answered with 503 Service Unavailable"),
        "{reason}"
    );
}

#[tokio::test]
async fn the_whole_group_is_ended_even_where_it_resists() {
    // The grandchild ignores the request to end; it and its parent share a group.
    let command = "sh -c 'sh -c \"trap : TERM; echo deaf; while :; do sleep 0.1; done\" & wait'";
    let process = Process::start(&spec(command, accepting().await, LONG)).await.unwrap();
    until_said(&process, "deaf").await;
    let group = process.id();
    process.stop_within(Duration::from_millis(100)).await;
    assert!(gone_soon(group).await);
}

#[tokio::test]
async fn what_is_left_of_a_group_ends_with_its_leader() {
    let command = "sh -c 'sleep 60 & cat; exit 1'";
    let ready = accepting().await;
    let mut process = Process::start(&spec(command, ready, LONG)).await.unwrap();
    drop(process._parent_pipe.take());
    assert_eq!(process.wait().await.unwrap().code(), Some(1));
    assert!(gone_soon(process.id()).await);
    assert_eq!(process.wait().await.unwrap().code(), Some(1), "may be asked again");
}

#[tokio::test]
async fn dropping_a_process_kills_its_group() {
    let process = Process::start(&spec("sh -c 'sleep 60 & sleep 60'", accepting().await, LONG))
        .await
        .unwrap();
    let group = process.id();
    drop(process);
    assert!(gone_soon(group).await);
}

/// What was killed and is not our own child is reaped by others, a moment later.
async fn gone_soon(group: i32) -> bool {
    timeout(LONG, async {
        while is_alive(group) {
            sleep(Duration::from_millis(10)).await;
        }
    })
    .await
    .is_ok()
}

#[tokio::test]
async fn standard_input_stays_open_until_the_process_is_stopped() {
    // `cat` ends with its standard input: it would have ended early.
    let mut process = Process::start(&spec("cat", accepting().await, LONG)).await.unwrap();
    sleep(SHORT).await;
    assert!(process.exited().is_none());
    drop(process._parent_pipe.take());
    assert_eq!(
        process.wait().await.unwrap().signal(),
        None,
        "ended by itself when its parent was gone"
    );
    process.stop().await;
}

#[tokio::test]
async fn the_word_loadgate_means_the_running_executable() {
    let spec = Spec {
        loadgate: Path::new("/usr/bin/env"),
        ..spec("loadgate", refusing(), LONG)
    };
    let error = Process::start(&spec).await.unwrap_err().to_string();
    // Too many variables may stand before it, so it is asked for by name.
    assert!(error.contains("exit status: 0"), "{error}");
    let command = command(&spec).unwrap();
    let set: Vec<_> = command.as_std().get_envs().collect();
    assert_eq!(set, [(PARENT_PIPE.as_ref(), Some("1".as_ref()))]);
    assert_eq!(command.as_std().get_program(), "/usr/bin/env");
}

#[tokio::test]
async fn a_command_that_cannot_be_started_says_why() {
    let message = async |command| {
        Process::start(&spec(command, refusing(), LONG))
            .await
            .unwrap_err()
            .to_string()
    };
    insta::assert_snapshot!(message("").await, @"target shop: the command `` is empty");
    insta::assert_snapshot!(message("serve 'it").await, @"target shop: the command `serve 'it` has a quote that is not closed");
    insta::assert_snapshot!(message("no-such-program --port 1").await, @"target shop: `no-such-program --port 1` cannot be started: No such file or directory (os error 2)");
}
