//! The experiments that are shipped: their exact counters, their plans, and the
//! answers that two of them are about. Counts are those of PostgreSQL 15 and
//! hold to the digit there; on other versions only what no version changes.

use std::{collections::BTreeSet, path::Path};

use loadgate::{
    run::{Cache, Plan, Run},
    scenario,
    workload::{self, Action, Values},
};

use super::{
    Slots, Told,
    support::{postgres::installed, program::Desk},
};

/// One epoch of a slice or two: what is looked at is not time.
const SMALL: &[&str] = &[
    "load.duration=200ms",
    "trial.epochs=1",
    "trial.slice=100ms",
    "trial.lead_in=50ms",
    "trial.census=2",
];

/// As much as tells ten times the time.
const TIMED: &[&str] = &[
    "load.duration=1s",
    "trial.epochs=2",
    "trial.lead_in=100ms",
    "trial.census=2",
];

fn path_of(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("scenarios/experiments")
        .join(name);
    path.to_str().unwrap().to_owned()
}

pub(super) fn experiment(name: &str, sets: &[&str]) -> Told {
    Told::of(&Desk::new(), &path_of(name), sets)
}

/// The plan of the only statement of that variant.
fn plan<'r>(run: &'r Run, variant: &str) -> &'r Plan {
    let census = run.census.as_ref().unwrap();
    let of_variant = |step: usize| run.steps[step].variant.as_deref() == Some(variant);
    let counted = census.steps.iter().find(|counted| of_variant(counted.step));
    &counted.unwrap().plans[0].plan
}

fn nodes(plan: &Plan) -> Vec<&str> {
    plan.nodes.iter().map(|node| node.node.as_str()).collect()
}

#[test]
fn e01_an_index_saves_all_buffers_but_four() {
    if !installed() {
        return;
    }
    let _slot = Slots::one();
    let told = experiment("e01-index-auth-lookup.toml", TIMED);
    for step in ["by name", "by address"] {
        assert_eq!(told.counted("before", step, "buffers_per_operation"), 1979.0);
        assert_eq!(told.counted("after", step, "buffers_per_operation"), 4.0);
        assert_eq!(told.counted("after", step, "queries_per_operation"), 1.0);
        assert!(told.p50("after", step) * 10.0 < told.p50("before", step), "{step}");
    }
    assert_eq!(told.incidents(), &serde_json::json!([]));
}

#[test]
fn e08_a_covering_index_saves_buffers_until_rows_are_updated() {
    if !installed() {
        return;
    }
    let _slot = Slots::one();
    let told = experiment("e08-covering-include.toml", SMALL).exits(0);
    let buffers = |variant| told.counted(variant, "sum of a year", "buffers_per_operation");
    let (index, covering, updated) = (buffers("index"), buffers("covering"), buffers("covering, updated"));
    assert!(
        covering < 10.0 && index > 300.0 && updated > index,
        "{index} {covering} {updated}"
    );
    let run = told.ended.stored();
    let fetches = |variant| plan(&run, variant).heap_fetches();
    assert_eq!((fetches("index"), fetches("covering")), (None, Some(0)));
    assert!(fetches("covering, updated").unwrap() > 100);
    let shape = |variant| &plan(&run, variant).shape;
    assert_eq!(shape("covering"), shape("covering, updated"));
}

#[test]
fn e15_what_is_prepared_is_planned_no_more() {
    if !installed() {
        return;
    }
    let _slot = Slots::one();
    let told = experiment("e15-prepared-statements.toml", SMALL);
    for step in ["session", "user with roles"] {
        let plans = |variant| told.counted(variant, step, "plans_per_operation");
        assert_eq!(["simple", "extended", "prepared"].map(plans), [1.0, 1.0, 0.0], "{step}");
        let round_trips = |variant| told.counted(variant, step, "round_trips_per_operation");
        assert_eq!(["simple", "extended", "prepared"].map(round_trips), [1.0; 3], "{step}");
    }
}

