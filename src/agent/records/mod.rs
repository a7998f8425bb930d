//! What the runs of this node leave behind: the last traces, and sums for each agent.
//!
//! Owned by the node rather than by the registry, so that it outlives a reload. Bounded in every
//! direction; nothing is written to disk. Holds no prompts and no answers: traces have none.

mod ring;
mod sums;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use super::types::{AgentUsage, ModelUsage, TraceRecord};
use ring::Ring;
use sums::Sums;

/// Digits at the beginning of a trace id that say which node keeps the trace.
pub const KEEPER_DIGITS: usize = 10;

/// The records of a node; clones are the same.
#[derive(Clone)]
pub struct Records(Arc<Inner>);

struct Inner {
    keeper: u64,
    /// Seconds since 1970 at which the sums began.
    since: f64,
    ring: Mutex<Ring>,
    sums: Mutex<Sums>,
}

impl Records {
    /// Of a node whose trace ids begin with this number as [`KEEPER_DIGITS`] hexadecimal digits;
    /// what does not fit them is cut.
    #[must_use]
    pub fn new(keeper: u64) -> Self {
        Self(Arc::new(Inner {
            keeper: keeper & 0xff_ffff_ffff,
            since: SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().as_secs_f64(),
            ring: Mutex::default(),
            sums: Mutex::default(),
        }))
    }

    /// The traces that are kept, the newest first; `agent` leaves out those of others.
    #[must_use]
    pub fn traces(&self, agent: Option<&str>, limit: usize) -> Vec<Arc<TraceRecord>> {
        locked(&self.0.ring).newest(agent, limit)
    }

    /// A trace that is kept, by its own id or by that of the W3C trace that the run belongs to.
    #[must_use]
    pub fn trace(&self, id: &str) -> Option<Arc<TraceRecord>> {
        locked(&self.0.ring).find(id)
    }

    /// What each agent has done and used, by name.
    #[must_use]
    pub fn usage(&self) -> Vec<AgentUsage> {
        locked(&self.0.sums).report()
    }

    /// When the sums began, in seconds since 1970.
    #[must_use]
    pub fn since(&self) -> f64 {
        self.0.since
    }

    /// A new trace id: 32 hexadecimal digits, of which the first name this node.
    pub(super) fn trace_id(&self) -> String {
        let random = fastrand::u128(..) & ((1 << 88) - 1);
        format!("{:010x}{random:022x}", self.0.keeper)
    }

    /// A run has ended, one way or another.
    pub(super) fn keep(&self, record: TraceRecord, models: &[ModelUsage]) {
        locked(&self.0.sums).add(&record, models);
        locked(&self.0.ring).push(record);
    }
}

impl Default for Records {
    /// Of a node that is nobody's member.
    fn default() -> Self {
        Self::new(0)
    }
}

impl fmt::Debug for Records {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Records").field("since", &self.0.since).finish_non_exhaustive()
    }
}

/// What a panic left is whole: nothing is done in steps.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
