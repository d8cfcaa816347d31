//! The demo's HTTP interface: routes, answers, refusals, and where faults strike.
//!
//! Every answer is JSON and says in the header `x-demo-statements` how many
//! statements it took. This module knows no table.

use std::sync::Arc;

use axum::{
    Router,
    body::Bytes,
    extract::{DefaultBodyLimit, Path, Request, State, rejection::BytesRejection},
    http::{StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde::Serialize;
use serde_json::json;

use super::{
    accounts,
    database::{Database, Lane},
    emissions,
    faults::{ErrorRate, Faults},
    statements::{self, Sql, Statements},
};

/// The header that says how many statements an answer took.
pub const STATEMENTS_HEADER: &str = "x-demo-statements";

/// A larger body is refused: 256 KiB.
pub(super) const LARGEST_BODY: usize = 256 << 10;

/// Why a request is not answered as asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    #[error("{0}")]
    BadRequest(String),
    #[error("{0}")]
    NotFound(String),
    #[error("{0}")]
    TooLarge(String),
    #[error("{0}")]
    Unprocessable(String),
    #[error("the demo is stopping")]
    Stopping,
    #[error("the error rate asked of this demo")]
    Fault,
    #[error("database: {0}")]
    Database(#[from] statements::Error),
}

impl Refusal {
    fn status(&self) -> StatusCode {
        match self {
            Self::BadRequest(_) => StatusCode::BAD_REQUEST,
            Self::NotFound(_) => StatusCode::NOT_FOUND,
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Unprocessable(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Stopping => StatusCode::SERVICE_UNAVAILABLE,
            Self::Fault | Self::Database(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

/// What all requests share.
pub(super) struct Service {
    pub(super) database: Arc<Database>,
    faults: Faults,
    error_rate: ErrorRate,
}

impl Service {
    pub(super) fn new(database: Arc<Database>, faults: Faults) -> Self {
        Self {
            database,
            faults,
            error_rate: ErrorRate::new(faults.error_rate),
        }
    }
}

/// All routes. Health has no faults, so that a faulty demo still becomes ready.
pub(super) fn routes(service: Service) -> Router {
    let service = Arc::new(service);
    Router::new()
        .route("/api/users/{id}", get(user))
        .route("/api/sessions/{id}", get(session))
        .route("/api/emissions/bulk", post(bulk))
        .route("/api/emissions/bulk-optimized", post(bulk_optimized))
        .layer(DefaultBodyLimit::max(LARGEST_BODY))
        .layer(middleware::from_fn_with_state(Arc::clone(&service), strike))
        .route("/api/health", get(health))
        .fallback(async |request: Request| refuse(&Refusal::NotFound(format!("no page {}", request.uri().path()))))
        .method_not_allowed_fallback(wrong_method)
        .with_state(service)
}

/// Delays and fails requests as the faults ask.
async fn strike(State(service): State<Arc<Service>>, request: Request, next: Next) -> Response {
    if !service.faults.delay.is_zero() {
        tokio::time::sleep(service.faults.delay).await;
    }
    if service.error_rate.hits() {
        return refuse(&Refusal::Fault);
    }
    next.run(request).await
}

async fn health() -> Response {
    answer(StatusCode::OK, 0, &json!({ "status": "ok" }))
}

async fn wrong_method(request: Request) -> Response {
    let message = format!("{} does not take {}", request.uri().path(), request.method());
    answer(StatusCode::METHOD_NOT_ALLOWED, 0, &json!({ "error": message }))
}

async fn user(State(service): State<Arc<Service>>, Path(id): Path<String>) -> Response {
    match parse_id(&id) {
        Ok(id) => ask(&service, Lane::Read, move |statements| accounts::user(statements, id)).await,
        Err(refusal) => refuse(&refusal),
    }
}

async fn session(State(service): State<Arc<Service>>, Path(id): Path<String>) -> Response {
    match parse_id(&id) {
        Ok(id) => {
            ask(&service, Lane::Read, move |statements| {
                accounts::session(statements, id)
            })
            .await
        }
        Err(refusal) => refuse(&refusal),
    }
}

async fn bulk(State(service): State<Arc<Service>>, body: Result<Bytes, BytesRejection>) -> Response {
    match records(body) {
        Ok(records) => {
            ask(&service, Lane::Write, move |statements| {
                emissions::bulk(statements, &records)
            })
            .await
        }
        Err(refusal) => refuse(&refusal),
    }
}

async fn bulk_optimized(State(service): State<Arc<Service>>, body: Result<Bytes, BytesRejection>) -> Response {
    match records(body) {
        Ok(records) => {
            ask(&service, Lane::Write, move |statements| {
                emissions::bulk_optimized(statements, &records)
            })
            .await
        }
        Err(refusal) => refuse(&refusal),
    }
}

fn parse_id(text: &str) -> Result<i64, Refusal> {
    text.parse()
        .map_err(|_| Refusal::BadRequest("an id is a whole number".into()))
}

fn records(body: Result<Bytes, BytesRejection>) -> Result<Vec<emissions::Record>, Refusal> {
    let body = body.map_err(|rejection| match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => Refusal::TooLarge(format!("the body: more than {LARGEST_BODY} bytes")),
        _ => Refusal::BadRequest(format!("the body: {}", rejection.body_text())),
    })?;
    emissions::parse(&body)
}

/// Does the work on a database thread, with the additional statements of a fault, and answers.
async fn ask<T: Serialize + Send + 'static>(
    service: &Service,
    lane: Lane,
    work: impl FnOnce(&Statements<'_>) -> Result<T, Refusal> + Send + 'static,
) -> Response {
    let extra = service.faults.extra_query;
    let asked = service.database.run(lane, move |connection| {
        let statements = Statements::new(connection);
        let result = waste(&statements, extra).and_then(|()| work(&statements));
        (result, statements.executed())
    });
    match asked.await {
        Some((Ok(value), executed)) => answer(StatusCode::OK, executed, &value),
        Some((Err(refusal), executed)) => answer(refusal.status(), executed, &json!({ "error": refusal.to_string() })),
        None => refuse(&Refusal::Stopping),
    }
}

const LOOKUP: Sql = Sql::both("SELECT id, name FROM roles ORDER BY name");

/// The fault of one query too many: the same small lookup, so often.
fn waste(statements: &Statements<'_>, extra: u32) -> Result<(), Refusal> {
    for _ in 0..extra {
        statements.rows(&LOOKUP, &[], |row| row.get::<i64>("id"))?;
    }
    Ok(())
}

fn refuse(refusal: &Refusal) -> Response {
    answer(refusal.status(), 0, &json!({ "error": refusal.to_string() }))
}

fn answer(status: StatusCode, statements: u32, value: &impl Serialize) -> Response {
    let headers = [
        (header::CONTENT_TYPE.as_str(), "application/json".to_owned()),
        (STATEMENTS_HEADER, statements.to_string()),
    ];
    match serde_json::to_vec(value) {
        Ok(body) => (status, headers, body).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}
