//! Everything that runs in a node, and how it ends.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::Path;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use arc_swap::ArcSwap;
use astromesh_wire::{Agent, NodeId, Service};
use tokio::net::TcpListener;
use tokio::signal::unix::Signal;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tracing::{info, warn};

use super::data_dir::DataDir;
use super::inward::{self, Inward};
use super::listen::Sockets;
use super::live::{Lasting, Later, announced_agents};
use super::notifier::Notifier;
use super::reload::Reloader;
use super::traces::Traces;
use super::watchdog::Vitals;
use crate::agent::{Findings, ModelServer, Records, Registry};
use crate::api;
use crate::api::reload::Reloads;
use crate::config::{Mesh, Overrides, Runtime, Services};
use crate::directory::{self, Member, Snapshot};
use crate::doctor::{self, Doctor};
use crate::gossip::address::Address;
use crate::gossip::identity::Identity;
use crate::gossip::{self, Setup};
use crate::inference::{Served, watch};
use crate::model::{self, Access};
use crate::proxy::admission::Admission;
use crate::proxy::idempotency::{Bounds, Results};
use crate::proxy::{self, Proxy};
use crate::routing::{Core, LocalLoad, StaticPeer};
use crate::telemetry::logging::Log;
use crate::telemetry::metrics::Metrics;

/// Time to leave the mesh, the notice and the last write of the gossip included. A gossip thread that
/// hangs must not hold up the end of the process.
const LEAVE_MAX: Duration = Duration::from_secs(5);

/// Model servers that a node serves the models of. Each is asked every half a minute.
const SERVERS_MAX: usize = 64;

/// Time to write the last results.
const FLUSH_MAX: Duration = Duration::from_secs(5);

/// Time to send the last spans. Traces are not worth a longer stop.
const TRACES_MAX: Duration = Duration::from_secs(3);

/// Time for what was cut to tell its clients so.
const CUT_MAX: Duration = Duration::from_secs(3);

/// Time between the news that this node takes nothing new and its goodbye: for a beacon to arrive,
/// and for requests that were under way.
const DRAIN_NOTICE: Duration = Duration::from_millis(100);

/// Time to resolve a name that decides the advertised address.
const RESOLVE_MAX: Duration = Duration::from_secs(2);

/// What a node begins with, all of it its own.
pub(super) struct Ready {
    pub(super) config: Runtime,
    pub(super) overrides: Overrides,
    pub(super) data_dir: DataDir,
    pub(super) sockets: Sockets,
    pub(super) hangup: Signal,
    pub(super) notifier: Notifier,
}

/// What runs in a node.
pub(super) struct Parts {
    mesh: Option<gossip::Running>,
    server: JoinHandle<std::io::Result<()>>,
    stop_server: Option<oneshot::Sender<()>>,
    /// The node's own way to its server, which is there until the last request is answered.
    inward: Option<inward::Serving>,
    proxy: Arc<Proxy>,
    reloader: JoinHandle<()>,
    /// What holds now.
    current: Arc<ArcSwap<doctor::Current>>,
    vitals: Vitals,
    traces: Arc<Traces>,
    /// Keeps the lock.
    _data_dir: DataDir,
    /// Keeps the directory of a node without a mesh readable.
    _alone: Option<Arc<directory::Publisher>>,
}

