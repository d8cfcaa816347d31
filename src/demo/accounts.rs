//! Users with their roles and permissions, and their sessions: what is read.
//!
//! One statement each. This module knows the tables, not HTTP.

use serde::Serialize;

use super::{
    api::Refusal,
    statements::{Error, Row, Sql, Statements, Value},
};

/// A user as `GET /api/users/{id}` answers.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct User {
    id: i64,
    email: String,
    name: String,
    status: String,
    total_kg: f64,
    roles: Vec<Role>,
}

/// A role with what it allows.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct Role {
    name: String,
    permissions: Vec<Permission>,
}

/// Something a role allows.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct Permission {
    resource: String,
    action: String,
}

/// A session as `GET /api/sessions/{id}` answers.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct Session {
    id: i64,
    user_id: i64,
    status: String,
    created_at: i64,
    last_activity: i64,
    expires_at: i64,
}

const USER: Sql = Sql::both(
    "
    SELECT users.id, users.email, users.name, users.status, users.total_grams,
           roles.name AS role, permissions.resource, permissions.action
    FROM users
    LEFT JOIN user_roles ON user_roles.user_id = users.id
    LEFT JOIN roles ON roles.id = user_roles.role_id
    LEFT JOIN role_permissions ON role_permissions.role_id = roles.id
    LEFT JOIN permissions ON permissions.id = role_permissions.permission_id
    WHERE users.id = $1
    ORDER BY roles.id, permissions.id",
);

const SESSION: Sql = Sql {
    sqlite: "
    SELECT id, user_id, status, created_at, last_activity, expires_at
    FROM sessions WHERE id = $1 AND expires_at > unixepoch()",
    postgres: "
    SELECT id, user_id, status, created_at, last_activity, expires_at
    FROM sessions WHERE id = $1 AND expires_at > extract(epoch FROM now())",
};

/// The user of that id.
///
/// # Errors
/// When there is none, or the database refuses.
pub(super) fn user(statements: &Statements<'_>, id: i64) -> Result<User, Refusal> {
    let mut found: Option<User> = None;
    statements.rows(&USER, &[Value::Int(id)], |row| {
        let user = match &mut found {
            Some(user) => user,
            none => none.insert(read_user(row)?),
        };
        grant(&mut user.roles, row)
    })?;
    found.ok_or_else(|| Refusal::NotFound(format!("no user {id}")))
}

fn read_user(row: &Row<'_>) -> Result<User, Error> {
    Ok(User {
        id: row.get("id")?,
        email: row.get("email")?,
        name: row.get("name")?,
        status: row.get("status")?,
        total_kg: row.get::<i64>("total_grams")? as f64 / 1000.0,
        roles: Vec::new(),
    })
}

/// Adds the role and the permission of one row; rows come ordered by role.
fn grant(roles: &mut Vec<Role>, row: &Row<'_>) -> Result<(), Error> {
    // A user without roles has one row with nulls here, and is to have no role.
    let Some(name) = row.get::<Option<String>>("role")? else {
        return Ok(());
    };
    if roles.last().is_none_or(|last| last.name != name) {
        roles.push(Role {
            name,
            permissions: Vec::new(),
        });
    }
    if let (Some(resource), Some(role)) = (row.get("resource")?, roles.last_mut()) {
        role.permissions.push(Permission {
            resource,
            action: row.get("action")?,
        });
    }
    Ok(())
}

/// The session of that id, unless it has expired.
///
/// # Errors
/// When there is none, or the database refuses.
pub(super) fn session(statements: &Statements<'_>, id: i64) -> Result<Session, Refusal> {
    let rows = statements.rows(&SESSION, &[Value::Int(id)], |row| {
        Ok(Session {
            id: row.get("id")?,
            user_id: row.get("user_id")?,
            status: row.get("status")?,
            created_at: row.get("created_at")?,
            last_activity: row.get("last_activity")?,
            expires_at: row.get("expires_at")?,
        })
    })?;
    rows.into_iter()
        .next()
        .ok_or_else(|| Refusal::NotFound(format!("no session {id}")))
}
