//! The gossip of some nodes over real sockets, in one process: who hears of a load at once, and what
//! is known of each other's agents.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use astromesh::directory::{Member, Snapshot};
use astromesh::gossip::address::Address;
use astromesh::gossip::identity::Identity;
use astromesh::gossip::{self, Claim, Handle, Heard, Origin, Running, Setup, json};
use astromesh::routing::{LoadGuard, LocalLoad};
use astromesh_swim::Config;
use astromesh_wire::{Agent, LoadRecord, NodeId, State};
use tempfile::TempDir;
use tokio::sync::mpsc;

/// Far more than any wait of a test that passes; ends the wait of one that fails.
const PATIENCE: Duration = Duration::from_secs(60);

/// The gossip of a node, and what a routing node has beside it.
struct Node {
    running: Running,
    id: NodeId,
    load: LocalLoad,
    started: Instant,
    heard: mpsc::UnboundedReceiver<(NodeId, LoadRecord)>,
    _data_dir: TempDir,
}

impl Node {
    fn start(name: &str) -> Self {
        Self::with_agents(name, Vec::new())
    }

    fn with_agents(name: &str, agents: Vec<Agent>) -> Self {
        let data_dir = tempfile::tempdir().unwrap();
        let identity = Identity::begin(data_dir.path()).unwrap();
        let socket = gossip::bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let bind: SocketAddr = socket.local_addr().unwrap();
        let (id, load, started) = (identity.id(), LocalLoad::new(0, 0), Instant::now());
        let (tell, heard) = mpsc::unbounded_channel();
        let setup = Setup {
            identity,
            name: name.to_owned(),
            cluster: "test".to_owned(),
            address: Address::given(bind),
            http_port: bind.port(),
            services: Vec::new(),
            agents,
            load: Arc::new(load.clone()),
            started,
            heard: Heard::by(move |id, record| tell.send((id, record)).unwrap_or_default()),
            seeds: Vec::new(),
            config: Config::default(),
        };
        let running = gossip::start(setup, socket).unwrap();
        Self { running, id, load, started, heard, _data_dir: data_dir }
    }

    fn handle(&self) -> Handle {
        self.running.handle()
    }

    /// What it tells another node over HTTP of itself.
    fn claim(&self) -> Claim {
        let snapshot = self.handle().directory().snapshot();
        json::claim(&json::node(snapshot.member(self.id).unwrap(), None)).unwrap()
    }

    /// Counts a run that this node sent, or one of nobody in particular.
    fn enter(&self, origin: Option<NodeId>) -> LoadGuard {
        self.load.enter(self.started.elapsed(), origin)
    }

    async fn counter(&self, name: &str) -> u64 {
        self.handle().counters().await.unwrap()[name]
    }

    /// Waits for a beacon of which this holds, and returns it.
    async fn hears(&mut self, wanted: impl Fn(&LoadRecord) -> bool) -> (NodeId, LoadRecord) {
        let search = async {
            loop {
                let (id, record) = self.heard.recv().await.unwrap();
                if wanted(&record) {
                    return (id, record);
                }
            }
        };
        tokio::time::timeout(PATIENCE, search).await.expect("a beacon says so")
    }

    /// Waits until the view of this node is as wanted.
    async fn sees(&self, wanted: impl Fn(&Snapshot) -> bool) {
        let mut directory = self.handle().directory().clone();
        let search = async {
            while !wanted(&directory.snapshot()) {
                directory.changed().await.unwrap();
            }
        };
        tokio::time::timeout(PATIENCE, search).await.expect("the view becomes as wanted");
    }

    async fn sees_of(&self, id: NodeId, wanted: impl Fn(&Member) -> bool) {
        self.sees(|snapshot| snapshot.member(id).is_some_and(&wanted)).await;
    }
}

/// Nodes that all know each other.
async fn mesh<const N: usize>(names: [&str; N]) -> [Node; N] {
    let nodes = names.map(Node::start);
    let claims: Vec<Claim> = nodes.iter().map(Node::claim).collect();
    for node in &nodes {
        node.handle().merge(claims.clone(), 0, Origin::Join).await.unwrap();
    }
    for node in &nodes {
        node.sees(|snapshot| snapshot.live().count() == N).await;
    }
    nodes
}

