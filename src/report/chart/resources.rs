//! `09-resources`: what the generator and the targets used, over time: was it us?

use super::{
    Picture, Scene, axis,
    canvas::{Canvas, Dash, Stroke, paint},
    frame::{self, Key, Mark, Plot},
    theme::{self, Format},
};
use crate::{
    report::words::{self, NAME, printable},
    run::UsageOverTime,
    units,
};

/// The generator itself.
const GENERATOR: Stroke = Stroke::solid(theme::INK, 3.0).with(Dash::Dashed);

/// Targets, in the order of the run; of more, only so many are drawn.
const TARGETS: [Stroke; 6] = [
    Stroke::solid(theme::CANDIDATE, 3.0),
    Stroke::solid(theme::FAILURE, 3.0),
    Stroke::solid(theme::OTHERS[1], 3.0),
    Stroke::solid(theme::DROPPED, 3.0),
    Stroke::solid(theme::OTHERS[0], 3.0),
    Stroke::solid(theme::LIGHT, 3.0),
];

/// The cores that there are.
const CORES: Stroke = Stroke::solid(theme::AXIS, 2.0);

/// Bytes in a MiB.
const MIB: f64 = 1_048_576.0;

/// Whether it is known.
pub(super) fn any(scene: &Scene<'_>) -> bool {
    series(scene).next().is_some()
}

/// Draws the chart: CPU above, memory below.
pub(super) fn draw(scene: &Scene<'_>, format: Format) -> Picture {
    // Who measured keeps no more samples than are drawn; a file may have any number.
    let series: Vec<(UsageOverTime, Stroke)> = series(scene).map(|(used, stroke)| (used.bounded(), stroke)).collect();
    let title = title(scene);
    let mut legend: Vec<Key> = series
        .iter()
        .map(|(used, stroke)| Key::new(Mark::Line(*stroke), label(used)))
        .collect();
    legend.push(Key::new(Mark::Line(CORES), "all cores"));
    let targets = scene.run.usage.iter().filter(|used| used.target.is_some()).count();
    let mut what = vec!["CPU of what still lives, and resident memory".to_owned()];
    if let Some(more) = targets.checked_sub(TARGETS.len()).filter(|more| *more > 0) {
        what.push(format!(
            "{} not drawn",
            words::counted(more as u64, "target", "targets")
        ));
    }
    let frame = scene.frame(title.clone(), &what, legend);
    let samples = || series.iter().flat_map(|(used, _)| &used.samples);
    let end_s = samples().map(|sample| sample.at_s).fold(scene.run.duration_s, f64::max);
    let cores = scene.run.generator.cores.max(1) as f64;
    let busiest = series.iter().flat_map(|(used, _)| used.cores());
    let busiest = busiest.map(|(_, cores)| cores).fold(cores, f64::max);
    let largest = samples().map(|sample| sample.memory_bytes).max().unwrap_or(0) as f64 / MIB;
    let elements = paint(format.size(), |canvas| {
        let [cpu, memory] = frame.panels(
            canvas,
            format,
            &axis::time(end_s),
            [
                axis::number(busiest, "cores busy"),
                axis::number(largest, "MiB of memory"),
            ],
        );
        canvas.line(&[cpu.at(0.0, cores), cpu.at(end_s, cores)], CORES);
        for (used, stroke) in &series {
            line(canvas, &cpu, used.cores(), *stroke);
            let memories = used.samples.iter();
            let memories = memories.map(|sample| (sample.at_s, sample.memory_bytes as f64 / MIB));
            line(canvas, &memory, memories, *stroke);
        }
    });
    Picture {
        title,
        elements,
        format,
    }
}

/// The generator last, so that it lies on top.
fn series<'s>(scene: &'s Scene<'_>) -> impl Iterator<Item = (&'s UsageOverTime, Stroke)> {
    let known = || scene.run.usage.iter().filter(|used| used.samples.len() > 1);
    let targets = known().filter(|used| used.target.is_some()).zip(TARGETS);
    let own = known().filter(|used| used.target.is_none()).take(1);
    targets.chain(own.map(|used| (used, GENERATOR)))
}

fn label(used: &UsageOverTime) -> String {
    used.target.as_deref().map_or_else(
        || "load generator".into(),
        |target| printable(&words::label(used.variant.as_deref(), target), NAME),
    )
}

fn line(canvas: &mut Canvas<'_>, plot: &Plot, values: impl Iterator<Item = (f64, f64)>, stroke: Stroke) {
    frame::broken_line(canvas, values.map(|(at_s, value)| Some(plot.at(at_s, value))), stroke);
}

/// How much of all cores the generator used, and the busiest of the others.
fn title(scene: &Scene<'_>) -> String {
    let cores = scene.run.generator.cores.max(1);
    let share = |used: &UsageOverTime| {
        let lasted = used.samples.last()?.at_s;
        let cpu_s: f64 = used.samples.iter().map(|sample| sample.cpu_s).sum();
        (lasted > 0.0).then(|| cpu_s / lasted / cores as f64)
    };
    let all = || scene.run.usage.iter();
    let own = all().find(|used| used.target.is_none()).and_then(share).unwrap_or(0.0);
    let own = format!(
        "The generator used {} of {}",
        units::format_share(own),
        words::counted(cores as u64, "core", "cores")
    );
    let targets = all().filter(|used| used.target.is_some());
    let busiest = targets
        .filter_map(|used| Some((share(used)?, used)))
        .max_by(|a, b| a.0.total_cmp(&b.0));
    match busiest {
        Some((share, used)) => format!("{own}, {} {}", label(used), units::format_share(share)),
        None => own,
    }
}
