//! Nodes for the tests: a real server and a real router, agents that obey, a directory by hand.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use astromesh::agent::types::{
    AgentStatus, AgentSummary, ProviderList, RunRequest, RunResponse, Trace,
};
use astromesh::agent::{Offer, Records, RunError};
use astromesh::api::app::{Agents, RunFuture};
use astromesh::api::{self, App};
use astromesh::config;
use astromesh::directory::{self, Member, Publisher, Snapshot};
use astromesh::inference::Served;
use astromesh::model::{Access, ErrorCode, ModelError, http_client};
use astromesh::proxy::admission::Admission;
use astromesh::proxy::idempotency::{Bounds, Results};
use astromesh::proxy::{self, Proxy};
use astromesh::routing::{Core, LocalLoad, StaticPeer};
use astromesh::telemetry::metrics::{Metrics, Readings};
use astromesh_wire::{NodeId, Service};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

/// Bodies longer than this are refused by each node of the tests that says nothing else.
pub(crate) const BODY_BYTES_MAX: usize = 4096;

/// Far more than any wait of a test that passes; ends the wait of one that fails.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) fn id(number: u8) -> NodeId {
    NodeId::from_bytes([number; 16])
}

/// An alive, idle member.
pub(crate) fn member(number: u8, address: SocketAddr, agents: &[&str]) -> Member {
    Member {
        services: vec![Service::Api],
        agents: agents.iter().map(ToString::to_string).collect(),
        ..Member::new(id(number), format!("node-{number}"), address)
    }
}

/// Agents whose runs do what the query says: `wait` until [`Scripted::go_on`] is true, `fail`, `break`,
/// `panic`; anything else is echoed.
#[derive(Default)]
pub(crate) struct Scripted {
    summaries: BTreeMap<String, AgentSummary>,
    pub(crate) offer: Offer,
    /// Runs that began.
    pub(crate) begun: AtomicU32,
    pub(crate) go_on: watch::Sender<bool>,
}

impl Scripted {
    pub(crate) fn new(deployed: &[&str], drafts: &[&str]) -> Self {
        let summary = |name: &str, status, error| AgentSummary {
            name: name.to_owned(),
            version: "1.0.0".to_owned(),
            namespace: "default".to_owned(),
            status,
            error,
        };
        let deployed = deployed.iter().map(|name| summary(name, AgentStatus::Deployed, None));
        let reason = Some("no model".to_owned());
        let drafts = drafts.iter().map(|name| summary(name, AgentStatus::Draft, reason.clone()));
        let summaries = deployed.chain(drafts).map(|one| (one.name.clone(), one)).collect();
        Self { summaries, ..Self::default() }
    }

    fn deployed(&self) -> impl Iterator<Item = &str> {
        let all = self.summaries.values();
        let deployed = all.filter(|agent| agent.status == AgentStatus::Deployed);
        deployed.map(|agent| agent.name.as_str())
    }

    async fn obey(&self, name: &str, request: RunRequest) -> Result<RunResponse, RunError> {
        self.begun.fetch_add(1, Ordering::Relaxed);
        match request.query.as_str() {
            "wait" => drop(self.go_on.subscribe().wait_for(|go_on| *go_on).await.unwrap()),
            "fail" => {
                return Err(RunError::Model(ModelError {
                    code: ErrorCode::ConnectionRefused,
                    message: "nobody listens".to_owned(),
                    hint: "start the model server".to_owned(),
                }));
            }
            "break" => return Err(RunError::Internal("a tool fell over".to_owned())),
            "panic" => panic!("an agent that panics"),
            _ => {}
        }
        Ok(RunResponse {
            answer: format!("{name}: {}", request.query),
            steps: Vec::new(),
            usage: None,
            trace: Trace {
                trace_id: "0".repeat(32),
                agent: name.to_owned(),
                session_id: request.session_id,
                is_sampled: true,
                w3c_trace_id: None,
                spans: Vec::new(),
            },
            data: None,
            chain: None,
        })
    }
}

impl Agents for Scripted {
    fn list(&self) -> Vec<AgentSummary> {
        self.summaries.values().cloned().collect()
    }

    fn document(&self, name: &str) -> Option<Value> {
        self.summaries.get(name).map(|agent| json!({"metadata": {"name": agent.name}}))
    }

    fn has_document(&self, name: &str) -> bool {
        self.summaries.contains_key(name)
    }

    fn offer(&self, name: &str) -> Option<Offer> {
        let agent = self.summaries.get(name)?;
        (agent.status == AgentStatus::Deployed).then(|| self.offer.clone())
    }

    fn providers(&self) -> ProviderList {
        ProviderList::default()
    }

    fn run<'a>(&'a self, name: &'a str, request: RunRequest, _: &'a Records) -> RunFuture<'a> {
        Box::pin(self.obey(name, request))
    }
}

/// What is special about a node.
#[derive(Default)]
pub(crate) struct Plan {
    pub(crate) agents: Scripted,
    pub(crate) extra: axum::Router,
    /// More keys of `spec.api`, in YAML, each followed by a comma.
    pub(crate) api: &'static str,
    pub(crate) peers: Vec<StaticPeer>,
    /// Longest body, if not [`BODY_BYTES_MAX`].
    pub(crate) body_bytes_max: Option<usize>,
    /// Longest wait for more of a body, if not that of every node.
    pub(crate) body_idle_timeout: Option<Duration>,
}

