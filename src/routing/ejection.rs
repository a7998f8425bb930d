//! Whether a node, or an agent on a node, is passed over for what became of earlier requests to it.
//!
//! Without this a crashed node is a black hole: it has nothing outstanding, so it looks like the
//! best choice until gossip has declared it dead. Owns the state of one node or of one agent there;
//! the table keeps one for each node, and `failing` for each pair that failed. Reads no clock. Refusals, 429 and everything else below 500 are no failures: a client
//! that errs must not take nodes away from the others.

use std::time::Duration;

use super::tuning::{
    EJECTION_MAX, EJECTION_MIN, FAILURES_IN_ROW, SUCCESS_PERCENT_MIN, TRIAL, WINDOW_ANSWERS_MIN,
    WINDOW_SECONDS,
};

/// How well a node answers.
#[derive(Debug, Default)]
pub(super) struct Health {
    phase: Phase,
    /// End of the time out, or of the trial.
    until: Duration,
    wait: Duration,
    in_row: u32,
    window: Box<Window>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Phase {
    #[default]
    Fine,
    /// Passed over until the time is up; then the next request is a trial.
    Out(Cause),
    /// One request was let through; the others keep away until the time is up.
    Trial(Cause),
}

/// What a node is ejected for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    /// It could not be connected to.
    Unreachable,
    /// It answered with errors, or broke off.
    Failing,
}

impl Health {
    /// Why to pass over the node now.
    #[inline]
    pub(super) fn ejected(&self, now: Duration) -> Option<Cause> {
        match self.phase {
            Phase::Fine => None,
            Phase::Out(cause) | Phase::Trial(cause) => (now < self.until).then_some(cause),
        }
    }

    /// The moment from which it is not passed over, as things stand.
    pub(super) fn until(&self) -> Duration {
        self.until
    }

    /// Whether the next request to it is a trial.
    pub(super) fn is_due(&self, now: Duration) -> bool {
        self.phase != Phase::Fine && self.until <= now
    }

    /// It is neither passed over nor to be tried.
    pub(super) fn is_fine(&self) -> bool {
        self.phase == Phase::Fine
    }

    /// Nothing failed lately, as far as that still counts.
    pub(super) fn is_well(&self, now: Duration) -> bool {
        self.phase == Phase::Fine && !self.window.has_failures(now)
    }

    /// The node was picked: if its time out is over, this request tries it alone for a moment.
    pub(super) fn picked(&mut self, now: Duration) {
        if let Phase::Out(cause) | Phase::Trial(cause) = self.phase
            && self.until <= now
        {
            self.phase = Phase::Trial(cause);
            self.until = now + TRIAL;
        }
    }

    /// It could not be connected to. Tells whether it is ejected by that.
    pub(super) fn unreachable(&mut self, now: Duration) -> bool {
        self.eject(now, Cause::Unreachable)
    }

    /// It broke off, or its time was over. Tells whether it is ejected by that.
    pub(super) fn broke(&mut self, now: Duration) -> bool {
        match self.phase {
            Phase::Fine => {
                self.in_row += 1;
                self.window.count(now, Answer::Failure);
                (self.in_row >= FAILURES_IN_ROW || self.window.is_bad())
                    && self.eject(now, Cause::Failing)
            }
            Phase::Out(cause) | Phase::Trial(cause) => self.eject(now, cause),
        }
    }

    /// It answered with an error of its own. Tells whether it is ejected by that.
    pub(super) fn erred(&mut self, now: Duration) -> bool {
        self.connected();
        self.broke(now)
    }

    /// It answered.
    pub(super) fn answered(&mut self, now: Duration) {
        self.connected();
        self.in_row = 0;
        self.window.count(now, Answer::Success);
        // During the time out this is the answer to an older request, and no news.
        if matches!(self.phase, Phase::Trial(_)) || self.is_due(now) {
            self.readmit();
        }
    }

    /// It refused, which says that it is there and nothing of how it would have answered: a trial
    /// is still to be made.
    pub(super) fn refused(&mut self, now: Duration) {
        self.connected();
        if let Phase::Trial(cause) = self.phase {
            self.phase = Phase::Out(cause);
            self.until = now;
        }
    }

