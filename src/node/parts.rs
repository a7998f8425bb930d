//! Everything that runs in a node, and how it ends.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use astromesh_wire::{Load, NodeId, Service, State};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tracing::{info, warn};

use super::data_dir::DataDir;
use crate::agent::Registry;
use crate::api::metrics::Levels;
use crate::api::{self, App};
use crate::config::{Mesh, Runtime};
use crate::directory::{self, Member, Snapshot};
use crate::gossip::address::Address;
use crate::gossip::identity::Identity;
use crate::gossip::{self, Setup};
use crate::telemetry::metrics::Metrics;
use crate::{model, routing};

/// Time that requests in flight have to end when the node stops.
const DRAIN_MAX: Duration = Duration::from_secs(30);

/// Time to resolve a name that decides the advertised address.
const RESOLVE_MAX: Duration = Duration::from_secs(2);

/// What runs in a node.
pub(super) struct Parts {
    mesh: Option<gossip::Running>,
    server: JoinHandle<std::io::Result<()>>,
    stop_server: Option<oneshot::Sender<()>>,
    in_flight: routing::InFlight,
    /// Keeps the lock.
    _data_dir: DataDir,
    /// Keeps the directory of a node without a mesh readable.
    _alone: Option<directory::Publisher>,
}

impl Parts {
    /// Starts everything, in an order in which nothing is promised before it is true.
    pub(super) async fn start(config: Runtime) -> anyhow::Result<Self> {
        let started = Instant::now();
        let data_dir = DataDir::open(&config.data_dir)?;
        let identity = Identity::begin(data_dir.path())?;
        let at = SocketAddr::new(config.api.host, config.api.port);
        let listener = TcpListener::bind(at).await.with_context(|| {
            format!("cannot listen on {at} (spec.api.host, spec.api.port, --host, --port)")
        })?;
        let http = listener.local_addr().context("the listener has no address")?;
        let agents = Arc::new(load_agents(&config));
        let in_flight = routing::InFlight::new();
        let mut alone = None;
        let mut mesh = None;
        let directory = if config.mesh.enabled {
            let setup =
                setup(&config, identity, http, agents.served_names(), &in_flight, started).await?;
            let bind = setup.bind;
            let running = gossip::start(setup).with_context(|| {
                format!("cannot open the gossip socket on UDP {bind} (spec.mesh.bind)")
            })?;
            let handle = running.handle();
            mesh = Some(running);
            handle.directory().clone()
        } else {
            let (publisher, reader) =
                directory::channel(alone_snapshot(&config, identity.id(), http, &agents));
            alone = Some(publisher);
            reader
        };
        let handle = mesh.as_ref().map(gossip::Running::handle);
        let app = Arc::new(App {
            router: routing::Router::new(directory.clone(), in_flight.clone()),
            config: Arc::new(config),
            directory,
            agents,
            in_flight: in_flight.clone(),
            started,
            mesh: handle.clone(),
        });
        let metrics = api::metrics::router(metrics_sources(&app));
        let router = api::router(app, api::mesh::router(handle).merge(metrics));
        let (stop_server, stopped) = oneshot::channel();
        let stopped = async {
            // Dropping the sender stops the server as well.
            stopped.await.unwrap_or(());
        };
        let server = tokio::spawn(api::serve(listener, router, stopped));
        info!(http = %http, "serving");
        Ok(Self {
            mesh,
            server,
            stop_server: Some(stop_server),
            in_flight,
            _data_dir: data_dir,
            _alone: alone,
        })
    }

    /// Waits until something ends by itself, which it only does when it fails.
    pub(super) async fn failed(&mut self) -> anyhow::Error {
        let mesh = async {
            match &mut self.mesh {
                Some(mesh) => mesh.ended().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = mesh => anyhow!("the gossip thread ended; the lines above say why"),
            result = &mut self.server => match result {
                Ok(Ok(())) => anyhow!("the HTTP server ended"),
                Ok(Err(error)) => anyhow::Error::new(error).context("the HTTP server failed"),
                Err(panic) => anyhow::Error::new(panic).context("the HTTP server panicked"),
            },
        }
    }

    /// Leaves the mesh, stops accepting, waits for what is in flight.
    pub(super) async fn stop(mut self) {
        // First the goodbye: from now on nobody sends work here.
        if let Some(mesh) = self.mesh.take() {
            mesh.stop().await;
        }
        drop(self.stop_server.take());
        if within(DRAIN_MAX, &mut self.server).await.is_none() {
            warn!(
                requests = self.in_flight.active(),
                "requests were still in flight after {} s and are cut",
                DRAIN_MAX.as_secs()
            );
            self.server.abort();
        }
    }
}

async fn within<T>(limit: Duration, future: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout(limit, future).await.ok()
}

/// What the page of metrics is made of; `None` when the service is off.
fn metrics_sources(app: &App) -> Option<api::metrics::Sources> {
    if !app.config.services.contains(Service::Observability) {
        return None;
    }
    let in_flight = app.in_flight.clone();
    Some(api::metrics::Sources {
        metrics: Metrics::default(),
        access_log: None,
        directory: app.directory.clone(),
        mesh: app.mesh.clone(),
        levels: Arc::new(move || Levels { running: in_flight.active(), ..Levels::default() }),
    })
}

fn load_agents(config: &Runtime) -> Registry {
    if !config.services.contains(Service::Agents) {
        return Registry::default();
    }
    Registry::load(&config.dir, model::http_client())
}

/// The directory of a node whose mesh is off: itself.
fn alone_snapshot(config: &Runtime, id: NodeId, http: SocketAddr, agents: &Registry) -> Snapshot {
    let unix = std::time::SystemTime::now()
        .duration_since(std::time::SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs_f64();
    let local = Member {
        id,
        name: config.mesh.node_name.clone(),
        url: format!("http://{http}"),
        gossip_address: http,
        services: config.services.enabled(),
        agents: agents.served_names(),
        agents_elsewhere: false,
        load: Load::default(),
        load_sequence: 0,
        state: State::Alive,
        generation: 1,
        incarnation: 0,
        revision: 1,
        joined_at: unix,
    };
    Snapshot { version: 1, local: id, leader: Some(id), term: 1, members: vec![Arc::new(local)] }
}

async fn setup(
    config: &Runtime,
    identity: Identity,
    http: SocketAddr,
    agents: Vec<String>,
    in_flight: &routing::InFlight,
    started: Instant,
) -> anyhow::Result<Setup> {
    let mesh = &config.mesh;
    let mut bind = mesh.bind;
    if bind.port() == 0 {
        // Any free port was asked for: the one number for both is the one HTTP got.
        bind.set_port(http.port());
    }
    let (address, http_port) = advertised(mesh, bind, http).await?;
    info!(address = %address.socket, cluster = %mesh.cluster, "gossip");
    Ok(Setup {
        identity,
        name: mesh.node_name.clone(),
        cluster: mesh.cluster.clone(),
        bind,
        address,
        http_port,
        services: config.services.enabled(),
        agents,
        load: Arc::new(in_flight.clone()),
        started,
        heard: gossip::Heard::by(|_, _| {}),
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
