//! A node of chitchat 0.13: its defaults, gossip each second, no keys but the membership itself,
//! on tokio with one thread.
//!
//! `peer-chitchat --bind ADDR [--seed ADDR] --name NAME [--digest v0|v1]` prints `UP id` and
//! `DOWN id` for the others; the id is their name. Digests are compressed (v1) unless told.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use chitchat::transport::UdpTransport;
use chitchat::{
    ChitchatConfig, ChitchatId, FailureDetectorConfig, ProtocolVersion, spawn_chitchat,
};

/// As Quickwit, for which it was made, sets it.
const GOSSIP_INTERVAL: Duration = Duration::from_secs(1);

/// As in chitchat's own defaults for its tests; without deleted keys it has no effect.
const KEY_GRACE_PERIOD: Duration = Duration::from_secs(15 * 60);

fn argument(name: &str) -> Option<String> {
    std::env::args().skip_while(|argument| argument != name).nth(1)
}

async fn run() -> Result<(), Box<dyn std::error::Error>> {
    let bind: SocketAddr = argument("--bind").ok_or("--bind is missing")?.parse()?;
    let name = argument("--name").ok_or("--name is missing")?;
    let generation = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let config = ChitchatConfig {
        chitchat_id: ChitchatId::new(name.clone(), generation, bind),
        cluster_id: "bench".to_owned(),
        gossip_interval: GOSSIP_INTERVAL,
        listen_addr: bind,
        seed_nodes: argument("--seed").into_iter().collect(),
        failure_detector_config: FailureDetectorConfig::default(),
        marked_for_deletion_grace_period: KEY_GRACE_PERIOD,
        catchup_callback: None,
        extra_liveness_predicate: None,
        protocol_version: match argument("--digest").as_deref() {
            Some("v0") => ProtocolVersion::V0,
            _ => ProtocolVersion::V1,
        },
    };
    let node = spawn_chitchat(config, Vec::new(), &UdpTransport).await?;
    let mut live_nodes = node.chitchat().lock().await.live_nodes_watcher();
    let mut known = BTreeSet::new();
    while live_nodes.changed().await.is_ok() {
        let live: BTreeSet<String> = live_nodes
            .borrow_and_update()
            .keys()
            .map(|id| id.node_id.to_string())
            .filter(|id| *id != name)
            .collect();
        for id in known.difference(&live) {
            println!("DOWN {id}");
        }
        for id in live.difference(&known) {
            println!("UP {id}");
        }
        known = live;
    }
    Err("chitchat has stopped".into())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(run())
}
