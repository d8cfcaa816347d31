//! A run's intervals as columns for charts and tables.
//!
//! Long runs are merged to a bounded number of columns: counts add up,
//! histograms merge, percentiles come from the merged histogram. A second that
//! the run does not know stays a gap. Every histogram is decoded once.

use crate::{
    run::{Counts, Interval, Merge, Run, quantile},
    sample::ErrorClass,
};

/// Response times are told apart in so many steps per factor of ten where they are drawn as areas.
pub(super) const CELLS_PER_DECADE: f64 = 16.0;

/// A window is cut into so many blocks to see how its quantiles vary.
const BLOCKS: usize = 10;

/// What is drawn of a run over time.
#[derive(Debug, Default)]
pub(super) struct Timeline {
    /// Stretches of equal length.
    pub(super) columns: Vec<Column>,
    /// The response times of ten parts of the window, as equal as columns allow; empty ones are left out.
    pub(super) blocks: Vec<Counts>,
}

/// How many operations of each cell of response times, by the number of the cell.
pub(super) type Cells = Vec<(u16, u64)>;

/// The bounds of a cell, in nanoseconds.
pub(super) fn bounds_of(cell: u16) -> [f64; 2] {
    [cell, cell + 1].map(|edge| 10f64.powf(f64::from(edge) / CELLS_PER_DECADE))
}

/// Response times by cell, in order.
fn cells(values: &[(u64, u64)]) -> Cells {
    let mut cells: Cells = Vec::new();
    for (value, more) in values {
        let cell = (((*value).max(1) as f64).log10() * CELLS_PER_DECADE) as u16;
        match cells.last_mut().filter(|(last, _)| *last == cell) {
            Some((_, count)) => *count = count.saturating_add(*more),
            None => cells.push((cell, *more)),
        }
    }
    cells
}

/// One stretch of the timeline. Times are response times in nanoseconds.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Column {
    /// Its first second.
    pub(super) start_s: u64,
    /// How many seconds of measuring it covers; the last one of the window may be cut short.
    pub(super) width_s: f64,
    /// Whether the run has any record of this stretch.
    pub(super) known: bool,
    /// Flow starts due.
    pub(super) planned: u64,
    /// Flows started.
    pub(super) sent: u64,
    /// Flow starts dropped.
    pub(super) dropped: u64,
    /// Flows that ended well.
    pub(super) completed: u64,
    /// Flows that ended at a failed step.
    pub(super) failed: u64,
    /// Median response time.
    pub(super) p50: Option<f64>,
    /// 95th percentile of the response time.
    pub(super) p95: Option<f64>,
    /// 99th percentile of the response time.
    pub(super) p99: Option<f64>,
    /// Longest response time.
    pub(super) max: Option<f64>,
    /// All response times.
    pub(super) cells: Cells,
    /// Operations that failed, those of the step alone where there is one.
    pub(super) failed_operations: u64,
    /// Operations of all steps that failed, by class.
    pub(super) errors: Vec<(ErrorClass, u64)>,
}

impl Column {
    /// A count as a rate per second.
    pub(super) fn per_second(&self, count: u64) -> Option<f64> {
        self.known.then(|| count as f64 / self.width_s)
    }

    /// Where it lies on the axis of time, in seconds.
    pub(super) fn middle_s(&self) -> f64 {
        self.start_s as f64 + self.width_s / 2.0
    }
}

/// The timeline in at most `most` columns of equal length.
///
/// With a step, the latencies are that step's alone; flows and errors are always all.
pub(super) fn timeline(run: &Run, step: Option<&str>, most: usize) -> Timeline {
    let Some(last) = run.intervals.iter().map(|interval| interval.k).max() else {
        return Timeline::default();
    };
    // A file may claim any second; more than the longest run that is accepted is not drawn.
    let seconds = last.min(crate::units::LONGEST.as_secs() + 3600) + 1;
    let width = seconds.div_ceil(most.max(1) as u64).max(1);
    let steps: Vec<bool> = run
        .steps
        .iter()
        .map(|s| step.is_none_or(|name| s.name == name))
        .collect();
    let mut groups: Vec<Vec<&Interval>> = vec![Vec::new(); seconds.div_ceil(width) as usize];
    for interval in &run.intervals {
        if let Some(group) = groups.get_mut((interval.k / width) as usize) {
            group.push(interval);
        }
    }
    let count = groups.len();
    let mut blocks: Vec<Merge> = vec![Merge::default(); BLOCKS];
    let at = |(at, group): (usize, Vec<&Interval>)| {
        let start_s = at as u64 * width;
        let (column, values) = column(start_s, covered(run, start_s, width), &group, &steps);
        blocks[at * BLOCKS / count].add(&values);
        column
    };
    Timeline {
        columns: groups.into_iter().enumerate().map(at).collect(),
        blocks: blocks
            .into_iter()
            .map(Merge::finish)
            .filter(|block| !block.is_empty())
            .collect(),
    }
}

