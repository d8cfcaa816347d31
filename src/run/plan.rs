//! How a PostgreSQL server performed a statement: its plan, with what every node did.
//!
//! Knows how a plan is summed up and written. Who asks for them is `observer`.

mod differences;

use serde::{Deserialize, Serialize};

use super::hash;

/// Indented no further: a file may say anything.
const DEEPEST_SHOWN: usize = 60;

/// A plan as it was executed once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Plan {
    /// The same for plans that do the same in the same order: node types, joins and relations, but not
    /// which index, nor what it cost. 16 hex digits.
    pub shape: String,
    /// Depth first, from the root; never empty.
    pub nodes: Vec<PlanNode>,
    /// Of the root with everything below.
    buffers: u64,
    /// Pages of temporary files written, in all.
    temp_blocks: u64,
}

/// A node of a plan.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, schemars::JsonSchema)]
pub struct PlanNode {
    /// Nodes above it.
    pub depth: usize,
    /// What it does, as EXPLAIN writes it: `Hash Left Join`, `Index Only Scan`, `HashAggregate`.
    pub node: String,
    /// Table, function or common table expression that it reads or changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub relation: Option<String>,
    /// Index that it uses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<String>,
    /// Rows that the planner expected of one loop.
    pub rows_planned: f64,
    /// Rows that one loop gave, on average.
    pub rows: f64,
    /// How often it was executed; 0: never.
    pub loops: u64,
    /// Pages of tables and indexes that it looked at in all loops, without its children.
    pub buffers: u64,
    /// Pages of temporary files that it wrote in all loops, without its children.
    pub temp_blocks: u64,
    /// Rows of an index-only scan for which the table had to be read all the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heap_fetches: Option<u64>,
    /// Rows of one loop that were read and not wanted, on average.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows_removed: Option<u64>,
    /// How it sorted and in how much space: `external merge, 3184 kB`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sort: Option<String>,
}

impl Plan {
    /// A plan of these nodes, depth first, with the buffers and temporary blocks of the whole: what a
    /// node does for another (common table expressions) is counted at both, so that a sum is too much.
    pub fn new(nodes: Vec<PlanNode>, buffers: u64, temp_blocks: u64) -> Self {
        let line = |node: &PlanNode| format!("{} {:?} {:?}\n", node.depth, node.node, node.relation);
        let text: String = nodes.iter().map(line).collect();
        Self {
            shape: hash(text.as_bytes())[..16].to_owned(),
            nodes,
            buffers,
            temp_blocks,
        }
    }

    /// Pages of tables and indexes looked at.
    pub fn buffers(&self) -> u64 {
        self.buffers
    }

    /// Pages of temporary files written.
    pub fn temp_blocks(&self) -> u64 {
        self.temp_blocks
    }

    /// Heap fetches of all index-only scans; `None` without any such scan.
    pub fn heap_fetches(&self) -> Option<u64> {
        let fetches = self.nodes.iter().filter_map(|node| node.heap_fetches);
        fetches.reduce(u64::saturating_add)
    }

    /// Whether something did not fit into `work_mem`.
    pub fn spills(&self) -> bool {
        let on_disk = |sort: &String| sort.starts_with("external");
        self.temp_blocks > 0 || self.nodes.iter().filter_map(|node| node.sort.as_ref()).any(on_disk)
    }

    /// How many times more or fewer rows than expected the worst node gave, 1 or more. No row counts as one.
    pub fn estimate_error(&self) -> f64 {
        let executed = self.nodes.iter().filter(|node| node.loops > 0);
        let errors = executed.map(|node| {
            let (planned, actual) = (node.rows_planned.max(1.0), node.rows.max(1.0));
            (planned / actual).max(actual / planned)
        });
        errors.fold(1.0, f64::max)
    }

    /// Whether any index is used.
    pub fn uses_index(&self) -> bool {
        self.nodes.iter().any(|node| node.index.is_some())
    }

    /// The plan as text, a line per node with its figures below it, much as EXPLAIN prints it.
    pub fn lines(&self) -> Vec<String> {
        self.nodes.iter().flat_map(PlanNode::lines).collect()
    }
}

impl PlanNode {
    fn lines(&self) -> Vec<String> {
        let depth = self.depth.min(DEEPEST_SHOWN);
        let indent = " ".repeat((depth * 6).saturating_sub(4));
        let arrow = if self.depth > 0 { "->  " } else { "" };
        let using = self.index.iter().map(|index| format!(" using {index}"));
        let on = self.relation.iter().map(|relation| format!(" on {relation}"));
        let names: String = using.chain(on).collect();
        let executed = if self.loops == 0 {
            "never executed".to_owned()
        } else {
            format!("actual rows={} loops={}", self.rows, self.loops)
        };
        let head = format!(
            "{indent}{arrow}{}{names}  (planned rows={}) ({executed})",
            self.node, self.rows_planned
        );
        let below = " ".repeat(depth * 6 + 2);
        let figures = self.figures().into_iter().map(|figure| format!("{below}{figure}"));
        std::iter::once(head).chain(figures).collect()
    }