impl Parts {
    /// Starts everything, in an order in which nothing is promised before it is true.
    pub(super) async fn start(ready: Ready, log: &Log) -> anyhow::Result<Self> {
        let Ready { config, overrides, data_dir, sockets, hangup, notifier } = ready;
        let started = Instant::now();
        let config = Arc::new(config);
        let identity = Identity::begin(data_dir.path())?;
        let listener = TcpListener::from_std(sockets.http).context("cannot use the listener")?;
        let http = listener.local_addr().context("the listener has no address")?;
        // One for all: reading the certificates of the host takes longer than the rest of a start.
        let inward = Inward::open().await;
        let own = inward.as_ref().map_or(http, |inward| inward.address);
        let access = Access::new(model::http_client(), own);
        let agents = Arc::new(load_agents(&config, &access));
        let (servers, models) =
            watch::begin(access.client.clone(), model_servers(&config, &agents));
        let metrics = Metrics::default();
        let traces = Arc::new(Traces::new(identity.id(), metrics.clone(), access.client.clone()));
        let local = Local {
            http,
            agents: Arc::clone(&agents),
            models,
            access: access.clone(),
            // Trace ids begin with the id of the node, so that every member knows whom to ask.
            records: Records::new(identity.id().short().to_u64()),
            metrics,
            traces: Arc::clone(&traces),
            load: nothing_to_do(&identity, &config),
            results: Results::open(&data_dir.path().join("results"), Bounds::default()),
            started,
        };
        // Beacons come before there is a proxy, which needs the directory.
        let later: Later = Arc::default();
        let ends = Ends { http, gossip: sockets.gossip };
        let joined = Joined::begin(&config, identity, ends, &local, heard(&later)).await?;
        let (reloads, orders) = api::reload::channel();
        let (proxy, lasting) = build_proxy(&config, &joined, local, (log, reloads), &later);
        let proxy = Arc::new(proxy);
        // Set once, and only here.
        later.get_or_init(|| Arc::downgrade(&proxy));
        let vitals = joined.vitals(&proxy, http);
        let alone = joined.alone.map(Arc::new);
        let current = Arc::clone(&lasting.current);
        let reloader = Reloader {
            overrides: Overrides { config: Some(config.dir.clone()), ..overrides },
            running: config,
            agents,
            servers,
            access,
            lasting,
            proxy: Arc::clone(&proxy),
            alone: alone.clone(),
            orders,
            notifier,
        };
        let (stop_server, stopped) = oneshot::channel();
        let stopped = async {
            // Dropping the sender stops the server as well.
            stopped.await.unwrap_or(());
        };
        let server = tokio::spawn(proxy::serve(listener, Arc::clone(&proxy), stopped));
        let inward = inward.map(|inward| inward.serve(&proxy));
        info!(http = %http, "serving");
        Ok(Self {
            mesh: joined.mesh,
            server,
            stop_server: Some(stop_server),
            inward,
            proxy,
            reloader: tokio::spawn(reloader.run(hangup)),
            current,
            vitals,
            traces,
            _data_dir: data_dir,
            _alone: alone,
        })
    }

    /// What is asked how the node is.
    pub(super) fn vitals(&self) -> Vitals {
        self.vitals.clone()
    }

