//! What steps may ask for (redirects, packed bodies, limits, HTTP/2, client
//! certificates) against servers that answer it badly or not at all.

use std::{
    fs,
    io::Write as _,
    net::{Shutdown, TcpListener},
    thread,
    time::{Duration, Instant},
};

use super::{Place, count, get, http, stderr};
use crate::{
    server::{GOAWAY, RST_STREAM, Server, answer, ok},
    support::{
        certificates::Authority,
        web::{self, Web},
    },
};

/// One step `GET /` of one user, so many times.
fn few(address: &str, target: &str, step: &str, times: usize) -> String {
    get(address, target, step).replace(
        "users = 2\nduration = \"1s\"",
        &format!("users = 1\niterations = {times}"),
    )
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn a_server_that_has_gone_refuses() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    // The probe finds it, and nobody after that.
    thread::spawn(move || drop(listener.accept()));
    let ran = Place::new(&few(&address, "", "", 5)).run();
    let (refused, message) = ran.failures("s", "connect");
    assert_eq!(refused, 5);
    assert!(message.contains("refused"), "{message}");
}

#[test]
fn a_half_closed_connection_is_lost() {
    let server = Server::start(|mut connection, _| {
        while connection.request().is_some() {
            let _ = connection.stream.shutdown(Shutdown::Write);
        }
    });
    let ran = Place::new(&few(&http(&server), "", "", 5)).run();
    assert_eq!(ran.failures("s", "disconnected").0, 5);
}

