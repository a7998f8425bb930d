//! How long answers take, and how far the offsets of a probe are stretched for that.

use std::time::Duration;

/// The offsets of a probe are made for answers that take no longer than this.
pub const RTT_DESIGNED: Duration = Duration::from_millis(30);

/// The offsets are stretched no further: beyond, patience is the business of the floor.
pub const STRETCH_MAX: f64 = 20.0;

/// A smoothed round-trip time and its variation, as in RFC 6298.
#[derive(Debug, Clone, Copy, Default)]
pub struct Rtt {
    /// Seconds; zero until the first answer.
    smoothed: f64,
    variation: f64,
}

impl Rtt {
    /// Nothing known yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { smoothed: 0.0, variation: 0.0 }
    }

    /// Whether nothing is known yet.
    #[must_use]
    pub const fn is_unknown(&self) -> bool {
        self.smoothed == 0.0
    }

    /// An answer took this long.
    pub fn note(&mut self, took: Duration) {
        let took = took.as_secs_f64();
        if self.is_unknown() {
            (self.smoothed, self.variation) = (took, took / 2.0);
        } else {
            self.variation = 0.75 * self.variation + 0.25 * (self.smoothed - took).abs();
            self.smoothed = 0.875 * self.smoothed + 0.125 * took;
        }
    }

    /// The factor by which offsets are stretched: 1 in a local network.
    #[must_use]
    pub fn stretch(&self) -> f64 {
        let expected = 4.0_f64.mul_add(self.variation, self.smoothed);
        (expected / RTT_DESIGNED.as_secs_f64()).clamp(1.0, STRETCH_MAX)
    }
}
