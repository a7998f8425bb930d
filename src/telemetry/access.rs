//! The access log: a line for each request, among the other log lines and in their shape.
//!
//! Owns what is told of a request. Neither bodies nor keys nor query strings are ever in a line.

use std::time::{Duration, SystemTime};

use tracing::Level;

use super::logging::entry::{Entry, FieldSink, Fields};
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

impl Fields for Line<'_> {
    #[inline]
    fn each(&self, to: &mut impl FieldSink) {
        to.text("client", self.client.as_bytes());
        to.text("http.method", self.method);
        to.text("http.path", self.path);
        to.natural("http.status", self.status.into());
        to.text("request.id", self.request_id);
        if !self.agent.is_empty() {
            to.text("agent", self.agent.as_bytes());
        }
        if !self.node.is_empty() {
            to.text("node", self.node.as_bytes());
        }
        to.natural("tried", self.tried.into());
        to.natural("bytes_out", self.bytes_out);
        to.ms("duration_ms", self.duration);
        if let Some(upstream) = self.upstream {
            to.ms("upstream_ms", upstream);
        }
    }
}

/// Where lines are handed in.
#[derive(Debug, Clone)]
pub struct AccessLog {
    pipes: Vec<Pipe>,
}

impl AccessLog {
    pub(super) const fn new(pipes: Vec<Pipe>) -> Self {
        Self { pipes }
    }

    /// Hands a line in. Waits for nothing but others that do.
    pub fn write(&self, line: &Line<'_>) {
        let entry = Entry {
            level: Level::INFO,
            target: "access",
            message: b"request ended",
            fields: line,
            place: None,
        };
        let now = SystemTime::now();
        for pipe in &self.pipes {
            pipe.write(now, &entry);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::logging::pipe::tests::Kept;
    use crate::telemetry::logging::pipe::{Stream, start};
    use crate::telemetry::logging::shape::{Colour, Shape};

    const LINE: Line<'_> = Line {
        client: "192.0.2.7:40112",
        method: b"POST",
        path: b"/v1/agents/support/run",
        status: 200,
        request_id: b"abc-123",
        agent: "support",
        node: "worker-1",
        tried: 2,
        bytes_out: 512,
        duration: Duration::from_nanos(12_034_999),
        upstream: Some(Duration::from_micros(7)),
    };

    fn text(shape: Shape, line: &Line<'_>) -> String {
        let kept = Kept::default();
        let writer = start("log-test", shape, Stream(kept.clone())).unwrap();
        AccessLog::new(vec![writer.pipe()]).write(line);
        drop(writer);
        // What follows the time, which is that of the test.
        kept.text().split_once("Z").unwrap().1.to_owned()
    }

    #[test]
    fn a_line_says_what_was_asked_for_and_who_answered_when() {
        let words = Shape::Text(Colour::Off);
        assert_eq!(
            text(words, &LINE),
            "  INFO access: request ended client=192.0.2.7:40112 http.method=POST \
             http.path=/v1/agents/support/run http.status=200 request.id=abc-123 agent=support \
             node=worker-1 tried=2 bytes_out=512 duration_ms=12.034 upstream_ms=0.007\n"
        );
        let refused = Line {
            status: 0,
            path: b"/a b",
            agent: "",
            node: "",
            tried: 0,
            duration: Duration::ZERO,
            upstream: None,
            ..LINE
        };
        assert_eq!(
            text(words, &refused),
            "  INFO access: request ended client=192.0.2.7:40112 http.method=POST \
             http.path=\"/a b\" http.status=0 request.id=abc-123 tried=0 bytes_out=512 \
             duration_ms=0.000\n"
        );
        assert_eq!(
            text(Shape::Json, &LINE),
            "\",\"level\":\"info\",\"target\":\"access\",\"message\":\"request ended\",\
             \"client\":\"192.0.2.7:40112\",\"http.method\":\"POST\",\
             \"http.path\":\"/v1/agents/support/run\",\"http.status\":200,\
             \"request.id\":\"abc-123\",\"agent\":\"support\",\"node\":\"worker-1\",\"tried\":2,\
             \"bytes_out\":512,\"duration_ms\":12.034,\"upstream_ms\":0.007}\n"
        );
    }
}
