//! The label values of the metrics: enums of their own, to which callers map what they know.
//!
//! Each value is declared here once. Whoever adds one describes it in `docs/metrics.md`; a test
//! compares the two.

/// A label of a family: its key, and each value it can have.
#[derive(Debug, Clone, Copy)]
pub struct Label {
    /// The name of the label.
    pub key: &'static str,
    /// All values, in the order of their index.
    pub values: &'static [&'static str],
}

macro_rules! labels {
    ($(
        $(#[doc = $doc:literal])+
        $type:ident = $key:literal {
            $($(#[doc = $variant_doc:literal])+ $variant:ident = $name:literal,)+
        }
    )+) => {$(
        $(#[doc = $doc])+
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $type {
            $($(#[doc = $variant_doc])+ $variant,)+
        }

        impl $type {
            /// The label with all its values.
            pub const LABEL: Label = Label { key: $key, values: &[$($name),+] };
            /// All values.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// As on the page.
            #[must_use]
            pub const fn name(self) -> &'static str {
                Self::LABEL.values[self as usize]
            }

            /// Its place in [`Self::ALL`].
            #[must_use]
            pub const fn index(self) -> usize {
                self as usize
            }
        }
    )+};
}

labels! {
    /// What a request asks for.
    RouteClass = "class" {
        /// `POST /v1/agents/{name}/run`.
        Run = "run",
        /// `GET /v1/agents/{name}`.
        Document = "document",
        /// `/v1/ws/agent/{name}`.
        WebSocket = "websocket",
        /// `POST /v1/inference/{model}/chat/completions`.
        Model = "model",
        /// Any other route.
        Api = "api",
        /// The head of the request could not be read.
        Malformed = "malformed",
    }

    /// Who sent a request.
    Arrival = "from" {
        /// A client.
        Client = "client",
        /// A node that forwarded it.
        Node = "node",
    }

    /// How a request ended.
    Outcome = "outcome" {
        /// The protocol was switched.
        Switched = "1xx",
        /// Status 200 to 299.
        Success = "2xx",
        /// Status 300 to 399.
        Redirect = "3xx",
        /// Status 400 to 499.
        ClientError = "4xx",
        /// Status 500 or above.
        ServerError = "5xx",
        /// The client went away before the last byte.
        Canceled = "canceled",
        /// The answer began and could not be finished.
        Broken = "broken",
    }

    /// Where a request is served.
    Place = "place" {
        /// By this node.
        Here = "here",
        /// By another one.
        There = "there",
    }

    /// Why a node was chosen.
    PickReason = "reason" {
        /// No other candidate.
        OnlyOne = "only_one",
        /// The least load of all candidates.
        LeastLoad = "least_load",
        /// The least load of some, as the information was not fresh.
        Sampled = "sampled",
        /// It had the session or the key before.
        Affinity = "affinity",
        /// Everybody was full, so it has to queue.
        LastResort = "last_resort",
        /// Its turn, among static peers.
        RoundRobin = "round_robin",
        /// It was ejected and is tried again.
        Trial = "trial",
        /// Too many were ejected, so ejection was ignored.
        Panic = "panic",
    }

    /// Which end of a refusal this node was.
    Side = "side" {
        /// This node refused.
        Sent = "sent",
        /// Another node refused what this one forwarded.
        Met = "met",
    }

    /// Why work was refused.
    Refusal = "kind" {
        /// As many run as may.
        Full = "full",
        /// The node is stopping.
        Draining = "draining",
        /// The node does not serve the agent.
        Absent = "absent",
        /// As many wait as may.
        QueueFull = "queue_full",
        /// It waited for a slot as long as it may.
        QueueTimeout = "queue_timeout",
    }

    /// What made a request be sent again.
    RetryCause = "cause" {
        /// No connection to the first one.
        NotConnected = "not_connected",
        /// The connection broke before an answer.
        Broken = "broken",
        /// No answer in time.
        TimedOut = "timed_out",
        /// The first one refused it.
        Refused = "refused",
    }

    /// Why a request was not sent again, though it failed.
    RetryDenial = "cause" {
        /// The budget of retries is used up.
        Budget = "budget",
        /// It may have run and is not idempotent.
        Unsafe = "unsafe",
        /// It was tried as often as may be, or nobody is left.
        Attempts = "attempts",
    }

    /// What made a node be passed over for a while.
    EjectionCause = "cause" {
        /// It could not be connected to.
        NotConnected = "not_connected",
        /// Connections to it broke.
        Broken = "broken",
        /// An agent there did not answer in time.
        TimedOut = "timed_out",
        /// An agent there answered with statuses of 500 or above.
        Status = "status",
    }

    /// How far a request was when its client went away.
    Phase = "phase" {
        /// Its body was not here yet.
        Sending = "sending",
        /// It waited for a slot.
        Queued = "queued",
        /// It was sent on, and no answer had come.
        Waiting = "waiting",
        /// The answer was on its way.
        Answering = "answering",
    }

    /// A time limit that was reached.
    Deadline = "kind" {
        /// The head of a request.
        Head = "head",
        /// A slot for a waiting request.
        Queue = "queue",
        /// The connection to another node.
        Connect = "connect",
        /// The first byte of an answer.
        FirstByte = "first_byte",
        /// Silence in the middle of a body.
        Idle = "idle",
        /// The whole request.
        Total = "total",
    }

    /// What became of a request with an idempotency key.
    Keyed = "result" {
        /// The first with its key: it ran.
        First = "first",
        /// Answered with the kept result.
        Replayed = "replayed",
        /// Waited for the first, which was running.
        Waited = "waited",
        /// Refused: the key belongs to another request.
        Mismatched = "mismatched",
    }

    /// How a connection to another node was come by.
    Connect = "result" {
        /// A new one.
        Opened = "opened",
        /// An idle one.
        Reused = "reused",
        /// None could be made.
        Failed = "failed",
    }

    /// Where a load record came from.
    LoadSource = "source" {
        /// Gossip.
        Gossip = "gossip",
        /// A beacon.
        Beacon = "beacon",
        /// The header of an answer.
        Header = "header",
    }

    /// A bound that was reached.
    Limit = "limit" {
        /// Connections of clients.
        Connections = "connections",
        /// Bytes of the head of a request.
        HeadBytes = "head_bytes",
        /// Bytes of a body.
        BodyBytes = "body_bytes",
        /// Bytes of a result kept for an idempotency key: it was not kept.
        ResultBytes = "result_bytes",
        /// Bytes of all results kept: the oldest was dropped.
        ResultsBytes = "results_bytes",
        /// Idle connections to other nodes: one was closed.
        IdleConnections = "idle_connections",
        /// Agents that fail on nodes: a failure of one more was overlooked.
        FailingAgents = "failing_agents",
        /// How far a beacon may be ahead: its sequence was cut.
        Sequence = "sequence",
    }

    /// The state of a member.
    MemberState = "state" {
        /// Alive.
        Alive = "alive",
        /// Silent, and perhaps dead.
        Suspect = "suspect",
        /// Dead.
        Dead = "dead",
        /// Gone on purpose.
        Left = "left",
    }

    /// Where a request in flight is.
    InFlight = "at" {
        /// Runs on this node.
        Here = "here",
        /// Was sent to another one.
        There = "there",
        /// Waits for a slot on this node.
        Queued = "queued",
    }

    /// What connections to other nodes do.
    Use = "use" {
        /// Carry a request.
        Busy = "busy",
        /// Wait for one.
        Idle = "idle",
    }

    /// A way through this node, seen from it.
    Direction = "direction" {
        /// From clients.
        In = "in",
        /// To clients.
        Out = "out",
    }

    /// How a run ended.
    RunOutcome = "outcome" {
        /// With an answer.
        Ok = "ok",
        /// With an error.
        Error = "error",
        /// The caller left before there was one.
        Canceled = "canceled",
    }

    /// What came of a reload.
    ReloadOutcome = "outcome" {
        /// What was read holds now.
        Reloaded = "reloaded",
        /// Something was wrong with it, and nothing has changed.
        Refused = "refused",
    }

    /// What became of a span of a trace.
    SpanFate = "fate" {
        /// The collector took it.
        Exported = "exported",
        /// It was not sent: too many waited, or nobody sent any more.
        Dropped = "dropped",
        /// It was sent in vain.
        Failed = "failed",
    }

    /// Where lines of the log go.
    LogStream = "stream" {
        /// Standard error, or the journal.
        Console = "console",
        /// The log file.
        File = "file",
    }

    /// What became of a line of the log.
    LineFate = "fate" {
        /// Written.
        Written = "written",
        /// Dropped: the writer was behind, or the stream is closed.
        Dropped = "dropped",
    }
}

impl Outcome {
    /// That of an answer with this status that was passed on to its last byte.
    #[must_use]
    pub const fn of_status(status: u16) -> Self {
        match status {
            0..200 => Self::Switched,
            200..300 => Self::Success,
            300..400 => Self::Redirect,
            400..500 => Self::ClientError,
            _ => Self::ServerError,
        }
    }
}
