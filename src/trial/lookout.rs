//! What is seen beside the load in one window of it: what the targets use, what their
//! databases do, and how the pools of connections to them do.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use rustix::process::Pid;
use tokio_postgres::Config;

use super::{servers::Servers, stage::Stage};
use crate::{
    executor::Event,
    lab::{Usage, own_memory, usage_of},
    observer::{ProcessClock, postgres::Activity},
    run::{Pool, Resources, TargetActivity, UsageOverTime, UsageSample},
    target::PoolWatch,
};

/// So long counters of sessions that stay open are waited for, after the only window of a run,
pub(super) const PATIENCE: Duration = Duration::from_millis(1200);

/// and after one of many.
pub(super) const PATIENCE_OF_EPOCHS: Duration = Duration::from_millis(300);

/// A share of a shorter time says nothing.
const SHORTEST: Duration = Duration::from_millis(500);

/// Looks at one window of load.
pub(super) struct Lookout {
    generator: Own,
    groups: Vec<Group>,
    databases: Vec<Watched>,
    pools: Vec<PoolWatch>,
    /// When the databases were first looked at, and when the window began.
    opened: Instant,
    began: Option<Instant>,
}

/// What was found out in one window of load.
pub(super) struct Found {
    pub(super) resources: Vec<Resources>,
    pub(super) usage: Vec<UsageOverTime>,
    pub(super) activity: Vec<TargetActivity>,
    pub(super) pools: Vec<Pool>,
}

/// Which target something belongs to.
#[derive(Clone)]
struct Place {
    target: String,
    /// Name of the variant; `None` without variants and for what several share.
    variant: Option<String>,
    /// Index of the stage; `None` for a server of all.
    stage: Option<usize>,
}

/// The database of a target.
struct Watched {
    place: Place,
    server: Config,
    name: String,
    activity: Activity,
}

/// The processes of a target.
struct Group {
    place: Place,
    leader: Pid,
    before: Usage,
    used: Option<Usage>,
    over_time: OverTime,
}

/// The generator itself.
struct Own {
    clock: ProcessClock,
    over_time: OverTime,
}

/// What was used so far, and how it came about.
struct OverTime {
    cpu: Duration,
    series: UsageOverTime,
}

impl OverTime {
    fn of(target: Option<String>, variant: Option<String>) -> Self {
        let samples = Vec::new();
        Self {
            cpu: Duration::ZERO,
            series: UsageOverTime {
                target,
                variant,
                samples,
            },
        }
    }

    /// What was `used` by now, `elapsed` after the window began.
    fn note(&mut self, elapsed: Duration, used: Usage) {
        self.series.push(UsageSample {
            at_s: elapsed.as_secs_f64(),
            cpu_s: used.cpu.saturating_sub(self.cpu).as_secs_f64(),
            memory_bytes: used.memory,
        });
        self.cpu = used.cpu;
    }
}

impl Lookout {
    /// Begins to look at databases; processes are looked at when the load begins.
    pub(super) async fn begin(stages: &[Stage], servers: &Servers) -> Self {
        let mut groups = Vec::new();
        let mut databases: Vec<Watched> = Vec::new();
        let group = |place: Place, leader: Pid| Group {
            over_time: OverTime::of(Some(place.target.clone()), place.variant.clone()),
            place,
            leader,
            before: Usage::default(),
            used: None,
        };
        for (at, stage) in stages.iter().enumerate() {
            let place = |target: &str| Place {
                target: target.to_owned(),
                variant: stage.workload.variant_name().map(str::to_owned),
                stage: Some(at),
            };
            groups.extend(stage.groups().map(|(target, leader)| group(place(target), leader)));
            for (target, database) in stage.workload.targets.iter().zip(stage.databases()) {
                let Some((server, name)) = database.as_ref().and_then(|database| database.on_server()) else {
                    continue;
                };
                let same = |known: &&mut Watched| known.name == name && known.server == *server.config();
                if let Some(shared) = databases.iter_mut().find(same) {
                    shared.place.variant = None;
                    continue;
                }
                // Who cannot be asked was told with the census, or is missed in the report.
                if let Ok(activity) = Activity::start(server.config(), server.tls(), name).await {
                    databases.push(Watched {
                        place: place(&target.name),
                        server: server.config().clone(),
                        name: name.to_owned(),
                        activity,
                    });
                }
            }
        }
        let shared = |target: &str| Place {
            target: target.to_owned(),
            variant: None,
            stage: None,
        };
        groups.extend(servers.groups().map(|(target, leader)| group(shared(target), leader)));
        let pools = stages.iter().flat_map(|stage| {
            let variant = stage.workload.variant_name().map(str::to_owned);
            let pools = stage.pools();
            pools.map(move |(target, pool)| pool.watch(target.to_owned(), variant.clone()))
        });
        Self {
            generator: Own {
                clock: ProcessClock::start(),
                over_time: OverTime::of(None, None),
            },
            groups,
            databases,
            pools: pools.collect(),
            opened: Instant::now(),
            began: None,
        }
    }

