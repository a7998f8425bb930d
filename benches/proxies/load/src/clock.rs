//! The clock that all processes of a bench share.

use rustix::time::{ClockId, clock_gettime};

/// Microseconds of `CLOCK_MONOTONIC`.
pub fn now_us() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    let seconds = u64::try_from(now.tv_sec).expect("the clock starts at boot");
    let nanoseconds = u64::try_from(now.tv_nsec).expect("0 to 999,999,999");
    seconds * 1_000_000 + nanoseconds / 1_000
}