#[test]
fn an_answer_larger_than_the_step_allows_is_not_read() {
    let server = Server::start(|mut connection, _| {
        while let Some(path) = connection.request() {
            match path.as_str() {
                "/told" => connection.send(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n"),
                _ => connection.send(ok(&"x".repeat(1001)).as_bytes()),
            }
        }
    });
    for path in ["/told", "/"] {
        let step = "expect = { max_size = \"1KB\" }\ntimeout = \"5s\"";
        let scenario = few(&http(&server), "", step, 5).replace("get = \"/\"", &format!("get = \"{path}\""));
        let ran = Place::new(&scenario).run();
        let (large, message) = ran.failures("s", "too large");
        assert_eq!((large, message.as_str()), (5, "the body is larger than 1 KB"));
        // The first connection was made ahead.
        assert_eq!(ran.step("s")["connect"]["count"], 4);
    }
    let fits = "expect = { max_size = \"1.001KB\" }";
    Place::new(&few(&http(&server), "", fits, 5)).run().all_completed();
}

#[test]
fn phases_have_their_own_timeouts() {
    let silent = Server::start(|mut connection, number| match number {
        1 => connection.hang(),
        _ => {
            while connection.request().is_some() {
                connection.send(ok("hello").as_bytes());
            }
        }
    });
    let ran = Place::new(&get(&http(&silent), "first_byte_timeout = \"300ms\"", "")).run();
    let (late, message) = ran.failures("s", "first byte timeout");
    assert_eq!((late, message.as_str()), (1, "no answer began within 300 ms"));
    assert!(ran.flows("completed") > 50);

    let authority = Authority::new();
    let config = authority.server(&["127.0.0.1"], &[], false);
    let server = Server::start(move |connection, number| match number {
        0 => drop(connection.secured(&config).request()),
        _ => connection.hang(),
    });
    let target = "insecure = true\nconnect_timeout = \"100ms\"";
    let ran = Place::new(&few(&format!("https://127.0.0.1:{}", server.port), target, "", 3)).run();
    let (late, message) = ran.failures("s", "connect timeout");
    assert_eq!((late, message.as_str()), (3, "no connection within 100 ms"));
}

#[test]
fn redirects_that_lead_astray_are_failures() {
    let server = Server::answering(|path| {
        let to = |place: &str| format!("HTTP/1.1 302 Found\r\nlocation: {place}\r\ncontent-length: 0\r\n\r\n");
        match path {
            "/away" => to("http://elsewhere.example/x"),
            "/port" => to("http://127.0.0.1:1/"),
            "/round" => to("/round"),
            "/twice" => to("once?a=b"),
            "/once?a=b" => to(".././home"),
            "/nowhere" => answer("302 Found", ""),
            _ => ok(path),
        }
    });
    let ran = |path: &str, keys: &str| {
        let scenario = few(&http(&server), "redirects = 2", keys, 3);
        Place::new(&scenario.replace("get = \"/\"", &format!("get = \"{path}\""))).run()
    };
    for (path, message) in [
        (
            "/away",
            "a redirect away from the target, to http://elsewhere.example/x",
        ),
        ("/port", "a redirect away from the target, to http://127.0.0.1:1/"),
        ("/round", "more than 2 redirects; the last leads to /round"),
    ] {
        assert_eq!(ran(path, "").failures("s", "redirect"), (3, message.to_owned()));
    }
    ran("/twice", "expect = { status = 200, body_contains = \"/home\" }").all_completed();
    ran("/nowhere", "expect = { status = 302 }").all_completed();
    ran("/round", "redirects = 0\nexpect = { status = 302 }").all_completed();
}

#[test]
fn bodies_that_do_not_unpack_are_failures_where_they_are_read() {
    let bomb = gzip(&vec![0; (64 << 20) + 1]);
    let web = Web::start(None, move |seen| {
        let body = match seen.path.as_str() {
            "/bomb" => bomb.clone(),
            "/broken" => b"no gzip at all".to_vec(),
            _ => gzip(b"out of stock"),
        };
        let status = if seen.path == "/error" { 500 } else { 200 };
        web::answer(status, &[("content-encoding", "gzip")], body)
    });
    let ran = |path: &str, keys: &str| {
        let scenario = few(&web.url("http"), "", keys, 2);
        Place::new(&scenario.replace("get = \"/\"", &format!("get = \"{path}\""))).run()
    };
    let read = "expect = { body_contains = \"stock\" }";
    let (large, message) = ran("/bomb", read).failures("s", "too large");
    assert_eq!(
        (large, message.as_str()),
        (2, "the body, unpacked, is larger than 64 MiB")
    );
    let (broken, message) = ran("/broken", read).failures("s", "protocol");
    assert!(
        broken == 2 && message.starts_with("the body is not valid gzip"),
        "{message}"
    );
    assert_eq!(ran("/error", "").failures("s", "http 500").1, "out of stock");
    for (path, keys) in [("/bomb", ""), ("/broken", ""), ("/fine", read)] {
        ran(path, keys).all_completed();
    }
}

#[test]
fn http2_that_is_none_is_a_breach_of_protocol() {
    for garbage in [
        &b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n"[..],
        &[0xff; 64],
    ] {
        let server = Server::start(move |mut connection, _| {
            if connection.stream().is_some() {
                connection.send(garbage);
                connection.hang();
            }
        });
        let ran = Place::new(&few(&http(&server), "http2 = true", "timeout = \"5s\"", 4)).run();
        assert_eq!(ran.failures("s", "protocol").0, 4, "{garbage:?}");
    }
}

#[test]
fn http2_that_is_called_off_is_a_lost_connection() {
    let goaway = |reason: u8| [0, 0, 0, 0, 0, 0, 0, reason];
    let server = Server::start(move |mut connection, _| {
        if connection.stream().is_some() {
            connection.frame(GOAWAY, 0, &goaway(2));
            connection.hang();
        }
    });
    let ran = Place::new(&few(&http(&server), "http2 = true", "timeout = \"5s\"", 4)).run();
    let (lost, message) = ran.failures("s", "disconnected");
    assert_eq!(lost, 4, "{message}");

    let server = Server::start(move |mut connection, _| {
        while let Some(stream) = connection.stream() {
            connection.frame(RST_STREAM, stream, &[0, 0, 0, 7]);
        }
    });
    let ran = Place::new(&few(&http(&server), "http2 = true", "timeout = \"5s\"", 4)).run();
    let (reset, message) = ran.failures("s", "disconnected");
    assert_eq!((reset, server.requests()), (4, 4), "{message}");

    let server = Server::start(|connection, _| connection.reset());
    let ran = Place::new(&few(&http(&server), "http2 = true", "", 4)).run();
    assert_eq!(ran.failures("s", "disconnected").0, 4);
}

#[test]
fn a_silent_http2_server_costs_its_session_the_timeout() {
    let server = Server::start(|mut connection, _| while connection.stream().is_some() {});
    let ran = Place::new(&few(&http(&server), "http2 = true", "timeout = \"100ms\"", 3)).run();
    assert_eq!(ran.failures("s", "timeout").0, 3);
}

#[test]
fn http2_over_tls_must_be_offered() {
    let authority = Authority::new();
    for protocols in [&[][..], &["http/1.1"]] {
        let server = Server::secure(authority.server(&["127.0.0.1"], protocols, false));
        let place = Place::new(&get(
            &format!("https://127.0.0.1:{}", server.port),
            "http2 = true\ninsecure = true",
            "",
        ));
        let output = place.output();
        assert_eq!(output.status.code(), Some(4));
        assert!(stderr(&output).contains("HTTP/2"), "{}", stderr(&output));
    }
}

#[test]
fn a_client_certificate_that_is_missing_or_strange_is_an_error_of_tls() {
    let authority = Authority::new();
    let web = Web::start(Some(authority.server(&["127.0.0.1"], &[], true)), |_| {
        web::answer(200, &[], "")
    });
    let scenario = few(&web.url("https"), "ca = \"ca.pem\"", "", 3);
    let place = |scenario: &str, signed_by: &Authority| {
        let place = Place::new(scenario);
        let client = signed_by.sign(&["client"]);
        for (name, text) in [
            ("ca.pem", &authority.pem),
            ("client.pem", &client.cert),
            ("client.key", &client.key),
        ] {
            fs::write(place.path().join(name), text).unwrap();
        }
        place
    };
    let (refused, message) = place(&scenario, &authority).run().failures("s", "tls");
    assert!(refused == 3 && message.contains("cert = "), "{message}");

    let certified = scenario.replace("ca =", "cert = \"client.pem\"\nkey = \"client.key\"\nca =");
    place(&certified, &Authority::new()).run().failures("s", "tls");
    place(&certified, &authority).run().all_completed();

    let swapped = certified.replace("key = \"client.key\"", "key = \"ca.pem\"");
    let output = place(&swapped, &authority).output();
    assert_eq!(output.status.code(), Some(2));
    assert!(
        stderr(&output).contains("ca.pem: holds no private key"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn one_slow_server_of_two_does_not_slow_the_other() {
    let silent = Server::start(|mut connection, _| {
        connection.request();
        connection.hang();
    });
    let fast = Server::answering(|_| ok("hello"));
    let scenario = format!(
        "name = \"two\"\n[target.slow]\nhttp = \"{}\"\n[target.fast]\nhttp = \"{}\"\n[load]\nrate = \"200/s\"\nduration = \"1s\"\n\
         [[flow]]\nname = \"slow\"\n[[flow.step]]\nname = \"slow\"\ntarget = \"slow\"\nget = \"/\"\ntimeout = \"200ms\"\n\
         [[flow]]\nname = \"fast\"\nweight = 9\n[[flow.step]]\nname = \"fast\"\ntarget = \"fast\"\nget = \"/\"\n",
        http(&silent),
        http(&fast)
    );
    let began = Instant::now();
    let ran = Place::new(&scenario).run();
    assert!(began.elapsed() < Duration::from_secs(8));
    assert_eq!(ran.flows("scheduled"), 200);
    assert!(ran.failures("slow", "timeout").0 > 0);
    let fast = ran.step("fast");
    assert_eq!(fast["errors"].as_array().unwrap().len(), 0);
    assert!(count(fast, "completed") > 150);
}
