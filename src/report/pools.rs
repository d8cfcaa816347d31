//! Pools of connections as a table, and as the entry of `report.json`.

use super::{
    document::{PoolEntry, PoolGauges},
    json::latency_entry,
    words,
};
use crate::{
    run::{Latency, Pool, PoolSample, Run},
    units,
};

/// The columns of a pool's samples in `report.json`.
pub(super) const COLUMNS: [&str; 9] = [
    "at_s",
    "database.pool.connections.used",
    "database.pool.connections.free",
    "database.pool.connections.waiting",
    "database.pool.utilization",
    "database.pool.health",
    "success",
    "timeouts",
    "longest_wait_s",
];

/// What the table says above its columns.
pub(super) const HEADER: [&str; 8] = [
    "pool",
    "min–max",
    "used at most",
    "wait p50",
    "wait p99",
    "timeouts, shed",
    "made",
    "health",
];

/// The pools of a run.
pub(super) fn entries(run: &Run) -> Vec<PoolEntry> {
    run.pools.iter().map(|pool| entry(run, pool)).collect()
}

fn entry(run: &Run, pool: &Pool) -> PoolEntry {
    let mut acquire = Latency::new();
    let groups = run.targets.iter().filter(|target| {
        let shares = target.members.iter().any(|member| member.target == pool.target);
        shares && target.variant == pool.variant
    });
    // Which of its members an operation of a group went to is not known any more.
    let names: Vec<&String> = groups.map(|group| &group.name).chain([&pool.target]).collect();
    let own = run.steps.iter().filter(|step| {
        let flow = pool.flow.as_ref().is_none_or(|flow| step.flow == *flow);
        names.contains(&&step.target) && step.variant == pool.variant && flow
    });
    for step in own {
        acquire.add(&step.acquire);
    }
    PoolEntry {
        target: pool.target.clone(),
        variant: pool.variant.clone(),
        flow: pool.flow.clone(),
        limits: pool.limits.clone(),
        worst: worst(pool),
        health_score: pool.health_score,
        window: pool.window,
        events: pool.events,
        acquire: latency_entry(&acquire),
        columns: COLUMNS,
        samples: pool.samples.iter().map(row).collect(),
    }
}

/// The worst that was seen of each.
fn worst(pool: &Pool) -> PoolGauges {
    let samples = || pool.samples.iter();
    PoolGauges {
        used: samples().map(|sample| sample.used).max(),
        free: samples().map(|sample| sample.free).min(),
        waiting: samples().map(|sample| sample.waiting).max(),
        utilization: samples().map(|sample| sample.utilization).reduce(f64::max),
        health: pool.health,
    }
}

fn row(sample: &PoolSample) -> [serde_json::Value; 9] {
    [
        sample.at_s.into(),
        sample.used.into(),
        sample.free.into(),
        sample.waiting.into(),
        sample.utilization.into(),
        sample.health.word().into(),
        sample.success.into(),
        sample.timeouts.into(),
        sample.longest_wait_s.into(),
    ]
}

/// One pool as shown: its name, then a cell for each other column.
pub(super) struct PoolRow {
    /// `db`, `after: db`.
    pub(super) name: String,
    /// As [`HEADER`] says, without the last.
    pub(super) cells: [String; 6],
    /// The last.
    pub(super) health: String,
}

/// The pools, as shown.
pub(super) fn rows(pools: &[PoolEntry]) -> Vec<PoolRow> {
    pools.iter().map(shown).collect()
}

fn shown(pool: &PoolEntry) -> PoolRow {
    let PoolEntry {
        limits,
        window,
        acquire,
        worst,
        ..
    } = pool;
    let name = match &pool.flow {
        Some(flow) => format!("{} ({flow})", pool.target),
        None => pool.target.clone(),
    };
    let time = |us: Option<f64>| super::tables::micros(us);
    let score = pool
        .health_score
        .map(|score| format!(" ({})", units::format_share(score)));
    PoolRow {
        name: words::label(pool.variant.as_deref(), &name),
        cells: [
            format!("{}–{}", limits.min, limits.max),
            worst.used.map_or(words::UNKNOWN.to_owned(), words::count),
            time(acquire.p50),
            time(acquire.p99),
            format!("{}, {}", words::count(window.timeouts), words::count(window.shed)),
            words::count(pool.events.create_success),
        ],
        health: format!("{}{}", worst.health.word(), score.unwrap_or_default()),
    }
}