#[test]
fn e20_each_rung_has_its_statements_round_trips_and_commits() {
    if !installed() {
        return;
    }
    let _slot = Slots::one();
    let told = experiment("e20-bulk-insert-ladder.toml", SMALL);
    for (variant, queries, round_trips, commits) in [
        ("autocommit", 50.0, 50.0, 50.0),
        ("one_tx", 50.0, 52.0, 1.0),
        ("pipeline", 50.0, 1.0, 1.0),
        ("values", 1.0, 1.0, 1.0),
        ("unnest", 1.0, 1.0, 1.0),
        ("copy", 1.0, 2.0, 1.0),
    ] {
        let counted = |counter| told.counted(variant, "store 50 rows", counter);
        assert_eq!(counted("queries_per_operation"), queries, "{variant}");
        assert_eq!(counted("round_trips_per_operation"), round_trips, "{variant}");
        assert_eq!(counted("transactions_per_operation"), commits, "{variant}");
        assert_eq!(counted("rows_per_operation"), 50.0, "{variant}");
        let errors = &told.step(variant, "store 50 rows")["errors"];
        assert_eq!(errors, &serde_json::json!({}), "{variant}");
    }
}

/// How many lookups e26 makes, and of how many sessions, by its seed alone.
fn drawn(name: &str) -> (u64, u64) {
    let loaded = scenario::load(Path::new(&path_of(name)), &[]).unwrap();
    let workload = workload::compile(loaded, &|_| None).unwrap();
    let workload::End::Passes(passes) = workload.load.end else {
        panic!("it has a number of passes")
    };
    let mut values = Values::new(&workload);
    let (mut lookups, mut keys) = (0, BTreeSet::new());
    for pass in 0..passes {
        values.begin(pass, &[]);
        let flow = workload.flow_of(pass);
        let cached = flow.actions.iter().find_map(|action| match action {
            Action::Step(step) => step.cache.as_ref(),
            _ => None,
        });
        if let Some(cached) = cached {
            let mut key = String::new();
            cached.key.render(&mut values, &mut key);
            lookups += 1;
            keys.insert(key);
        }
    }
    (lookups, keys.len() as u64)
}

#[test]
fn e26_what_a_cache_answers_is_given_by_the_seed() {
    if !installed() {
        return;
    }
    let _slot = Slots::one();
    let (lookups, distinct) = drawn("e26-query-cache-ttl.toml");
    assert_eq!(lookups, 5000);
    // K (1 - (1 - 1/K)^n) / n of 1,100 keys are new.
    let expected = 1.0 - 1100.0 * (1.0 - (1.0 - 1.0 / 1100.0_f64).powi(5000)) / 5000.0;
    let predicted = 1.0 - distinct as f64 / lookups as f64;
    assert!((predicted - expected).abs() < 0.002, "{predicted} {expected}");
    let told = experiment("e26-query-cache-ttl.toml", &[]).exits(0);
    let run = told.ended.stored();
    let cache = |name: &str| -> &Cache { run.caches.iter().find(|cache| cache.step == name).unwrap() };
    let kept = cache("60 s");
    assert_eq!((kept.hits, kept.misses), (lookups - distinct, distinct));
    assert_eq!((kept.evictions, kept.expirations, kept.invalidations), (0, 0, 0));
    assert!(kept.stale_reads > 0);
    let small = cache("200 at most");
    assert_eq!(small.evictions, small.misses - 200);
    assert!(small.hits < kept.hits / 2);
    let invalidated = cache("invalidated");
    assert!(invalidated.invalidations > 0);
    assert_eq!(invalidated.stale_reads, 0);
    assert!(cache("100 ms").hits <= kept.hits);
}

#[test]
fn e18_a_hundred_and_fifty_queries_become_four() {
    if !installed() {
        return;
    }
    let _slot = Slots::one();
    let told = experiment("e18-nplus1-bulk.toml", SMALL);
    for counter in ["queries_per_operation", "round_trips_per_operation"] {
        assert_eq!(told.counted("one by one", "store 50 emissions", counter), 150.0);
        assert_eq!(told.counted("at once", "store 50 emissions", counter), 4.0);
    }
}

