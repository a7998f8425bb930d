//! Which of two claims about a member wins. Pure.
//!
//! Claims about liveness are ordered by generation, then incarnation, then state (alive, suspect,
//! dead, left). The order is total and the winner is the maximum, so merging is commutative,
//! associative and idempotent, whatever the order of arrival. A member that is doubted comes back
//! only by raising its own incarnation; a restart raises the generation.

use astromesh_wire::{Record, State, StateUpdate};

/// A claim about liveness. Greater wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Standing {
    /// Grows with each start of the member's process.
    pub generation: u32,
    /// Grows with each refutation within a generation.
    pub incarnation: u32,
    /// What is claimed.
    pub state: State,
}

impl Standing {
    /// The claim of a state update.
    #[must_use]
    pub const fn of_update(update: &StateUpdate) -> Self {
        Self { generation: update.generation, incarnation: update.incarnation, state: update.state }
    }

    /// The claim of a record: alive.
    #[must_use]
    pub const fn of_record(record: &Record<'_>) -> Self {
        Self { generation: record.generation, incarnation: record.incarnation, state: State::Alive }
    }
}

/// The age of a member's description (address, name, metadata). Greater wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Edition {
    /// As in [`Standing`].
    pub generation: u32,
    /// Grows with each change within a generation.
    pub revision: u32,
}

impl Edition {
    /// The edition of a record.
    #[must_use]
    pub const fn of_record(record: &Record<'_>) -> Self {
        Self { generation: record.generation, revision: record.revision }
    }
}
