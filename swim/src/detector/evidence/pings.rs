//! The pings of one probe or case: which sequences they carry, and when they left.

use std::time::Duration;

use crate::time::Instant;

/// Pings with a sequence of their own; later ones share the first.
pub const PINGS: u16 = 3;

/// Pings to one member that any of their acks answers. Each of the first has its own sequence, so
/// that the time to its ack is known although others were sent meanwhile (Karn and Partridge,
/// SIGCOMM 1987, had to leave such times out).
#[derive(Debug, Clone, Copy)]
pub struct Pings {
    base: u16,
    sent: u16,
    sent_at: [Option<Instant>; 3],
}

impl Pings {
    /// Pings with [`PINGS`] sequences from `base` on.
    #[must_use]
    pub const fn new(base: u16) -> Self {
        Self { base, sent: 0, sent_at: [None; 3] }
    }

    /// The first sequence, by which helpers are asked.
    #[must_use]
    pub const fn base(&self) -> u16 {
        self.base
    }

    /// How many were sent.
    #[must_use]
    pub const fn sent(&self) -> u16 {
        self.sent
    }

    /// The sequence of a ping that leaves now.
    pub fn next(&mut self, now: Instant) -> u16 {
        let number = if self.sent < PINGS { self.sent } else { 0 };
        let is_repeated = self.sent >= PINGS;
        self.sent = self.sent.saturating_add(1);
        if let Some(sent_at) = self.sent_at.get_mut(usize::from(number)) {
            *sent_at = (!is_repeated).then_some(now);
        }
        self.base.wrapping_add(number)
    }

    /// Whether an ack with this sequence answers one of them.
    #[must_use]
    pub const fn are_answered_by(&self, sequence: u16) -> bool {
        sequence.wrapping_sub(self.base) < PINGS
    }

    /// How long the ack with this sequence took; `None` if several pings carried it.
    #[must_use]
    pub fn time_to(&self, now: Instant, sequence: u16) -> Option<Duration> {
        let number = usize::from(sequence.wrapping_sub(self.base));
        let sent_at = self.sent_at.get(number).copied().flatten()?;
        Some(now.since(sent_at))
    }
}
