//! No secret reaches the stored text, a message or an excerpt.

use super::{compile, flow_text, with_variables};
use crate::{
    scenario::{Text, parse},
    workload::Workload,
};

const SECRETS: &str = r#"
name = "test"
[target.api]
http = "http://127.0.0.1:1"
headers = { authorization = "Bearer header-secret" }
[target.db]
postgres = "postgres://user:p%40ss-word@127.0.0.1/db"
[load]
users = 1
duration = "1s"
[[flow]]
name = "a"
[[flow.step]]
get = "/a?key=${API_TOKEN}"
headers = { x-api-key = "step-secret", cookie = "${JAR:-cookie-secret}", x-id = "${HOST}" }
[data.x]
constant = "${DB_PASSWORD:-default-secret}"
"#;

fn workload() -> Workload {
    with_variables(SECRETS, &[("API_TOKEN", "token-secret"), ("HOST", "visible-host")])
        .unwrap_or_else(|problems| panic!("{problems}"))
}

#[test]
fn secrets_written_into_the_text_are_masked_in_what_is_stored() {
    let workload = workload();
    for secret in [
        "header-secret",
        "p%40ss-word",
        "step-secret",
        "cookie-secret",
        "default-secret",
    ] {
        assert!(
            SECRETS.contains(secret) && !workload.source.text.contains(secret),
            "{secret}"
        );
    }
    assert!(workload.source.text.contains("postgres://user:•••@127.0.0.1/db"));
}

#[test]
fn secrets_are_masked_wherever_they_turn_up() {
    let workload = workload();
    let said = workload
        .secrets
        .mask("token-secret p@ss-word header-secret cookie-secret visible-host");
    assert_eq!(said, "••• ••• ••• ••• visible-host");
    assert_eq!(format!("{:?}", workload.secrets).find("secret"), None);
}

#[test]
fn problems_show_places_but_no_secrets() {
    let text = SECRETS
        .replace("http://127.0.0.1:1", "http://u:url-secret@127.0.0.1:1")
        .replace("duration = \"1s\"", "duration = \"${API_TOKEN}\"")
        .replace(
            "postgres://user:p%40ss-word@127.0.0.1/db",
            "postgres://user:p%40ss-word@127.0.0.1:x/db",
        );
    let told = with_variables(&text, &[("API_TOKEN", "token-secret"), ("HOST", "h")]).unwrap_err();
    for secret in ["url-secret", "token-secret", "p%40ss-word"] {
        assert!(!told.contains(secret), "{secret}: {told}");
    }
    assert!(told.contains("http = \"http://u:**********@127.0.0.1:1\""), "{told}");
    assert!(told.contains("postgres://user:***********@127.0.0.1:x/db"), "{told}");
    assert!(told.contains("\"•••\" does not start with a number"), "{told}");
}

#[test]
fn postgres_variables_are_read_and_the_password_is_secret() {
    let text = flow_text("[[flow.step]]\nsql = \"SELECT 1\"\n").replace("sqlite = \"test.db\"", "postgres = \"env\"");
    let variables = [
        ("PGHOST", "db.example"),
        ("DB_PORT", "6000"),
        ("DB_PASSWORD", "it's \\ secret"),
    ];
    let workload = with_variables(&text, &variables).unwrap();
    let crate::workload::Kind::Postgres(postgres) = &workload.targets[1].kind else {
        panic!()
    };
    let config: tokio_postgres::Config = postgres.connection.parse().unwrap();
    assert_eq!(config.get_ports(), [6000]);
    assert_eq!(config.get_password(), Some("it's \\ secret".as_bytes()));
    assert_eq!(workload.secrets.mask("it's \\ secret"), "•••");
}

#[test]
fn a_rejected_text_keeps_its_length() {
    let text = Text {
        path: "test.toml".into(),
        toml: SECRETS.replace("users = 1", "users = 0"),
    };
    let length = text.toml.len();
    let rejected = compile(parse(text, &[]).unwrap(), &|_| Some("value".into())).unwrap_err();
    assert_eq!(rejected.text.toml.len(), length);
}