/// How much of a column lies in the measured window, where the window ends in it.
///
/// A window that ends within a tenth of a second of the column's start counts
/// as ended before: dividing by so little would draw a spike.
fn covered(run: &Run, start_s: u64, width: u64) -> f64 {
    let remainder = run.duration_s - start_s as f64;
    let whole = width as f64;
    let least = if start_s == 0 { 1e-3 } else { 0.1 };
    if (least..whole).contains(&remainder) {
        remainder
    } else {
        whole
    }
}

/// A column, and its response times.
fn column(start_s: u64, width_s: f64, intervals: &[&Interval], steps: &[bool]) -> (Column, Counts) {
    let mut column = Column {
        start_s,
        width_s,
        known: !intervals.is_empty(),
        ..Column::default()
    };
    let mut merge = Merge::default();
    for interval in intervals {
        column.planned = column.planned.saturating_add(interval.planned);
        column.sent = column.sent.saturating_add(interval.sent);
        column.dropped = column.dropped.saturating_add(interval.dropped);
        column.completed = column.completed.saturating_add(interval.completed);
        column.failed = column.failed.saturating_add(interval.failed);
        let wanted = interval
            .steps
            .iter()
            .filter(|s| steps.get(s.step).is_some_and(|wanted| *wanted));
        for failed in &interval.errors {
            match column.errors.iter_mut().find(|(class, _)| *class == failed.class) {
                Some((_, count)) => *count = count.saturating_add(failed.count),
                None => column.errors.push((failed.class, failed.count)),
            }
        }
        for step in wanted {
            column.failed_operations = column.failed_operations.saturating_add(step.failed);
            if let Ok(values) = step.response_time.counts() {
                merge.add(&values);
            }
        }
    }
    let values = merge.finish();
    let at = |q| quantile(&values, q).map(|value| value as f64);
    (column.p50, column.p95, column.p99) = (at(0.5), at(0.95), at(0.99));
    column.max = values.last().map(|(value, _)| *value as f64);
    column.cells = cells(&values);
    (column, values)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::example;

    #[test]
    fn merged_columns_keep_every_count() {
        let run = example::run();
        let (fine, coarse) = (timeline(&run, None, 1000).columns, timeline(&run, None, 7).columns);
        assert_eq!((fine.len(), coarse.len()), (run.intervals.len(), 7));
        let sum = |columns: &[Column]| columns.iter().map(|c| c.completed + c.failed + c.sent).sum::<u64>();
        assert_eq!(sum(&fine), sum(&coarse));
        let max = |columns: &[Column]| columns.iter().filter_map(|c| c.max).fold(0.0, f64::max);
        assert_eq!(max(&fine), max(&coarse));
    }

    #[test]
    fn blocks_and_cells_hold_all_response_times() {
        let run = example::run();
        let Timeline { columns, blocks } = timeline(&run, None, 1000);
        assert_eq!(blocks.len(), BLOCKS);
        let counted: u64 = blocks.iter().map(|block| crate::run::total(block)).sum();
        let cells = || columns.iter().flat_map(|column| &column.cells);
        assert_eq!(cells().map(|(_, count)| count).sum::<u64>(), counted);
        let slowest = columns.iter().filter_map(|column| column.max).fold(0.0, f64::max);
        let last = cells().map(|(cell, _)| *cell).max().unwrap();
        let [low, high] = bounds_of(last);
        assert!(low <= slowest && slowest < high, "{low} {slowest} {high}");
    }

    #[test]
    fn a_missing_second_is_a_gap_and_a_short_one_is_scaled() {
        let mut run = example::run();
        run.intervals.retain(|interval| interval.k != 3);
        run.duration_s = 19.5;
        let columns = timeline(&run, None, 1000).columns;
        assert_eq!(
            (columns[3].known, columns[3].p50, columns[3].per_second(0)),
            (false, None, None)
        );
        assert_eq!(columns[19].width_s, 0.5);
        assert_eq!(columns[18].width_s, 1.0);
    }

    #[test]
    fn a_claim_of_an_absurd_second_does_not_exhaust_memory() {
        let mut run = example::run();
        run.intervals[0].k = u64::MAX;
        assert!(timeline(&run, None, 300).columns.len() <= 300);
    }
}