#[test]
fn e19_what_grows_with_the_records_is_called_so() {
    if !installed() {
        return;
    }
    let _slot = Slots::one();
    let mut sets = SMALL.to_vec();
    sets.extend(["load.users=1", "data.emissions.times=5"]);
    let told = experiment("e19-nplus1-http.toml", &sets);
    let counted = |variant, counter| told.counted(variant, "store emissions", counter);
    assert_eq!(counted("naive", "queries_per_record"), 3.0);
    assert_eq!(counted("naive", "queries_per_operation"), 15.0);
    assert_eq!(counted("optimised", "queries_per_record"), 0.0);
    assert_eq!(counted("optimised", "queries_per_operation"), 2.0);
    let notes = told.notes();
    assert!(
        notes.contains("naive: store emissions is N+1: 3 queries more for each record (30 for 10 records, 150 for 50)"),
        "{notes}"
    );
    assert!(!notes.contains("optimised: store emissions is N+1"), "{notes}");
    assert!(told.page.contains("naive: store emissions is N+1"));
}

#[test]
fn e24_whoever_waits_before_trying_again_is_out_of_the_way() {
    if !installed() {
        return;
    }
    let _slot = Slots::all();
    let sets = [
        "load.duration=5s",
        "trial.epochs=1",
        "trial.slice=1s",
        "trial.lead_in=500ms",
        "trial.census=2",
    ];
    let told = experiment("e24-retry-policies.toml", &sets);
    let figure = |variant: &str, key: &str| told.step(variant, "count")[key].as_f64().unwrap();
    let failed = |variant: &str| figure(variant, "failed") / figure(variant, "count");
    assert!(failed("none") > 0.05, "{}", failed("none"));
    assert!(
        failed("scaled") < failed("none") / 2.0,
        "{} {}",
        failed("scaled"),
        failed("none")
    );
    let tried = told.report["retries"].as_array().unwrap();
    let variants: Vec<&str> = tried.iter().map(|entry| entry["variant"].as_str().unwrap()).collect();
    assert_eq!(variants, ["at once", "transaction", "scaled", "scaled, no jitter"]);
    for entry in tried {
        assert!(entry["recovered"].as_u64().unwrap() > 0, "{entry}");
    }
    // Who waits is out of the way of the others: fewer of them lose.
    let tries = |variant: &str| {
        let entry = tried.iter().find(|entry| entry["variant"] == variant).unwrap();
        entry["attempts"].as_f64().unwrap() / figure(variant, "completed")
    };
    assert!(
        tries("at once") > tries("transaction"),
        "{} {}",
        tries("at once"),
        tries("transaction")
    );
    assert!(told.page.contains("Retries and breakers"));
}

#[test]
fn e27_an_index_saves_as_much_as_partitions_do() {
    if !installed() {
        return;
    }
    let _slot = Slots::one();
    let told = experiment("e27-partition-range.toml", SMALL).exits(0);
    let buffers = |variant| told.counted(variant, "sum of a month", "buffers_per_operation");
    let all = ["flat", "b-tree", "BRIN", "partitions"].map(buffers);
    assert_eq!(all, [6115.0, 114.0, 290.0, 255.0]);
}

#[test]
fn e29_a_sort_that_fits_writes_no_files() {
    if !installed() {
        return;
    }
    let _slot = Slots::one();
    let told = experiment("e29-work-mem-spill.toml", SMALL);
    let counted = |variant| told.counted(variant, "rank emissions", "temp_blocks_per_operation");
    assert_eq!((counted("4 MB"), counted("16 MB")), (319.0, 0.0));
    let run = told.ended.stored();
    assert!(plan(&run, "4 MB").spills() && !plan(&run, "16 MB").spills());
    assert!(told.page.contains("external merge") && told.page.contains("quicksort"));
}

#[test]
fn e31_more_buffers_may_take_less_time() {
    if !installed() {
        return;
    }
    let _slot = Slots::one();
    let told = experiment("e31-random-page-cost.toml", TIMED);
    let buffers = |variant| told.counted(variant, "sum per facility", "buffers_per_operation");
    assert_eq!(buffers("4"), 2898.0);
    assert!(buffers("1.1") > 4000.0, "{}", buffers("1.1"));
    assert!(told.p50("1.1", "sum per facility") < told.p50("4", "sum per facility"));
    let run = told.ended.stored();
    let (before, after) = (plan(&run, "4"), plan(&run, "1.1"));
    assert!(nodes(before).contains(&"Hash Join"), "{:?}", nodes(before));
    assert!(nodes(after).contains(&"Nested Loop"), "{:?}", nodes(after));
    assert_ne!(before.shape, after.shape);
    assert!(told.page.contains("Nested Loop"));
    // More pages, though not twice as many: that is a warning, whatever the time says.
    let reasons = told.report["reasons"].to_string();
    assert!(
        reasons.contains("1.1: the plan of sum per facility is another, and no cheaper, than in \\\"4\\\""),
        "{reasons}"
    );
    assert!(reasons.contains("Hash Join became Nested Loop"), "{reasons}");
}

