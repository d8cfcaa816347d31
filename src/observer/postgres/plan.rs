//! The plan of a statement, from the server's own EXPLAIN.
//!
//! What the server answers is bounded before it is believed. Times are left out:
//! taking them slows the nodes down, and load measures them better.

use std::{error::Error, time::Duration};

use serde_json::{Map, Value};
use tokio::time::timeout;
use tokio_postgres::types::{FromSql, Type};

use super::{answer, column};
use crate::{
    run::{Plan, PlanNode},
    target::{PostgresConnection, describe_postgres_error},
};

/// The server gives up first.
const EXPLAIN: &str = "EXPLAIN (ANALYZE, BUFFERS, WAL, TIMING OFF, SUMMARY OFF, FORMAT JSON)";
const BEGIN: &str = "BEGIN; SET LOCAL statement_timeout = '30s'";
const PATIENCE: Duration = Duration::from_secs(35);

/// Conditions are part of the text, and they may hold long lists of values.
const MOST_BYTES: usize = 4 << 20;
/// Partitions make many nodes.
const MOST_NODES: usize = 2000;
const DEEPEST: usize = 60;
/// Characters of a name; PostgreSQL's own have up to 63 bytes.
const LONGEST_NAME: usize = 200;

/// Executes a statement once, with its parameters as literals in the text, and gives its plan.
///
/// What it changes is rolled back (sequences stay advanced, and dead rows stay behind). It is
/// counted by `pg_stat_statements`: not to be called between two readings.
///
/// # Errors
/// What the server said; that it took more than 30 s; a plan that cannot be read.
pub async fn explain(connection: &PostgresConnection, sql: &str) -> Result<Plan, String> {
    answer(connection.batch_execute(BEGIN)).await?;
    let question = format!("{EXPLAIN} {sql}");
    // With one message per statement no text can hold two, of which the second would not be explained.
    let explained = timeout(PATIENCE, connection.query(&question, &[])).await;
    let ended = answer(connection.batch_execute("ROLLBACK")).await;
    let rows = explained.map_err(|_| "the server did not end its plan in time".to_owned())?;
    let rows = rows.map_err(|error| describe_postgres_error(&error))?;
    ended?;
    let row = rows.first().ok_or("the server gave no plan")?;
    read_plan(&column::<Json>(row, 0)?.0)
}

/// JSON of a bounded size.
struct Json(Value);

impl<'a> FromSql<'a> for Json {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        if raw.len() > MOST_BYTES {
            return Err(format!("a plan of more than {} MiB", MOST_BYTES >> 20).into());
        }
        Ok(Self(serde_json::from_slice(raw)?))
    }

    fn accepts(kind: &Type) -> bool {
        *kind == Type::JSON
    }
}

/// Reads what EXPLAIN answers with FORMAT JSON, ANALYZE and BUFFERS.
///
/// # Errors
/// When it is no plan, or one too deep or too large to be kept.
pub fn read_plan(json: &Value) -> Result<Plan, String> {
    let root = json.get(0).and_then(|first| first.get("Plan"));
    let mut nodes = Vec::new();
    let whole = read_node(root.ok_or("the server's answer is no plan")?, 0, &mut nodes)?;
    Ok(Plan::new(nodes, whole.buffers, whole.temp_blocks))
}

/// What a node used with all below it.
#[derive(Default)]
struct Usage {
    buffers: u64,
    temp_blocks: u64,
}

fn read_node(json: &Value, depth: usize, nodes: &mut Vec<PlanNode>) -> Result<Usage, String> {
    if depth > DEEPEST || nodes.len() >= MOST_NODES {
        return Err(format!(
            "a plan of more than {MOST_NODES} nodes, or with more than {DEEPEST} below one another"
        ));
    }
    let Some(fields) = json.as_object() else {
        return Err("a node of the plan is no object".into());
    };
    let at = nodes.len();
    nodes.push(node(fields, depth)?);
    let mut below = Usage::default();
    for child in fields.get("Plans").and_then(Value::as_array).into_iter().flatten() {
        let child = read_node(child, depth + 1, nodes)?;
        below.buffers = below.buffers.saturating_add(child.buffers);
        below.temp_blocks = below.temp_blocks.saturating_add(child.temp_blocks);
    }
    let whole = usage(fields);
    nodes[at].buffers = whole.buffers.saturating_sub(below.buffers);
    nodes[at].temp_blocks = whole.temp_blocks.saturating_sub(below.temp_blocks);
    Ok(whole)
}

fn node(fields: &Map<String, Value>, depth: usize) -> Result<PlanNode, String> {
    let relation = ["Relation Name", "Function Name", "CTE Name", "Table Function Name"];
    Ok(PlanNode {
        depth,
        node: label(fields).ok_or("a node of the plan has no type")?,
        relation: relation.into_iter().find_map(|name| text(fields, name)),
        index: text(fields, "Index Name"),
        rows_planned: number(fields, "Plan Rows").unwrap_or(0.0),
        rows: number(fields, "Actual Rows").unwrap_or(0.0),
        loops: count(fields, "Actual Loops").unwrap_or(0),
        heap_fetches: count(fields, "Heap Fetches"),
        rows_removed: sum(
            fields,
            &[
                "Rows Removed by Filter",
                "Rows Removed by Join Filter",
                "Rows Removed by Index Recheck",
            ],
        ),
        sort: sort(fields),
        ..PlanNode::default()
    })
}

