//! Errors as HTTP answers: one shape, `{"detail", "code", "request_id"}`, and every code.
//!
//! A handler returns an [`ApiError`]; the frame around it writes the body, because only there the
//! request id is known for certain. `docs/http-api.md` explains each code to users.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::agent::RunError;
use crate::model::ModelError;

/// What went wrong, for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// No such route.
    NotFound,
    /// The route exists, the method on it does not.
    MethodNotAllowed,
    /// The body is no JSON or not of the shape the route wants.
    InvalidRequest,
    /// The body broke off, or could not be read for another reason.
    BodyUnreadable,
    /// The body is longer than `spec.api.body_bytes_max`.
    BodyTooLarge,
    /// The body did not arrive in time.
    BodyTimeout,
    /// Nobody has the agent, or it is a draft.
    AgentNotFound,
    /// All nodes with the agent are dead or have left.
    AgentUnavailable,
    /// No node serves the model.
    ModelNotFound,
    /// All nodes that serve the model are dead or have left.
    ModelUnavailable,
    /// No node with the agent could be connected to.
    NodesUnreachable,
    /// The connection to the node broke after the request was sent.
    NodeConnectionLost,
    /// A forwarded request cannot be served here.
    HopLimit,
    /// The node is full and takes nothing more.
    NodeFull,
    /// Everything is full, the queue too.
    QueueFull,
    /// No place was free in time.
    QueueTimeout,
    /// The node is stopping and takes nothing new.
    Draining,
    /// The node stopped before its answer was complete.
    NodeStopped,
    /// The node takes no work yet, or no more.
    NotReady,
    /// There was no answer in time.
    DeadlineExceeded,
    /// What came from the node is no answer.
    BadAnswer,
    /// The process of the agent, or the model server, cannot be connected to.
    UpstreamUnreachable,
    /// The connection to the process of the agent, or to the model server, broke.
    UpstreamConnectionLost,
    /// The key belongs to another request.
    IdempotencyKeyReused,
    /// The request with this key has run, and its answer is not there any more.
    ResultNotKept,
    /// The head of the request is malformed or ambiguous.
    BadRequest,
    /// The head of the request is too long.
    HeadTooLarge,
    /// A method or transfer coding that is not supported.
    NotSupported,
    /// Another version of HTTP.
    VersionNotSupported,
    /// A mesh route on a node whose mesh is off.
    MeshDisabled,
    /// A mesh route on a node that has left its mesh.
    MeshLeft,
    /// A page in a browser called a route that only nodes and tools may call.
    CrossOrigin,
    /// A node of another cluster wants to join.
    WrongCluster,
    /// Something is wrong with the configuration or an agent file: nothing was changed.
    ReloadRefused,
    /// No member has this id or name, nor had in the last hour.
    NodeNotFound,
    /// Several members could be meant.
    NodeAmbiguous,
    /// As many listen to events as may.
    TooManyListeners,
    /// No node keeps this trace.
    TraceNotFound,
    /// There is no such tool.
    ToolNotFound,
    /// The tools are off on this node.
    ToolsOff,
    /// As many tools are being tried as may.
    ToolsBusy,
    /// A defect of the node, or a run that failed for another reason than its model.
    Internal,
    /// The model failed; the code is that of the model.
    Model(&'static str),
}

impl Code {
    /// All codes but those of models.
    pub const ALL: [Self; 42] = [
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::InvalidRequest,
        Self::BodyUnreadable,
        Self::BodyTooLarge,
        Self::BodyTimeout,
        Self::AgentNotFound,
        Self::AgentUnavailable,
        Self::ModelNotFound,
        Self::ModelUnavailable,
        Self::NodesUnreachable,
        Self::NodeConnectionLost,
        Self::HopLimit,
        Self::NodeFull,
        Self::QueueFull,
        Self::QueueTimeout,
        Self::Draining,
        Self::NodeStopped,
        Self::NotReady,
        Self::DeadlineExceeded,
        Self::BadAnswer,
        Self::UpstreamUnreachable,
        Self::UpstreamConnectionLost,
        Self::IdempotencyKeyReused,
        Self::ResultNotKept,
        Self::BadRequest,
        Self::HeadTooLarge,
        Self::NotSupported,
        Self::VersionNotSupported,
        Self::MeshDisabled,
        Self::MeshLeft,
        Self::CrossOrigin,
        Self::WrongCluster,
        Self::ReloadRefused,
        Self::NodeNotFound,
        Self::NodeAmbiguous,
        Self::TooManyListeners,
        Self::TraceNotFound,
        Self::ToolNotFound,
        Self::ToolsOff,
        Self::ToolsBusy,
        Self::Internal,
    ];

