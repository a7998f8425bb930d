//! Panics: which of them end the process.
//!
//! A panic is a defect. In what serves one request or one connection it ends only that, which is
//! [`contained`]; anywhere else it would leave a process that lives by half, so the process ends. Owns
//! the hook that tells the two apart. Refuses to repair anything.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind};
use std::pin::Pin;
use std::task::Poll;

use super::logging::Log;

thread_local! {
    /// What this thread executes is contained.
    static IS_CONTAINED: Cell<bool> = const { Cell::new(false) };
    /// The last contained panic on this thread, until it has been told.
    static LAST: RefCell<String> = const { RefCell::new(String::new()) };
}

/// A panic that ended a contained future: its message, and its place in the source if the hook is
/// there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Panicked(String);

/// From now on a panic ends the process with this exit code and a log line, unless it is contained.
pub fn exit_on_panic(code: i32, log: Log) {
    std::panic::set_hook(Box::new(move |info| {
        let said = describe(info);
        if IS_CONTAINED.get() {
            return LAST.set(said);
        }
        let thread = std::thread::current();
        tracing::error!(
            panic = said,
            thread = thread.name().unwrap_or_default(),
            "internal error, the process ends; this is a defect, please report it"
        );
        log.flush();
        std::process::exit(code);
    }));
}

/// Runs a future to its end; a panic ends it and nothing else. The future is pinned already, so that
/// it is not there twice.
///
/// # Errors
/// It panicked. It is not polled again, so what it left half done is not seen.
pub async fn contained<F: Future + Unpin>(mut future: F) -> Result<F::Output, Panicked> {
    poll_fn(|context| {
        let outer = IS_CONTAINED.replace(true);
        let polled = catch_unwind(AssertUnwindSafe(|| Pin::new(&mut future).poll(context)));
        IS_CONTAINED.set(outer);
        match polled {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(output)) => Poll::Ready(Ok(output)),
            Err(payload) => {
                let said = LAST.take();
                let said =
                    if said.is_empty() { message(payload.as_ref()).to_owned() } else { said };
                Poll::Ready(Err(Panicked(said)))
            }
        }
    })
    .await
}

fn describe(info: &PanicHookInfo<'_>) -> String {
    let said = message(info.payload());
    info.location().map_or_else(|| said.to_owned(), |place| format!("{said} ({place})"))
}

fn message(payload: &(dyn std::any::Any + Send)) -> &str {
    payload
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| payload.downcast_ref::<&str>().copied())
        .unwrap_or("no message")
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use super::*;

    #[tokio::test]
    async fn a_contained_panic_is_told_and_the_rest_goes_on() {
        assert_eq!(contained(pin!(async { 1 })).await, Ok(1));
        let number = 7;
        let panicked = contained(pin!(async { assert!(number < 7, "number {number}") })).await;
        assert_eq!(panicked, Err(Panicked("number 7".to_owned())));
        assert!(!IS_CONTAINED.get());
    }
}
