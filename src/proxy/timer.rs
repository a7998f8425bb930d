//! One timer for each connection, moved as seldom as possible.
//!
//! A request has several deadlines and mostly ends long before any of them. Owns one timer of the
//! runtime and leaves it where it is while the deadline moves later: it fires early then, and is
//! set anew. A busy connection so touches the runtime's timers a few times a second, however many
//! requests pass.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::time::{Instant, Sleep, sleep_until};

/// The timer of a connection.
#[derive(Debug)]
pub(super) struct Timer {
    sleep: Pin<Box<Sleep>>,
}

impl Timer {
    pub(super) fn new(due: Instant) -> Self {
        Self { sleep: Box::pin(sleep_until(due)) }
    }

    /// Ready when `due` has passed; `None` never does.
    pub(super) fn poll_at(&mut self, context: &mut Context<'_>, due: Option<Instant>) -> Poll<()> {
        let Some(due) = due else { return Poll::Pending };
        if self.sleep.deadline() > due {
            self.sleep.as_mut().reset(due);
        }
        loop {
            ready!(self.sleep.as_mut().poll(context));
            if Instant::now() >= due {
                return Poll::Ready(());
            }
            self.sleep.as_mut().reset(due);
        }
    }
}

/// The earlier of two deadlines.
pub(super) fn earlier(first: Option<Instant>, second: Option<Instant>) -> Option<Instant> {
    match (first, second) {
        (Some(first), Some(second)) => Some(first.min(second)),
        (one, None) | (None, one) => one,
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn a_deadline_may_move_both_ways() {
        let hour = Duration::from_secs(3600);
        let (past, future) = (Some(Instant::now()), Some(Instant::now() + hour));
        let mut timer = Timer::new(Instant::now());
        for due in [future, None, future] {
            let is_over = poll_fn(|context| Poll::Ready(timer.poll_at(context, due).is_ready()));
            assert!(!is_over.await, "{due:?}");
            // Would not end in an hour if it waited for what it was set to before.
            poll_fn(|context| timer.poll_at(context, past)).await;
        }
    }
}
