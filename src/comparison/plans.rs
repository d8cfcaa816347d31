//! Plans of a variant beside those of the first: a statement that is performed otherwise.
//!
//! Buffers decide what a change is worth: they are counted, and say the same on every machine.

use super::{Finding, Verdict};
use crate::{
    run::{Census, MOST_VARIANTS, Plan, PlanNode, Run, StatementPlan, StepCensus},
    units::format_count,
};

/// A plan of another shape that looks at this many times as many pages,
const MANY_TIMES: u64 = 2;

/// and at no fewer than this, is a worse one.
const MANY_PAGES: u64 = 100;

/// A relation of which a sequential scan looks at so many pages is a large one.
const LARGE: u64 = 1000;

/// What a plan of another shape is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    /// It looks at as many pages, or at a few more.
    Other,
    /// It looks at many more, or reads a whole large relation where an index was used.
    Worse,
}

/// Statements that a variant has performed by another plan, which saves nothing.
pub(super) fn changed(run: &Run) -> Vec<Finding> {
    let Some((census, first)) = run.census.as_ref().zip(run.variants.first()) else {
        return Vec::new();
    };
    let mut findings = Vec::new();
    for variant in run.variants.iter().take(MOST_VARIANTS).skip(1) {
        for (name, counted) in steps(run, census, &variant.name) {
            let Some((_, before)) = steps(run, census, &first.name).find(|(known, _)| *known == name) else {
                continue;
            };
            for (was, is, change) in changes(&before.plans, &counted.plans) {
                findings.push(finding([&variant.name, &first.name], name, [was, is], change));
            }
        }
    }
    findings
}

/// The counted steps of a variant, by name.
fn steps<'r>(run: &'r Run, census: &'r Census, variant: &str) -> impl Iterator<Item = (&'r str, &'r StepCensus)> {
    census.steps.iter().filter_map(move |counted| {
        let step = run.steps.get(counted.step)?;
        (step.variant.as_deref() == Some(variant)).then_some((step.name.as_str(), counted))
    })
}

/// Of the statements that both have, those whose plans changed for nothing.
fn changes<'p>(before: &'p [StatementPlan], now: &'p [StatementPlan]) -> Vec<(&'p Plan, &'p Plan, Change)> {
    let changed = now.iter().enumerate().filter_map(|(at, now)| {
        let same = |before: &&StatementPlan| before.sql == now.sql;
        // The same statement may stand in a step several times.
        let was = before.get(at).filter(same).or_else(|| before.iter().find(same))?;
        Some((&was.plan, &now.plan, change(&was.plan, &now.plan)?))
    });
    changed.collect()
}

/// `None` for a plan of the same shape, and for one that looks at fewer pages.
fn change(was: &Plan, is: &Plan) -> Option<Change> {
    if was.shape == is.shape || is.buffers() < was.buffers() {
        return None;
    }
    let many_more = is.buffers() >= MANY_PAGES.max(was.buffers().saturating_mul(MANY_TIMES));
    Some(if many_more || turned_sequential(was, is) {
        Change::Worse
    } else {
        Change::Other
    })
}

/// Whether a large relation that was read by an index is now read from begin to end.
fn turned_sequential(was: &Plan, is: &Plan) -> bool {
    let by_index = |relation: &String| {
        let mut readers = was.nodes.iter().filter(|node| node.relation.as_ref() == Some(relation));
        readers.clone().any(reads_by_index) && !readers.any(reads_all)
    };
    let mut large = is.nodes.iter().filter(|node| reads_all(node) && node.buffers >= LARGE);
    large.any(|node| node.relation.as_ref().is_some_and(by_index))
}

fn reads_all(node: &PlanNode) -> bool {
    node.node.contains("Seq Scan")
}

/// Not the part of a bitmap that names no relation.
fn reads_by_index(node: &PlanNode) -> bool {
    ["Index Scan", "Index Only Scan", "Bitmap Heap Scan"]
        .iter()
        .any(|scan| node.node.contains(scan))
}