    fn connected(&mut self) {
        if let Phase::Out(Cause::Unreachable) | Phase::Trial(Cause::Unreachable) = self.phase {
            self.readmit();
        }
    }

    fn readmit(&mut self) {
        self.phase = Phase::Fine;
        self.until = Duration::ZERO;
    }

    /// The wait doubles once for each failed trial, however many requests fail together, and the
    /// end of a time out never comes nearer.
    fn eject(&mut self, now: Duration, cause: Cause) -> bool {
        let is_new = self.phase == Phase::Fine;
        match self.phase {
            Phase::Fine => {
                self.wait = EJECTION_MIN;
                self.in_row = 0;
                *self.window = Window::default();
            }
            Phase::Trial(_) => {
                self.wait = (self.wait * 2).min(EJECTION_MAX);
                self.until = now;
            }
            Phase::Out(_) => {}
        }
        self.phase = Phase::Out(cause);
        self.until = self.until.max(now + self.wait);
        is_new
    }
}

/// Answers of the last seconds.
#[derive(Debug, Default)]
struct Window {
    /// Of each second, at its number modulo the length.
    seconds: [Tally; WINDOW_SECONDS],
    latest: u64,
}

#[derive(Debug, Default, Clone, Copy)]
struct Tally {
    successes: u32,
    failures: u32,
}

#[derive(Clone, Copy)]
enum Answer {
    Success,
    Failure,
}

impl Window {
    fn count(&mut self, now: Duration, answer: Answer) {
        let length = WINDOW_SECONDS as u64;
        let second = now.as_secs();
        let passed = second.saturating_sub(self.latest).min(length);
        self.latest = self.latest.max(second);
        for ago in 0..passed {
            self.seconds[((second - ago) % length) as usize] = Tally::default();
        }
        let tally = &mut self.seconds[(self.latest % length) as usize];
        match answer {
            Answer::Success => tally.successes += 1,
            Answer::Failure => tally.failures += 1,
        }
    }

    fn has_failures(&self, now: Duration) -> bool {
        let is_old = now.as_secs() >= self.latest + WINDOW_SECONDS as u64;
        !is_old && self.seconds.iter().any(|tally| tally.failures > 0)
    }

