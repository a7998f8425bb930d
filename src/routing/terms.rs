//! The words between [`Core`](super::Core) and whoever asks it.
//!
//! Owns the question, the answer with its reasons, and what is told afterwards. Holds no rule.

use std::sync::Arc;

use astromesh_wire::NodeId;

use super::target::Target;

/// What a pick is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// The agent that the request is for.
    pub agent: &'a str,
    /// The part of this node.
    pub here: Here,
    /// Nodes never to pick: they failed this request, do not have the agent, or are draining.
    pub tried: &'a [NodeId],
    /// Nodes that refused this request for being full, this one included if it did. They are passed
    /// over until the last resort.
    pub bounced: &'a [NodeId],
    /// Hash of what the request should stick to, such as its session.
    pub affinity: Option<u64>,
    /// Hash of the key that all repeats of the request have. They go to the node that the first one
    /// went to, however busy that is, as long as it can be reached.
    pub key: Option<u64>,
}

/// The part of this node in a pick.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Here {
    /// It has the agent and takes work.
    Serves {
        /// Requests here, those that wait in the queue included; exact.
        active: u32,
        /// Requests that this node works on at once; 0 for no limit.
        limit: u32,
    },
    /// It has not, whatever the directory says, or takes no work.
    DoesNotServe,
}

/// Where the request goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// This node serves it.
    Here,
    /// Another one does.
    There(Arc<Target>),
}

/// The answer to a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pick {
    /// Where the request goes.
    pub place: Place,
    /// Enough nodes have refused: this one is to queue it instead.
    pub must_queue: bool,
    /// What led there.
    pub why: Why,
}

/// What led to a pick.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Why {
    /// The rule that decided.
    pub reason: Reason,
    /// Nodes that have the agent and are alive or suspect, this one included.
    pub candidates: u32,
    /// Those of them that were compared.
    pub sampled: u32,
    /// Requests thought to be at the picked node, over its capacity, times 1,000.
    pub estimate_milli: u32,
    /// Since the picked node was last heard of its load; 0 for this node.
    pub age_ms: u32,
}

/// The rule that decided a pick.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// No other node was left to take.
    OnlyOne,
    /// The least loaded of all.
    LeastLoad,
    /// The least loaded of a random sample, since what is known of the load is old.
    Sampled,
    /// The one that the session sticks to.
    Affinity,
    /// Too many nodes refused for being full; this one has to queue.
    LastResort,
    /// The next static peer.
    RoundRobin,
    /// The first request to an ejected node whose time out is over.
    Trial,
    /// An ejected node, since too many are.
    Panic,
}

impl Reason {
    /// All reasons, in the order of [`CoreStats::picks`](super::CoreStats::picks).
    pub const ALL: [Self; 8] = [
        Self::OnlyOne,
        Self::LeastLoad,
        Self::Sampled,
        Self::Affinity,
        Self::LastResort,
        Self::RoundRobin,
        Self::Trial,
        Self::Panic,
    ];

    /// Its name in headers and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OnlyOne => "only_one",
            Self::LeastLoad => "least_load",
            Self::Sampled => "sampled",
            Self::Affinity => "affinity",
            Self::LastResort => "last_resort",
            Self::RoundRobin => "round_robin",
            Self::Trial => "trial",
            Self::Panic => "panic",
        }
    }
}

/// Why there is no pick.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Nobody {
    /// No node has ever said that it has the agent.
    #[error("no node of the mesh runs the agent")]
    UnknownAgent,
    /// All that have it are dead or have left.
    #[error("all nodes that run the agent are dead or have left")]
    NoAliveNode,
    /// All that have it are in [`Question::tried`].
    #[error("every node that runs the agent was tried")]
    AllTried,
}

/// How an attempt at a target ended, as far as that says something about the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It answered with this status, and it was no refusal.
    Answered(u16),
    /// It refused before it read the request: full, draining, or without the agent.
    Refused,
    /// No connection; nothing was sent.
    NotConnected,
    /// The connection broke after something was sent and before the head of an answer came.
    Broken,
    /// Its time to answer was over. Not for a deadline that the client set: that says nothing about
    /// the node.
    TimedOut,
}

/// What an [`Outcome`] changed in what is thought of the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judgement {
    /// It is picked, or passed over, as before.
    AsBefore,
    /// It is passed over from now on, for this agent or for all.
    Ejected,
    /// It failed, and so many agents do on so many nodes that this one is overlooked.
    Overlooked,
}

/// Whether a request that failed had left this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    /// Not a byte of it.
    Never,
    /// Some of it may have been read and acted on.
    Maybe,
}

/// Whether a request may be acted on twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeat {
    /// Its method is idempotent, it has a key, or its agent says so.
    Safe,
    /// It would run twice.
    Unsafe,
}