#[tokio::test]
async fn who_sends_work_hears_of_the_work_of_others_and_who_sends_none_hears_nothing() {
    let [worker, mut gateway, mut bystander] = mesh(["worker", "gateway", "bystander"]).await;
    let first = worker.enter(Some(gateway.id));
    let (id, record) = gateway.hears(|record| record.active == 1).await;
    assert_eq!((id, record.yours, record.boot), (worker.id, Some(1), 1));

    let second = worker.enter(None);
    let (_, later) = gateway.hears(|record| record.active == 2).await;
    assert_eq!(later.yours, Some(1));
    assert!(later.sequence >= record.sequence);
    // Gossip tells everybody, with a sequence that can be compared.
    let is_told = |member: &Member| {
        member.load.active_requests == 2 && member.load_sequence >= record.sequence
    };
    bystander.sees_of(worker.id, is_told).await;

    drop((first, second));
    let (_, last) = gateway.hears(|record| record.active == record.yours.unwrap()).await;
    assert!(!last.is_draining);
    assert!(bystander.heard.try_recv().is_err());
    assert_eq!(bystander.counter("beacons_received").await, 0);
    assert_eq!(gateway.counter("beacons_refused").await, 0);
    assert_eq!(gateway.counter("beacons_sent").await + bystander.counter("beacons_sent").await, 0);
}

#[tokio::test]
async fn an_idle_node_sends_no_beacons_and_one_gateway_alone_needs_one_only() {
    let [worker, mut gateway] = mesh(["worker", "gateway"]).await;
    // Its own runs a gateway counts itself.
    let guards: Vec<LoadGuard> = (0..50).map(|_| worker.enter(Some(gateway.id))).collect();
    gateway.hears(|_| true).await;
    drop(guards);
    // Something else, so that all changes before it have been looked at.
    let _run = worker.enter(None);
    gateway.hears(|record| record.active > record.yours.unwrap()).await;
    assert_eq!(worker.counter("beacons_sent").await, 2);
    assert_eq!(worker.counter("beacons_withheld").await, 0);
}

#[tokio::test]
async fn a_drain_reaches_all_who_sent_work_by_beacon_and_all_others_by_gossip() {
    let [worker, mut one, mut other, bystander] =
        mesh(["worker", "one", "other", "bystander"]).await;
    let runs = (worker.enter(Some(one.id)), worker.enter(Some(other.id)));

    worker.handle().drain().await.unwrap();

    assert!(worker.load.is_draining());
    for gateway in [&mut one, &mut other] {
        let (id, record) = gateway.hears(|record| record.is_draining).await;
        assert_eq!((id, record.yours), (worker.id, Some(1)));
    }
    bystander.sees_of(worker.id, |member| member.load.is_draining).await;
    bystander.sees_of(worker.id, |member| member.state == State::Alive).await;

    // It goes when its runs are over.
    drop(runs);
    let id = worker.id;
    worker.running.stop().await;
    one.sees_of(id, |member| member.state == State::Left).await;
    bystander.sees_of(id, |member| member.state == State::Left).await;
}

#[tokio::test]
async fn a_node_that_stops_says_that_it_drains_before_it_leaves() {
    let [worker, mut gateway] = mesh(["worker", "gateway"]).await;
    let _run = worker.enter(Some(gateway.id));
    let id = worker.id;

    worker.running.stop().await;

    gateway.hears(|record| record.is_draining).await;
    gateway.sees_of(id, |member| member.state == State::Left).await;
}

#[tokio::test]
async fn hints_lead_to_one_probe_and_dismiss_nobody() {
    let [one, other] = mesh(["one", "other"]).await;
    for _ in 0..10 {
        one.handle().hint(other.id);
    }
    // Requests are taken in order: when this is answered the hints have been.
    assert_eq!(one.counter("hints").await, 1);
    assert_eq!(one.counter("hints_limited").await, 9);
    one.sees_of(other.id, |member| member.state == State::Alive).await;
}

#[tokio::test]
async fn idempotent_agents_are_known_to_whoever_joined_their_node_and_to_all_others_by_gossip() {
    let idempotent = Agent { is_idempotent: true, ..Agent::named("b") };
    let worker = Node::with_agents("worker", vec![Agent::named("a"), idempotent]);
    let (seed, bystander) = (Node::start("seed"), Node::start("bystander"));
    // Only the seed is told of anybody over HTTP.
    let claims = vec![worker.claim(), bystander.claim()];
    seed.handle().merge(claims, 0, Origin::Join).await.unwrap();

    for node in [&worker, &seed, &bystander] {
        node.sees_of(worker.id, |member| member.agents == ["a", "b"]).await;
        let snapshot = node.handle().directory().snapshot();
        assert_eq!(snapshot.member(worker.id).unwrap().idempotent_agents, ["b"]);
        assert!(snapshot.is_idempotent("b") && !snapshot.is_idempotent("a"));
    }
}
