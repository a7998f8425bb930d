//! Answers of the data plane itself: errors in the one shape of the API, and the last event of a
//! stream that broke off.

use bytes::BytesMut;
use serde_json::Value;
use smallvec::SmallVec;

use super::http1::{OwnResponse, Persist, ToRequest, write_own_response};
use super::request::{Class, Request};
use crate::api::types::ErrorBody;
use crate::api::{Code, models};
use crate::directory::Snapshot;
use crate::routing::{Nobody, headers};

/// Seconds after which a client may try again that found everything full.
const RETRY_AFTER: &[u8] = b"1";

/// The headers by which pages of any origin may read an answer.
pub(super) const CORS: [(&str, &[u8]); 2] = [
    ("access-control-allow-origin", b"*"),
    ("access-control-expose-headers", b"x-request-id,x-astromesh-node"),
];

/// Why a request gets an error instead of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) code: Code,
    pub(super) detail: String,
    /// Said to a node that forwarded the request, and to nobody else: nothing has happened, take
    /// another.
    pub(super) refused: Option<&'static str>,
}

/// What else an error says, besides the error.
#[derive(Debug, Clone, Copy)]
pub(super) struct Around<'a> {
    pub(super) request_id: &'a str,
    pub(super) persist: Persist,
    pub(super) to: ToRequest,
    pub(super) add: &'a [(&'a str, &'a [u8])],
    /// It is said to a client of a model, which looks for `error` in it.
    pub(super) of_model: bool,
}

impl Refusal {
    pub(super) fn new(code: Code, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into(), refused: None }
    }

    /// Of a request that another node sent and may take elsewhere.
    pub(super) fn bounced(code: Code, why: &'static str, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into(), refused: Some(why) }
    }

    /// No node is there for the request, or none is left.
    pub(super) fn nobody(
        request: &Request,
        nobody: Nobody,
        (tried, was_sent): (usize, bool),
        mesh: &Snapshot,
    ) -> Self {
        let whose = request.subject();
        let is_model = request.class == Class::Model;
        match nobody {
            Nobody::UnknownAgent if is_model => {
                Self::new(Code::ModelNotFound, models::not_found(request.model(), mesh))
            }
            Nobody::UnknownAgent => {
                Self::new(Code::AgentNotFound, format!("Agent '{}' not found", request.agent))
            }
            Nobody::NoAliveNode if is_model => {
                let what = "all nodes that serve the model are dead or have left";
                Self::new(Code::ModelUnavailable, format!("{whose}{what}"))
            }
            Nobody::NoAliveNode => Self::new(Code::AgentUnavailable, format!("{whose}{nobody}")),
            Nobody::AllTried if was_sent => Self::interrupted(request, tried),
            Nobody::AllTried => Self::unreachable(request, tried),
        }
    }

    /// None of the nodes could be reached.
    pub(super) fn unreachable(request: &Request, tried: usize) -> Self {
        let detail = format!(
            "{}no node that could {} could be reached ({tried} tried); nothing has run",
            request.subject(),
            request.task()
        );
        Self::new(Code::NodesUnreachable, detail)
    }

    /// The request was sent and there is no answer.
    pub(super) fn interrupted(request: &Request, tried: usize) -> Self {
        let detail = format!(
            "{}the connection to the node broke before it answered ({tried} tried){}",
            request.subject(),
            request.may_have_run()
        );
        Self::new(Code::NodeConnectionLost, detail)
    }

    /// Writes the answer.
    pub(super) fn write(&self, out: &mut BytesMut, around: &Around<'_>) {
        let body = self.body(around.request_id, around.of_model);
        let mut lines: SmallVec<[(&str, &[u8]); 10]> = SmallVec::new();
        lines.push(("content-type", b"application/json"));
        lines.push((headers::REQUEST_ID, around.request_id.as_bytes()));
        lines.extend(CORS);
        if matches!(self.code, Code::QueueFull | Code::QueueTimeout | Code::NodeFull) {
            lines.push(("retry-after", RETRY_AFTER));
        }
        lines.extend_from_slice(around.add);
        let response = OwnResponse {
            status: self.code.status().as_u16(),
            headers: &lines,
            body: &body,
            persist: around.persist,
            to: around.to,
        };
        write_own_response(out, &response);
    }

    /// The last event of a stream that broke off.
    pub(super) fn event(&self, request_id: &str, of_model: bool) -> Vec<u8> {
        // The empty line ends an event that was cut.
        let mut event = b"\n\nevent: error\ndata: ".to_vec();
        event.extend_from_slice(&self.body(request_id, of_model));
        event.extend_from_slice(b"\n\n");
        event
    }

    fn body(&self, request_id: &str, of_model: bool) -> Vec<u8> {
        let detail = Value::String(self.detail.clone());
        let body = ErrorBody::new(self.code, detail, request_id.to_owned(), of_model);
        serde_json::to_vec(&body).expect("texts are JSON")
    }
}
