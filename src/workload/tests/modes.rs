//! COPY, fan-outs, caches, the server's own timeouts: what is wrong with them is told at its place.

use std::time::Duration;

use super::{HEAD, compiled, flow, problems, steps, told};
use crate::workload::{Kind, Protocol, Request, Values};

const POSTGRES: &str = r#"
name = "test"
[target.db]
postgres = "postgres://localhost/test"
[load]
users = 1
duration = "1s"
[[flow]]
name = "main"
"#;

#[track_caller]
fn tells(steps: &str, wanted: &[&str]) {
    assert_eq!(problems(steps), wanted, "{steps}");
}

#[track_caller]
fn tells_of_postgres(steps: &str, wanted: &[&str]) {
    assert_eq!(told(&format!("{POSTGRES}{steps}")), wanted, "{steps}");
}

#[test]
fn a_copy_is_checked_as_far_as_it_can_be_without_its_database() {
    let workload = compiled(&format!(
        "{POSTGRES}[[flow.step]]\ncopy = {{ into = \"a (b, c)\", row = [1, \"x\"], times = 3 }}\n"
    ));
    let Request::Copy(copy) = &steps(&workload)[0].request else {
        panic!()
    };
    let statements = &workload.statements;
    assert_eq!(statements[copy.statement.index], "COPY a (b, c) FROM STDIN");
    assert_eq!(
        statements[copy.check],
        "INSERT INTO a (b, c) OVERRIDING SYSTEM VALUE VALUES ($1, $2)"
    );
    assert_eq!((copy.times, workload.draws_per_pass), (3, 3));

    tells(
        "[[flow.step]]\ncopy = { into = \"a (b)\", row = [1] }\n",
        &["the target \"db\" has no COPY: it is for PostgreSQL"],
    );
    for (copy, wanted) in [
        ("{ row = [1] }", "a COPY of nothing: it needs `into` and `row`"),
        (
            "{ into = \"a (b)\", row = [1, 2] }",
            "columns and values do not match: `into` has 1 columns, `row` has 2 values",
        ),
        ("{ into = \"a\", row = [] }", "a row of nothing: no values"),
        (
            "{ into = \"a; DROP TABLE b\", row = [1] }",
            "not a table to copy into: no SQL and no template",
        ),
        (
            "{ into = \"a\", row = [\"{{ x }}\"] }",
            "unknown variable \"x\": neither data nor saved before this step",
        ),
        (
            "{ into = \"a\", row = [1], times = 10_001 }",
            "`times` is out of bounds: must be from 1 to 10000",
        ),
    ] {
        tells_of_postgres(&format!("[[flow.step]]\ncopy = {copy}\n"), &[wanted]);
    }
}

#[test]
fn columns_of_a_row_are_known_to_what_is_done_for_it_alone() {
    let workload = flow(
        "[[flow.step]]\nsql = \"SELECT id\"\nfor_each = { sql = \"SELECT $1, $2, $3\", params = [\"{{ row.id }}\", \"{{ user }}\", \"{{ row.id }} {{ row.b }}\"] }\n\
         [data.user]\nconstant = 5\n",
    );
    let Request::ForEach(fan_out) = &steps(&workload)[0].request else {
        panic!()
    };
    let columns: Vec<&str> = fan_out.columns.iter().map(|(_, name)| &**name).collect();
    assert_eq!(columns, ["id", "b"]);
    assert_eq!(workload.flow_statements(1).len(), 2);

    tells(
        "[[flow.step]]\nsql = \"SELECT $1\"\nparams = [\"{{ row.id }}\"]\nfor_each = { params = [1] }\n\
         [[flow.step]]\nname = \"later\"\nsql = \"SELECT $1\"\nparams = [\"{{ row.id }}\"]\n",
        &[
            "unknown variable \"row.id\": neither data nor saved before this step",
            "nothing to do for each row: `sql` is missing",
            "unknown variable \"row.id\": neither data nor saved before this step",
        ],
    );
    tells(
        "[[flow.step]]\nget = \"/\"\nfor_each = { sql = \"SELECT 1\" }\n",
        &["`for_each` does not belong here: a step with `get` has no `for_each`"],
    );
}

