//! Chat models of the mesh: whichever inference node serves the model and has the least to do.
//!
//! Owns the words for what the mesh says. Knows no node but its own, whose HTTP server is asked like
//! any client would ask it and finds the other; so a model on the same node is one among them.

use std::time::Duration;

use serde::Deserialize;

use super::server::{Answer, Call, KeyHeader, MORE_TOKENS, Server};
use super::{
    Access, Availability, ChatModel, ChatRequest, CheckFuture, Completion, CompletionFuture,
    ErrorCode, ModelError, Settings, openai,
};

/// What spans and sums call it.
const KIND: &str = "mesh";

/// What the mesh says when no node is left that could serve the model.
const NOBODY: [&str; 6] = [
    "model_not_found",
    "model_unavailable",
    "mesh_left",
    "nodes_unreachable",
    "hop_limit",
    "upstream_unreachable",
];

/// A model that some node of the mesh serves.
#[derive(Debug, Clone)]
pub struct Mesh {
    server: Server,
}

/// What an error of a node says for programs.
#[derive(Deserialize)]
struct Refusal {
    code: String,
}

/// What the own node says of itself, as far as it matters here.
#[derive(Deserialize)]
struct Status {
    /// None in a mesh.
    peers: Vec<Peer>,
}

#[derive(Deserialize)]
struct Peer {
    services: Vec<String>,
}

impl Mesh {
    /// A model that is asked through the own node; the endpoint in the settings means nothing.
    #[must_use]
    pub fn new(access: &Access, mut settings: Settings) -> Self {
        settings.endpoint = access.node().clone();
        let server = Server::new(access.client.clone(), KeyHeader::Bearer, settings);
        // Not the own server's address, which no file names.
        Self { server: server.at("of the mesh".to_owned()) }
    }

    async fn ask(&self, chat: ChatRequest<'_>) -> Result<Completion, ModelError> {
        let body = openai::body::request(&self.server.settings, chat.messages, chat.tools);
        let path = ["v1", "inference", self.name(), "chat", "completions"];
        let mut request = self.server.post(&path, &body);
        if let Some(traceparent) = chat.traceparent {
            request = request.header("traceparent", traceparent);
        }
        let answer = self
            .server
            .send(request, Call::Completion)
            .await
            .map_err(|error| self.unanswered(error))?;
        if !answer.status.is_success() {
            return Err(self.refused(&answer));
        }
        let reading = openai::body::reading(&answer.bytes).map_err(|reason| {
            self.server_of(&answer).unreadable(
                &answer,
                "chat completion",
                &reason,
                "check the model server of the node that answered: it must speak the OpenAI protocol",
            )
        })?;
        self.server_of(&answer).message(reading, MORE_TOKENS)
    }

    /// The server behind the node that answered, as messages call it.
    fn server_of(&self, answer: &Answer) -> Server {
        match &answer.node {
            Some(node) => self.server.at(format!("on node {node}")),
            None => self.server.clone(),
        }
    }

    /// There was no answer, or none that could be read to its end.
    fn unanswered(&self, error: ModelError) -> ModelError {
        let hint = match error.code {
            ErrorCode::ConnectionRefused | ErrorCode::DnsResolutionFailed => {
                let what = "this node's own HTTP server does not answer";
                let hint = "`astromeshctl doctor` and the log of this node say why";
                return ModelError { code: error.code, ..self.server.failed(what, hint) };
            }
            ErrorCode::Timeout => "raise timeout in the model block, or add a fallback model",
            ErrorCode::MissingApiKey
            | ErrorCode::OllamaNotFound
            | ErrorCode::NoEligibleProvider
            | ErrorCode::AllProvidersFailed => {
                "lower max_tokens if it is too large; else the log of this node says why"
            }
        };
        ModelError { hint: hint.to_owned(), ..error }
    }

    fn nobody(&self, what: &str) -> ModelError {
        let model = self.name();
        ModelError::new(
            ErrorCode::NoEligibleProvider,
            format!("no alive node serves {model}: {what}"),
            format!(
                "`astromeshctl models list` shows what is served; get {model} on an inference node, \
                 as with `ollama pull {model}`, or add a fallback model; without a mesh, spec.peers with \
                 the service inference are asked"
            ),
        )
    }

    fn refused(&self, answer: &Answer) -> ModelError {
        let code = serde_json::from_slice(&answer.bytes).map(|Refusal { code }| code);
        let hint = match code.as_deref() {
            Ok(code) if NOBODY.contains(&code) => {
                return self.nobody(answer.error_text().as_deref().unwrap_or(code));
            }
            Ok("queue_full" | "queue_timeout") => {
                "the nodes that serve the model are full: add one, or raise spec.api.model_max_concurrent there"
            }
            Ok(_) | Err(_) => hint(answer.status.as_u16()),
        };
        self.server_of(answer).refused(answer, Some(hint))
    }

    /// Looks what is served. A node without a mesh does not know what its static peers serve.
    async fn list(&self, limit: Duration) -> Result<Availability, ModelError> {
        let request = self.server.get(&["v1", "models"]);
        let answer = self
            .server
            .send(request, Call::List(limit))
            .await
            .map_err(|error| self.unanswered(error))?;
        if !answer.status.is_success() {
            return Err(self.refused(&answer));
        }
        // A list that is longer than what is read tells nothing.
        if answer.is_cut || openai::lists(&answer.bytes, self.name()) {
            return Ok(Availability::Answers);
        }
        if self.has_peers(limit).await? {
            return Ok(Availability::AskedOfPeers);
        }
        Err(self.nobody("the list of the mesh's models lacks it"))
    }

    /// Whether static peers are asked for models.
    async fn has_peers(&self, limit: Duration) -> Result<bool, ModelError> {
        let request = self.server.get(&["v1", "system", "status"]);
        let sent = self.server.send(request, Call::List(limit)).await;
        let answer = sent.map_err(|error| self.unanswered(error))?;
        let status: Option<Status> = serde_json::from_slice(&answer.bytes).ok();
        let peers = status.map(|status| status.peers).unwrap_or_default();
        Ok(peers.iter().any(|peer| peer.services.iter().any(|service| service == "inference")))
    }
}

impl ChatModel for Mesh {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn name(&self) -> &str {
        &self.server.settings.model
    }

    fn complete<'a>(&'a self, request: ChatRequest<'a>) -> CompletionFuture<'a> {
        Box::pin(self.ask(request))
    }

    fn check(&self, limit: Duration) -> CheckFuture<'_> {
        Box::pin(self.list(limit))
    }
}

/// What to do about what a model server said through its node: the block has neither endpoint nor key.
const fn hint(status: u16) -> &'static str {
    match status {
        401 | 403 => {
            "the model server refuses that node's key: mend the provider in its providers*.yaml"
        }
        404 => "the model server lacks the model: get it there, or mend the provider of that node",
        429 => {
            "the model server limits the rate, or the quota of that node is used up; add a fallback model"
        }
        400..=499 => "the model server refuses the request; check model and parameters",
        _ => {
            "`astromeshctl doctor` on that node says how its model servers are; try again, or add a fallback model"
        }
    }
}
