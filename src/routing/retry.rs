//! Whether a failed request may be sent once more.
//!
//! Owns the budget that keeps retries from multiplying the load of nodes in trouble: a part of the
//! requests, and a few a second for those with little traffic. Reads no clock.

use std::time::Duration;

use super::terms::{Repeat, Sent};
use super::tuning::{RETRIES_PER_SECOND, RETRIES_SAVED_MAX, RETRY_SHARE_MILLI};

/// What one retry costs, in thousandths.
const PRICE_MILLI: u64 = 1_000;

/// Retries that may be made; full at the start.
#[derive(Debug)]
pub(super) struct RetryBudget {
    saved_milli: u64,
    paid_until: Duration,
}

/// The answer to a wish for a retry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Send it again; the budget is charged.
    Allowed,
    /// It could run twice.
    Unsafe,
    /// Too many retries were made lately.
    OverBudget,
}

impl RetryBudget {
    pub(super) fn new() -> Self {
        Self { saved_milli: RETRIES_SAVED_MAX * PRICE_MILLI, paid_until: Duration::ZERO }
    }

    /// A request came in and pays its share.
    pub(super) fn request_began(&mut self) {
        self.save(RETRY_SHARE_MILLI);
    }

    /// Takes the price of a retry if one is allowed.
    pub(super) fn ask(&mut self, now: Duration, sent: Sent, repeat: Repeat) -> Verdict {
        match (sent, repeat) {
            (Sent::Maybe, Repeat::Unsafe) => return Verdict::Unsafe,
            (Sent::Never, Repeat::Safe | Repeat::Unsafe) | (Sent::Maybe, Repeat::Safe) => {}
        }
        let passed = now.saturating_sub(self.paid_until).as_millis();
        self.paid_until = self.paid_until.max(now);
        // A thousandth of a retry for each unit a second and millisecond.
        let free = u64::try_from(passed).unwrap_or(u64::MAX).saturating_mul(RETRIES_PER_SECOND);
        self.save(free);
        if self.saved_milli < PRICE_MILLI {
            return Verdict::OverBudget;
        }
        self.saved_milli -= PRICE_MILLI;
        Verdict::Allowed
    }

    fn save(&mut self, milli: u64) {
        let full = RETRIES_SAVED_MAX * PRICE_MILLI;
        self.saved_milli = self.saved_milli.saturating_add(milli).min(full);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_what_was_never_sent_or_may_repeat_is_sent_again() {
        let rows = [
            (Sent::Never, Repeat::Safe, Verdict::Allowed),
            (Sent::Never, Repeat::Unsafe, Verdict::Allowed),
            (Sent::Maybe, Repeat::Safe, Verdict::Allowed),
            (Sent::Maybe, Repeat::Unsafe, Verdict::Unsafe),
        ];
        for (sent, repeat, expected) in rows {
            let verdict = RetryBudget::new().ask(Duration::ZERO, sent, repeat);
            assert_eq!(verdict, expected, "{sent:?} {repeat:?}");
        }
    }

    fn allowed(budget: &mut RetryBudget, now: Duration, wishes: u64) -> u64 {
        let ask = |_: &u64| budget.ask(now, Sent::Never, Repeat::Unsafe) == Verdict::Allowed;
        (0..wishes).filter(ask).count() as u64
    }

    #[test]
    fn an_empty_budget_fills_with_time_and_with_requests() {
        let mut budget = RetryBudget::new();
        let now = Duration::from_secs(50);
        assert_eq!(allowed(&mut budget, now, 5_000), RETRIES_SAVED_MAX);
        assert_eq!(allowed(&mut budget, now + Duration::from_secs(3), 5_000), 30);
        for _ in 0..50 {
            budget.request_began();
        }
        assert_eq!(allowed(&mut budget, now + Duration::from_secs(3), 5_000), 10);
    }

    proptest! {
        #[test]
        fn retries_never_exceed_what_was_saved_and_paid_for(
            rounds in prop::collection::vec((0_u64..500, 0_u64..2_000, 0_u64..3_000), 1..30),
        ) {
            let mut budget = RetryBudget::new();
            let (mut now, mut requests, mut retries) = (Duration::ZERO, 0, 0);
            for (began, wishes, millis) in rounds {
                now += Duration::from_millis(millis);
                requests += began;
                for _ in 0..began {
                    budget.request_began();
                }
                retries += allowed(&mut budget, now, wishes);
                let paid = requests * RETRY_SHARE_MILLI + now.as_millis() as u64 * RETRIES_PER_SECOND;
                prop_assert!(retries * PRICE_MILLI <= RETRIES_SAVED_MAX * PRICE_MILLI + paid);
            }
        }
    }
}
