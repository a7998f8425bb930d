//! What the handlers share.
//!
//! Owns nothing itself: it is the list of what the HTTP server needs from the rest of the node,
//! filled in by the composition root.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use serde_json::Value;

use super::reload::Reloads;
use super::tools::Bench;
use super::types::{AgentSummary, ProviderList, RunRequest, RunResponse};
use crate::agent::types::Observer;
use crate::agent::{Offer, Records, Registry, RunError};
use crate::inference::Served;
use crate::model::Access;
use crate::{config, directory, gossip};

/// What the handlers share; see each field.
#[derive(Clone)]
pub struct App {
    /// The settings this node runs with.
    pub config: Arc<config::Runtime>,
    /// Who serves what.
    pub directory: directory::Reader,
    /// The agents of this node.
    pub agents: Arc<dyn Agents>,
    /// What their runs leave behind.
    pub records: Records,
    /// Who is told of them, too, where they are exported.
    pub observer: Option<Observer>,
    /// When the process started.
    pub started: Instant,
    /// The gossip; `None` when the mesh is off.
    pub mesh: Option<gossip::Handle>,
    /// How reloads go.
    pub reloads: Reloads,
    /// The tools that people may try out.
    pub bench: Arc<Bench>,
    /// The models that this node serves.
    pub models: Served,
    /// How models are asked.
    pub access: Access,
}

impl fmt::Debug for App {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("App").field("config", &self.config).finish_non_exhaustive()
    }
}

/// What a run comes to.
pub type RunFuture<'a> = Pin<Box<dyn Future<Output = Result<RunResponse, RunError>> + Send + 'a>>;

/// The agents of a node, as far as the HTTP server cares: the registry, or in tests one that
/// waits and fails on command.
pub trait Agents: Send + Sync {
    /// All agents, drafts included.
    fn list(&self) -> Vec<AgentSummary>;
    /// The file of an agent, draft or not.
    fn document(&self, name: &str) -> Option<Value>;
    /// Whether [`Agents::document`] has one.
    fn has_document(&self, name: &str) -> bool;
    /// How requests for an agent are to be handled; `None` when it serves none here.
    fn offer(&self, name: &str) -> Option<Offer>;
    /// The providers that agents of this node may refer to.
    fn providers(&self) -> ProviderList;
    /// Runs an agent, and leaves a record of it. Dropping the future ends the run.
    fn run<'a>(&'a self, name: &'a str, request: RunRequest, records: &'a Records)
    -> RunFuture<'a>;
}

impl Agents for Registry {
    fn list(&self) -> Vec<AgentSummary> {
        Self::list(self)
    }

    fn document(&self, name: &str) -> Option<Value> {
        Self::document(self, name)
    }

    fn has_document(&self, name: &str) -> bool {
        Self::has_document(self, name)
    }

    fn offer(&self, name: &str) -> Option<Offer> {
        Self::offer(self, name)
    }

    fn providers(&self) -> ProviderList {
        Self::providers(self)
    }

    fn run<'a>(
        &'a self,
        name: &'a str,
        request: RunRequest,
        records: &'a Records,
    ) -> RunFuture<'a> {
        Box::pin(Self::run(self, name, request, records))
    }
}
