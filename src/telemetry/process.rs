//! What the kernel says about this process.

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;

/// The process at one moment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Process {
    /// Processor time it used, in its own code and in the kernel.
    pub cpu_seconds: f64,
    /// Memory it has in use.
    pub resident_bytes: u64,
    /// Its open file descriptors.
    pub open_fds: u64,
    /// Its threads.
    pub threads: u64,
}

impl Process {
    /// Asks the kernel, which takes longer the more descriptors are open: not for a thread that
    /// serves requests. `None` where there is no `/proc`.
    #[must_use]
    pub fn read() -> Option<Self> {
        let usage = getrusage(UsageWho::RUSAGE_SELF).ok()?;
        let cpu = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
        let status = std::fs::read_to_string("/proc/self/status").ok()?;
        let value = |name| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        let resident_kib: u64 = value("VmRSS:")?.strip_suffix(" kB")?.parse().ok()?;
        let open = std::fs::read_dir("/proc/self/fd").ok()?.count();
        Some(Self {
            cpu_seconds: cpu as f64 / 1e6,
            resident_bytes: resident_kib * 1024,
            // The listing itself has one.
            open_fds: u64::try_from(open.saturating_sub(1)).unwrap_or(u64::MAX),
            threads: value("Threads:")?.parse().ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_knows_this_process() {
        let kept = std::fs::File::open("/proc/self/status").unwrap();
        let process = Process::read().unwrap();
        assert!(process.resident_bytes > 1 << 20, "{process:?}");
        assert!(process.open_fds > 3, "{process:?}");
        // That of the test and that which waits for it.
        assert!(process.threads > 1, "{process:?}");
        assert!(process.cpu_seconds > 0.0, "{process:?}");
        drop(kept);
    }
}
