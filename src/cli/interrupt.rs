//! Ctrl-C and SIGTERM. The first lets what is in flight finish, the second cuts
//! it off, the third ends the program at once; what was written stays.
//!
//! SIGINT goes through the `ctrlc` crate, because Goose asks for it there too
//! and must find it taken: a handler of tokio it would overwrite.

use std::sync::atomic::{AtomicU8, Ordering::SeqCst};

use super::exit::Exit;
use crate::{executor::Interrupt, lab};

/// Exit code of the signal that came first; 0 while none came.
static SIGNALLED: AtomicU8 = AtomicU8::new(0);

/// Sets the handlers; call once, before any load.
pub(super) fn install() -> Interrupt {
    let interrupt = Interrupt::default();
    let on_sigint = interrupt.clone();
    // Fails only where a handler is set already, which then does the same.
    let _ = ctrlc::set_handler(move || signalled(Exit::Interrupted, &on_sigint));
    interrupt
}

/// Waits for SIGTERM as long as the runtime lives.
pub(super) fn watch_sigterm(interrupt: Interrupt) {
    #[cfg(unix)]
    tokio::spawn(async move {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut signals) = signal(SignalKind::terminate()) {
            while signals.recv().await.is_some() {
                signalled(Exit::Terminated, &interrupt);
            }
        }
    });
    #[cfg(not(unix))]
    drop(interrupt);
}

fn signalled(exit: Exit, interrupt: &Interrupt) {
    let _ = SIGNALLED.compare_exchange(0, exit as u8, SeqCst, SeqCst);
    if interrupt.cut.is_cancelled() {
        lab::kill_all();
        std::process::exit(i32::from(SIGNALLED.load(SeqCst)));
    }
    if interrupt.stop.is_cancelled() {
        interrupt.cut.cancel();
    }
    interrupt.stop.cancel();
}

/// How to exit after an interrupt; `None` when there was none.
pub(super) fn exit() -> Option<Exit> {
    match SIGNALLED.load(SeqCst) {
        0 => None,
        code if code == Exit::Terminated as u8 => Some(Exit::Terminated),
        _ => Some(Exit::Interrupted),
    }
}
