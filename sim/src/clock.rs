//! The clock of one node: how it differs from that of the world.

use std::time::Duration;

use astromesh_swim::Instant;

/// Reads the same as the world's clock until something happens to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Clock {
    /// Since when, by the world's clock, it has run at its rate.
    since: Instant,
    /// What it read then.
    read: Instant,
    /// How many microseconds it gains in a second.
    drift_ppm: i64,
}

impl Clock {
    /// What it reads at a time of the world.
    #[must_use]
    pub fn read(&self, now: Instant) -> Instant {
        let elapsed = i64::try_from(now.since(self.since).as_micros()).unwrap_or(i64::MAX);
        let gained = elapsed.saturating_mul(self.drift_ppm).div_euclid(MILLION);
        let shown = elapsed.saturating_add(gained);
        self.read + Duration::from_micros(u64::try_from(shown).unwrap_or(0))
    }

    /// The first time of the world at which it reads `reading` or more.
    #[must_use]
    pub fn when(&self, reading: Instant) -> Instant {
        let ahead = reading.since(self.read);
        if self.drift_ppm == 0 {
            return self.since + ahead;
        }
        let ahead = i64::try_from(ahead.as_micros()).unwrap_or(i64::MAX / MILLION);
        let rate = MILLION + self.drift_ppm;
        // Rounded up, as the reading is rounded down: never too early.
        let lasts = ahead.saturating_mul(MILLION).saturating_add(rate - 1) / rate;
        self.since + Duration::from_micros(u64::try_from(lasts).unwrap_or(0))
    }

    /// Leaps ahead, as that of a machine that slept.
    pub fn leap(&mut self, now: Instant, by: Duration) {
        *self = Self { since: now, read: self.read(now) + by, ..*self };
    }

    /// Runs fast (or slow, if negative) from now on, by as many millionths.
    ///
    /// # Panics
    /// When it would stand still or run backwards.
    pub fn set_drift(&mut self, now: Instant, drift_ppm: i64) {
        assert!(drift_ppm > -MILLION, "a clock runs forwards");
        *self = Self { since: now, read: self.read(now), drift_ppm };
    }
}

const MILLION: i64 = 1_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_leapt_and_drifts_is_never_woken_too_early() {
        let mut clock = Clock::default();
        let mut rng = fastrand::Rng::with_seed(1);
        let mut now = Instant::default();
        for _ in 0..10_000 {
            now = now + Duration::from_micros(rng.u64(..2_000_000));
            match rng.u8(..20) {
                0 => clock.leap(now, Duration::from_micros(rng.u64(..9_000_000))),
                1 => clock.set_drift(now, rng.i64(-20_000..20_000)),
                _ => {}
            }
            let due = clock.read(now) + Duration::from_micros(rng.u64(..5_000_000));
            let when = clock.when(due);
            assert!(when >= now && clock.read(when) >= due);
            let just_before = Instant::from_micros(when.as_micros() - 1);
            assert!(when == now || clock.read(just_before) < due);
        }
    }

    #[test]
    fn a_clock_one_percent_fast_gains_a_hundredth() {
        let mut clock = Clock::default();
        clock.set_drift(Instant::default(), 10_000);
        let read = clock.read(Instant::from_micros(100_000_000));
        assert_eq!(read, Instant::from_micros(101_000_000));
    }
}
