//! What passes between engine and host besides datagrams.

use std::net::SocketAddr;
use std::time::Duration;

use astromesh_wire::{Ballot, Load, LoadRecord, NodeId, ShortId, State};
use bytes::Bytes;

use crate::config::Config;
use crate::member::OwnedRecord;

/// What the host wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Take in what another node told over HTTP.
    Merge {
        /// Its claims.
        claims: Vec<Claim>,
        /// Its count of leaders; the higher one is kept.
        term: u64,
        /// How far to believe it.
        origin: Origin,
    },
    /// The local node's metadata, if it changed; refused above
    /// [`astromesh_wire::limits::METADATA_BYTES_MAX`] bytes.
    SetMetadata(Bytes),
    /// The local node's label, if it changed; refused above
    /// [`astromesh_wire::limits::NAME_BYTES_MAX`] bytes.
    SetName(String),
    /// What others ask the local node for beyond its record has changed: the record is told anew,
    /// with a higher revision.
    Revise,
    /// Other settings from now on. What is under way keeps the times it began with, and the kind of
    /// the detector's rule, by evidence or not, stays what it was.
    Configure(Box<Config>),
    /// Where others reach the local node, if it changed; refused without port or host.
    SetAddress(SocketAddr),
    /// How busy the local node is, if it changed.
    SetLoad {
        /// The load.
        load: Load,
        /// When it was counted, in units of 10 ms since the process began, so that others can
        /// compare it with what a beacon told them. At least one more than the last is announced.
        sequence: u32,
    },
    /// Tell a member at once, and nobody else, how busy the local node is. Ignored for members
    /// that are not live.
    Beacon {
        /// The member.
        to: NodeId,
        /// What it is told; the boot is set to this node's generation.
        record: LoadRecord,
    },
    /// Probe this member next: somebody has reason to doubt it.
    Probe(NodeId),
    /// A datagram waited this long in the socket before it was handed over: answers that seem
    /// missing may be there already.
    QueueDelay(Duration),
    /// Say goodbye. From now on the engine only tells whoever asks that it has left.
    Leave,
    /// An operator says that this dead member will not come back: shown as left from now on.
    /// Ignored for members that are not dead.
    Dismiss(NodeId),
}

/// What another node said of a member over HTTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The member.
    pub record: OwnedRecord,
    /// Its state.
    pub state: State,
    /// Its load.
    pub load: Load,
    /// Which of its announcements that was; 0 when none was heard.
    pub load_sequence: u32,
}

/// How a claim came here, which decides how far it is believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The answer of a seed to our join: taken in like that of a comparison. A node that was alone
    /// does not spread it, for the seed's side knows it already.
    Join,
    /// The answer to our own comparison of views: taken in and spread, leaves included; the death
    /// of a member that is live here only once it has not answered either.
    Sync,
    /// Sent to us unasked: who is not known here must first answer a ping, and a leave counts no
    /// more than a death.
    Unasked,
}

/// What the host should know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Something about a member (or the local one) changed.
    Member {
        /// The member.
        id: NodeId,
        /// What changed.
        change: Change,
    },
    /// A member was declared dead, here or elsewhere; why, as far as it is known.
    Verdict(Box<Verdict>),
    /// Another member leads, or the term rose.
    Leader {
        /// The highest id among the live; `None` when the local member has left.
        id: Option<NodeId>,
        /// Counts the leaders this view has seen.
        term: u64,
    },
    /// The generation of the local member had to rise; keep it, so that it never falls.
    Generation(u32),
    /// Much differs in a large mesh: exchange whole views with this member.
    SyncWanted(NodeId),
    /// Somebody sends datagrams under this node's id.
    OwnIdSeen(SocketAddr),
    /// A live member told how busy it is, in the generation in which it is known here. Whether that
    /// is newer than what was told before is for the host to say.
    Beacon {
        /// The member.
        id: NodeId,
        /// What it told.
        record: LoadRecord,
    },
}

/// What changed about a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// New here.
    Joined,
    /// Not doubted any more, or back from the dead.
    Alive,
    /// Doubted.
    Suspect,
    /// Dead.
    Dead,
    /// Said goodbye.
    Left,
    /// A new node with the same name and address took its place; shown as left.
    Replaced,
    /// Address, name or metadata changed.
    Updated,
    /// Load changed.
    Load,
    /// Forgotten.
    Reaped,
}

/// Why a member was declared dead, as far as it is known here.
///
/// The news of a death is faster than its evidence: a verdict may come bare first and once more
/// when the evidence is here. Of two about the same subject at the same generation and
/// incarnation the one with ballots says more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Who was declared dead.
    pub subject: NodeId,
    /// At which generation.
    pub generation: u32,
    /// At which incarnation.
    pub incarnation: u32,
    /// Who declared it; `None` when only the news of it has come so far.
    pub accuser: Option<ShortId>,
    /// By which rule.
    pub rule: VerdictRule,
    /// From the first failed probe to the verdict.
    pub open_for: Duration,
    /// How long ago it was decided when this was reported.
    pub decided_ago: Duration,
    /// Pings that the accuser sent before it accused.
    pub tries: u8,
    /// Helpers that it asked to ping as well.
    pub helpers: u8,
    /// Of these, those that said that they got no answer either.
    pub nacks: u8,
    /// The accuser's own health when it decided; 0 is the best.
    pub health: u8,
    /// What the others said.
    pub ballots: Vec<Ballot>,
}

/// By which rule a member was declared dead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VerdictRule {
    /// Not known here: only the news of the death has come.
    Unknown,
    /// Enough of its observers had no answer, and none had one.
    Quorum,
    /// Too few observers answered; the accuser had waited long enough without any sign of life.
    Fallback,
    /// This node reaches neither it nor anybody who could help; only this node's own view.
    Unreachable,
    /// Its suspicion ran out (SWIM with Lifeguard).
    Timeout,
    /// Told by a comparison of views, and it did not answer the accuser's pings.
    Hearsay,
}

impl VerdictRule {
    /// The number on the wire.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Unknown => 0,
            Self::Quorum => 1,
            Self::Fallback => 2,
            Self::Unreachable => 3,
            Self::Timeout => 4,
            Self::Hearsay => 5,
        }
    }

    /// The rule of a number on the wire.
    #[must_use]
    pub const fn of_number(number: u8) -> Self {
        match number {
            1 => Self::Quorum,
            2 => Self::Fallback,
            3 => Self::Unreachable,
            4 => Self::Timeout,
            5 => Self::Hearsay,
            _ => Self::Unknown,
        }
    }
}
