//! The shipped examples for HTTP, performed by the real program against a real
//! server: every operation completes, and the server saw what it should have.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
};

use crate::support::{
    certificates::Authority,
    program::Desk,
    web::{Answer, Handshake, Seen, Web, answer},
};
use hyper::{Method, Version};

/// Passes of every example.
const PASSES: usize = 20;

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/examples")
}

/// Runs an example with targets at these addresses; all its operations must complete.
#[track_caller]
fn completes(desk: &Desk, example: &str, targets: &[(&str, String)]) {
    let path = examples().join(example);
    let set: Vec<String> = targets
        .iter()
        .map(|(name, url)| format!("--set=target.{name}.http={url}"))
        .collect();
    let mut arguments = vec!["run", path.to_str().unwrap(), "--out", "out"];
    arguments.extend(set.iter().map(String::as_str));
    let variable = |name: &str| desk.path().join(name);
    let output = desk
        .loadgate(&arguments)
        .env("CA", variable("ca.pem"))
        .env("CERT", variable("client.pem"))
        .env("KEY", variable("client.key"))
        .output()
        .unwrap();
    let ended = desk.ended(output);
    assert_eq!(ended.code, 0, "{}", ended.printed());
    let run = ended.stored();
    assert_eq!(run.accounting.scheduled, PASSES as u64);
    assert_eq!(run.accounting.completed, PASSES as u64, "{}", ended.printed());
    for step in &run.steps {
        assert!(step.errors.is_empty(), "{:?}", step.errors);
    }
    for secret in ["open sesame", "over and out"] {
        assert!(
            !ended.stored_text.contains(secret) && !ended.printed().contains(secret),
            "{secret}"
        );
    }
}

fn ok(body: &str) -> Answer {
    answer(200, &[], body.to_owned())
}

/// The parts of a multipart body: heads and contents.
fn parts(seen: &Seen) -> Vec<(String, String)> {
    let boundary = seen.header("content-type").unwrap().split_once("boundary=").unwrap().1;
    let text = seen.text();
    assert!(text.ends_with(&format!("--{boundary}--\r\n")), "{text}");
    text.split(&format!("--{boundary}\r\n"))
        .skip(1)
        .map(|part| {
            let part = part.trim_end_matches(&format!("--{boundary}--\r\n"));
            let (head, content) = part.split_once("\r\n\r\n").unwrap();
            (head.to_owned(), content.strip_suffix("\r\n").unwrap().to_owned())
        })
        .collect()
}

#[test]
fn bodies_arrive_as_they_are_written() {
    let web = Web::start(None, |_| ok(""));
    completes(&Desk::new(), "http-bodies.toml", &[("shop", web.url("http"))]);

    for seen in web.seen() {
        let length = seen.header("content-length").map(|length| length.parse().unwrap());
        assert_eq!(length, Some(seen.body.len()), "{seen:?}");
    }
    let text = web.seen_at("/notes");
    assert_eq!(
        (text.len(), text[0].header("content-type")),
        (PASSES, Some("text/plain"))
    );
    assert!(text[0].text().ends_with(" was here"), "{}", text[0].text());

    let order = &web.seen_at("/orders")[..];
    let json = order.iter().find(|seen| seen.method == Method::POST).unwrap();
    let body: serde_json::Value = serde_json::from_slice(&json.body).unwrap();
    assert!(body["user"].is_u64(), "{body}");
    assert_eq!(json.header("content-type"), Some("application/json"));

    let form = &web.seen_at("/search")[0];
    assert_eq!(form.header("content-type"), Some("application/x-www-form-urlencoded"));
    assert!(
        form.text().starts_with("page=1&q=red%20%26%20blue&user="),
        "{}",
        form.text()
    );

    let readers = fs::read_to_string(examples().join("data/readers.csv")).unwrap();
    let upload = parts(&web.seen_at("/upload")[0]);
    assert_eq!(upload[0].0, "content-disposition: form-data; name=\"user\"");
    assert!(upload[0].1.parse::<u32>().is_ok(), "{upload:?}");
    assert_eq!(
        upload[1].0,
        "content-disposition: form-data; name=\"readers\"; filename=\"my readers.csv\"\r\ncontent-type: text/csv"
    );
    assert_eq!(upload[1].1, readers);

    let file = order.iter().find(|seen| seen.method == Method::PUT).unwrap();
    assert_eq!(file.body, fs::read(examples().join("data/order.xml")).unwrap());
    assert_eq!(file.header("content-type"), Some("application/xml"));
}

/// A shop where one logs in.
fn session(seen: &Seen) -> Answer {
    match seen.path.as_str() {
        "/login" => {
            let user = seen.text().split_once("user=").unwrap().1;
            let cookie = format!("session={user}; Path=/; HttpOnly");
            answer(303, &[("location", "/home"), ("set-cookie", &cookie)], "")
        }
        "/home" => {
            let user = seen.header("cookie").and_then(|cookie| cookie.strip_prefix("session="));
            let body = format!(
                "{{\"greeting\": \"Welcome\", \"token\": \"token-of-{}\"}}",
                user.unwrap_or("nobody")
            );
            ok(&body)
        }
        "/logout" => answer(303, &[("location", "/goodbye")], ""),
        _ => ok("fine"),
    }
}