    pub(super) fn look(&mut self, event: Event) {
        if let Event::Began = event {
            self.began = Some(Instant::now());
        }
        let elapsed = self.began.map_or(Duration::ZERO, |began| began.elapsed());
        for pool in &mut self.pools {
            match event {
                Event::Began => pool.begin(),
                Event::Progress { elapsed, .. } => pool.look(elapsed),
                Event::Ended => pool.end(elapsed),
                _ => {}
            }
        }
        match event {
            Event::Began => {
                let leaders: Vec<Pid> = self.groups.iter().map(|group| group.leader).collect();
                self.generator.clock = ProcessClock::start();
                for (group, usage) in self.groups.iter_mut().zip(usage_of(&leaders)) {
                    group.before = usage;
                    group.over_time.cpu = usage.cpu;
                }
            }
            // At the end sessions are still open: what they used is still to be seen.
            Event::Ended => self.note(elapsed, true),
            // The clock that ticks once a second ticks at once, too.
            Event::Progress { .. } if elapsed >= SHORTEST => self.note(elapsed, false),
            _ => {}
        }
    }

    /// What all have used so far.
    fn note(&mut self, elapsed: Duration, ended: bool) {
        let own = Usage {
            cpu: self.generator.clock.cpu(),
            memory: own_memory(),
        };
        self.generator.over_time.note(elapsed, own);
        let leaders: Vec<Pid> = self.groups.iter().map(|group| group.leader).collect();
        for (group, now) in self.groups.iter_mut().zip(usage_of(&leaders)) {
            group.over_time.note(elapsed, now);
            if ended {
                group.used = Some(now);
            }
        }
    }

    /// What was used by each target, seen in each database and done by each pool. `loaded` is how long each stage
    /// was loaded; counters that come late are waited for no longer than `patience`.
    pub(super) async fn end(self, epoch: u32, loaded: &[Duration], patience: Duration) -> Found {
        let mut resources = Vec::new();
        let mut usage = vec![self.generator.over_time.series];
        for group in self.groups {
            usage.push(group.over_time.series);
            let Some(used) = group.used else { continue };
            let all: Duration = loaded.iter().sum();
            let loaded = group.place.stage.map_or(all, |stage| loaded[stage]);
            resources.push(Resources {
                target: group.place.target,
                variant: group.place.variant,
                epoch,
                cpu_s: used.cpu.saturating_sub(group.before.cpu).as_secs_f64(),
                memory_bytes: used.memory,
                loaded_s: loaded.as_secs_f64(),
            });
        }
        let before = self.began.map_or(0.0, |began| (began - self.opened).as_secs_f64());
        let seen = self
            .databases
            .into_iter()
            .map(|Watched { place, activity, .. }| async move {
                let mut activity = activity.stop(patience).await;
                // From the begin of the window, as all else on the timeline; earlier is below zero.
                activity.events.iter_mut().for_each(|event| event.at_s -= before);
                TargetActivity {
                    target: place.target,
                    variant: place.variant,
                    activity,
                }
            });
        Found {
            resources,
            usage,
            activity: join_all(seen).await,
            pools: self.pools.into_iter().map(PoolWatch::result).collect(),
        }
    }
}