    /// As in the body.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NotFound => "not_found",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::InvalidRequest => "invalid_request",
            Self::BodyUnreadable => "body_unreadable",
            Self::BodyTooLarge => "body_too_large",
            Self::BodyTimeout => "body_timeout",
            Self::AgentNotFound => "agent_not_found",
            Self::AgentUnavailable => "agent_unavailable",
            Self::ModelNotFound => "model_not_found",
            Self::ModelUnavailable => "model_unavailable",
            Self::NodesUnreachable => "nodes_unreachable",
            Self::NodeConnectionLost => "node_connection_lost",
            Self::HopLimit => "hop_limit",
            Self::NodeFull => "node_full",
            Self::QueueFull => "queue_full",
            Self::QueueTimeout => "queue_timeout",
            Self::Draining => "draining",
            Self::NodeStopped => "node_stopped",
            Self::NotReady => "not_ready",
            Self::DeadlineExceeded => "deadline_exceeded",
            Self::BadAnswer => "bad_answer",
            Self::UpstreamUnreachable => "upstream_unreachable",
            Self::UpstreamConnectionLost => "upstream_connection_lost",
            Self::IdempotencyKeyReused => "idempotency_key_reused",
            Self::ResultNotKept => "result_not_kept",
            Self::BadRequest => "bad_request",
            Self::HeadTooLarge => "head_too_large",
            Self::NotSupported => "not_supported",
            Self::VersionNotSupported => "version_not_supported",
            Self::MeshDisabled => "mesh_disabled",
            Self::MeshLeft => "mesh_left",
            Self::CrossOrigin => "cross_origin",
            Self::WrongCluster => "wrong_cluster",
            Self::ReloadRefused => "reload_refused",
            Self::NodeNotFound => "node_not_found",
            Self::NodeAmbiguous => "node_ambiguous",
            Self::TooManyListeners => "too_many_listeners",
            Self::TraceNotFound => "trace_not_found",
            Self::ToolNotFound => "tool_not_found",
            Self::ToolsOff => "tools_off",
            Self::ToolsBusy => "tools_busy",
            Self::Internal => "internal",
            Self::Model(code) => code,
        }
    }

    /// The status that goes with it.
    #[must_use]
    pub const fn status(self) -> StatusCode {
        match self {
            Self::BodyUnreadable | Self::BadRequest => StatusCode::BAD_REQUEST,
            Self::NotFound
            | Self::AgentNotFound
            | Self::ModelNotFound
            | Self::NodeNotFound
            | Self::TraceNotFound
            | Self::ToolNotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::BodyTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::InvalidRequest | Self::IdempotencyKeyReused | Self::ReloadRefused => {
                StatusCode::UNPROCESSABLE_ENTITY
            }
            Self::CrossOrigin => StatusCode::FORBIDDEN,
            Self::WrongCluster | Self::NodeAmbiguous | Self::ResultNotKept => StatusCode::CONFLICT,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Self::QueueFull => StatusCode::TOO_MANY_REQUESTS,
            Self::HeadTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::NotSupported => StatusCode::NOT_IMPLEMENTED,
            Self::VersionNotSupported => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            Self::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
            Self::NodeConnectionLost
            | Self::BadAnswer
            | Self::UpstreamUnreachable
            | Self::UpstreamConnectionLost
            | Self::Model(_) => StatusCode::BAD_GATEWAY,
            Self::AgentUnavailable
            | Self::ModelUnavailable
            | Self::NodesUnreachable
            | Self::HopLimit
            | Self::NodeFull
            | Self::QueueTimeout
            | Self::Draining
            | Self::NodeStopped
            | Self::NotReady
            | Self::TooManyListeners
            | Self::ToolsOff
            | Self::ToolsBusy
            | Self::MeshDisabled
            | Self::MeshLeft => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

/// An error on its way to the client.
#[derive(Debug, Clone)]
pub struct ApiError {
    /// For programs; decides the status.
    pub code: Code,
    /// For people.
    pub detail: Value,
}

impl ApiError {
    /// An error whose detail is a text.
    #[must_use]
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self { code, detail: Value::String(detail.into()) }
    }

    /// Nobody has this agent.
    #[must_use]
    pub fn agent_not_found(agent: &str) -> Self {
        Self::new(Code::AgentNotFound, format!("Agent '{agent}' not found"))
    }

    /// The answer to a run that failed.
    #[must_use]
    pub fn from_run(agent: &str, error: RunError) -> Self {
        match error {
            RunError::UnknownAgent => Self::agent_not_found(agent),
            RunError::Model(ModelError { code, message, hint }) => Self {
                code: Code::Model(code.as_str()),
                detail: json!({"error": code.as_str(), "message": message, "hint": hint}),
            },
            RunError::Internal(message) => Self::new(Code::Internal, message),
        }
    }
}

impl IntoResponse for ApiError {
    /// A response without a body; the frame writes it.
    fn into_response(self) -> Response {
        let mut response = self.code.status().into_response();
        response.extensions_mut().insert(self);
        response
    }
}
