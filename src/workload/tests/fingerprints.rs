//! What makes two scenarios the same work, and what does not.

use super::{HEAD, with_variables};
use crate::run::Fingerprint;

const FLOWS: &str = r#"
[[flow]]
name = "a"
[[flow.step]]
name = "get"
post = "/${PART}"
headers = { authorization = "Bearer ${TOKEN}" }
json = { items = [] }
[data.user]
constant = "${TOKEN}"
[[threshold]]
metric = "p95"
critical = "80ms"
"#;

fn fingerprint(text: &str, variables: &[(&str, &str)]) -> Fingerprint {
    with_variables(text, variables)
        .unwrap_or_else(|problems| panic!("{problems}"))
        .fingerprint
}

fn differences(from: &str, to: &str) -> Vec<&'static str> {
    let text = format!("{HEAD}{FLOWS}");
    let changed = text.replacen(from, to, 1);
    assert_ne!(text, changed, "{from} is not in the text");
    let variables = [("TOKEN", "secret"), ("PART", "x")];
    fingerprint(&text, &variables).differences(&fingerprint(&changed, &variables))
}

#[test]
fn addresses_limits_and_names_of_the_file_do_not_count() {
    for (from, to) in [
        ("http://127.0.0.1:1", "https://example.com/api"),
        (
            "http = \"http://127.0.0.1:1\"",
            "http = \"http://127.0.0.1:{port}\"\nstart = \"demo --fault {port}\"\ntimeout = \"1s\"\nheaders = { x-a = \"b\" }",
        ),
        ("\"test.db\"", "\"other.db\""),
        ("critical = \"80ms\"", "warning = \"+5%\""),
        (
            "name = \"test\"",
            "name = \"test\"\ndescription = \"x\" # and a comment",
        ),
        ("name = \"test\"", "\n\n\nname = \"test\""),
        ("[data.user]", "[[teardown]]\nget = \"/away\"\n[data.user]"),
    ] {
        assert_eq!(differences(from, to), Vec::<&str>::new(), "{to}");
    }
}

#[test]
fn every_part_of_the_work_counts() {
    for (from, to, part) in [
        ("/${PART}", "/${PART}?", "flows"),
        ("name = \"get\"", "name = \"post\"", "flows"),
        ("items = []", "", "flows"),
        ("json = { items = [] }", "", "flows"),
        ("name = \"get\"", "name = \"get\"\ntimeout = \"1s\"", "flows"),
        ("[data.user]", "[[setup]]\nget = \"/up\"\n[data.user]", "flows"),
        ("sqlite = \"test.db\"", "postgres = \"postgres://h/d\"", "flows"),
        ("constant = \"${TOKEN}\"", "constant = 1", "data"),
        ("[[threshold]]", "[data.other]\nuuid = true\n[[threshold]]", "data"),
        ("users = 1", "users = 2", "load"),
        ("duration = \"1s\"", "duration = \"1s\"\nwarm_up = \"1s\"", "load"),
        ("name = \"test\"", "name = \"test\"\nseed = 2", "seed"),
    ] {
        assert_eq!(differences(from, to), [part], "{to}");
    }
}

#[test]
fn the_default_written_out_is_the_same_protocol() {
    let postgres = |more: &str| {
        fingerprint(
            &format!(
                "name = \"x\"\n[target.db]\npostgres = \"postgres://h/d\"\n{more}\n[load]\nusers = 1\nduration = \"1s\"\n[[flow]]\nname = \"a\"\nstep = [{{ sql = \"SELECT 1\" }}]\n"
            ),
            &[],
        )
    };
    assert_eq!(postgres(""), postgres("protocol = \"prepared\""));
    assert_eq!(postgres("").differences(&postgres("protocol = \"simple\"")), ["flows"]);
}

#[test]
fn values_of_the_environment_count_in_the_load_only() {
    let text = format!("{HEAD}{FLOWS}").replace("duration = \"1s\"", "duration = \"${LONG:-1s}\"");
    let base = fingerprint(&text, &[("TOKEN", "secret"), ("PART", "x")]);
    let other = fingerprint(&text, &[("TOKEN", "another"), ("PART", "y")]);
    assert_eq!(base, other);
    let longer = fingerprint(&text, &[("TOKEN", "secret"), ("PART", "x"), ("LONG", "2s")]);
    assert_eq!(base.differences(&longer), ["load"]);
}

#[test]
fn the_content_of_a_file_counts_and_its_place_does_not() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    for (name, content) in [("a.csv", "id\n1\n"), ("b.csv", "id\n1\n"), ("c.csv", "id\n2\n")] {
        std::fs::write(path(name), content).unwrap();
    }
    let text = format!(
        "{HEAD}[[flow]]\nname = \"a\"\nstep = [{{ get = \"/{{{{ u.id }}}}\" }}]\n[data.u]\ncsv = \"${{FILE}}\"\n"
    );
    let of = |name: &str| fingerprint(&text, &[("FILE", &path(name))]);
    assert_eq!(of("a.csv"), of("b.csv"));
    assert_eq!(of("a.csv").differences(&of("c.csv")), ["data"]);
}

const SERVICE: &str = "http = \"http://127.0.0.1:1\"";

#[test]
fn what_changes_the_work_on_a_service_counts_and_secrets_do_not() {
    let files = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &str| {
        let path = files.path().join(name);
        std::fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (cert, key) = (file("cert.pem", ""), file("key.pem", ""));
    let same = [
        "auth = { bearer = \"token\" }".to_owned(),
        format!("cert = \"{cert}\"\nkey = \"{key}\"\nca = \"{cert}\""),
        "host = \"shop.example\"\nconnect_timeout = \"1s\"\nfirst_byte_timeout = \"1s\"".to_owned(),
        "cookies = true\nhttp2 = false\ncompression = false\nredirects = 0".to_owned(),
    ];
    for keys in same {
        assert_eq!(
            differences(SERVICE, &format!("{SERVICE}\n{keys}")),
            Vec::<&str>::new(),
            "{keys}"
        );
    }
    for keys in ["http2 = true", "compression = true", "redirects = 1", "cookies = false"] {
        assert_eq!(differences(SERVICE, &format!("{SERVICE}\n{keys}")), ["flows"], "{keys}");
    }
    let step = |auth: &str| {
        fingerprint(
            &format!("{HEAD}{FLOWS}").replace("json = { items = [] }", auth),
            &VARIABLES,
        )
    };
    let bearer = step("auth = { bearer = \"one\" }");
    assert_eq!(bearer, step("auth = { bearer = \"another\" }"));
    assert_eq!(bearer.differences(&step("")), ["flows"]);
    let basic = step("auth = { basic = { user = \"u\", password = \"p\" } }");
    assert_eq!(bearer.differences(&basic), ["flows"]);
}

#[test]
fn the_content_of_a_file_that_is_sent_counts_and_its_place_does_not() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    for (name, content) in [("a", "1"), ("b", "1"), ("c", "2")] {
        std::fs::write(path(name), content).unwrap();
    }
    for body in [
        "body_file = \"${FILE}\"",
        "multipart = [{ name = \"f\", file = \"${FILE}\", file_name = \"f\" }]",
    ] {
        let text = format!("{HEAD}[[flow]]\nname = \"a\"\n[[flow.step]]\npost = \"/\"\n{body}\n");
        let of = |name: &str| fingerprint(&text, &[("FILE", &path(name))]);
        assert_eq!(of("a"), of("b"));
        assert_eq!(of("a").differences(&of("c")), ["data"]);
    }
}

const VARIABLES: [(&str, &str); 2] = [("TOKEN", "secret"), ("PART", "x")];
