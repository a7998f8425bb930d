//! What requests begin with, made from a configuration and the agents: at the start and by each
//! reload.
//!
//! Owns the list of what stays while the rest is replaced. Refuses to read files, and to decide
//! what may be replaced.

use std::sync::{Arc, OnceLock, Weak};
use std::time::Instant;

use arc_swap::ArcSwap;
use astromesh_wire::{Agent, Service};
use axum::Router;

use super::traces::{self, Traces};
use crate::agent::{Records, Registry};
use crate::api::metrics::{Levels, Sources};
use crate::api::reload::Reloads;
use crate::api::tools::Bench;
use crate::api::{self, Agents, App};
use crate::config::Runtime;
use crate::doctor::{Current, Doctor};
use crate::inference::Served;
use crate::model::Access;
use crate::proxy::admission::Admission;
use crate::proxy::{self, Live, Proxy};
use crate::telemetry::logging::Log;
use crate::telemetry::metrics::Metrics;
use crate::{directory, gossip};

/// The proxy, for those who exist before it does.
pub(super) type Later = Arc<OnceLock<Weak<Proxy>>>;

/// What stays as long as the node runs.
pub(super) struct Lasting {
    pub(super) directory: directory::Reader,
    /// `None` when the mesh is off.
    pub(super) mesh: Option<gossip::Handle>,
    pub(super) started: Instant,
    pub(super) metrics: Metrics,
    pub(super) records: Records,
    pub(super) admission: Admission,
    pub(super) model_admission: Admission,
    pub(super) log: Log,
    pub(super) reloads: Reloads,
    pub(super) proxy: Later,
    pub(super) doctor: Arc<Doctor>,
    pub(super) bench: Arc<Bench>,
    /// The models that this node serves.
    pub(super) models: Served,
    /// How models are asked.
    pub(super) access: Access,
    pub(super) traces: Arc<Traces>,
    /// What the doctor looks at.
    pub(super) current: Arc<ArcSwap<Current>>,
}

impl Lasting {
    /// What requests begin with under this configuration, which is the one from now on.
    pub(super) fn live(&self, config: &Arc<Runtime>, agents: &Arc<Registry>) -> Live {
        let current = Current { config: Arc::clone(config), agents: Arc::clone(agents) };
        self.current.store(Arc::new(current));
        let agents = Arc::clone(agents) as Arc<dyn Agents>;
        let tracer = self.traces.follow(config);
        let app = App {
            config: Arc::clone(config),
            directory: self.directory.clone(),
            agents: Arc::clone(&agents),
            records: self.records.clone(),
            observer: tracer.clone().map(traces::observer),
            started: self.started,
            mesh: self.mesh.clone(),
            reloads: self.reloads.clone(),
            bench: Arc::clone(&self.bench),
            models: self.models.clone(),
            access: self.access.clone(),
        };
        Live {
            node_name: config.mesh.node_name.clone(),
            agents,
            models: self.models.clone(),
            router: api::router(Arc::new(app), self.routes(config)),
            settings: proxy::Settings::from(&**config),
            access_log: config.api.access_log.then(|| self.log.access_log()),
            tracer,
        }
    }

    /// The routes of parts that need no more than what stays.
    fn routes(&self, config: &Runtime) -> Router {
        let is_observed = config.services.contains(Service::Observability);
        api::mesh::router(self.mesh.clone())
            .merge(api::log_level::router(self.log.clone()))
            .merge(api::reload::router(self.reloads.clone()))
            .merge(api::health::router(Arc::clone(&self.doctor)))
            .merge(api::metrics::router(is_observed.then(|| self.sources())))
    }

    /// What the page of metrics is made of.
    fn sources(&self) -> Sources {
        let places = [self.admission.clone(), self.model_admission.clone()];
        let proxy = Arc::clone(&self.proxy);
        Sources {
            metrics: self.metrics.clone(),
            records: self.records.clone(),
            log: Some(self.log.clone()),
            directory: self.directory.clone(),
            mesh: self.mesh.clone(),
            reloads: Some(self.reloads.clone()),
            levels: Arc::new(move || {
                let proxy = proxy.get().and_then(Weak::upgrade);
                let ejected = proxy.as_ref().map_or(0, |proxy| proxy.ejected());
                Levels {
                    running: places.iter().map(Admission::active).sum(),
                    queued: places.iter().map(Admission::queued).sum(),
                    ejected: u32::try_from(ejected).unwrap_or(u32::MAX),
                    results: proxy.map_or([0; 2], |proxy| proxy.results_bounded()),
                }
            }),
        }
    }
}

/// The agents that serve requests, as others hear of them.
pub(super) fn announced_agents(agents: &Registry) -> Vec<Agent> {
    let agent = |name: String| {
        let is_idempotent = agents.offer(&name).is_some_and(|offer| offer.is_idempotent);
        Agent { name, is_idempotent }
    };
    agents.served_names().into_iter().map(agent).collect()
}

/// These agents and models, in the one list in which others hear of both.
pub(super) fn announced(agents: &Registry, models: &Served) -> Vec<Agent> {
    let models = models.names();
    let models = models.iter().map(|model| gossip::json::announced_model(model));
    let mut announced = announced_agents(agents);
    announced.extend(models);
    announced.sort_unstable();
    announced
}
