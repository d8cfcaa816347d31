//! Each slip is told once, at its place, and without others that follow from it.

use super::{HEAD, flow, problems, told};

#[track_caller]
fn tells(steps: &str, wanted: &[&str]) {
    assert_eq!(problems(steps), wanted, "{steps}");
}

#[test]
fn a_target_is_found_where_only_one_fits() {
    let workload = flow("[[flow.step]]\nget = \"/a\"\n[[flow.step]]\nsql = \"SELECT 1\"\n");
    let targets: Vec<_> = workload.measured.iter().map(|step| step.target).collect();
    assert_eq!(targets, [0, 1]);
}

#[test]
fn where_none_or_several_fit_the_step_says_so() {
    let two = "[[flow.step]]\nget = \"/a\"\n[target.other]\nhttp = \"http://127.0.0.1:2\"\n";
    tells(two, &["several targets fit this step: `target` is missing"]);
    let none = HEAD.replace("[target.db]\nsqlite = \"test.db\"\n", "");
    assert_eq!(
        told(&format!(
            "{none}[[flow]]\nname = \"a\"\nstep = [{{ sql = \"SELECT 1\" }}]\n"
        )),
        ["no target fits this step: `sql` needs a target for SQL"]
    );
    tells(
        "[[flow.step]]\ntarget = \"db\"\nget = \"/a\"\n[[flow.step]]\ntarget = \"sb\"\nget = \"/b\"\n",
        &[
            "the target \"db\" cannot do this: `get` needs another kind of target",
            "no target is called \"sb\": unknown target",
        ],
    );
}

#[test]
fn statements_and_parameters_must_match() {
    tells(
        "[[flow.step]]\nsql = \"SELECT $1, $2\"\nparams = [1]\n",
        &["parameters do not match: the statement has 2 placeholders, `params` has 1"],
    );
    tells(
        "[[flow.step]]\nsql = \"SELECT ?\"\nparams = [1]\n",
        &["parameters do not match: the statement has 0 placeholders, `params` has 1"],
    );
    tells(
        "[[flow.step]]\nsql = \"SELECT {{ x }}\"\n",
        &["a template inside SQL: values are bound, never written into the text"],
    );
    tells(
        "[[flow.step]]\ntransaction = [{ params = [1] }, { sql = \" \" }]\n",
        &[
            "a statement without SQL: `sql` is missing",
            "an empty statement: no SQL",
        ],
    );
}

#[test]
fn a_value_used_before_it_is_saved_is_unknown() {
    tells(
        "[[flow.step]]\nget = \"/{{ id }}\"\nsave = { id = \"$.id\" }\n[[flow.step]]\nname = \"b\"\nget = \"/{{ id }}\"\n",
        &["unknown variable \"id\": neither data nor saved before this step"],
    );
}

#[test]
fn values_by_stage_want_stages() {
    let step = "[[flow.step]]\nget = \"/{{ u }}\"\n[data.u]\nby_stage = [1, 2]\n";
    tells(step, &["values of stages that there are not: the load has no `stages`"]);
}

#[test]
fn what_one_flow_saves_another_does_not_know() {
    tells(
        "step = [{ get = \"/\", save = { id = \"$.id\" } }]\n[[flow]]\nname = \"b\"\nstep = [{ get = \"/{{ id }}\" }]\n",
        &["unknown variable \"id\": neither data nor saved before this step"],
    );
}

#[test]
fn every_unknown_variable_of_a_body_is_told() {
    let told = problems("[[flow.step]]\npost = \"/\"\njson = { a = \"{{ x }}{{ y }}\", b = [\"{{ z }}\"] }\n");
    assert_eq!(told.len(), 3, "{told:?}");
}

#[test]
fn a_problem_has_no_followers() {
    // Broken data, a step of two kinds, a path that is none: what they name stays known.
    tells(
        "[[flow.step]]\nget = \"/{{ u }}\"\n[data.u]\nuniform = { from = 2, to = 1 }\n",
        &["data that makes no sense: `from` (2) is above `to` (1)"],
    );
    tells(
        "[[flow.step]]\nname = \"a\"\nget = \"/\"\nput = \"/\"\nsave = { id = \"$.id\" }\n[[flow.step]]\nname = \"b\"\nget = \"/{{ id }}\"\n[[threshold]]\nstep = \"a\"\nmetric = \"p95\"\ncritical = \"1s\"\n",
        &["several kinds in one step: `get` and `put`"],
    );
    tells(
        "[[flow.step]]\nname = \"a\"\nget = 5\n",
        &["`flow[0].step[0].get` has the wrong type: expected a string, found an integer"],
    );
    tells(
        "[[flow.step]]\nget = \"/{{ u.id }}\"\n[data.u]\ncsv = \"/absent.csv\"\n",
        &["the CSV file cannot be used: /absent.csv: No such file or directory (os error 2)"],
    );
    tells(
        "[[flow.step]]\nsql = \"SELECT $1\"\nparams = [2026-01-01]\n",
        &[
            "`flow[0].step[0].params[0]` has the wrong type: expected a boolean or an integer or a number or a string, found a datetime",
        ],
    );
}

