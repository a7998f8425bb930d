//! Local health: how far this node trusts its own probes (Lifeguard, section IV.A).

/// A score between 0 (healthy) and a maximum; it stretches the node's own timeouts, so that a slow
/// node does not accuse healthy ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Awareness {
    score: u32,
    max: u32,
}

impl Awareness {
    /// Healthy.
    #[must_use]
    pub const fn new(max: u32) -> Self {
        Self { score: 0, max }
    }

    /// Lowers the score.
    pub const fn improve(&mut self, by: u32) {
        self.score = self.score.saturating_sub(by);
    }

    /// Raises the score, up to its maximum.
    pub fn worsen(&mut self, by: u32) {
        self.score = self.score.saturating_add(by).min(self.max);
    }

    /// The score.
    #[must_use]
    pub const fn score(&self) -> u32 {
        self.score
    }
}
