//! The charts drawn from realistic, empty and hostile runs.

use std::collections::BTreeMap;

use super::*;
use crate::{
    metric::Counter,
    report::example,
    run::{Census, Count, StepCensus},
};

fn draw_all(run: &Run, comparison: &Comparison, baseline: Option<&Run>) -> Vec<Picture> {
    let scene = Scene::new(run, comparison, baseline);
    let formats = [Format::Wide, Format::Narrow];
    scene
        .charts()
        .flat_map(|chart| formats.map(|format| scene.draw(chart, format)))
        .collect()
}

/// Writes a picture to where it can be looked at, when asked to by `LOADGATE_LOOK`.
fn look(name: &str, run: &Run, comparison: &Comparison, baseline: Option<&Run>) {
    let Some(directory) = std::env::var_os("LOADGATE_LOOK").map(std::path::PathBuf::from) else {
        return;
    };
    let scene = Scene::new(run, comparison, baseline);
    for chart in scene.charts() {
        for format in [Format::Wide, Format::Narrow] {
            let file = format!("{name}-{}-{format:?}.png", chart.name());
            crate::run::write_atomically(&directory.join(file), &scene.draw(chart, format).png().unwrap()).unwrap();
        }
    }
}

#[test]
fn the_title_is_the_finding_and_the_subject_its_step() {
    let (run, comparison, baseline) = (example::run(), example::comparison(), example::baseline());
    look("full", &run, &comparison, Some(&baseline));
    let scene = Scene::new(&run, &comparison, Some(&baseline));
    assert_eq!(scene.step, Some("pay"));
    let title = scene.draw(Chart::Percentiles, Format::Wide).title;
    assert!(title.starts_with("pay: p99 response time 26 % slower, "), "{title}");
    let svg = scene.draw(Chart::Percentiles, Format::Wide).elements;
    for text in [
        "pay, this run",
        "pay, baseline",
        "list orders",
        "99.9 %",
        "p95 critical limit 250 ms",
    ] {
        assert!(svg.contains(text), "{text}");
    }
}

#[test]
fn without_a_finding_all_steps_are_shown_together() {
    let (run, comparison) = (example::run(), example::alone());
    look("alone", &run, &comparison, None);
    let scene = Scene::new(&run, &comparison, None);
    assert_eq!(scene.step, None);
    assert!(
        scene
            .draw(Chart::LatencyTime, Format::Wide)
            .elements
            .contains("no baseline")
    );
}

/// The run with counts of its first step: queries, and buffers that the takings do not agree on.
fn counted(queries: u64, buffers: [u64; 2]) -> Run {
    let count = |first, second| Count { first, second };
    let mut run = example::run();
    run.census = Some(Census {
        passes: 10,
        steps: vec![StepCensus {
            operations: 10,
            counts: BTreeMap::from([
                (Counter::Queries, count(queries, queries)),
                (Counter::Buffers, count(buffers[0], buffers[1])),
            ]),
            ..StepCensus::default()
        }],
        notes: Vec::new(),
    });
    run
}

#[test]
fn counts_are_drawn_where_they_differ_for_certain() {
    let titled = |run: &Run, baseline: &Run, name: &str| {
        look(name, run, &example::comparison(), Some(baseline));
        let comparison = example::comparison();
        let scene = Scene::new(run, &comparison, Some(baseline));
        let drawn = scene.charts().any(|chart| chart == Chart::Counted);
        drawn.then(|| scene.draw(Chart::Counted, Format::Wide).title)
    };
    let before = counted(1500, [10, 20]);
    assert_eq!(
        titled(&counted(40, [20, 30]), &before, "counted").unwrap(),
        "pay: queries per operation 150 → 4"
    );
    let nothing = titled(&counted(0, [100, 100]), &before, "counted-nothing").unwrap();
    assert_eq!(nothing, "pay: queries per operation 150 → 0, and 1 other count differs");
    assert_eq!(titled(&before, &before, "counted-same"), None);
}

#[test]
fn every_picture_is_a_png_of_its_size() {
    let (run, comparison) = (example::run(), example::alone());
    let scene = Scene::new(&run, &comparison, None);
    let png = scene.draw(Chart::Throughput, Format::Wide).png().unwrap();
    let side = |at: usize| u32::from_be_bytes(png[at..at + 4].try_into().unwrap());
    assert_eq!((&png[1..4], side(16), side(20)), (&b"PNG"[..], 1600, 900));
}

#[test]
fn a_run_without_samples_says_so() {
    let (run, comparison) = (example::empty(), example::alone());
    look("empty", &run, &comparison, None);
    for picture in draw_all(&run, &comparison, None) {
        assert!(picture.title.starts_with("No "), "{}", picture.title);
        assert!(picture.png().is_ok());
    }
}

#[test]
fn one_value_in_one_second_is_still_a_picture() {
    let mut run = example::empty();
    run.steps.truncate(1);
    run.steps[0].response_time.completed.record(5_000_000);
    run.steps[0].service_time.completed.record(5_000_000);
    run.duration_s = 0.2;
    run.accounting = crate::run::Accounting {
        scheduled: 1,
        completed: 1,
        ..Default::default()
    };
    let mut interval = example::run().intervals.remove(0);
    (interval.planned, interval.sent, interval.completed, interval.failed) = (1, 1, 1, 0);
    interval.steps.truncate(1);
    interval.steps[0].response_time = run.steps[0].response_time.completed.encode();
    run.intervals = vec![interval];
    look("one", &run, &example::alone(), None);
    for picture in draw_all(&run, &example::alone(), None) {
        assert!(picture.png().is_ok());
    }
}

#[test]
fn a_pause_in_a_run_is_a_gap_in_its_lines() {
    let mut run = example::run();
    for interval in &mut run.intervals[5..8] {
        interval.steps.clear();
    }
    run.intervals.remove(14);
    look("gaps", &run, &example::alone(), None);
    let draw = |run: &Run| {
        Scene::new(run, &example::alone(), None)
            .draw(Chart::LatencyTime, Format::Wide)
            .elements
    };
    let (whole, broken) = (draw(&example::run()), draw(&run));
    let lines = |svg: &str| svg.matches("<polyline").count();
    assert_eq!(lines(&broken), lines(&whole) + 6, "three lines, each in three pieces");
}

#[test]
fn hostile_names_stay_text_and_inside() {
    for text in [
        "<script>alert(1)</script>",
        "a\u{202e}b\n\u{0}c",
        &"x".repeat(10_000),
        "]]></svg><svg onload=1>",
    ] {
        let (mut run, mut comparison) = (example::run(), example::comparison());
        example::rename(&mut run, &mut comparison, text);
        look(&format!("hostile-{}", text.len()), &run, &comparison, Some(&run));
        for picture in draw_all(&run, &comparison, Some(&run)) {
            let svg = &picture.elements;
            assert!(!svg.contains("<script") && !svg.contains('\u{202e}') && !svg.contains('\0'));
            assert!(!svg.contains("<svg"));
            assert!(svg.len() < 200_000, "{}", svg.len());
            assert!(picture.png().is_ok());
        }
    }
}

#[test]
fn a_long_run_is_drawn_in_bounded_space() {
    let mut run = example::run();
    let mut second = run.intervals[3].clone();
    second.steps.truncate(1);
    run.intervals = (0..900).map(|k| crate::run::Interval { k, ..second.clone() }).collect();
    run.duration_s = 900.0;
    look("long", &run, &example::alone(), Some(&run));
    for picture in draw_all(&run, &example::alone(), Some(&run)) {
        assert!(picture.elements.len() < 150_000, "{}", picture.elements.len());
    }
}
