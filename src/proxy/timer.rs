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

    #[tokio::test(start_paused = true)]
    async fn a_deadline_may_move_both_ways() {
        let start = Instant::now();
        let seconds = |count| Some(start + Duration::from_secs(count));
        let mut timer = Timer::new(start + Duration::from_secs(10));
        for due in [20, 25, 60, 61] {
            poll_fn(|context| timer.poll_at(context, seconds(due))).await;
            assert_eq!(start.elapsed().as_secs(), due);
        }
        let mut timer = Timer::new(start + Duration::from_secs(1000));
        poll_fn(|context| timer.poll_at(context, seconds(100))).await;
        assert_eq!(start.elapsed().as_secs(), 100);
    }
}