#[test]
fn the_highest_rate_wants_a_search() {
    let limit = "[[threshold]]\nmetric = \"highest_rate\"\ncritical = \"100/s\"\n";
    tells(
        &format!("[[flow.step]]\nget = \"/a\"\n{limit}"),
        &["the highest rate is found by a search only: without `search`"],
    );
}

#[test]
fn a_damaged_part_hides_nothing_elsewhere() {
    let told = told(
        "nmae = \"x\"\n[target.api]\nhttp = \"http://h\"\n[load]\nusers = 1\ndurration = \"1s\"\n[[flow]]\nname = \"a\"\n[[flow.step]]\nnmae = \"a\"\n[[threshold]]\nmetric = \"p95\"\n",
    );
    assert_eq!(
        told,
        [
            "unknown key `nmae`: a scenario has no such key",
            "unknown key `durration`: `load` has no such key",
            "unknown key `nmae`: `flow[0].step[0]` has no such key",
            "a threshold without a limit: neither `warning` nor `critical`",
        ]
    );
}

#[test]
fn text_that_is_no_toml_is_told_alone() {
    let told = told("name = \n[load\n");
    assert!(
        !told.is_empty() && told.iter().all(|told| told.starts_with("not valid TOML")),
        "{told:?}"
    );
}

#[test]
fn required_keys_are_missed_inside_inline_tables_too() {
    tells(
        "[[flow.step]]\nget = \"/\"\n[data.a]\nzipf = { from = 1 }\n[data.b]\nstring = {}\n[data.c]\ntimestamp = { to = \"2026-01-01T00:00:00Z\" }\n[data.d]\n",
        &[
            "data that makes no sense: `from` and `to` are both needed",
            "data that makes no sense: `length` must be from 1 to 1,000,000",
            "data that makes no sense: `from` is needed, as in \"2026-01-01T00:00:00Z\"",
            "data \"d\" has no kind: nothing says what it is",
        ],
    );
}

#[test]
fn numbers_that_no_program_can_hold_are_refused() {
    tells(
        "weight = 9999999999999999999999\n[[flow.step]]\npost = \"/\"\njson = { a = nan, b = 1e999, c = 10:00:00 }\n[data.z]\nzipf = { from = 1, to = 9, exponent = inf }\n",
        &[
            "`flow[0].weight` cannot be used: an integer has at most 64 bits",
            "`flow[0].step[0].json.a` cannot be used: a number must be finite",
            "`flow[0].step[0].json.b` cannot be used: a number must be finite",
            "`flow[0].step[0].json.c` cannot be used: a bare date or time has no type in JSON or SQL",
            "`data.z.zipf.exponent` cannot be used: a number must be finite",
        ],
    );
}

#[test]
fn keys_in_the_wrong_place_are_told_at_the_key() {
    tells(
        "[[flow.step]]\nget = \"/\"\nparams = [1]\nexpect = { rows = 1 }\n[[flow.step]]\npause = \"1s\"\nexpect = { status = 200 }\nsave = { a = \"$\" }\n[[flow.step]]\nsql = \"SELECT 1\"\nexpect = { status = 200 }\n",
        &[
            "`params` does not belong here: a step with `get` has no `params`",
            "`rows` cannot be expected here: it is for SQL",
            "`expect` does not belong here: a step with `pause` has no `expect`",
            "`save` does not belong here: a step with `pause` has no `save`",
            "`status` cannot be expected here: it is for HTTP",
        ],
    );
}

