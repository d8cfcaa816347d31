//! Storing many emissions at once, in the naive way and in the good one.
//!
//! Both store the same rows, add to the same totals and give the same answer.
//! [`bulk`] executes three statements per record, as code does that was written
//! for one record and then put in a loop; [`bulk_optimized`] executes four in
//! all. They differ where a record is refused: the naive way has stored the
//! records before it, the other stores nothing. This module knows the tables,
//! not HTTP.

use serde::{Deserialize, Serialize};

use super::{
    api::Refusal,
    statements::{Sql, Statements, Value},
};

/// More records in one request are refused.
pub(super) const MOST_RECORDS: usize = 1000;
/// The longest name of a kind, in bytes.
const LONGEST_KIND: usize = 64;
/// The heaviest emission in kilograms.
const HEAVIEST_KG: f64 = 1e9;

/// The body of both requests.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Request {
    emissions: Vec<Emission>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Emission {
    user_id: i64,
    kind: String,
    kg: f64,
}

/// An emission as it is stored: in whole grams, so that sums are exact in any order.
#[derive(Debug, Serialize)]
pub(super) struct Record {
    user_id: i64,
    kind: String,
    grams: i64,
}

/// What was stored: the answer of both requests.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct Stored {
    count: usize,
    ids: Vec<i64>,
    total_kg: f64,
}

/// Reads and checks a request's body.
///
/// # Errors
/// When it is no such JSON, has no or too many records, or a value out of range.
pub(super) fn parse(body: &[u8]) -> Result<Vec<Record>, Refusal> {
    let request: Request = serde_json::from_slice(body).map_err(|e| Refusal::BadRequest(format!("the body: {e}")))?;
    match request.emissions.len() {
        0 => Err(Refusal::BadRequest("emissions: is empty".into())),
        n if n > MOST_RECORDS => Err(Refusal::TooLarge(format!(
            "emissions: {n} records, at most {MOST_RECORDS} are taken"
        ))),
        _ => request
            .emissions
            .into_iter()
            .enumerate()
            .map(|(at, emission)| check(at, emission))
            .collect(),
    }
}

fn check(at: usize, emission: Emission) -> Result<Record, Refusal> {
    let Emission { user_id, kind, kg } = emission;
    if kind.is_empty() || kind.len() > LONGEST_KIND {
        return Err(Refusal::BadRequest(format!(
            "emissions[{at}].kind: needs 1 to {LONGEST_KIND} bytes"
        )));
    }
    // PostgreSQL has no text that holds it.
    if kind.contains('\0') {
        return Err(Refusal::BadRequest(format!(
            "emissions[{at}].kind: holds the character of code 0"
        )));
    }
    if !(0.0..=HEAVIEST_KG).contains(&kg) {
        return Err(Refusal::BadRequest(format!(
            "emissions[{at}].kg: needs a number from 0 to {HEAVIEST_KG:e}"
        )));
    }
    Ok(Record {
        user_id,
        kind,
        grams: (kg * 1000.0).round() as i64,
    })
}

const FIND_USER: Sql = Sql::both("SELECT id FROM users WHERE id = $1");

const INSERT: Sql = Sql {
    sqlite: "
    INSERT INTO emissions (user_id, kind, grams, recorded_at) VALUES ($1, $2, $3, unixepoch())
    RETURNING id",
    postgres: "
    INSERT INTO emissions (user_id, kind, grams, recorded_at) VALUES ($1, $2, $3, extract(epoch FROM now()))
    RETURNING id",
};

const ADD: Sql = Sql::both("UPDATE users SET total_grams = total_grams + $1 WHERE id = $2");

/// Stores the records one by one: three statements each, every one its own transaction.
///
/// # Errors
/// When a record names no user, or the database refuses; the records before it are stored.
pub(super) fn bulk(statements: &Statements<'_>, records: &[Record]) -> Result<Stored, Refusal> {
    let mut ids = Vec::with_capacity(records.len());
    for (at, Record { user_id, kind, grams }) in records.iter().enumerate() {
        let (user, grams) = (Value::Int(*user_id), Value::Int(*grams));
        let users = statements.rows(&FIND_USER, &[user], |row| row.get::<i64>("id"))?;
        if users.is_empty() {
            return Err(Refusal::Unprocessable(format!(
                "emissions[{at}].user_id: no user {user_id}"
            )));
        }
        ids.extend(statements.rows(&INSERT, &[user, Value::Text(kind), grams], |row| row.get::<i64>("id"))?);
        statements.execute(&ADD, &[grams, user])?;
    }
    Ok(stored(records, ids))
}