/// The difference is told with input and both answers, in the document and on the page.
fn answers_differ(told: &Told, input: &str, reference: &str, candidate: &str) {
    let equivalence = &told.report["equivalence"];
    let first = &equivalence["differences"][0];
    assert_eq!(first["variant"], "as reported");
    for (key, part) in [("input", input), ("reference", reference), ("candidate", candidate)] {
        assert!(first[key].as_str().unwrap().contains(part), "{key}: {equivalence}");
        let on_page = part.replace('"', "&#34;");
        assert!(told.page.contains(&on_page), "{key}: {on_page}");
    }
    let sentence = told.report["sentence"].as_str().unwrap();
    assert!(
        sentence.contains("answers") && sentence.contains("otherwise"),
        "{sentence}"
    );
}

#[test]
fn e16_a_role_that_is_null_is_another_answer() {
    if !installed() {
        return;
    }
    let _slot = Slots::one();
    // Two users in a hundred have no role.
    let mut sets = SMALL.to_vec();
    sets.push("trial.census=100");
    let told = experiment("e16-role-aggregation.toml", &sets).exits(3);
    answers_differ(&told, "$1 = 50", "\"roles\":[]", "\"roles\":[{\"role\":null");
}

#[test]
fn e17_a_permission_that_is_never_given_is_another_answer() {
    if !installed() {
        return;
    }
    let _slot = Slots::one();
    let told = experiment("e17-permission-batch.toml", SMALL).exits(3);
    answers_differ(
        &told,
        "{resource_0,",
        "\"has_permission\":true",
        "\"has_permission\":false",
    );
}

#[test]
fn e28_a_dropped_partition_touches_no_row() {
    if !installed() {
        return;
    }
    let _slot = Slots::one();
    let told = experiment("e28-partition-archive.toml", SMALL);
    let rows = |variant: &str| told.counted(variant, "archive", "rows_per_operation");
    assert_eq!((rows("delete"), rows("partition")), (40_000.0, 0.0));
    let records = |variant: &str| {
        let counters = &told.step(variant, "archive")["counters"]["wal_records_per_operation"];
        counters["high"].as_f64().unwrap()
    };
    assert!(
        records("delete") >= 40_000.0 && records("partition") < 400.0,
        "{}",
        told.ended.printed()
    );
}

#[test]
fn e32_settings_that_do_nothing_here_change_no_count_and_no_plan() {
    if !installed() {
        return;
    }
    let _slot = Slots::one();
    let told = experiment("e32-null-settings.toml", SMALL);
    let steps = told.report["steps"].as_array().unwrap();
    let counted: Vec<_> = steps
        .iter()
        .map(|step| (&step["name"], &step["counters"]["buffers_per_operation"]))
        .collect();
    let (before, after) = counted.split_at(counted.len() / 2);
    assert!(before == after && !before.is_empty(), "{}", told.ended.printed());
    assert!(!told.ended.stdout.contains(" became "), "{}", told.ended.printed());
}

#[test]
fn e35_what_is_counted_tells_three_defects_of_six_at_once_and_nothing_of_the_clean_copy() {
    if !installed() {
        return;
    }
    let _slot = Slots::one();
    let told = experiment("e35-injected-regression.toml", SMALL).exits(3);
    let comparisons = told.report["comparisons"].as_array().unwrap();
    let broken = |variant: &str, metric: &str| {
        let mut all = comparisons.iter();
        let found = all.find(|entry| entry["variant"] == variant && entry["metric"] == metric);
        found.unwrap()["verdict"] == "critical"
    };
    assert!(broken("a query more", "queries_per_operation"));
    assert!(broken("no index", "buffers_per_operation"));
    assert!(broken("10 % more rows", "rows_per_operation"));
    for metric in ["queries_per_operation", "buffers_per_operation", "rows_per_operation"] {
        assert!(!broken("clean again", metric), "{metric}");
    }
}