    /// Waits until something ends by itself, which it only does when it fails.
    pub(super) async fn failed(&mut self) -> anyhow::Error {
        let mesh = async {
            match &mut self.mesh {
                Some(mesh) => mesh.ended().await,
                None => std::future::pending().await,
            }
        };
        let inward = async {
            match &mut self.inward {
                Some(inward) => inward.ended().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = mesh => anyhow!("the gossip thread ended; the lines above say why"),
            () = inward => anyhow!("the node no longer listens to itself; the lines above say why"),
            _ = &mut self.reloader => anyhow!("the task that reloads ended; this is a defect"),
            result = &mut self.server => match result {
                Ok(Ok(())) => anyhow!("the HTTP server ended"),
                Ok(Err(error)) => anyhow::Error::new(error).context("the HTTP server failed"),
                Err(panic) => anyhow::Error::new(panic).context("the HTTP server panicked"),
            },
        }
    }

    /// Tells others to send nothing new, leaves the mesh, stops accepting, waits for what is in
    /// flight.
    pub(super) async fn stop(mut self) {
        self.reloader.abort();
        self.proxy.drain();
        if let Some(mesh) = self.mesh.take()
            && within(LEAVE_MAX, leave(mesh)).await.is_none()
        {
            warn!(
                "the gossip thread gives no answer; the node goes without a goodbye, and others will \
                 find it dead"
            );
        }
        drop(self.stop_server.take());
        info!(requests = self.proxy.in_flight(), "nothing new is accepted");
        let drain_timeout = self.current.load().config.drain_timeout;
        if within(drain_timeout, &mut self.server).await.is_none() {
            let requests = self.proxy.cut();
            if requests > 0 {
                warn!(
                    requests,
                    "requests were still in flight after {} s and are cut",
                    drain_timeout.as_secs_f64()
                );
            }
            if within(CUT_MAX, &mut self.server).await.is_none() {
                self.server.abort();
            }
        }
        drop(self.inward.take());
        let proxy = self.proxy;
        let flushed = tokio::task::spawn_blocking(move || proxy.flush());
        if !matches!(within(FLUSH_MAX, flushed).await, Some(Ok(()))) {
            warn!("the last results of requests with a key could not be written");
        }
        if within(TRACES_MAX, self.traces.stop()).await.is_none() {
            warn!("the last spans of traces could not be sent: the collector does not answer");
        }
    }

    /// The longest time that [`Self::stop`] takes by what is configured now.
    pub(super) fn stop_max(&self) -> Duration {
        let drain_timeout = self.current.load().config.drain_timeout;
        drain_timeout.saturating_add(LEAVE_MAX + CUT_MAX + FLUSH_MAX + TRACES_MAX)
    }
}

/// Those who send work hear of it first, while what they have sent still finds this node and is told
/// to go elsewhere; then the goodbye.
async fn leave(mesh: gossip::Running) {
    if mesh.handle().drain().await.is_ok() {
        tokio::time::sleep(DRAIN_NOTICE).await;
    }
    mesh.stop().await;
}

async fn within<T>(limit: Duration, future: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout(limit, future).await.ok()
}

/// What this node has by itself, whether others know it or not.
struct Local {
    /// Where the HTTP server listens.
    http: SocketAddr,
    /// For calls of models, and for questions to other nodes.
    access: Access,
    agents: Arc<Registry>,
    models: Served,
    records: Records,
    metrics: Metrics,
    traces: Arc<Traces>,
    load: LocalLoad,
    results: Results,
    started: Instant,
}

/// Where a node is reached on its host.
struct Ends {
    http: SocketAddr,
    /// `None` without a mesh.
    gossip: Option<UdpSocket>,
}

/// The mesh, or the directory of a node that is alone.
struct Joined {
    mesh: Option<gossip::Running>,
    alone: Option<directory::Publisher>,
    directory: directory::Reader,
}

impl Joined {
    fn vitals(&self, proxy: &Arc<Proxy>, http: SocketAddr) -> Vitals {
        Vitals {
            proxy: Arc::clone(proxy),
            directory: self.directory.clone(),
            mesh: self.mesh.as_ref().map(gossip::Running::handle),
            http,
        }
    }

