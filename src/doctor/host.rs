//! What the host grants this process: descriptors, disk, room for datagrams. And the process itself.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit};
use nix::sys::statvfs::statvfs;

use super::report::{Check, Status};
use crate::api::types::ReloadStatus;
use crate::config::Runtime;
use crate::gossip::inspect::Inspection;

/// Use of the soft limit from which on it is told, in tenths.
const DESCRIPTORS_TENTHS_MAX: u64 = 8;

/// Less free space than this is told.
const FREE_BYTES_MIN: u64 = 100 << 20;

/// Datagrams that were dropped longer ago are history.
const DROPS_RECENT: Duration = Duration::from_secs(3_600);

pub(super) fn runtime(config: &Runtime, up: Duration) -> Check {
    let version = env!("CARGO_PKG_VERSION");
    let pid = std::process::id();
    let threads = config.api.workers.threads();
    let file = std::path::absolute(&config.file).unwrap_or_else(|_| config.file.clone());
    Check::ok(format!("astromeshd {version}, process {pid}, up {} s", up.as_secs()))
        .with("version", version)
        .with("pid", pid)
        .with("uptime_seconds", up.as_secs_f64())
        .with("workers", threads)
        .with("configuration", file.display().to_string())
}

pub(super) fn ports(http: SocketAddr, gossip: Option<SocketAddr>) -> Check {
    let check = match gossip {
        Some(gossip) => Check::ok(format!("HTTP on TCP {http}, gossip on UDP {gossip}"))
            .with("gossip", gossip.to_string()),
        None => Check::ok(format!("HTTP on TCP {http}; no gossip, for the mesh is off")),
    };
    check.with("http", http.to_string())
}

/// Whether the node runs by what its files say.
pub(super) fn reload(status: &ReloadStatus) -> Check {
    let waiting = &status.needs_restart;
    let check = if let Some(first) = status.problems.first() {
        let others = match status.problems.len() - 1 {
            0 => String::new(),
            count => format!(", and {count} more"),
        };
        let message = format!("the last reload was refused: {}{others}", first.msg);
        let remedy = "mend what is named, then `astromeshctl reload`";
        Check::bad(Status::Degraded, message, remedy)
    } else if !waiting.is_empty() {
        let keys = waiting.join(", ");
        let message = format!("changed in the file, but not at run time: {keys}");
        Check::bad(Status::Degraded, message, "restart the daemon")
    } else if status.count == 0 {
        Check::ok("the files have not been read again since the start")
    } else {
        Check::ok("the last reload took over what the files say")
    };
    check.with("count", status.count).with("failed", status.failed)
}

/// Asks the kernel, which takes longer the more descriptors are open. Blocks.
pub(super) fn file_limits() -> Check {
    let open = std::fs::read_dir("/proc/self/fd").map(Iterator::count);
    let (Ok((soft, hard)), Ok(open)) = (getrlimit(Resource::RLIMIT_NOFILE), open) else {
        return Check::ok("this system does not tell how many files may be open");
    };
    // The listing itself has one.
    let open = u64::try_from(open.saturating_sub(1)).unwrap_or(u64::MAX);
    let message = format!("{open} of {soft} descriptors are open (hard limit {hard})");
    let check = if open.saturating_mul(10) >= soft.saturating_mul(DESCRIPTORS_TENTHS_MAX) {
        let remedy = "each connection takes one: raise LimitNOFILE= in the unit file, or \
                      `ulimit -n` before the start, and restart";
        Check::bad(Status::Degraded, message, remedy)
    } else {
        Check::ok(message)
    };
    check.with("open", open).with("soft", soft).with("hard", hard)
}

/// Free space of a directory, and whether it can be written. Blocks, for long if a network drive
/// is gone.
pub(super) fn disk(path: &Path) -> Check {
    let shown = std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).display().to_string();
    if let Err(error) = try_write(path) {
        let remedy = format!("let the user of the daemon write {shown}, and make room there");
        let message = format!("{shown} cannot be written: {error}");
        return Check::bad(Status::Error, message, remedy).with("path", shown);
    }
    let Ok(space) = statvfs(path) else {
        return Check::ok(format!("{shown} can be written")).with("path", shown);
    };
    let unit = space.fragment_size();
    let free = space.blocks_available().saturating_mul(unit);
    let size = space.blocks().saturating_mul(unit);
    let message =
        format!("{shown} can be written; {} MiB of {} MiB are free", free >> 20, size >> 20);
    let check = if free < FREE_BYTES_MIN {
        let remedy = format!("make room on the file system of {shown}, or move it elsewhere");
        Check::bad(Status::Degraded, message, remedy)
    } else {
        Check::ok(message)
    };
    check.with("path", shown).with("free_bytes", free).with("size_bytes", size)
}

fn try_write(path: &Path) -> std::io::Result<()> {
    // Gone when dropped, whatever happens.
    let mut file = tempfile::tempfile_in(path)?;
    file.write_all(b"astromesh doctor")?;
    file.sync_all()
}

pub(super) fn socket_buffers(inspection: &Inspection) -> Check {
    let wanted = inspection.receive_buffer_wanted;
    let Inspection { drops, send_errors, .. } = *inspection;
    let granted = inspection.receive_buffer;
    let room = match granted {
        Some(granted) if granted < wanted => {
            format!("{granted} bytes for datagrams ({wanted} were asked for)")
        }
        Some(granted) => format!("{granted} bytes for datagrams"),
        None => "the kernel does not tell the room for datagrams".to_owned(),
    };
    let is_recent = inspection.dropped_ago.is_some_and(|ago| ago <= DROPS_RECENT);
    let check = match inspection.dropped_ago.filter(|_| is_recent) {
        Some(ago) => Check::bad(
            Status::Degraded,
            format!("{room}; {drops} were dropped for lack of it, last {} s ago", ago.as_secs()),
            format!(
                "give more room: `sysctl -w net.core.rmem_max={wanted}` on the host, and restart; \
                 if it goes on, the host is too busy"
            ),
        ),
        None => Check::ok(format!("{room}; {drops} were dropped for lack of it")),
    };
    check
        .with("granted_bytes", granted.map_or(serde_json::Value::Null, Into::into))
        .with("wanted_bytes", wanted)
        .with("drops", drops)
        .with("send_errors", send_errors)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_cannot_be_written_is_an_error_with_its_remedy() {
        let root = tempfile::tempdir().unwrap();
        let well = disk(root.path());
        assert_eq!(well.status, Status::Ok, "{well:?}");
        assert!(well.values["free_bytes"].is_u64());
        assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 0, "it leaves nothing");

        let missing = disk(&root.path().join("gone"));

        assert_eq!(missing.status, Status::Error);
        assert!(missing.remedy.unwrap().contains("gone"));
    }

    #[test]
    fn this_process_is_within_its_limits() {
        let check = file_limits();
        assert_eq!(check.status, Status::Ok, "{check:?}");
        assert!(check.values["open"].as_u64() > Some(2), "{check:?}");
    }
}
