//! The access log: a line for each request, among the other log lines and in their shape.
//!
//! Owns what is told of a request. Neither bodies nor keys nor query strings are ever in a line.

use std::time::{Duration, SystemTime};

use tracing::Level;

use super::logging::entry::{Entry, Value};
use super::logging::pipe::Pipe;

/// One request that ended.
#[derive(Debug, Clone, Copy)]
pub struct Line<'a> {
    /// Address and port of the client, as text, since a connection has many requests.
    pub client: &'a str,
    /// As sent.
    pub method: &'a [u8],
    /// As sent, without the query.
    pub path: &'a [u8],
    /// Of the answer; 0 when none was sent.
    pub status: u16,
    /// The id of the request.
    pub request_id: &'a [u8],
    /// The agent it was for; empty when it was for none.
    pub agent: &'a str,
    /// The name of the node that served it; empty when none did.
    pub node: &'a str,
    /// Nodes that were tried.
    pub tried: u32,
    /// Bytes written to the client.
    pub bytes_out: u64,
    /// From the head of the request to the last byte of the answer.
    pub duration: Duration,
    /// From asking the last node to the head of its answer.
    pub upstream: Option<Duration>,
}

/// Where lines are handed in; clones share buffers.
#[derive(Debug, Clone)]
pub struct AccessLog {
    pipes: Vec<Pipe>,
}

impl AccessLog {
    pub(super) const fn new(pipes: Vec<Pipe>) -> Self {
        Self { pipes }
    }

    /// The same log, for one more thread that serves requests.
    #[must_use]
    pub fn for_worker(&self) -> Self {
        Self { pipes: self.pipes.iter().map(Pipe::for_worker).collect() }
    }

    /// Hands a line in. Waits for nothing but other threads that share the buffer.
    pub fn write(&self, line: &Line<'_>) {
        let fields = [
            ("client", Value::from(line.client.as_bytes())),
            ("http.method", Value::from(line.method)),
            ("http.path", Value::from(line.path)),
            ("http.status", Value::Natural(line.status.into())),
            ("request.id", Value::from(line.request_id)),
            ("agent", Value::text_unless_empty(line.agent.as_bytes())),
            ("node", Value::text_unless_empty(line.node.as_bytes())),
            ("tried", Value::Natural(line.tried.into())),
            ("bytes_out", Value::Natural(line.bytes_out)),
            ("duration_ms", Value::Ms(line.duration)),
            ("upstream_ms", line.upstream.map_or(Value::Missing, Value::Ms)),
        ];
        let entry = Entry {
            level: Level::INFO,
            target: "access",
            message: b"request ended",
            fields: &fields,
            place: None,
        };
        let now = SystemTime::now();
        for pipe in &self.pipes {
            pipe.write(now, &entry);
        }
    }
}