const BEGIN: Sql = Sql {
    // The lock for writing at once: taken later, it may be refused.
    sqlite: "BEGIN IMMEDIATE",
    postgres: "BEGIN",
};
const COMMIT: Sql = Sql::both("COMMIT");
const ROLLBACK: Sql = Sql::both("ROLLBACK");

/// Stores the records together: four statements in all, one transaction.
///
/// # Errors
/// When a record names no user, or the database refuses; nothing is stored then.
pub(super) fn bulk_optimized(statements: &Statements<'_>, records: &[Record]) -> Result<Stored, Refusal> {
    let json = serde_json::to_string(records).map_err(|e| Refusal::BadRequest(e.to_string()))?;
    statements.execute(&BEGIN, &[])?;
    match insert_together(statements, records.len(), &json) {
        Ok(ids) => {
            statements.execute(&COMMIT, &[])?;
            Ok(stored(records, ids))
        }
        Err(refusal) => {
            statements.execute(&ROLLBACK, &[])?;
            Err(refusal)
        }
    }
}

/// CROSS JOIN keeps SQLite on walking the records and looking up their users, not the reverse.
const INSERT_TOGETHER: Sql = Sql {
    sqlite: "
    INSERT INTO emissions (user_id, kind, grams, recorded_at)
    SELECT users.id, record.value ->> 'kind', record.value ->> 'grams', unixepoch()
    FROM json_each($1) AS record CROSS JOIN users ON users.id = record.value ->> 'user_id'
    ORDER BY record.key
    RETURNING id",
    postgres: "
    INSERT INTO emissions (user_id, kind, grams, recorded_at)
    SELECT users.id, record.kind, record.grams, extract(epoch FROM now())
    FROM ROWS FROM (json_to_recordset($1::text::json) AS (user_id bigint, kind text, grams bigint))
        WITH ORDINALITY AS record (user_id, kind, grams, key) JOIN users ON users.id = record.user_id
    ORDER BY record.key
    RETURNING id",
};

/// PostgreSQL has several writers: each locks its users in the same order, so that no two wait for each other.
const ADD_TOGETHER: Sql = Sql {
    sqlite: "
    UPDATE users SET total_grams = total_grams + added.grams
    FROM (SELECT value ->> 'user_id' AS user_id, sum(value ->> 'grams') AS grams FROM json_each($1) GROUP BY 1) AS added
    WHERE users.id = added.user_id",
    postgres: "
    WITH added AS (
        SELECT user_id, sum(grams)::bigint AS grams
        FROM json_to_recordset($1::text::json) AS record (user_id bigint, grams bigint) GROUP BY 1
    ), locked AS MATERIALIZED (
        SELECT id FROM users WHERE id IN (SELECT user_id FROM added) ORDER BY id FOR NO KEY UPDATE
    )
    UPDATE users SET total_grams = total_grams + added.grams
    FROM added JOIN locked ON locked.id = added.user_id
    WHERE users.id = added.user_id",
};

fn insert_together(statements: &Statements<'_>, count: usize, json: &str) -> Result<Vec<i64>, Refusal> {
    let json = [Value::Text(json)];
    let mut ids = statements.rows(&INSERT_TOGETHER, &json, |row| row.get::<i64>("id"))?;
    if ids.len() < count {
        let missing = count - ids.len();
        return Err(Refusal::Unprocessable(format!(
            "emissions: {missing} of {count} records name no user"
        )));
    }
    statements.execute(&ADD_TOGETHER, &json)?;
    // The order of RETURNING is not defined.
    ids.sort_unstable();
    Ok(ids)
}

fn stored(records: &[Record], ids: Vec<i64>) -> Stored {
    let grams: i64 = records.iter().map(|record| record.grams).sum();
    Stored {
        count: ids.len(),
        ids,
        total_kg: grams as f64 / 1000.0,
    }
}
