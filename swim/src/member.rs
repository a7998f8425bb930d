//! One member, as this node sees it.

use std::net::SocketAddr;

use astromesh_wire::{Bucket, Load, NodeId, Record, ShortId, State};
use bytes::Bytes;

use crate::precedence::{Edition, Standing};
use crate::time::Instant;

/// A member of the mesh.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Identity and description, as the member itself announced them.
    pub record: OwnedRecord,
    /// Alive, suspect, dead or left.
    pub state: State,
    /// Who brought about `state`, when it is suspect or dead.
    pub accuser: Bucket,
    /// How busy it said it is.
    pub load: Load,
    /// Counts its announcements of load within its generation.
    pub load_sequence: u32,
    /// Why this node by itself doubts it; never told to others.
    pub doubt: Doubt,
    /// When this node first heard of it.
    pub joined_at: Instant,
    /// When this node last received a datagram from it; [`Member::joined_at`] until then.
    pub heard_at: Instant,
    /// When `state` last changed.
    pub state_at: Instant,
}

impl Member {
    /// A member that is alive until shown otherwise.
    #[must_use]
    pub fn new(record: OwnedRecord, now: Instant) -> Self {
        Self {
            record,
            state: State::Alive,
            accuser: Bucket::default(),
            load: Load::default(),
            load_sequence: 0,
            doubt: Doubt::None,
            joined_at: now,
            heard_at: now,
            state_at: now,
        }
    }

    /// How it is named in datagrams.
    #[must_use]
    pub const fn id(&self) -> ShortId {
        self.record.id.short()
    }

    /// What users see: a member that this node doubts shows as suspect, whatever is claimed of it.
    #[must_use]
    pub const fn shown_state(&self) -> State {
        match (self.state, self.doubt) {
            (State::Alive, Doubt::Case | Doubt::Unreachable) => State::Suspect,
            (State::Alive | State::Suspect, Doubt::GivenUp) => State::Dead,
            (state, _) => state,
        }
    }

    /// Shown as alive or suspect: it may lead.
    #[must_use]
    pub const fn is_shown_live(&self) -> bool {
        matches!(self.shown_state(), State::Alive | State::Suspect)
    }

    /// Alive or suspect: it takes part, and news goes to it.
    #[must_use]
    pub const fn is_live(&self) -> bool {
        matches!(self.state, State::Alive | State::Suspect)
    }

    /// What is believed of its liveness.
    #[must_use]
    pub const fn standing(&self) -> Standing {
        Standing {
            generation: self.record.generation,
            incarnation: self.record.incarnation,
            state: self.state,
        }
    }

    /// The age of its description.
    #[must_use]
    pub const fn edition(&self) -> Edition {
        Edition { generation: self.record.generation, revision: self.record.revision }
    }
}

/// Why this node by itself doubts a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doubt {
    /// It does not.
    None,
    /// It did not answer; its observers are being asked.
    Case,
    /// Neither it nor anybody who could help has answered for long.
    Unreachable,
    /// The same for so long that it counts as dead in this view.
    GivenUp,
}

/// A [`Record`] that owns its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnedRecord {
    /// The full id.
    pub id: NodeId,
    /// Grows with each start of the node's process.
    pub generation: u32,
    /// Grows with each refutation within a generation.
    pub incarnation: u32,
    /// Grows when address, name or metadata change within a generation; starts at 1.
    pub revision: u32,
    /// Where its gossip socket is reached.
    pub address: SocketAddr,
    /// The label given by its operator; at most [`astromesh_wire::limits::NAME_BYTES_MAX`] bytes.
    pub name: String,
    /// What the host says of itself; opaque here, at most
    /// [`astromesh_wire::limits::METADATA_BYTES_MAX`] bytes.
    pub metadata: Bytes,
}

impl OwnedRecord {
    /// The same, for writing into a datagram.
    #[must_use]
    pub fn borrow(&self) -> Record<'_> {
        Record {
            id: self.id,
            state: State::Alive,
            gone_for_s: 0,
            generation: self.generation,
            incarnation: self.incarnation,
            revision: self.revision,
            address: self.address,
            name: &self.name,
            metadata: &self.metadata,
        }
    }
}

impl From<&Record<'_>> for OwnedRecord {
    fn from(record: &Record<'_>) -> Self {
        Self {
            id: record.id,
            generation: record.generation,
            incarnation: record.incarnation,
            revision: record.revision,
            address: record.address,
            name: record.name.to_owned(),
            metadata: Bytes::copy_from_slice(record.metadata),
        }
    }
}
