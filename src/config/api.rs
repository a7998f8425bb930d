//! The settings below `spec.api`: where the HTTP server listens, how much it takes and how long it
//! waits.
//!
//! Owns their meaning and the problems that lie between them. Refuses to enforce any limit; the
//! HTTP plane does.

use std::fmt;
use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::str::FromStr;
use std::thread::available_parallelism;
use std::time::Duration;

use super::kind;
use super::layers::Layers;
use super::problem::Gathered;
use super::runtime::Values;

/// The HTTP server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Api {
    /// Address on which it listens; default `0.0.0.0`.
    pub host: IpAddr,
    /// TCP port on which it listens; default 8000. 0, which only `--port` can set, means any free
    /// port: the port actually taken then holds for gossip too.
    pub port: u16,
    /// Longest request body in bytes; default 1 MiB, at most 64 MiB.
    pub body_bytes_max: usize,
    /// Agent requests this node serves at once; 0, the default, means no limit.
    pub max_concurrent: u32,
    /// Requests for models that this node serves at once; 0, the default, means no limit.
    pub model_max_concurrent: u32,
    /// Requests that may wait for a place, 0 to 65,536; default 1,024. Without effect where
    /// neither the node nor an agent has a limit.
    pub queue_max: u32,
    /// Longest wait for a place; default 30 s.
    pub queue_timeout: Duration,
    /// Longest wait for a connection to another node or to an agent's own process; default 1 s.
    pub connect_timeout: Duration,
    /// Longest wait for the first byte of an answer; default 600 s. Never shorter than
    /// `connect_timeout`.
    pub first_byte_timeout: Option<Duration>,
    /// Longest time in which nothing passes while an answer is under way; default 300 s.
    pub idle_timeout: Option<Duration>,
    /// Longest time from a request to the end of its answer; default none. Never shorter than
    /// `connect_timeout`.
    pub total_timeout: Option<Duration>,
    /// Threads that serve requests; default one.
    pub workers: Workers,
    /// Whether each answered request is a line in the log; default true.
    pub access_log: bool,
}

/// How many threads serve requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Workers {
    /// As many as the process may use processors.
    Auto,
    /// So many, 1 to 256.
    Threads(NonZeroUsize),
}

impl Workers {
    /// The most threads.
    pub const MAX: usize = 256;

    /// The number of threads on this host; from 1 to [`Workers::MAX`].
    #[must_use]
    pub fn threads(self) -> usize {
        match self {
            Self::Auto => available_parallelism().map_or(1, NonZeroUsize::get).min(Self::MAX),
            Self::Threads(number) => number.get(),
        }
    }
}

impl fmt::Display for Workers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Threads(number) => number.fmt(f),
        }
    }
}

/// The text is no number of workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no number of workers: use auto or 1 to {}", Workers::MAX)]
pub struct UnknownWorkers;

impl FromStr for Workers {
    type Err = UnknownWorkers;

    fn from_str(text: &str) -> Result<Self, UnknownWorkers> {
        if text == "auto" {
            return Ok(Self::Auto);
        }
        match text.parse::<NonZeroUsize>() {
            Ok(number) if number.get() <= Self::MAX => Ok(Self::Threads(number)),
            Ok(_) | Err(_) => Err(UnknownWorkers),
        }
    }
}

/// Reads the section of layers without problems.
pub(super) fn read(values: &Values<'_>) -> Api {
    Api {
        host: values.read("spec.api.host", kind::ip),
        port: values.whole("spec.api.port"),
        body_bytes_max: values.whole("spec.api.body_bytes_max"),
        max_concurrent: values.whole("spec.api.max_concurrent"),
        model_max_concurrent: values.whole("spec.api.model_max_concurrent"),
        queue_max: values.whole("spec.api.queue_max"),
        queue_timeout: values.seconds("spec.api.queue_timeout"),
        connect_timeout: values.seconds(CONNECT),
        first_byte_timeout: values.seconds_unless_off(FIRST_BYTE),
        idle_timeout: values.seconds_unless_off("spec.api.idle_timeout"),
        total_timeout: values.seconds_unless_off(TOTAL),
        workers: values.read("spec.api.workers", kind::workers),
        access_log: values.read("spec.api.access_log", kind::boolean),
    }
}

const CONNECT: &str = "spec.api.connect_timeout";
const FIRST_BYTE: &str = "spec.api.first_byte_timeout";
const TOTAL: &str = "spec.api.total_timeout";

/// A deadline that would pass before a connection may have failed would hide that failure.
pub(super) fn check_timeouts(layers: &Layers, gathered: &mut Gathered) {
    let values = Values { layers };
    let Some(connect) = values.seconds_if_sound(CONNECT) else { return };
    // The defaults are longer than the longest time to connect, or none.
    for (path, name) in [(FIRST_BYTE, "first_byte_timeout"), (TOTAL, "total_timeout")] {
        let Some(whole) = values.seconds_if_sound(path) else { continue };
        if layers.at(path).is_none() || whole.is_zero() || whole >= connect {
            continue;
        }
        let what = format!("must not be shorter than connect_timeout, {} s", connect.as_secs_f64());
        let remedy = format!(
            "connecting is part of the time to the answer: raise {name}, set it to 0 for none, or \
             lower connect_timeout"
        );
        layers.add(path, &what, &remedy, gathered);
    }
}