/// The type of a node with what else its name is made of in EXPLAIN's text.
fn label(fields: &Map<String, Value>) -> Option<String> {
    let kind = text(fields, "Node Type")?;
    let is = |name: &str, value: &str| text(fields, name).is_some_and(|found| found == value);
    let join = text(fields, "Join Type").filter(|join| join != "Inner");
    let strategy = text(fields, "Strategy").unwrap_or_default();
    let mut label = match (kind.as_str(), join) {
        ("Nested Loop", Some(join)) => format!("Nested Loop {join} Join"),
        (_, Some(join)) => format!("{} {join} Join", kind.trim_end_matches(" Join")),
        ("Aggregate", None) => match strategy.as_str() {
            "Sorted" => "GroupAggregate".into(),
            "Hashed" => "HashAggregate".into(),
            "Mixed" => "MixedAggregate".into(),
            _ => kind,
        },
        ("SetOp", None) if strategy == "Hashed" => "HashSetOp".into(),
        ("ModifyTable", None) => text(fields, "Operation").unwrap_or(kind),
        (_, None) => kind,
    };
    if is("Scan Direction", "Backward") {
        label.push_str(" Backward");
    }
    let partial = text(fields, "Partial Mode").filter(|mode| mode != "Simple");
    let parallel = fields.get("Parallel Aware").and_then(Value::as_bool) == Some(true);
    let prefixes = partial.into_iter().chain(parallel.then(|| "Parallel".to_owned()));
    Some(prefixes.chain([label]).collect::<Vec<_>>().join(" "))
}

/// `external merge, 3184 kB`
fn sort(fields: &Map<String, Value>) -> Option<String> {
    let method = text(fields, "Sort Method")?;
    let space = count(fields, "Sort Space Used").unwrap_or(0);
    Some(format!("{method}, {space} kB"))
}

fn usage(fields: &Map<String, Value>) -> Usage {
    let blocks = |names: &[&str]| sum(fields, names).unwrap_or(0);
    Usage {
        buffers: blocks(&[
            "Shared Hit Blocks",
            "Shared Read Blocks",
            "Local Hit Blocks",
            "Local Read Blocks",
        ]),
        temp_blocks: blocks(&["Temp Written Blocks"]),
    }
}

/// Of those that are there.
fn sum(fields: &Map<String, Value>, names: &[&str]) -> Option<u64> {
    let counts = names.iter().filter_map(|name| count(fields, name));
    counts.reduce(u64::saturating_add)
}

fn number(fields: &Map<String, Value>, name: &str) -> Option<f64> {
    fields.get(name)?.as_f64().map(|number| number.max(0.0))
}

/// Averages of later servers have decimals.
fn count(fields: &Map<String, Value>, name: &str) -> Option<u64> {
    let value = fields.get(name)?;
    value.as_u64().or_else(|| Some(value.as_f64()?.round() as u64))
}

