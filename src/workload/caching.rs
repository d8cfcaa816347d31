//! `cache` and `writes` of steps → caches in front of steps, and what makes their
//! answers untrue. What a cache does while load runs is none of its business.

use std::time::Duration;

use super::{Cache, CacheUse, CacheWrite, Encoding, Template, kind::Kind, steps::Steps};
use crate::scenario::{self, At};

/// So many answers are kept unless the scenario says otherwise.
const MAX: i64 = 10_000;

/// The caches of all steps of flows, by the names of the steps; what they keep is filled in later:
/// a step that writes may stand before the one that reads.
pub(super) fn announced(flows: &[At<scenario::Flow>]) -> Vec<Cache> {
    let mut caches = Vec::new();
    flows.iter().for_each(|flow| announce(&flow.value.step, &mut caches));
    caches
}

fn announce(steps: &[At<scenario::Step>], caches: &mut Vec<Cache>) {
    for At { value: step, .. } in steps {
        if step.cache.is_some() {
            let given = step.name.as_ref().map(|name| name.value.clone());
            let name = given.or_else(|| Kind::all(step).first().map(Kind::default_name));
            caches.push(Cache {
                name: name.unwrap_or_default(),
                ttl: Duration::ZERO,
                max: 0,
            });
        }
        announce(&step.step, caches);
    }
}

impl Steps<'_, '_> {
    /// The cache in front of a step.
    pub(super) fn cache(&mut self, name: &str, at: Option<&At<scenario::Cache>>) -> Option<CacheUse> {
        let at = at?;
        self.only_in_flows("cache", at);
        let scenario::Cache { key, ttl, max } = &at.value;
        let key = self.cache_key(at, key.as_ref());
        let ttl = match ttl {
            Some(ttl) => self.compiler.timeout(Some(ttl), Duration::ZERO),
            None => {
                let help = Some("write for example ttl = \"60s\"".into());
                self.compiler
                    .problems
                    .add_missing(at.span(), "a cache that never forgets", "`ttl` is missing", help);
                Duration::ZERO
            }
        };
        let max = self.compiler.integer(max.as_ref(), "`max`", 1..=10_000_000, MAX);
        let cache = self.caches.iter().position(|cache| cache.name == name)?;
        let name = name.to_owned();
        self.caches[cache] = Cache {
            name,
            ttl,
            max: max as usize,
        };
        Some(CacheUse { cache, key: key? })
    }

    /// What a step changes of what caches hold.
    pub(super) fn writes(&mut self, written: &[At<scenario::Write>]) -> Vec<CacheWrite> {
        let mut writes = Vec::new();
        for at in written {
            self.only_in_flows("writes", at);
            let scenario::Write { cache, key, invalidate } = &at.value;
            let key = self.cache_key(at, key.as_ref());
            let Some(name) = cache else {
                let help = Some("name the step that has the cache: { cache = \"…\", key = \"…\" }".into());
                self.compiler
                    .problems
                    .add_missing(at.span(), "a write to no cache", "`cache` is missing", help);
                continue;
            };
            let Some(cache) = self.caches.iter().position(|cache| cache.name == name.value) else {
                self.unknown_cache(name);
                continue;
            };
            writes.extend(key.map(|key| CacheWrite {
                cache,
                key,
                invalidate: invalidate.unwrap_or(false),
            }));
        }
        writes
    }

    fn unknown_cache(&mut self, name: &At<String>) {
        let known: Vec<&str> = self.caches.iter().map(|cache| cache.name.as_str()).collect();
        let help = if known.is_empty() {
            "give the step that reads a cache = { key = \"…\", ttl = \"60s\" }".to_owned()
        } else {
            format!("steps with a cache: {}", known.join(", "))
        };
        let title = format!("no step with a cache is called \"{}\"", name.value);
        self.compiler.problem(name, title, "unknown cache", Some(help));
    }

    fn cache_key<T>(&mut self, at: &At<T>, key: Option<&At<String>>) -> Option<Template> {
        match key {
            Some(key) => self.text(key, Encoding::Plain),
            None => {
                let help = Some("what the answer belongs to, as in key = \"{{ user }}\"".into());
                self.compiler
                    .problems
                    .add_missing(at.span(), "a cache without a key", "`key` is missing", help);
                None
            }
        }
    }

    /// Before the load there is nothing that a cache could keep.
    fn only_in_flows<T>(&mut self, key: &str, at: &At<T>) {
        if !self.is_in_flow() {
            let title = format!("`{key}` does not belong here");
            let label = "caches work while load runs: it is for the steps of flows";
            self.compiler.problem(at, title, label, None);
        }
    }
}