/// A node that serves until it is dropped.
pub(crate) struct Node {
    pub(crate) address: SocketAddr,
    pub(crate) agents: Arc<Scripted>,
    pub(crate) proxy: Arc<Proxy>,
    pub(crate) load: LocalLoad,
    metrics: Metrics,
    results: Results,
    publisher: Publisher,
    own: Member,
    stop: Option<oneshot::Sender<()>>,
    pub(crate) serving: Option<JoinHandle<std::io::Result<()>>>,
}

impl Node {
    pub(crate) async fn start(number: u8, deployed: &[&str]) -> Self {
        Self::start_with(number, deployed, &[], axum::Router::new()).await
    }

    pub(crate) async fn start_with(
        number: u8,
        deployed: &[&str],
        drafts: &[&str],
        extra: axum::Router,
    ) -> Self {
        let agents = Scripted::new(deployed, drafts);
        Self::build(number, Plan { agents, extra, ..Plan::default() }).await
    }

    pub(crate) async fn build(number: u8, plan: Plan) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let body_idle_timeout = plan.body_idle_timeout;
        let deployed: Vec<&str> = plan.agents.deployed().collect();
        let own = member(number, address, &deployed);
        let (publisher, directory) = directory::channel(snapshot(&own, &[]));
        let config = Arc::new(runtime(number, &plan));
        let load = LocalLoad::new(1, config.api.max_concurrent);
        let agents = Arc::new(plan.agents);
        let started = Instant::now();
        let results = Results::in_memory(Bounds::default());
        let metrics = Metrics::default();
        let models = Served::default();
        let app = App {
            config: config.clone(),
            directory: directory.clone(),
            agents: agents.clone(),
            records: Records::default(),
            observer: None,
            started,
            mesh: None,
            reloads: api::reload::channel().0,
            bench: Arc::default(),
            models: models.clone(),
            access: Access::new(http_client(), address),
        };
        let mut settings = proxy::Settings::from(&*config);
        settings.body_idle_timeout = body_idle_timeout.unwrap_or(settings.body_idle_timeout);
        let setup = proxy::Setup {
            core: Core::with_peers(u64::from(number), &plan.peers),
            directory,
            local_load: load.clone(),
            admission: Admission::new(config.api.max_concurrent, config.api.queue_max),
            model_admission: Admission::new(config.api.model_max_concurrent, config.api.queue_max),
            results: results.clone(),
            live: proxy::Live {
                node_name: config.mesh.node_name.clone(),
                agents: agents.clone(),
                models,
                router: api::router(Arc::new(app), plan.extra),
                settings,
                access_log: None,
                tracer: None,
            },
            metrics: metrics.clone(),
            started,
            doubt: Box::new(|_| {}),
        };
        let proxy = Arc::new(Proxy::new(setup));
        let (stop, stopped) = oneshot::channel::<()>();
        let shutdown = async {
            // Told to, or dropped: both mean stop.
            let _told = stopped.await.is_ok();
        };
        let serving = tokio::spawn(proxy::serve(listener, proxy.clone(), shutdown));
        Self {
            address,
            agents,
            proxy,
            load,
            metrics,
            results,
            publisher,
            own,
            stop: Some(stop),
            serving: Some(serving),
        }
    }

    /// What this node knows of the others.
    pub(crate) fn knows(&self, others: &[Member]) {
        self.publisher.publish(snapshot(&self.own, others));
    }

    /// Begins the graceful end.
    pub(crate) fn stop(&mut self) {
        drop(self.stop.take());
    }

    /// As others know it.
    pub(crate) fn as_member(&self) -> Member {
        self.own.clone()
    }

    /// Asserts that a line is on this node's page of metrics.
    pub(crate) fn counted(&self, line: &str) {
        let page = self.metrics.page(Readings::default());
        let (name, _) = line.split_once(' ').unwrap();
        let shown = page.lines().find(|shown| shown.starts_with(name));
        assert_eq!(shown, Some(line));
    }

    /// Returns when exactly this many runs execute.
    pub(crate) async fn runs(&self, count: u32) {
        let mut watch = self.load.watch();
        let reached = watch.wait_for(|active| *active == count);
        let reached = tokio::time::timeout(PATIENCE, reached).await.is_ok();
        assert!(reached, "{} runs, not {count}", self.load.active());
    }

    /// Returns when so many repeats have begun to wait for the first of their key.
    pub(crate) async fn repeats(&self, count: u64) {
        let reached = async {
            while self.results.counts().waited != count {
                tokio::task::yield_now().await;
            }
        };
        let reached = tokio::time::timeout(PATIENCE, reached).await.is_ok();
        assert!(reached, "{:?}", self.results.counts());
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(serving) = self.serving.take() {
            serving.abort();
        }
    }
}

fn snapshot(own: &Member, others: &[Member]) -> Snapshot {
    let mut members: Vec<Arc<Member>> =
        std::iter::once(own).chain(others).cloned().map(Arc::new).collect();
    members.sort_by_key(|member| member.id);
    Snapshot { version: 1, local: own.id, leader: None, term: 0, members }
}

fn runtime(number: u8, plan: &Plan) -> config::Runtime {
    let (api, body_bytes_max) = (plan.api, plan.body_bytes_max.unwrap_or(BODY_BYTES_MAX));
    let directory = tempfile::tempdir().unwrap();
    let text = format!(
        "spec:\n  services: {{rag: false}}\n  api: {{host: 127.0.0.1, {api} body_bytes_max: {body_bytes_max}}}\n  \
         mesh: {{enabled: true, node_name: node-{number}}}\n"
    );
    std::fs::write(directory.path().join("runtime.yaml"), text).unwrap();
    let config = Some(directory.path().to_owned());
    config::load(
        &config::Overrides { config, ..config::Overrides::default() },
        &config::Environment::default(),
    )
    .unwrap()
}