    fn is_bad(&self) -> bool {
        let successes: u32 = self.seconds.iter().map(|tally| tally.successes).sum();
        let failures: u32 = self.seconds.iter().map(|tally| tally.failures).sum();
        let answers = successes + failures;
        answers >= WINDOW_ANSWERS_MIN
            && u64::from(successes) * 100 < u64::from(answers) * u64::from(SUCCESS_PERCENT_MIN)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const START: Duration = Duration::from_secs(100);

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    #[test]
    fn failed_trials_double_the_wait_up_to_the_maximum_and_an_answer_ends_it() {
        let mut health = Health::default();
        let mut now = START;
        for wait in [1, 2, 4, 8, 16, 32, 32] {
            health.picked(now);
            health.unreachable(now);
            assert_eq!(health.ejected(now + seconds(wait - 1)), Some(Cause::Unreachable));
            now += seconds(wait);
            assert_eq!(health.ejected(now), None);
        }
        health.picked(now);
        health.answered(now);
        assert_eq!(health.ejected(now), None);
        assert!(health.unreachable(now), "ejected anew");
        assert_eq!(health.ejected(now + EJECTION_MIN), None, "from the first wait on");
    }

    #[test]
    fn requests_that_fail_together_count_once() {
        let mut health = Health::default();
        let ejected = (0..20).filter(|_| health.unreachable(START)).count();
        assert_eq!((ejected, health.until()), (1, START + EJECTION_MIN));
    }

    #[test]
    fn one_request_tries_a_node_again_while_the_others_keep_away() {
        let mut health = Health::default();
        health.unreachable(START);
        let later = START + EJECTION_MIN;
        assert!(health.is_due(later));
        health.picked(later);
        assert_eq!(health.ejected(later), Some(Cause::Unreachable));
        assert!(health.is_due(later + TRIAL), "nothing came of the trial");
    }

    #[test]
    fn a_fifth_failure_in_a_row_ejects_and_a_success_starts_the_row_again() {
        let mut health = Health::default();
        let row = |health: &mut Health| (0..4).filter(|_| health.erred(START)).count();
        assert_eq!(row(&mut health), 0);
        health.answered(START);
        assert_eq!(row(&mut health), 0);
        assert!(health.broke(START), "broken connections and errors count alike");
        assert_eq!(health.ejected(START), Some(Cause::Failing));
    }

    #[test]
    fn fewer_than_four_successes_in_five_eject_over_twenty_answers() {
        // Name, rounds of three successes and then failures, seconds a round takes, is ejected.
        let rows = [
            ("a quarter of few", 4, 1, 0, false),
            ("a quarter of twenty", 5, 1, 0, true),
            ("a quarter, but slowly", 20, 1, 3, false),
            ("two fifths of twenty", 4, 2, 0, true),
        ];
        for (name, rounds, failures, pause, expected) in rows {
            let mut health = Health::default();
            let mut ejected = false;
            for round in 0..rounds {
                let now = START + seconds(round * pause);
                for _ in 0..3 {
                    health.answered(now);
                }
                for _ in 0..failures {
                    ejected |= health.erred(now);
                }
            }
            assert_eq!(ejected, expected, "{name}");
        }
    }

    #[test]
    fn a_fifth_of_failures_is_borne() {
        let mut health = Health::default();
        for _ in 0..50 {
            for _ in 0..4 {
                health.answered(START);
            }
            assert!(!health.erred(START));
        }
    }

    #[test]
    fn older_answers_do_not_end_a_time_out_for_errors_but_that_for_connections() {
        let mut failing = Health::default();
        for _ in 0..FAILURES_IN_ROW {
            failing.erred(START);
        }
        failing.answered(START);
        assert_eq!(failing.ejected(START), Some(Cause::Failing));
        let mut unreachable = Health::default();
        unreachable.unreachable(START);
        unreachable.erred(START);
        assert_eq!(unreachable.ejected(START), None);
    }

    #[test]
    fn a_refused_trial_is_to_be_made_again() {
        let mut health = Health::default();
        for _ in 0..FAILURES_IN_ROW {
            health.erred(START);
        }
        let later = START + EJECTION_MIN;
        health.picked(later);
        health.refused(later);
        assert!(health.is_due(later));
        health.picked(later);
        health.erred(later);
        assert_eq!(health.until(), later + EJECTION_MIN * 2);
    }

    #[derive(Debug, Clone, Copy)]
    enum Step {
        Wait(u16),
        Picked,
        Unreachable,
        Broke,
        Erred,
        Answered,
        Refused,
    }

    fn any_step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0_u16..5_000).prop_map(Step::Wait),
            Just(Step::Picked),
            Just(Step::Unreachable),
            Just(Step::Broke),
            Just(Step::Erred),
            Just(Step::Answered),
            Just(Step::Refused),
        ]
    }

    proptest! {
        #[test]
        fn time_outs_stay_in_bounds_and_never_end_early_by_failures(
            steps in prop::collection::vec(any_step(), 0..200),
        ) {
            let mut health = Health::default();
            let mut now = START;
            for step in steps {
                let before = (health.phase, health.until);
                match step {
                    Step::Wait(millis) => now += Duration::from_millis(millis.into()),
                    Step::Picked => health.picked(now),
                    Step::Unreachable => assert!(!health.unreachable(now) || before.0 == Phase::Fine),
                    Step::Broke => assert!(!health.broke(now) || before.0 == Phase::Fine),
                    Step::Erred => {
                        let _is_new = health.erred(now);
                    }
                    Step::Answered => health.answered(now),
                    Step::Refused => health.refused(now),
                }
                prop_assert!(health.until <= now + EJECTION_MAX);
                if let (Phase::Out(_), until) = before
                    && matches!(step, Step::Unreachable | Step::Broke)
                {
                    prop_assert!(health.until >= until);
                    prop_assert!(health.ejected(now).is_some());
                }
                if matches!(step, Step::Unreachable) {
                    prop_assert_eq!(health.ejected(now), Some(Cause::Unreachable));
                }
            }
        }
    }
}
