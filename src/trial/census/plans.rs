//! How databases perform the statements of a scenario: asked once, after all else was counted.

use crate::{
    observer::postgres::explain,
    run::StatementPlan,
    target::{PostgresConnection, connect_postgres, with_literals},
    trial::stage::Stage,
    workload::{Action, Request, Statement, Step, Values, Workload},
};

/// Statements of a step whose plans are kept.
const MOST: usize = 10;

/// A statement's text is cut at so many characters.
const LONGEST_TEXT: usize = 2000;

/// The plans of all measured steps, by index, for the values of the first pass.
pub(super) async fn plans(stage: &Stage) -> (Vec<Vec<StatementPlan>>, Vec<String>) {
    let workload = &stage.workload;
    let (mut plans, mut notes) = (vec![Vec::new(); workload.measured.len()], Vec::new());
    for (index, database) in stage.databases().iter().enumerate() {
        let Some((databases, name)) = database.as_ref().and_then(|database| database.on_server()) else {
            continue;
        };
        let mut config = databases.config().clone();
        config.dbname(name);
        // That it cannot be reached is told by those who count.
        let Ok(connection) = connect_postgres(&config, databases.tls()).await else {
            continue;
        };
        for flow in &workload.flows {
            let mut values = Values::new(workload);
            values.begin(0, stage.globals());
            let mut steps = Vec::new();
            collect(&flow.actions, index, &mut steps);
            for step in steps {
                match of_step(step, workload, &connection, &mut values).await {
                    Ok(found) => plans[step.index] = found,
                    Err(why) => notes.push(format!("the plan of \"{}\" is not known: {why}", step.name)),
                }
            }
        }
    }
    (plans, notes)
}

fn collect<'w>(actions: &'w [Action], target: usize, found: &mut Vec<&'w Step>) {
    for action in actions {
        match action {
            Action::Step(step) if step.target == target => found.push(step),
            Action::Repeat { actions, .. } => collect(actions, target, found),
            Action::Step(_) | Action::Pause(..) => {}
        }
    }
}

async fn of_step(
    step: &Step,
    workload: &Workload,
    connection: &PostgresConnection,
    values: &mut Values<'_>,
) -> Result<Vec<StatementPlan>, String> {
    let statements: &[Statement] = match &step.request {
        // What is performed for each row has no values yet.
        Request::ForEach(fan_out) => &fan_out.statements[..1],
        request => request.statements(),
    };
    // One round shows what all do.
    let first = statements.iter().take_while(|statement| !statement.redraw);
    let mut plans = Vec::new();
    for statement in first.take(MOST) {
        let sql = &workload.statements[statement.index];
        if !explainable(sql) {
            continue;
        }
        let text = with_literals(sql, &statement.parameters, values);
        plans.push(StatementPlan {
            sql: sql.chars().take(LONGEST_TEXT).collect(),
            plan: explain(connection, &text).await?,
        });
    }
    Ok(plans)
}

/// Whether it is of a kind that has a plan.
fn explainable(sql: &str) -> bool {
    let word = sql.trim_start_matches(|c: char| c.is_whitespace() || c == '(');
    let word: String = word.chars().take_while(char::is_ascii_alphabetic).collect();
    let known = [
        "select", "insert", "update", "delete", "merge", "with", "values", "table",
    ];
    known.iter().any(|known| word.eq_ignore_ascii_case(known))
}