#[test]
fn users_log_in_and_stay_who_they_are() {
    let web = Web::start(None, session);
    completes(&Desk::new(), "http-session.toml", &[("shop", web.url("http"))]);

    let logins = web.seen_at("/login");
    assert_eq!(logins.len(), PASSES);
    assert!(logins.iter().all(|seen| seen.header("authorization").is_none()));
    assert!(
        logins[0].text().starts_with("password=open%20sesame&user=user"),
        "{}",
        logins[0].text()
    );

    let homes = web.seen_at("/home");
    assert_eq!(homes.len(), PASSES);
    for home in &homes {
        assert_eq!(
            (&home.method, home.body.len(), home.header("content-type")),
            (&Method::GET, 0, None)
        );
    }
    for orders in web.seen_at("/orders") {
        let user = orders
            .header("cookie")
            .unwrap()
            .strip_prefix("session=")
            .unwrap()
            .to_owned();
        assert!(user.starts_with("user"), "{user}");
        assert_eq!(
            orders.header("authorization"),
            Some(format!("Bearer token-of-{user}").as_str())
        );
    }
    // operator:over and out
    for statistics in web.seen_at("/statistics") {
        assert_eq!(
            statistics.header("authorization"),
            Some("Basic b3BlcmF0b3I6b3ZlciBhbmQgb3V0")
        );
    }
    assert_eq!(web.seen_at("/logout").len(), PASSES);
    assert_eq!(web.seen_at("/goodbye").len(), 0);
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

/// A page with a form, packed, and orders.
fn expected(seen: &Seen) -> Answer {
    match (&seen.method, seen.path.as_str()) {
        (_, "/page") => {
            let page = gzip("<form><input name=\"csrf\" value=\"c-9\"></form>");
            answer(
                200,
                &[
                    ("content-type", "text/html; charset=utf-8"),
                    ("content-encoding", "gzip"),
                ],
                page,
            )
        }
        (&Method::POST, "/orders") => answer(
            201,
            &[("location", "/orders/42"), ("etag", "\"v7\"")],
            "{\"state\": \"open\", \"total\": 10.0, \"items\": [{\"id\": 5}]}",
        ),
        _ => ok("an order"),
    }
}

#[test]
fn answers_are_judged_and_values_taken_from_them() {
    let web = Web::start(None, expected);
    completes(&Desk::new(), "http-expectations.toml", &[("shop", web.url("http"))]);

    let page = &web.seen_at("/page")[0];
    assert_eq!(page.header("accept-encoding"), Some("gzip, br"));
    let orders = web.seen_at("/orders");
    assert_eq!(orders.len(), 2 * PASSES);
    for order in orders {
        if order.method == Method::POST {
            assert_eq!(order.header("x-csrf"), Some("c-9"));
        } else {
            assert_eq!(
                (order.path.as_str(), order.header("if-match")),
                ("/orders/42?item=5", Some("\"v7\""))
            );
        }
    }
}

/// A directory with the files that examples name by CA, CERT and KEY.
fn desk(authority: &Authority) -> Desk {
    let desk = Desk::new();
    let client = authority.sign(&["client"]);
    for (name, text) in [
        ("ca.pem", &authority.pem),
        ("client.pem", &client.cert),
        ("client.key", &client.key),
    ] {
        fs::write(desk.path().join(name), text).unwrap();
    }
    desk
}

#[test]
fn tls_is_as_the_target_says() {
    let authority = Authority::new();
    let shop = Web::start(Some(authority.server(&["shop.example"], &[], true)), |_| ok("shop"));
    let staging = Web::start(Some(Authority::new().server(&["other.example"], &[], false)), |_| {
        ok("staging")
    });
    let targets = [("shop", shop.url("https")), ("staging", staging.url("https"))];
    completes(&desk(&authority), "http-tls.toml", &targets);

    for seen in shop.seen() {
        let handshake = Handshake {
            alpn: None,
            name: Some("shop.example".into()),
            certified: true,
        };
        assert_eq!(seen.handshake, Some(handshake));
        assert_eq!((seen.host.as_str(), seen.version), ("shop.example", Version::HTTP_11));
    }
    assert_eq!((shop.seen().len(), staging.seen().len()), (PASSES, PASSES));
}

#[test]
fn http2_is_spoken_with_and_without_tls() {
    let authority = Authority::new();
    let orders = |seen: &Seen| match seen.method {
        Method::POST => answer(201, &[], "{\"state\": \"open\", \"id\": 7}"),
        _ => ok("an order"),
    };
    let shop = Web::start(
        Some(authority.server(&["127.0.0.1"], &["h2", "http/1.1"], false)),
        orders,
    );
    let inside = Web::start(None, orders);
    let targets = [("shop", shop.url("https")), ("inside", inside.url("http"))];
    completes(&desk(&authority), "http2.toml", &targets);

    for web in [&shop, &inside] {
        let seen = web.seen();
        assert_eq!(seen.len(), PASSES);
        for seen in seen {
            assert_eq!(
                (seen.version, seen.host.as_str()),
                (Version::HTTP_2, format!("127.0.0.1:{}", web.port).as_str())
            );
            assert_eq!(seen.header("host"), None);
        }
    }
    let handshake = shop.seen()[0].handshake.clone().unwrap();
    assert_eq!(handshake.alpn.as_deref(), Some("h2"));
    assert_eq!(shop.seen()[0].text(), "{\"sku\":\"a-1\"}");
    assert_eq!(inside.seen()[0].path, "/orders/7");
}
