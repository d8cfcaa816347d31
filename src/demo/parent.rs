//! Notices that whoever started this process is gone.
//!
//! The lab holds the writing end of a managed process's standard input and
//! never writes to it: when the parent dies, however it dies, the kernel closes
//! that end and reading here comes to an end.

use std::{
    future::Future,
    io::{self, Read},
    thread,
};

use tokio::sync::oneshot;

/// Completes when standard input ends, if `variable` is [`crate::lab::PARENT_PIPE`] set; else never.
///
/// The caller passes what the environment says, so that a demo started by hand
/// from a script without standard input keeps running.
pub async fn parent_gone(variable: Option<&str>) {
    match variable {
        Some(value) if !value.is_empty() && value != "0" => ended(io::stdin()).await,
        _ => std::future::pending().await,
    }
}

/// Completes when the reader has no more to give.
///
/// On a thread of its own: a runtime would wait at its end for a blocked read.
fn ended(mut reader: impl Read + Send + 'static) -> impl Future<Output = ()> {
    let (gone, noticed) = oneshot::channel();
    thread::spawn(move || {
        let _ = io::copy(&mut reader, &mut io::sink());
        let _ = gone.send(());
    });
    async move {
        let _ = noticed.await;
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn the_end_of_the_pipe_is_noticed_and_what_comes_before_is_not() {
        let (reader, mut writer) = io::pipe().unwrap();
        let mut gone = std::pin::pin!(ended(reader));
        writer.write_all(b"still here\n").unwrap();
        assert!(gone.as_mut().now_or_never().is_none());
        drop(writer);
        gone.await;
    }

    #[tokio::test]
    async fn without_the_variable_nobody_is_missed() {
        assert!(parent_gone(None).now_or_never().is_none());
        assert!(parent_gone(Some("0")).now_or_never().is_none());
    }
}
