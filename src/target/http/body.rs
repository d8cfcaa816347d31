//! Receiving an answer: its head, and of its body what somebody will read.

use bytes::BytesMut;
use http_body_util::BodyExt as _;
use hyper::{
    Response,
    body::{Body as _, Incoming},
};

use super::{Failure, connection::classify, decode};
use crate::{
    sample::ErrorClass,
    target::{Answer, Reply, answer},
    units::format_size,
    workload::Step,
};

/// A body larger than this is an error of class `too large`, unless the step allows another size: 64 MiB.
pub(super) const LARGEST_BODY: u64 = 64 << 20;

/// Receives an answer to its end.
pub(super) async fn receive(response: Response<Incoming>, step: &Step, reply: &mut Reply) -> Result<(), Failure> {
    let (head, mut body) = response.into_parts();
    let status = head.status.as_u16();
    let keep = reply.keep || step.needs_body();
    let explains = !answer::allows_status(step, status);
    reply.answer = Answer {
        status: Some(status),
        headers: head.headers,
        ..Answer::default()
    };
    let answer = &mut reply.answer;
    let limit = step.expect.max_size.unwrap_or(LARGEST_BODY);
    if body.size_hint().lower() > limit {
        return Err(too_large("the body", limit));
    }
    let mut kept = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|error| classify(&error))?.into_data() else {
            continue;
        };
        answer.body_bytes += data.len() as u64;
        if answer.body_bytes > limit {
            return Err(too_large("the body", limit));
        }
        if keep {
            kept.extend_from_slice(&data);
        } else if explains && kept.len() < answer::KEPT_FOR_MESSAGE {
            kept.extend_from_slice(&data[..data.len().min(answer::KEPT_FOR_MESSAGE)]);
        }
    }
    answer.body = kept.freeze();
    Ok(())
}

/// Unpacks a body that somebody reads.
pub(super) fn unpack(step: &Step, reply: &mut Reply) -> Result<(), Failure> {
    let answer = &mut reply.answer;
    if answer.body.is_empty() {
        return Ok(());
    }
    if answer.status.is_none_or(|status| !answer::allows_status(step, status)) {
        // Only a message is made of it.
        if let Some(start) = decode::start(&answer.headers, &answer.body) {
            answer.body = start;
        }
        return Ok(());
    }
    match decode::whole(&answer.headers, &answer.body, LARGEST_BODY) {
        Ok(Some(unpacked)) => answer.body = unpacked,
        Err(failure) if step.needs_body() => return Err(failure),
        // It stands as it is, or is only shown.
        Ok(None) | Err(_) => {}
    }
    Ok(())
}

pub(super) fn too_large(what: &str, limit: u64) -> Failure {
    let reason = format!("{what} is larger than {}", format_size(limit));
    Failure::new(ErrorClass::TooLarge, reason)
}
