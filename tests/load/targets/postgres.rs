//! Servers of PostgreSQL's protocol that do not behave.

use std::{
    thread,
    time::{Duration, Instant},
};

use super::{
    Place,
    backend::{Backend, Client, KEY, described, done, message, row, terminated},
    count, stderr,
};

/// One statement of two users for a second; what is given goes to the step.
fn select(backend: &Backend, step: &str) -> String {
    format!(
        "name = \"targets\"\n[target.t]\npostgres = \"{}\"\n[load]\nusers = 2\nduration = \"1s\"\ndrain = \"5s\"\n\
         [[flow]]\nname = \"f\"\n[[flow.step]]\nname = \"s\"\nsql = \"SELECT word FROM words\"\n{step}\n",
        backend.address()
    )
}

const KEPT: &str = "expect = { json = { \"$[0].word\" = \"yes\" } }";

fn yes(client: &mut Client) -> Option<()> {
    let answer = [message(b'2', &[]), row(&[b"yes"]), done("SELECT 1")].concat();
    client.send(&answer);
    Some(())
}

#[test]
fn a_login_and_rows_byte_by_byte_are_answers() {
    let backend = Backend::start(true, |client, _| yes(client));
    Place::new(&select(&backend, KEPT)).run().all_completed();
    Place::new(&select(&backend, "expect = { rows = 1 }"))
        .run()
        .all_completed();
}

#[test]
fn news_that_nobody_asked_for_are_no_answer() {
    let backend = Backend::start(false, |client, _| {
        client.send(&message(b'N', b"SNOTICE\0C00000\0Mbefore\0\0"));
        yes(client)?;
        client.send(&message(b'S', b"application_name\0x\0"));
        client.send(&message(b'A', b"\0\0\0\x01channel\0payload\0"));
        Some(())
    });
    let ran = Place::new(&select(&backend, KEPT)).run();
    ran.all_completed();
    assert!(ran.step("s")["connect"].is_null() || ran.step("s")["connect"]["count"] == 0);
}

#[test]
fn garbage_breaks_the_protocol_wherever_it_stands() {
    let short_row = message(b'D', b"\0\x01\0\0\0\x09yes");
    for garbage in [
        b"\x01\x02 what?".to_vec(),
        b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(),
        // Shorter than its own length.
        b"C\0\0\0\x03".to_vec(),
        [message(b'E', b"no fields"), done("SELECT 0")].concat(),
        message(b'G', &[0; 3]),
        [short_row, done("SELECT 1")].concat(),
        [row(&[b"yes", b"and more"]), done("SELECT 1")].concat(),
    ] {
        let shown = garbage.escape_ascii().to_string();
        let backend = Backend::start(false, move |client, _| {
            client.send(&garbage);
            Some(())
        });
        let ran = Place::new(&select(&backend, KEPT)).run();
        assert!(ran.failures("s", "protocol").0 > 0, "{shown}");
    }
}

#[test]
fn an_answer_too_many_is_not_taken_for_the_next() {
    let backend = Backend::start(false, |client, _| {
        let answer = [message(b'2', &[]), row(&[b"yes"]), done("SELECT 1"), done("SELECT 0")].concat();
        client.send(&answer);
        Some(())
    });
    let ran = Place::new(&select(&backend, KEPT)).run();
    let completed = ran.all_completed();
    assert_eq!(ran.step("s")["connect"]["count"].as_u64().unwrap(), completed - 2);
}

#[test]
fn columns_that_are_none_break_the_protocol() {
    let backend = Backend::start(false, |client, _| {
        client.send(&[message(b'1', &[]), message(b'2', &[]), message(b'T', b"\xff\xff")].concat());
        client.send(&[row(&[b"yes"]), done("SELECT 1")].concat());
        Some(())
    });
    let scenario = select(&backend, KEPT).replace("[load]", "protocol = \"extended\"\n[load]");
    assert!(Place::new(&scenario).run().failures("s", "protocol").0 > 0);
}

#[test]
fn what_is_announced_too_long_is_refused_before_it_is_there() {
    let backend = Backend::start(false, |client, _| {
        client.send(b"D\x7f\xff\xff\xff");
        client.send(&[0; 1000]);
        Some(())
    });
    for kept in ["", KEPT] {
        let (_, message) = Place::new(&select(&backend, kept)).run().failures("s", "too large");
        assert_eq!(message, "a row is larger than 64 MiB");
    }
}

#[test]
fn rows_without_measure_are_counted_and_not_kept() {
    // 96 MiB, in rows of 1 MiB.
    let large = row(&[&vec![b'x'; 1 << 20]]);
    let backend = Backend::start(false, move |client, _| {
        (0..96).for_each(|_| client.send(&large));
        client.send(&done("SELECT 96"));
        Some(())
    });
    let once = |step: &str| select(&backend, step).replace("duration = \"1s\"", "iterations = 2");
    let ran = Place::new(&once("expect = { rows = 96 }")).run();
    assert_eq!(ran.all_completed(), 2);
    let (_, message) = Place::new(&once(KEPT)).run().failures("s", "too large");
    assert_eq!(message, "what the rows hold is larger than 64 MiB");
}