#[test]
fn a_cache_has_a_key_and_an_end() {
    let workload = flow(
        "[[flow.step]]\nname = \"write\"\nsql = \"SELECT 1\"\nwrites = [{ cache = \"read\", key = \"{{ user }}\", invalidate = true }]\n\
         [[flow.step]]\nname = \"read\"\nget = \"/\"\ncache = { key = \"{{ user }}\", ttl = \"1m\" }\n\
         [data.user]\nsequence = { from = 7 }\n",
    );
    let [cache] = workload.caches.as_slice() else { panic!() };
    assert_eq!(
        (cache.name.as_str(), cache.ttl, cache.max),
        ("read", Duration::from_secs(60), 10_000)
    );
    let [write, read] = steps(&workload)[..] else { panic!() };
    let mut values = Values::new(&workload);
    values.begin(0, &[]);
    let mut key = String::new();
    read.cache.as_ref().unwrap().key.render(&mut values, &mut key);
    assert_eq!((key.as_str(), write.writes[0].invalidate), ("7", true));

    tells(
        "[[flow.step]]\nname = \"read\"\nget = \"/\"\ncache = { max = 0 }\n",
        &[
            "a cache without a key: `key` is missing",
            "a cache that never forgets: `ttl` is missing",
            "`max` is out of bounds: must be from 1 to 10000000",
        ],
    );
    tells(
        "[[flow.step]]\nname = \"read\"\nget = \"/\"\ncache = { key = \"a\", ttl = \"0s\" }\n\
         [[flow.step]]\nget = \"/b\"\nwrites = [{ key = \"a\" }, { cache = \"reed\", key = \"a\" }]\n",
        &[
            "not a timeout: it must be above zero",
            "a write to no cache: `cache` is missing",
            "no step with a cache is called \"reed\": unknown cache",
        ],
    );
    tells(
        "[[flow.step]]\nget = \"/\"\n[[setup]]\ntarget = \"api\"\nget = \"/\"\ncache = { key = \"a\", ttl = \"1s\" }\n",
        &["`cache` does not belong here: caches work while load runs: it is for the steps of flows"],
    );
    tells(
        "[[flow.step]]\nget = \"/\"\n[[flow.step]]\npause = \"1s\"\ncache = { key = \"a\", ttl = \"1s\" }\n",
        &["`cache` does not belong here: a step with `pause` has no `cache`"],
    );
}

#[test]
fn the_servers_own_timeouts_are_settings_of_the_session() {
    let with =
        |keys: &str| POSTGRES.replace("[load]", &format!("{keys}\n[load]")) + "[[flow.step]]\nsql = \"SELECT 1\"\n";
    let workload = compiled(&with(
        "statement_timeout = \"2s\"\nlock_timeout = \"1500us\"\nprotocol = \"pipelined\"",
    ));
    let Kind::Postgres(postgres) = &workload.targets[0].kind else {
        panic!()
    };
    let settings = [
        ("statement_timeout", "2000".to_owned()),
        ("lock_timeout", "1".to_owned()),
    ];
    assert_eq!(
        (postgres.settings.as_slice(), postgres.protocol),
        (&settings[..], Protocol::Pipelined)
    );
    assert_eq!(
        told(&with("idle_in_transaction_session_timeout = \"0s\"")),
        ["not a timeout: it must be at least 1ms; without the key there is no limit"]
    );
    assert_eq!(
        told(&format!(
            "{}[[flow]]\nname = \"a\"\nstep = [{{ get = \"/\" }}]\n",
            HEAD.replace(
                "sqlite = \"test.db\"",
                "sqlite = \"test.db\"\nstatement_timeout = \"1s\""
            )
        )),
        ["`statement_timeout` does not belong here: it is for PostgreSQL"]
    );
}