fn finding([variant, first]: [&str; 2], step: &str, [was, is]: [&Plan; 2], change: Change) -> Finding {
    let [before, now] = [was, is].map(|plan| format_count(plan.buffers() as f64));
    let differences = was.differences(is).join("; ");
    let (verdict, became) = match change {
        Change::Worse => (Verdict::Critical, "became worse than"),
        Change::Other => (Verdict::Warning, "is another, and no cheaper, than"),
    };
    Finding {
        verdict,
        text: format!(
            "{variant}: the plan of {step} {became} in \"{first}\": {now} buffers, was {before}; {differences}"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        baseline::testing::Shape,
        run::{Accounting, Variant},
    };

    /// Nodes below one that collects them: what each does, to which relation, with so many buffers.
    fn plan(nodes: &[(&str, &str, u64)]) -> Plan {
        let node = |(node, relation, buffers): &(&str, &str, u64)| PlanNode {
            depth: 1,
            node: (*node).to_owned(),
            relation: (!relation.is_empty()).then(|| (*relation).to_owned()),
            buffers: *buffers,
            ..PlanNode::default()
        };
        let all = [("Aggregate", "", 0)].iter().chain(nodes);
        Plan::new(all.map(node).collect(), nodes.iter().map(|node| node.2).sum(), 0)
    }

    #[test]
    fn a_plan_that_saves_pages_is_no_finding_and_one_that_does_not_is() {
        let hash = plan(&[("Hash Join", "", 0), ("Seq Scan", "emissions", 2000)]);
        let nested = |buffers| plan(&[("Nested Loop", "", 0), ("Index Scan", "emissions", buffers)]);
        assert_eq!(change(&hash, &hash), None);
        assert_eq!(change(&hash, &nested(1999)), None);
        assert_eq!(change(&hash, &nested(2000)), Some(Change::Other));
        assert_eq!(change(&hash, &nested(3999)), Some(Change::Other));
        assert_eq!(change(&hash, &nested(4000)), Some(Change::Worse));
        // Of few pages twice as many are still few.
        let [one, other] = [plan(&[("Index Scan", "users", 4)]), plan(&[("Seq Scan", "users", 90)])];
        assert_eq!(change(&one, &other), Some(Change::Other));
    }

    #[test]
    fn a_large_relation_that_is_no_longer_read_by_an_index_is_worse() {
        for by_index in ["Index Scan", "Index Only Scan Backward", "Bitmap Heap Scan"] {
            let was = plan(&[(by_index, "users", 900)]);
            assert_eq!(change(&was, &plan(&[("Seq Scan", "users", 1000)])), Some(Change::Worse));
            assert_eq!(
                change(&was, &plan(&[("Parallel Seq Scan", "users", 1000)])),
                Some(Change::Worse)
            );
            // Small, or another one, or fewer pages in all.
            assert_eq!(change(&was, &plan(&[("Seq Scan", "users", 999)])), Some(Change::Other));
            assert_eq!(change(&was, &plan(&[("Seq Scan", "roles", 1000)])), Some(Change::Other));
        }
        let was = plan(&[("Index Scan", "users", 1500)]);
        assert_eq!(change(&was, &plan(&[("Seq Scan", "users", 1000)])), None);
        let both = plan(&[("Index Scan", "users", 4), ("Seq Scan", "users", 1000)]);
        assert_eq!(
            change(&both, &plan(&[("Seq Scan", "users", 1004)])),
            Some(Change::Other)
        );
    }

    #[test]
    fn statements_are_found_again_by_their_text() {
        let statement = |sql: &str, plan: Plan| StatementPlan {
            sql: sql.to_owned(),
            plan,
        };
        let (index, scan) = (
            plan(&[("Index Scan", "users", 4)]),
            plan(&[("Seq Scan", "users", 2000)]),
        );
        let before = [statement("a", index.clone()), statement("b", scan.clone())];
        let now = [
            statement("new", scan.clone()),
            statement("b", scan.clone()),
            statement("a", scan),
        ];
        let changed = changes(&before, &now);
        assert_eq!(changed.len(), 1);
        assert_eq!((changed[0].0, changed[0].2), (&index, Change::Worse));
    }

    #[test]
    fn findings_name_variant_step_and_what_became_of_the_plan() {
        let mut run = Shape::default().run();
        let variant = |name: &str| Variant {
            name: name.to_owned(),
            accounting: Accounting::default(),
            loaded_s: 1.0,
        };
        run.variants = vec![variant("before"), variant("after")];
        for (step, name) in run.steps.iter_mut().zip(["before", "after"]) {
            (step.name, step.variant) = ("read".to_owned(), Some(name.to_owned()));
        }
        let counted = |step: usize, plan: Plan| StepCensus {
            step,
            operations: 1,
            plans: vec![StatementPlan {
                sql: "SELECT".to_owned(),
                plan,
            }],
            ..StepCensus::default()
        };
        let steps = |now: Plan| Census {
            steps: vec![counted(0, plan(&[("Index Scan", "users", 4)])), counted(1, now)],
            ..Census::default()
        };
        run.census = Some(steps(plan(&[("Seq Scan", "users", 2000)])));
        let [finding] = &changed(&run)[..] else { panic!() };
        assert_eq!(finding.verdict, Verdict::Critical);
        assert_eq!(
            finding.text,
            "after: the plan of read became worse than in \"before\": 2,000 buffers, was 4; \
             Index Scan on users became Seq Scan"
        );
        run.census = Some(steps(plan(&[("Seq Scan", "users", 5)])));
        let [finding] = &changed(&run)[..] else { panic!() };
        assert_eq!(finding.verdict, Verdict::Warning);
        assert!(
            finding
                .text
                .contains("is another, and no cheaper, than in \"before\": 5 buffers, was 4")
        );
        run.census = Some(steps(plan(&[("Seq Scan", "users", 3)])));
        assert!(changed(&run).is_empty());
    }
}
