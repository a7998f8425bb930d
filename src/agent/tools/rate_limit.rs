//! How often a tool may be called: so many calls in any window of so many seconds.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// At most `calls_max` calls in any `window`, over all runs of the agent on this node.
#[derive(Debug, Clone, Copy)]
pub(in crate::agent) struct RateLimit {
    pub(in crate::agent) window: Duration,
    pub(in crate::agent) calls_max: usize,
}

/// Remembers the calls of one window; never more than `calls_max` of them.
pub(super) struct Limiter {
    limit: RateLimit,
    calls: Mutex<VecDeque<Instant>>,
}

impl Limiter {
    pub(super) fn new(limit: RateLimit) -> Self {
        Self { limit, calls: Mutex::new(VecDeque::new()) }
    }

    /// Whether one more call may be made now; if so, it counts.
    pub(super) fn admit(&self, now: Instant) -> bool {
        // The queue is whole at every step, so a panic elsewhere cannot have broken it.
        let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        while calls
            .front()
            .is_some_and(|call| now.saturating_duration_since(*call) >= self.limit.window)
        {
            calls.pop_front();
        }
        if calls.len() >= self.limit.calls_max {
            return false;
        }
        calls.push_back(now);
        true
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{Limiter, RateLimit};

    #[test]
    fn calls_are_admitted_again_when_the_oldest_leaves_the_window() {
        let window = Duration::from_secs(60);
        let limiter = Limiter::new(RateLimit { window, calls_max: 2 });
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let admitted = [0, 30, 59, 60, 61, 90].map(|seconds| limiter.admit(after(seconds)));
        assert_eq!(admitted, [true, true, false, true, false, true]);
    }
}
