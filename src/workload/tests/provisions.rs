//! Databases that are made for the run, as a scenario may ask for them.

use std::fs;

use super::{HEAD, compiled, told};
use crate::workload::{Durability, Provision, Source, Workload};

/// A scenario with this for its database.
fn text(database: &str, more: &str) -> String {
    let head = HEAD.replace("sqlite = \"test.db\"", database);
    format!("{head}{more}\n[[flow]]\nname = \"main\"\nstep = [{{ sql = \"SELECT 1\" }}]\n")
}

/// A directory with a file of SQL, and a fixture that names it.
fn script(sql: &str) -> (tempfile::TempDir, String) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("f.sql");
    fs::write(&path, sql).unwrap();
    let fixture = format!("[fixture.orders]\nsql = '{}'", path.display());
    (directory, fixture)
}

fn provision(workload: &Workload) -> &Provision {
    workload.targets[1].provision.as_ref().unwrap()
}

#[test]
fn an_ephemeral_server_has_profile_settings_and_fixture() {
    let (_directory, fixture) = script("CREATE TABLE a ();\nSELECT :scale;");
    let database = "postgres = \"ephemeral\"\nprofile = \"durable\"\nfixture = \"orders\"\nscale = 5\n\
                    settings = { work_mem = \"64kB\", jit = true, geqo_seed = 0.5 }";
    let workload = compiled(&text(database, &fixture));
    let Provision::Server(server) = provision(&workload) else {
        panic!("no server")
    };
    assert_eq!((server.durability, server.tcp), (Durability::Durable, false));
    let settings: Vec<_> = server.settings.values().map(String::as_str).collect();
    assert_eq!(settings, ["0.5", "on", "64kB"]);
    let Source::Scripts(scripts) = &server.fixture.as_ref().unwrap().source else {
        panic!("no scripts")
    };
    assert_eq!(
        (scripts[0].statements[1].line, scripts[0].statements[1].sql.as_str()),
        (2, "SELECT 5")
    );
}

#[test]
fn what_is_in_the_database_is_part_of_the_fingerprint_and_its_place_is_not() {
    let fingerprint = |sql: &str, more: &str| {
        let (_directory, fixture) = script(sql);
        let database = format!("postgres = \"ephemeral\"\nfixture = \"orders\"\n{more}");
        compiled(&text(&database, &fixture)).fingerprint
    };
    let first = fingerprint("SELECT 1", "");
    assert_eq!(fingerprint("SELECT 1;", "settings = { jit = false }"), first);
    assert_ne!(fingerprint("SELECT 2", ""), first);
    assert_ne!(fingerprint("SELECT 1", "profile = \"durable\""), first);
}

#[test]
fn a_command_that_names_a_database_makes_its_server_listen() {
    let with = |name: &str| {
        let start = format!("[target.api]\nstart = \"run {{target.{name}.url}}\"");
        text("postgres = \"ephemeral\"", "").replace("[target.api]", &start)
    };
    let workload = compiled(&with("db"));
    assert!(matches!(provision(&workload), Provision::Server(server) if server.tcp));
    for name in ["api", "other"] {
        let expected = format!("no database to name by {{target.{name}.url}}: \"{name}\" has no address to fill in");
        assert_eq!(told(&with(name)), [expected]);
    }
}

#[test]
fn keys_that_do_not_fit_are_told_at_their_places() {
    let tells = |database: &str, more: &str, wanted: &[&str]| {
        assert_eq!(told(&text(database, more)), wanted, "{database}");
    };
    tells(
        "sqlite = \"test.db\"\nprofile = \"ci\"\nsettings = { a = 1 }\nscale = 2\ncreate = true",
        "",
        &[
            "`profile` does not belong here: it is for postgres = \"ephemeral\"",
            "`settings` does not belong here: it is for postgres = \"ephemeral\", or a fixture with create = true",
            "`scale` does not belong here: it is for targets with a `fixture`",
            "`create` does not belong here: it is for a `fixture` on a PostgreSQL server of yours",
        ],
    );
    tells(
        "postgres = \"ephemeral\"\nstart = \"x\"\nprofile = \"fast\"\nsettings = { port = 1, \"a b\" = 1 }",
        "",
        &[
            "started twice: the target is ephemeral",
            "unknown word: use \"ci\" or \"durable\"",
            "not a setting to choose: loadgate itself chooses `port`",
            "not a setting: `a b` is no name of a setting",
        ],
    );
    let (_directory, fixture) = script("SELECT 1");
    tells(
        "postgres = \"postgres://h/d\"\nfixture = \"orders\"",
        &fixture,
        &["nothing is created on a server of yours: the fixture would create databases on this server"],
    );
    tells(
        "postgres = \"ephemeral\"\nfixture = \"others\"\nscale = 0",
        &fixture,
        &[
            "no fixture is called \"others\": unknown fixture",
            "the scale is out of bounds: must be from 1 to 1000000000",
        ],
    );
}

#[test]
fn a_file_that_is_no_script_is_told_with_its_line() {
    let database = "postgres = \"ephemeral\"\nfixture = \"orders\"";
    let problem = |sql: &str| {
        let (_directory, fixture) = script(sql);
        told(&text(database, &fixture)).join("\n")
    };
    assert!(
        problem("SELECT 1;\n\\i other.sql").ends_with("f.sql:2: \\i is a command of psql; only SQL is understood here")
    );
    assert_eq!(problem("-- nothing\n"), "a fixture of nothing: no statement in it");
    let absent = told(&text(database, "[fixture.orders]\nsql = [\"/nonexistent/x.sql\"]")).join("\n");
    assert!(
        absent.starts_with("the fixture cannot be used: /nonexistent/x.sql"),
        "{absent}"
    );
    let neither = told(&text(database, "[fixture.orders]"));
    assert_eq!(neither, ["a fixture of nothing: exactly one of `sql`, `file`"]);
}
