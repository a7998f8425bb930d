//! One member, as this node sees it.

use std::net::SocketAddr;

use astromesh_wire::{Bucket, Load, NodeId, Record, ShortId, State};
use bytes::Bytes;

use crate::compact::{KnownRecord, PackedLoad, Stamp};
use crate::precedence::{Edition, Standing};
use crate::time::Instant;

/// A member of the mesh, in 120 bytes.
#[derive(Debug, Clone)]
pub struct Member {
    /// Identity and description, as the member itself announced them.
    pub record: KnownRecord,
    /// When it counted its load, in units of 10 ms since its process began, or one more than in its
    /// announcement before; the highest within a generation is the newest.
    pub load_sequence: u32,
    /// Where it stands among the live or among the dead; kept by the table.
    pub(crate) place: u32,
    /// Alive, suspect, dead or left.
    pub state: State,
    /// Who brought about `state`, when it is suspect or dead.
    pub accuser: Bucket,
    /// Why this node by itself doubts it; never told to others.
    pub doubt: Doubt,
    load: PackedLoad,
    joined_at: Stamp,
    heard_at: Stamp,
    state_at: Stamp,
}

impl Member {
    /// A member that is alive until shown otherwise.
    #[must_use]
    pub fn new(record: KnownRecord, now: Instant) -> Self {
        Self {
            record,
            load_sequence: 0,
            place: 0,
            state: State::Alive,
            accuser: Bucket::default(),
            doubt: Doubt::None,
            load: PackedLoad::default(),
            joined_at: Stamp::of(now),
            heard_at: Stamp::of(now),
            state_at: Stamp::of(now),
        }
    }

    /// How busy it said it is.
    #[must_use]
    pub const fn load(&self) -> Load {
        self.load.unpack()
    }

    /// When this node first heard of it; times of a member are rounded down to units of 256 us.
    #[must_use]
    pub const fn joined_at(&self) -> Instant {
        self.joined_at.at()
    }

    /// When this node last received a datagram from it; [`Member::joined_at`] until then.
    #[must_use]
    pub const fn heard_at(&self) -> Instant {
        self.heard_at.at()
    }

    /// When `state` last changed.
    #[must_use]
    pub const fn state_at(&self) -> Instant {
        self.state_at.at()
    }

    pub(crate) const fn set_load(&mut self, load: Load) {
        self.load = PackedLoad::pack(load);
    }

    pub(crate) const fn set_heard_at(&mut self, now: Instant) {
        self.heard_at = Stamp::of(now);
    }

    pub(crate) const fn set_state_at(&mut self, now: Instant) {
        self.state_at = Stamp::of(now);
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