#[test]
fn a_connection_closed_in_mid_message_is_lost() {
    let half = &message(b'C', b"SELECT 1\0")[..7];
    for answer in [&b""[..], b"2", half] {
        let answer = answer.to_vec();
        let backend = Backend::start(false, move |client, _| {
            client.send(&answer);
            None
        });
        let (lost, message) = Place::new(&select(&backend, "")).run().failures("s", "disconnected");
        assert!(lost > 0 && message == "connection closed", "{message}");
    }
}

#[test]
fn a_server_that_ends_the_connection_says_why() {
    let backend = Backend::start(false, |client, _| {
        client.send(&terminated());
        None
    });
    let (_, message) = Place::new(&select(&backend, "")).run().failures("s", "sqlstate 57P01");
    assert_eq!(
        message,
        "terminating connection due to administrator command (SQLSTATE 57P01)"
    );
}

#[test]
fn a_connection_closed_while_idle_is_replaced() {
    for farewell in [Vec::new(), terminated()] {
        let backend = Backend::start(false, move |client, _| {
            yes(client)?;
            client.send(&farewell);
            None
        });
        let paused = select(&backend, "[[flow.step]]\npause = \"50ms\"");
        let ran = Place::new(&paused).run();
        let completed = ran.all_completed();
        // All but the two that were made ahead.
        assert_eq!(ran.step("s")["connect"]["count"].as_u64().unwrap(), completed - 2);
    }
}

#[test]
fn a_server_that_never_answers_is_asked_to_give_up() {
    let backend = Backend::start(false, |client, _| {
        thread::sleep(Duration::from_secs(2));
        yes(client)
    });
    let scenario = select(&backend, "timeout = \"200ms\"").replace("duration = \"1s\"", "iterations = 4");
    let ran = Place::new(&scenario).run();
    let (timeouts, message) = ran.failures("s", "timeout");
    assert_eq!((timeouts, message.as_str()), (4, "not done within 200 ms"));
    // The run does not end before the server has heard of it.
    let cancelled = backend.cancelled.lock().unwrap();
    assert_eq!(*cancelled, vec![KEY.to_vec(); 4]);
}

#[test]
fn what_the_drain_cuts_off_is_given_up_too() {
    let backend = Backend::start(false, |client, _| {
        thread::sleep(Duration::from_secs(10));
        yes(client)
    });
    let scenario = select(&backend, "").replace("drain = \"5s\"", "drain = \"200ms\"");
    let ran = Place::new(&scenario).run();
    assert_eq!(count(ran.step("s"), "unfinished"), 2);
    assert_eq!(*backend.cancelled.lock().unwrap(), vec![KEY.to_vec(); 2]);
}

#[test]
fn logins_that_cannot_be_understood_end_the_run_before_any_load() {
    for (greeting, reason) in [
        (
            message(b'R', &[0, 0, 0, 99]),
            "wants an authentication that loadgate does not know",
        ),
        (
            message(b'R', &[0, 0, 0, 12]),
            "wants an authentication that loadgate does not know",
        ),
        (
            message(b'R', &[0, 0, 0, 3]),
            "wants a password, and the address has none",
        ),
        (
            message(b'R', b"\0\0\0\x0aSOMETHING\0\0"),
            "wants a SASL mechanism that loadgate does not know",
        ),
        (message(b'R', &[0]), "a malformed authentication"),
        (message(b'D', &[]), "a message of type 'D'"),
        (
            b"SSH-2.0-OpenSSH\r\n".to_vec(),
            "a message of type 'S' with a length of",
        ),
        (terminated(), "SQLSTATE 57P01"),
    ] {
        let backend = Backend::greeting(false, greeting, |client, _| yes(client));
        let output = Place::new(&select(&backend, "")).output();
        assert_eq!(output.status.code(), Some(4), "{reason}");
        assert!(stderr(&output).contains(reason), "{reason}: {}", stderr(&output));
    }
}

#[test]
fn a_challenge_that_would_take_for_ever_is_not_taken_up() {
    // SCRAM, with four thousand million rounds.
    let rounds = "r=abc,s=c2FsdA==,i=4000000000";
    let challenge = [
        message(b'R', b"\0\0\0\x0aSCRAM-SHA-256\0\0"),
        message(b'R', &[&[0, 0, 0, 11], rounds.as_bytes()].concat()),
    ];
    let backend = Backend::greeting(false, challenge.concat(), |client, _| yes(client));
    let address = backend.address();
    let scenario = select(&backend, "").replace(&address, &address.replace("me@", "me:word@"));
    let began = Instant::now();
    let output = Place::new(&scenario).output();
    assert_eq!(output.status.code(), Some(4));
    assert!(
        stderr(&output).contains("a malformed SCRAM challenge"),
        "{}",
        stderr(&output)
    );
    assert!(began.elapsed() < Duration::from_secs(100), "{:?}", began.elapsed());
}

#[test]
fn what_is_described_and_not_kept_is_not_looked_into() {
    let backend = Backend::start(false, |client, _| {
        client.send(&[message(b'1', &[]), message(b'2', &[]), described(&["word"])].concat());
        client.send(&[row(&[b"yes"]), row(&[]), done("SELECT 2")].concat());
        Some(())
    });
    let scenario =
        select(&backend, "expect = { rows = 2, affected = 2 }").replace("[load]", "protocol = \"extended\"\n[load]");
    Place::new(&scenario).run().all_completed();
}
