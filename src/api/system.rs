//! Handlers that say how this node is.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use astromesh_wire::Service;
use axum::Json;
use axum::extract::State;

use super::app::App;
use super::metrics::GOSSIP_WAIT_MAX;
use super::types::{Health, MeshStatus, Peer, SystemStatus};
use crate::gossip;

const VERSION: &str = env!("CARGO_PKG_VERSION");
/// A node configured here was installed as a service of the system.
const SYSTEM_FILE: &str = "/etc/astromesh/runtime.yaml";

/// `GET /v1/health`.
pub async fn health() -> Json<Health> {
    Json(Health { status: "ok".to_owned(), version: VERSION.to_owned() })
}

/// `GET /v1/system/status`.
pub async fn status(State(app): State<Arc<App>>) -> Json<SystemStatus> {
    let mode = if app.config.file == Path::new(SYSTEM_FILE) { "system" } else { "dev" };
    let services = Service::ALL
        .into_iter()
        .map(|service| (service.name().to_owned(), app.config.services.contains(service)))
        .collect();
    Json(SystemStatus {
        version: VERSION.to_owned(),
        uptime_seconds: app.started.elapsed().as_secs_f64(),
        mode: mode.to_owned(),
        agents_loaded: app.agents.list().len(),
        pid: std::process::id(),
        services,
        peers: peers(&app),
        mesh: mesh(&app).await,
        provider_problems: app.agents.providers().problems,
        reload: app.reloads.status(),
    })
}

/// How the mesh is; `None` when it is off, or the node is stopping.
async fn mesh(app: &App) -> Option<MeshStatus> {
    let handle = app.mesh.as_ref()?;
    // A gossip thread that hangs must not hang this answer: then its counters are left out.
    let counters = match tokio::time::timeout(GOSSIP_WAIT_MAX, handle.counters()).await {
        Ok(counters) => counters.ok()?,
        Err(_) => BTreeMap::new(),
    };
    let snapshot = app.directory.snapshot();
    let local = snapshot.member(snapshot.local)?;
    Some(MeshStatus {
        enabled: true,
        node_id: local.id.to_string(),
        node_name: local.name.clone(),
        leader: snapshot.leader.map(|id| id.to_string()),
        cluster_size: snapshot.live().count(),
        status: gossip::json::status(local.state).to_owned(),
        cluster: handle.cluster().to_owned(),
        gossip_address: local.gossip_address.to_string(),
        counters,
    })
}

fn peers(app: &App) -> Vec<Peer> {
    if app.config.mesh.enabled {
        return Vec::new();
    }
    let peers = app.config.peers.iter().map(|peer| Peer {
        name: peer.name.clone(),
        url: peer.url.to_string(),
        services: peer.services.iter().map(|service| service.name().to_owned()).collect(),
    });
    peers.collect()
}