    async fn begin(
        config: &Runtime,
        identity: Identity,
        ends: Ends,
        local: &Local,
        heard: gossip::Heard,
    ) -> anyhow::Result<Self> {
        let Some(socket) = ends.gossip else {
            let itself = alone_snapshot(config, identity.id(), ends.http, &local.agents);
            let (publisher, directory) = directory::channel(itself);
            return Ok(Self { mesh: None, alone: Some(publisher), directory });
        };
        let work = Work {
            // Which models there are is not known yet.
            agents: announced_agents(&local.agents),
            load: local.load.clone(),
            started: local.started,
            heard,
        };
        let bound = socket.local_addr().context("the gossip socket has no address")?;
        let setup = setup(config, identity, (bound, ends.http), work).await?;
        let running = gossip::start(setup, socket).context("cannot start the gossip thread")?;
        let directory = running.handle().directory().clone();
        Ok(Self { mesh: Some(running), alone: None, directory })
    }
}

/// The load of a node that begins.
fn nothing_to_do(identity: &Identity, config: &Runtime) -> LocalLoad {
    LocalLoad::new(identity.generation(), proxy::Settings::from(config).limit_told)
}

/// The data plane, and what stays of it when the rest is replaced.
fn build_proxy(
    config: &Arc<Runtime>,
    joined: &Joined,
    local: Local,
    (log, reloads): (&Log, Reloads),
    later: &Later,
) -> (Proxy, Lasting) {
    let handle = joined.mesh.as_ref().map(gossip::Running::handle);
    let agents = Arc::clone(&local.agents);
    let current = doctor::Current { config: Arc::clone(config), agents: Arc::clone(&agents) };
    let current = Arc::new(ArcSwap::from_pointee(current));
    let lasting = Lasting {
        doctor: doctor(&current, &local, handle.clone(), reloads.clone()),
        current,
        directory: joined.directory.clone(),
        mesh: handle.clone(),
        started: local.started,
        metrics: local.metrics.clone(),
        records: local.records.clone(),
        bench: Arc::default(),
        models: local.models.clone(),
        traces: Arc::clone(&local.traces),
        admission: Admission::new(config.api.max_concurrent, config.api.queue_max),
        model_admission: Admission::new(config.api.model_max_concurrent, config.api.queue_max),
        access: local.access.clone(),
        log: log.clone(),
        reloads,
        proxy: Arc::clone(later),
    };
    let proxy = Proxy::new(proxy::Setup {
        core: core(config),
        directory: joined.directory.clone(),
        local_load: local.load,
        admission: lasting.admission.clone(),
        model_admission: lasting.model_admission.clone(),
        results: local.results,
        live: lasting.live(config, &agents),
        metrics: lasting.metrics.clone(),
        started: local.started,
        doubt: Box::new(move |id| {
            if let Some(mesh) = &handle {
                mesh.hint(id);
            }
        }),
    });
    (proxy, lasting)
}

fn doctor(
    current: &Arc<ArcSwap<doctor::Current>>,
    local: &Local,
    mesh: Option<gossip::Handle>,
    reloads: Reloads,
) -> Arc<Doctor> {
    let current = Arc::clone(current);
    Arc::new(Doctor::new(doctor::Setup {
        current: Arc::new(move || doctor::Current::clone(&current.load())),
        reload: Arc::new(move || reloads.status()),
        http: local.http,
        started: local.started,
        mesh,
        load: local.load.clone(),
        client: local.access.client.clone(),
        models: local.models.clone(),
    }))
}

/// The agents as their files say; of a broken one a draft. What is wrong is said in the log.
fn load_agents(config: &Runtime, access: &Access) -> Registry {
    let (registry, findings) = read_agents(&config.services, &config.dir, access);
    for warning in &findings.warnings {
        warn!("{warning}");
    }
    for problem in &findings.problems {
        warn!("a file is broken, and nothing in it is used: {}", problem.one_line());
    }
    registry
}

/// Of the files those that these services need: models come from the providers, agents from both.
pub(super) fn read_agents(
    services: &Services,
    dir: &Path,
    access: &Access,
) -> (Registry, Findings) {
    if services.contains(Service::Agents) {
        Registry::load(dir, access)
    } else if services.contains(Service::Inference) {
        Registry::load_providers(dir)
    } else {
        Default::default()
    }
}

/// The model servers whose models this node serves: none unless that is one of its services.
pub(super) fn model_servers(config: &Runtime, agents: &Registry) -> Vec<ModelServer> {
    if !config.services.contains(Service::Inference) {
        return Vec::new();
    }
    let (mut servers, warning) = agents.model_servers();
    if let Some(warning) = warning {
        warn!("the models of Ollama are not served: {warning}");
    }
    if servers.len() > SERVERS_MAX {
        warn!(servers = servers.len(), "only the first {SERVERS_MAX} model servers are served");
        servers.truncate(SERVERS_MAX);
    }
    servers
}

/// What other nodes tell of their load by beacon goes to the choice of nodes, once there is one.
fn heard(proxy: &Later) -> gossip::Heard {
    let proxy = Arc::clone(proxy);
    gossip::Heard::by(move |id, record| {
        if let Some(proxy) = proxy.get().and_then(Weak::upgrade) {
            proxy.heard(id, record.into());
        }
    })
}

/// The choice of nodes: those of the mesh, or the static peers.
fn core(config: &Runtime) -> Core {
    let seed = fastrand::u64(..);
    if config.mesh.enabled {
        return Core::new(seed);
    }
    let peers: Vec<StaticPeer> = config.peers.iter().map(StaticPeer::from).collect();
    Core::with_peers(seed, &peers)
}

/// The directory of a node whose mesh is off: itself.
fn alone_snapshot(config: &Runtime, id: NodeId, http: SocketAddr, agents: &Registry) -> Snapshot {
    let unix = std::time::SystemTime::now()
        .duration_since(std::time::SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs_f64();
    let idempotent = announced_agents(agents).into_iter().filter(|agent| agent.is_idempotent);
    let local = Member {
        services: config.services.enabled(),
        agents: agents.served_names(),
        idempotent_agents: idempotent.map(|agent| agent.name).collect(),
        joined_at: unix,
        ..Member::new(id, config.mesh.node_name.clone(), http)
    };
    Snapshot { version: 1, local: id, leader: Some(id), term: 1, members: vec![Arc::new(local)] }
}

/// What the mesh is told of this node's work, and who hears of that of others.
struct Work {
    agents: Vec<Agent>,
    load: LocalLoad,
    started: Instant,
    heard: gossip::Heard,
}

async fn setup(
    config: &Runtime,
    identity: Identity,
    (bind, http): (SocketAddr, SocketAddr),
    work: Work,
) -> anyhow::Result<Setup> {
    let mesh = &config.mesh;
    let (address, http_port) = advertised(mesh, bind, http).await?;
    info!(address = %address.socket, cluster = %mesh.cluster, "gossip begins");
    Ok(Setup {
        identity,
        name: mesh.node_name.clone(),
        cluster: mesh.cluster.clone(),
        address,
        http_port,
        services: config.services.enabled(),
        agents: work.agents,
        load: Arc::new(work.load),
        started: work.started,
        heard: work.heard,
        seeds: mesh.seeds.clone(),
        config: gossip::settings::engine(mesh),
    })
}

/// The address to advertise before anybody has been contacted, and the HTTP port to go with it.
async fn advertised(
    mesh: &Mesh,
    bind: SocketAddr,
    http: SocketAddr,
) -> anyhow::Result<(Address, u16)> {
    if let Some(advertise) = &mesh.advertise {
        let http_port = advertise.port.unwrap_or_else(|| http.port());
        // With one port for both, the advertised number replaces both.
        let gossip_port = if bind.port() == http.port() { http_port } else { bind.port() };
        let ip = resolve(&advertise.host)
            .await
            .with_context(|| format!("cannot resolve spec.mesh.advertise ({})", advertise.host))?;
        return Ok((Address::given(SocketAddr::new(ip, gossip_port)), http_port));
    }
    if !bind.ip().is_unspecified() {
        return Ok((Address::given(bind), http.port()));
    }
    // The seeds will tell where they see this node; until then the guess has to do.
    Ok((Address::guessed(bind.port()), http.port()))
}

async fn resolve(host: &str) -> anyhow::Result<IpAddr> {
    let lookup = within(RESOLVE_MAX, tokio::net::lookup_host((host, 0)));
    let mut addresses =
        lookup.await.ok_or_else(|| anyhow!("no answer within {} s", RESOLVE_MAX.as_secs()))??;
    addresses.next().map(|address| address.ip()).ok_or_else(|| anyhow!("it has no address"))
}