    fn figures(&self) -> Vec<String> {
        let some = |figure: u64| (figure > 0).then_some(figure);
        let sort = self.sort.as_ref().map(|sort| format!("Sort Method: {sort}"));
        let numbers = [
            ("Rows Removed", self.rows_removed.and_then(some)),
            ("Heap Fetches", self.heap_fetches),
            ("Buffers", some(self.buffers)),
            ("Temporary Blocks", some(self.temp_blocks)),
        ];
        let numbers = numbers
            .into_iter()
            .filter_map(|(name, figure)| Some(format!("{name}: {}", figure?)));
        sort.into_iter().chain(numbers).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Nodes with their depth, relation and index, each of them with 10 buffers.
    pub(super) fn plan(nodes: &[(usize, &str, &str, &str)]) -> Plan {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let node = |(depth, node, relation, index): &(usize, &str, &str, &str)| PlanNode {
            depth: *depth,
            node: (*node).to_owned(),
            relation: some(relation),
            index: some(index),
            rows_planned: 1.0,
            rows: 1.0,
            loops: 1,
            buffers: 10,
            ..PlanNode::default()
        };
        let nodes: Vec<PlanNode> = nodes.iter().map(node).collect();
        let buffers = nodes.iter().map(|node| node.buffers).sum();
        Plan::new(nodes, buffers, 0)
    }

    pub(super) fn sorted_scan() -> Plan {
        plan(&[(0, "Sort", "", ""), (1, "Seq Scan", "users", "")])
    }

    #[test]
    fn a_shape_is_of_what_is_done_and_not_of_what_it_cost() {
        let index = |name| plan(&[(0, "Index Scan", "users", name)]);
        let mut dearer = sorted_scan();
        dearer.nodes[1].rows = 1e6;
        assert_eq!(index("a").shape, index("b").shape);
        assert_eq!(Plan::new(dearer.nodes, 7, 7).shape, sorted_scan().shape);
        assert_eq!(sorted_scan().shape.len(), 16);
        let flat = plan(&[(0, "Sort", "", ""), (0, "Seq Scan", "users", "")]);
        let other = plan(&[(0, "Sort", "", ""), (1, "Seq Scan", "roles", "")]);
        assert_ne!(flat.shape, sorted_scan().shape);
        assert_ne!(other.shape, sorted_scan().shape);
    }

    #[test]
    fn the_worst_estimate_is_found_among_what_was_executed() {
        let mut plan = sorted_scan();
        assert_eq!(plan.estimate_error(), 1.0);
        (plan.nodes[0].rows_planned, plan.nodes[0].rows) = (50.0, 0.0);
        (plan.nodes[1].rows_planned, plan.nodes[1].rows) = (1.0, 20.0);
        assert_eq!(plan.estimate_error(), 50.0);
        plan.nodes[0].loops = 0;
        assert_eq!(plan.estimate_error(), 20.0);
    }

    #[test]
    fn a_plan_is_written_as_explain_does_and_survives_its_file() {
        let mut plan = plan(&[
            (0, "Sort", "", ""),
            (1, "Index Only Scan", "users", "users_username"),
            (usize::MAX, "Result", "", ""),
        ]);
        plan.nodes[0].sort = Some("external merge, 3184 kB".into());
        plan.nodes[1].heap_fetches = Some(0);
        plan.nodes[2].loops = 0;
        let lines = plan.lines();
        assert_eq!(
            lines[..6],
            [
                "Sort  (planned rows=1) (actual rows=1 loops=1)",
                "  Sort Method: external merge, 3184 kB",
                "  Buffers: 10",
                "  ->  Index Only Scan using users_username on users  (planned rows=1) (actual rows=1 loops=1)",
                "        Heap Fetches: 0",
                "        Buffers: 10",
            ]
        );
        assert!(
            lines[6].len() < 500 && lines[6].ends_with("(never executed)"),
            "{lines:?}"
        );
        assert!(plan.spills() && plan.uses_index());
        assert_eq!((plan.heap_fetches(), plan.buffers()), (Some(0), 30));
        let text = serde_json::to_string(&plan).unwrap();
        assert_eq!(serde_json::from_str::<Plan>(&text).unwrap(), plan);
    }
}
