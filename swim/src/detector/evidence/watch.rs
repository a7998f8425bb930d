//! A member that this node watches: when it is probed next, and the probe that is running.

use std::time::Duration;

use astromesh_wire::ShortId;

use super::case::Tries;
use super::pings::Pings;
use super::rtt::Rtt;
use crate::time::Instant;

/// Helpers asked to ping as well.
pub const HELPERS: usize = 4;

/// What a probe does, and when, from its start.
pub const STEPS: [(Duration, Step); 6] = [
    (Duration::ZERO, Step::Ping),
    (Duration::from_millis(80), Step::Ping),
    (Duration::from_millis(120), Step::AskHelpers),
    (Duration::from_millis(200), Step::Ping),
    (Duration::from_millis(210), Step::AskHelpers),
    (Duration::from_millis(350), Step::Judge),
];

/// One step of a probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Ping it.
    Ping,
    /// Ask the helpers to ping it, the first time or once more.
    AskHelpers,
    /// No answer: doubt it.
    Judge,
}

/// Why this node probes a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// It is one of its observers.
    Observer,
    /// The host has reason to doubt it: one probe.
    Hint,
}

/// A watched member.
#[derive(Debug, Clone)]
pub struct Watch {
    /// Why.
    pub reason: Reason,
    /// When the next probe starts.
    pub next_at: Instant,
    /// The running probe.
    pub attempt: Option<Attempt>,
    /// How long its answers take.
    pub rtt: Rtt,
}

/// A probe that has not been answered yet.
#[derive(Debug, Clone)]
pub struct Attempt {
    /// Its pings.
    pub pings: Pings,
    /// When it started.
    pub started_at: Instant,
    /// How many of [`STEPS`] were done.
    pub steps_done: usize,
    /// What was tried so far.
    pub tries: Tries,
    /// How far its offsets are stretched.
    pub stretch: f64,
    helpers: [Option<Helper>; HELPERS],
}

#[derive(Debug, Clone, Copy)]
struct Helper {
    id: ShortId,
    has_nacked: bool,
}

impl Watch {
    /// A member that is to be probed at a time.
    #[must_use]
    pub const fn new(reason: Reason, next_at: Instant) -> Self {
        Self { reason, next_at, attempt: None, rtt: Rtt::new() }
    }

    /// When something is to be done next.
    #[must_use]
    pub fn due(&self) -> Instant {
        self.attempt.as_ref().map_or(self.next_at, Attempt::due)
    }
}

impl Attempt {
    /// A probe that starts now.
    #[must_use]
    pub const fn new(now: Instant, pings: Pings, stretch: f64) -> Self {
        Self {
            pings,
            started_at: now,
            steps_done: 0,
            tries: Tries { pings: 0, helpers: 0, nacks: 0 },
            stretch,
            helpers: [None; HELPERS],
        }
    }

    /// When its next step is due.
    #[must_use]
    pub fn due(&self) -> Instant {
        let offset = STEPS.get(self.steps_done).map_or(Duration::ZERO, |(offset, _)| *offset);
        self.started_at + offset.mul_f64(self.stretch)
    }

    /// The next step if it is due; it counts as done then.
    pub fn step(&mut self, now: Instant) -> Option<Step> {
        let (_, step) = STEPS.get(self.steps_done)?;
        if self.due() > now {
            return None;
        }
        self.steps_done = self.steps_done.saturating_add(1);
        Some(*step)
    }

    /// The helpers.
    pub fn helpers(&self) -> impl Iterator<Item = ShortId> + '_ {
        self.helpers.iter().flatten().map(|helper| helper.id)
    }

    /// Notes a helper, as far as there is room.
    pub fn add_helper(&mut self, id: ShortId) {
        if let Some(seat) = self.helpers.iter_mut().find(|seat| seat.is_none()) {
            *seat = Some(Helper { id, has_nacked: false });
            self.tries.helpers = self.tries.helpers.saturating_add(1);
        }
    }

    /// A helper says that it has no answer so far.
    pub fn take_nack(&mut self, from: ShortId) {
        let helper = self.helpers.iter_mut().flatten().find(|helper| helper.id == from);
        if let Some(helper) = helper
            && !helper.has_nacked
        {
            helper.has_nacked = true;
            self.tries.nacks = self.tries.nacks.saturating_add(1);
        }
    }
}