/// A name, fit to be shown.
fn text(fields: &Map<String, Value>, name: &str) -> Option<String> {
    let text = fields.get(name)?.as_str()?;
    Some(text.chars().filter(|c| !c.is_control()).take(LONGEST_NAME).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Of a server 15 with work_mem = 64kB, without the costs.
    const SPILLED: &str = r#"[{"Plan": {
        "Node Type": "Aggregate", "Strategy": "Sorted", "Partial Mode": "Simple", "Parallel Aware": false,
        "Plan Rows": 20000, "Actual Rows": 20000, "Actual Loops": 1, "Group Key": ["u.email"],
        "Shared Hit Blocks": 260, "Shared Read Blocks": 4, "Temp Read Blocks": 506, "Temp Written Blocks": 548,
        "Plans": [{
            "Node Type": "Sort", "Parent Relationship": "Outer", "Sort Key": ["u.email"],
            "Sort Method": "external merge", "Sort Space Used": 1088, "Sort Space Type": "Disk",
            "Plan Rows": 20000, "Actual Rows": 20000, "Actual Loops": 1,
            "Shared Hit Blocks": 260, "Shared Read Blocks": 4, "Temp Read Blocks": 506, "Temp Written Blocks": 548,
            "Plans": [{
                "Node Type": "Hash Join", "Join Type": "Left", "Hash Cond": "(u.id = r.user_id)",
                "Plan Rows": 20000, "Actual Rows": 20000, "Actual Loops": 1,
                "Shared Hit Blocks": 260, "Shared Read Blocks": 4, "Temp Read Blocks": 100, "Temp Written Blocks": 100,
                "Plans": [
                    {"Node Type": "Seq Scan", "Relation Name": "users", "Alias": "u", "Plan Rows": 20000,
                     "Actual Rows": 20000, "Actual Loops": 1, "Shared Hit Blocks": 243, "Shared Read Blocks": 4},
                    {"Node Type": "Hash", "Plan Rows": 3000, "Actual Rows": 3000, "Actual Loops": 1,
                     "Shared Hit Blocks": 17, "Temp Read Blocks": 0, "Temp Written Blocks": 5,
                     "Plans": [{"Node Type": "Seq Scan", "Relation Name": "roles", "Plan Rows": 30,
                         "Actual Rows": 3000, "Actual Loops": 1, "Shared Hit Blocks": 17}]}
                ]
            }]
        }]
    }, "Planning": {"Shared Hit Blocks": 84}, "Triggers": []}]"#;

    #[test]
    fn every_node_has_what_it_used_without_its_children() {
        let plan = read_plan(&serde_json::from_str(SPILLED).unwrap()).unwrap();
        let nodes: Vec<_> = plan
            .nodes
            .iter()
            .map(|node| (node.depth, node.node.as_str(), node.buffers, node.temp_blocks))
            .collect();
        assert_eq!(
            nodes,
            [
                (0, "GroupAggregate", 0, 0),
                (1, "Sort", 0, 448),
                (2, "Hash Left Join", 0, 95),
                (3, "Seq Scan", 247, 0),
                (3, "Hash", 0, 5),
                (4, "Seq Scan", 17, 0),
            ]
        );
        assert_eq!((plan.buffers(), plan.temp_blocks()), (264, 548));
        assert_eq!(plan.nodes[1].sort.as_deref(), Some("external merge, 1088 kB"));
        assert_eq!(
            (plan.spills(), plan.estimate_error(), plan.uses_index()),
            (true, 100.0, false)
        );
    }

    #[test]
    fn nodes_are_called_what_explain_calls_them() {
        let name = |node: Value| read_plan(&json!([{ "Plan": node }])).unwrap().nodes[0].node.clone();
        for (node, expected) in [
            (json!({"Node Type": "Nested Loop", "Join Type": "Inner"}), "Nested Loop"),
            (
                json!({"Node Type": "Nested Loop", "Join Type": "Left"}),
                "Nested Loop Left Join",
            ),
            (json!({"Node Type": "Hash Join", "Join Type": "Inner"}), "Hash Join"),
            (
                json!({"Node Type": "Merge Join", "Join Type": "Anti"}),
                "Merge Anti Join",
            ),
            (
                json!({"Node Type": "Aggregate", "Strategy": "Plain", "Partial Mode": "Finalize"}),
                "Finalize Aggregate",
            ),
            (json!({"Node Type": "Aggregate", "Strategy": "Hashed"}), "HashAggregate"),
            (
                json!({"Node Type": "Seq Scan", "Parallel Aware": true}),
                "Parallel Seq Scan",
            ),
            (
                json!({"Node Type": "Index Scan", "Scan Direction": "Backward"}),
                "Index Scan Backward",
            ),
            (json!({"Node Type": "ModifyTable", "Operation": "Insert"}), "Insert"),
            (json!({"Node Type": "Odd\u{1b}[31m"}), "Odd[31m"),
        ] {
            assert_eq!(name(node), expected);
        }
    }

    #[test]
    fn what_an_index_only_scan_had_to_fetch_is_read() {
        // Averages have decimals from server 18 on.
        let plan = read_plan(&json!([{"Plan": {
            "Node Type": "Index Only Scan", "Relation Name": "emissions", "Index Name": "by_org", "Plan Rows": 700,
            "Actual Rows": 749.50, "Actual Loops": 2, "Heap Fetches": 31, "Rows Removed by Filter": 2.00
        }}]))
        .unwrap();
        let node = &plan.nodes[0];
        assert_eq!(
            (plan.heap_fetches(), node.rows_removed, node.rows),
            (Some(31), Some(2), 749.5)
        );
        assert_eq!(
            (node.index.as_deref(), node.relation.as_deref()),
            (Some("by_org"), Some("emissions"))
        );
    }

    #[test]
    fn what_is_no_plan_or_too_much_of_one_is_refused() {
        for json in [
            json!(null),
            json!([]),
            json!([{ "Plan": 3 }]),
            json!([{ "Plan": { "Plans": [] } }]),
            json!([{ "Plan": { "Node Type": "Append", "Plans": [7] } }]),
        ] {
            assert!(read_plan(&json).is_err(), "{json}");
        }
        let leaf = json!({ "Node Type": "Result" });
        let deep = (0..100).fold(
            leaf.clone(),
            |below, _| json!({ "Node Type": "Limit", "Plans": [below] }),
        );
        assert!(read_plan(&json!([{ "Plan": deep }])).is_err());
        let wide = json!({ "Node Type": "Append", "Plans": vec![leaf; 3000] });
        assert!(read_plan(&json!([{ "Plan": wide }])).is_err());
        let huge = json!({ "Node Type": "Result", "Actual Loops": 1e300, "Plan Rows": -5, "Shared Hit Blocks": "x" });
        let plan = read_plan(&json!([{ "Plan": huge }])).unwrap();
        assert_eq!(
            (plan.nodes[0].loops, plan.buffers(), plan.estimate_error()),
            (u64::MAX, 0, 1.0)
        );
    }
}
