//! Targets that share load: what steps and their breakers see of it, and slips.

use super::{compiled, told};
use crate::workload::{Action, Balance, Breaker, BreakerLimits, Step, Workload};

fn text(targets: &str, step: &str) -> String {
    format!(
        "name = \"test\"\n{targets}\n[load]\nusers = 1\nduration = \"1s\"\n[[flow]]\nname = \"f\"\nstep = [{{ {step} }}]\n"
    )
}

const TWO: &str = "[target.a]\npostgres = \"postgres://h/a\"\nbreaker = true\n\
                   [target.b]\npostgres = \"postgres://h/b\"\nbreaker = true\n";

fn step(workload: &Workload) -> &Step {
    match &workload.flows[0].actions[0] {
        Action::Step(step) => step,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_step_of_a_group_is_like_one_of_its_members_and_prepared_on_all() {
    let group = format!("{TWO}[target.both]\nof = [\"b\", \"a\"]\nbalance = \"least_busy\"\n");
    let workload = compiled(&text(&group, "target = \"both\", sql = \"SELECT 1\""));
    assert_eq!(workload.targets.len(), 2);
    let [group] = workload.groups.as_slice() else { panic!() };
    assert_eq!(
        (group.members.as_slice(), group.balance),
        ([1, 0].as_slice(), Balance::LeastBusy)
    );
    let step = step(&workload);
    assert_eq!((step.target, step.group), (1, Some(0)));
    assert_eq!([0, 1].map(|target| workload.flow_statements(target)), [[0], [0]]);
    assert_eq!(workload.target_name(&workload.measured[0]), "both");
    // One breaker before the group.
    let guards = Breaker {
        target: "both".into(),
        step: None,
        limits: BreakerLimits::default(),
    };
    assert_eq!(workload.breakers, [guards]);
}

#[test]
fn a_step_must_say_whether_it_means_the_group_or_a_member() {
    let group = format!("{TWO}[target.both]\nof = [\"a\", \"b\"]\n");
    let told = told(&text(&group, "sql = \"SELECT 1\""));
    assert_eq!(told, ["several targets fit this step: `target` is missing"]);
}

#[test]
fn slips_are_told() {
    let of = |group: &str| told(&text(&format!("{TWO}{group}"), "target = \"a\", sql = \"SELECT 1\""));
    for (group, expected) in [
        (
            "[target.g]\nof = []\n",
            "target \"g\" is a group of none or too many: `of` names 1 to 16 targets",
        ),
        (
            "[target.g]\nof = [\"a\", \"a\"]\n",
            "a target twice in one group: the second time",
        ),
        (
            "[target.g]\nof = [\"x\"]\n",
            "no target to share load is called \"x\": unknown target",
        ),
        (
            "[target.g]\nof = [\"g\"]\n",
            "no target to share load is called \"g\": it is a group itself",
        ),
        (
            "[target.g]\nof = [\"a\"]\nbalance = \"random\"\n",
            "not a way to share load: `round_robin` or `least_busy`",
        ),
        (
            "[target.g]\nof = [\"a\"]\ntimeout = \"1s\"\n",
            "`timeout` does not belong here: a group has `of` and `balance`; write it in its members",
        ),
        (
            "[target.c]\npostgres = \"postgres://h/c\"\nbreaker = true\ntimeout = \"1s\"\n[target.g]\nof = [\"a\", \"c\"]\n",
            "members of a group that are not alike: its `timeout` is not that of \"a\"",
        ),
        (
            "[target.c]\nsqlite = \"c.db\"\n[target.g]\nof = [\"a\", \"c\"]\n",
            "members of a group that are not alike: it speaks sqlite, \"a\" postgres",
        ),
        (
            "[target.c]\nhttp = \"http://h/one\"\n[target.d]\nhttp = \"http://h/two\"\n[target.g]\nof = [\"c\", \"d\"]\n",
            "members of a group that are not alike: its URL has another path",
        ),
    ] {
        assert_eq!(of(group), [expected], "{group}");
    }
    // A key that only a group has.
    let told = of("[target.c]\npostgres = \"postgres://h/c\"\nbalance = \"least_busy\"\n");
    assert_eq!(told, ["`balance` does not belong here: it is for a target with `of`"]);
}

#[test]
fn a_target_knows_its_own_statements_and_flows_and_no_others() {
    let targets = format!("{TWO}[target.c]\npostgres = \"postgres://h/c\"\n[target.both]\nof = [\"a\", \"b\"]\n");
    let rest = "[[flow]]\nname = \"g\"\nstep = [{ target = \"both\", sql = \"SELECT 2\" }]\n\
                [[setup]]\ntarget = \"c\"\nsql = \"SELECT 3\"\n";
    let workload = compiled(&(text(&targets, "target = \"a\", sql = \"SELECT 1\"") + rest));
    let place = |sql: &str| workload.statements.iter().position(|known| known == sql).unwrap();
    let of = |sql: &[&str]| -> Vec<usize> {
        let mut places: Vec<usize> = sql.iter().map(|sql| place(sql)).collect();
        places.sort_unstable();
        places
    };
    assert_eq!(workload.statements_of(0), of(&["SELECT 1", "SELECT 2"]));
    assert_eq!(workload.statements_of(1), of(&["SELECT 2"]));
    assert_eq!(workload.statements_of(2), of(&["SELECT 3"]));
    assert_eq!(
        [0, 1, 2].map(|target| workload.flows_of(target)),
        [vec![0, 1], vec![1], vec![]]
    );
}