#[test]
fn a_load_is_open_or_closed_and_ends_once() {
    let with = |load: &str| {
        told(&format!(
            "name = \"x\"\n[target.a]\nhttp = \"http://h\"\n[load]\n{load}\n[[flow]]\nname = \"a\"\nstep = [{{ get = \"/\" }}]\n"
        ))
    };
    assert_eq!(
        with("rate = \"1/s\"\nusers = 1\nduration = \"1s\"\niterations = 5"),
        [
            "two load models at once: `rate` and `users` exclude each other",
            "two ends at once: `duration` and `iterations` exclude each other",
        ]
    );
    assert_eq!(
        with("rate = \"0/s\"\niterations = 5\nramp = \"1s\"\narrivals = \"odd\""),
        [
            "not a rate: a rate must be above zero",
            "`iterations` does not belong here: it is for a closed model, with `users`",
            "`ramp` does not belong here: it is for a closed model, with `users`",
            "unknown word: use \"even\" or \"poisson\"",
        ]
    );
    assert_eq!(
        with(""),
        [
            "the load has no model: neither `rate` nor `users`",
            "the load has no end: `duration` is missing"
        ]
    );
    assert_eq!(
        with("users = 1\nduration = \"50ms\""),
        ["the duration is too short: at least 100ms"]
    );
}

#[test]
fn limits_must_make_sense_together() {
    let with = |limits: &str| problems(&format!("[[flow.step]]\nget = \"/\"\n[[threshold]]\n{limits}\n"));
    assert_eq!(
        with("metric = \"p95\"\nwarning = \"80ms\"\ncritical = \"20ms\""),
        ["a warning that comes too late: 80 ms is worse than the critical 20 ms"]
    );
    assert_eq!(
        with("metric = \"throughput\"\nwarning = \"20/s\"\ncritical = \"80/s\""),
        ["a warning that comes too late: 20/s is worse than the critical 80/s"]
    );
    assert!(with("metric = \"throughput\"\nwarning = \"80/s\"\ncritical = \"20/s\"").is_empty());
    assert_eq!(
        with("metric = \"dropped_rate\"\nstep = \"GET /\"\ncritical = \"1%\""),
        ["dropped_rate is a figure of the whole run: leave `step` out"]
    );
}

#[test]
fn names_are_unique_and_usable() {
    tells(
        "[[flow.step]]\nget = \"/a\"\n[[flow.step]]\nget = \"/a\"\n[[flow.step]]\nname = \"\"\nget = \"/b\"\nsave = { \"a b\" = \"$\" }\n[[flow]]\nname = \"main\"\nstep = [{ pause = \"1s\" }]\n",
        &[
            "two steps are called \"GET /a\": the second of them",
            "not a usable name: a name has 1 to 200 characters on one line",
            "\"a b\" is no usable name: use letters, digits, `_` and `-`",
            "a flow that measures nothing: no step with a request or statement",
            "two flows are called \"main\": a name must be unique",
        ],
    );
}

#[test]
fn paths_headers_and_times_are_checked_before_any_load() {
    tells(
        "[[flow.step]]\nname = \"a\"\nget = \"http://h/\"\n[[flow.step]]\nname = \"b\"\nget = \"/a b\"\nheaders = { \"x y\" = \"z\" }\ntimeout = \"0s\"\n[[flow.step]]\nname = \"c\"\nget = \"/#top\"\n",
        &[
            "not a path: a path starts with `/`",
            "not a path: it has characters that a path cannot have",
            "not a header: x y: name or value has characters that HTTP does not allow",
            "not a timeout: it must be above zero",
            "not a path: it has characters that a path cannot have",
        ],
    );
}

#[test]
fn too_many_rounds_are_told_at_the_repeat() {
    tells(
        "[[flow.step]]\nrepeat = 1_000_000\nstep = [{ repeat = 1_000_000, step = [{ get = \"/\" }] }]\n",
        &["too many rounds in one pass: nested repeats multiply to more than 1,000,000"],
    );
    assert_eq!(
        problems("[[flow.step]]\nrepeat = 3\n[[flow.step]]\nget = \"/\"\n"),
        ["nothing to repeat: no steps below it"]
    );
}

#[test]
fn a_claim_says_what_about_what() {
    let step = "[[flow.step]]\nname = \"a\"\nget = \"/\"\n";
    let claim = |rest: &str| format!("{step}[[claim]]\n{rest}");
    tells(
        &claim("text = \"faster\"\nmetric = \"p50\"\nvalue = \"60\"\n"),
        &["not a claim: a duration needs a unit, as in \"60s\" or \"60ms\""],
    );
    tells(
        &claim("text = \"faster\"\nvalue = \"-60%\"\n"),
        &["a claim without a metric: `metric` is missing"],
    );
    tells(
        &claim("metric = \"p50\"\nvalue = \"-60%\"\n"),
        &["a claim that claims nothing: `text` or `value` is missing"],
    );
    tells(
        &claim("text = \"faster\"\nmetric = \"p50\"\nvalue = \"-60%\"\nstep = \"b\"\nvariant = \"c\"\n"),
        &[
            "no step is called \"b\": unknown step",
            "no claim can be about \"c\": the scenario has no variants",
        ],
    );
}
