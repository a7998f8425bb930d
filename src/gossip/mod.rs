//! I/O around the membership engine.
//!
//! Owns the gossip socket and the thread it is served on, the node's identity on disk, the address
//! it advertises, and the HTTP calls to other nodes that membership needs: join and the comparison
//! of views. Refuses to decide anything about membership (that is `astromesh-swim`) or about
//! requests (that is `routing`).
//!
//! * [`identity`]: id and generation, kept across restarts
//! * [`address`]: where others reach this node
//! * [`json`]: members as JSON and back
//! * [`load`]: what to announce of the node's load to everybody, and when
//! * `beacons`: to whom it is told at once
//! * `hints`: who is probed because somebody could not connect
//! * [`settings`]: the configuration as the engine takes it
//! * `socket`, `thread`: the UDP socket and the loop that drives the engine
//! * `view`: from the engine's members to a snapshot of the directory
//! * `journal`, `history`, [`events`]: what happened to the members, kept for an hour and told live
//! * `naming`: whom people mean by a name or the beginning of an id
//! * `join`: how this node gets into the mesh; [`seeds`]: what came of it
//! * [`inspect`]: addresses, socket and the path to each member, for people
//! * `http`: the calls to other nodes, and the comparison of views
//! * `disk`, `peers`: what is kept in the data directory while it runs, and the last good members

pub mod address;
mod beacons;
mod disk;
pub mod events;
mod hints;
mod history;
mod http;
pub mod identity;
pub mod inspect;
mod join;
mod journal;
pub mod json;
pub mod load;
mod naming;
mod peers;
pub mod seeds;
pub mod settings;
mod socket;
mod thread;
mod view;

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

pub use astromesh_swim::{Claim, Origin};
use astromesh_swim::{Command, Config};
use astromesh_wire::{Agent, ClusterTag, NodeId, Service};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tracing::warn;

use crate::api::types::NodeHistory;
use crate::directory::{LoadSource, Reader};
use address::Address;
pub use beacons::Heard;
use events::{Listener, TooManyListeners};
use identity::Identity;
use inspect::Inspection;
use naming::{NotOne, Sought};
use peers::PeersFile;
use seeds::Joining;
pub use socket::{adopt, bind};

/// Requests that may wait for the gossip thread. It takes them in within microseconds; only a
/// flood over HTTP fills this, and then its senders wait.
const REQUESTS_MAX: usize = 256;

/// Time that the last write to the data directory has when the node stops.
const DISK_MAX: Duration = Duration::from_secs(3);

/// What the gossip of a node needs to start.
#[derive(Debug)]
pub struct Setup {
    /// Who this node is.
    pub identity: Identity,
    /// Its label.
    pub name: String,
    /// The mesh it belongs to.
    pub cluster: String,
    /// Where others reach it, as far as that is known before the first contact.
    pub address: Address,
    /// The port of its HTTP server, as others reach it.
    pub http_port: u16,
    /// What it offers.
    pub services: Vec<Service>,
    /// The agents it runs, sorted by name.
    pub agents: Vec<Agent>,
    /// How busy this node is.
    pub load: Arc<dyn LoadSource>,
    /// When the process began, as whoever counts the load and writes it on answers knows it: what
    /// `load` says is comparable only with one beginning.
    pub started: std::time::Instant,
    /// Who hears what others tell of their load by beacon.
    pub heard: Heard,
    /// Base URLs of the seeds.
    pub seeds: Vec<url::Url>,
    /// Settings of the engine.
    pub config: Config,
}

/// What a node may become while its gossip runs.
#[derive(Debug, Clone)]
pub struct Changes {
    /// Its label.
    pub name: String,
    /// What it offers.
    pub services: Vec<Service>,
    /// The agents it runs, sorted by name.
    pub agents: Vec<Agent>,
    /// Base URLs of the seeds.
    pub seeds: Vec<url::Url>,
    /// Settings of the engine; the kind of its rule stays what it was.
    pub config: Config,
}

/// The gossip thread and its HTTP tasks, as seen from the rest of the node. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Handle {
    requests: mpsc::Sender<Request>,
    directory: Reader,
    cluster: Arc<str>,
    seeds: watch::Sender<Vec<url::Url>>,
    joining: watch::Receiver<Joining>,
}

/// The gossip of this node has ended, because the node is stopping.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the mesh part of this node has stopped")]
pub struct Stopped;

/// There is no history to tell.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HistoryError {
    /// No member has this id or name, nor had in the last hour.
    #[error("nobody here is known by this id or name")]
    Unknown,
    /// Several could be meant: their names and ids.
    #[error("several members are known by this")]
    Ambiguous(Vec<(String, NodeId)>),
    /// The gossip has ended.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

impl From<NotOne> for HistoryError {
    fn from(error: NotOne) -> Self {
        match error {
            NotOne::Unknown => Self::Unknown,
            NotOne::Ambiguous(meant) => Self::Ambiguous(meant),
        }
    }
}

/// Nobody can listen to events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ListenError {
    /// As many listen as may.
    #[error(transparent)]
    TooMany(#[from] TooManyListeners),
    /// The gossip has ended.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

/// What the rest of the node asks of the gossip thread.
#[derive(Debug)]
enum Request {
    /// For the engine.
    Command(Command),
    /// Somebody reached this node, or saw it, at this address.
    Observed(IpAddr),
    /// The agents of a member that has too many for its record, and the generation and revision
    /// they belong to.
    AgentsOf(NodeId, (u32, u32), Vec<Agent>),
    /// The node is to be described, and the engine set, like this.
    Change(Box<Changes>),
    /// When this node last heard from each member.
    HeardAt(oneshot::Sender<json::HeardAt>),
    /// The counters, by name.
    Counters(oneshot::Sender<BTreeMap<String, u64>>),
    /// Addresses, socket and paths.
    Inspect(oneshot::Sender<Inspection>),
    /// What happened to a member.
    History(Sought, oneshot::Sender<Result<NodeHistory, NotOne>>),
    /// Somebody listens, from after the event that they saw last.
    Listen(Option<u64>, oneshot::Sender<Result<Listener, TooManyListeners>>),
    /// Somebody could not connect to this member.
    Hint(NodeId),
    /// Answer, which shows that the thread works.
    Ping(oneshot::Sender<()>),
    /// Tell that this node takes nothing new; answered when that has been sent.
    Drain(oneshot::Sender<()>),
    /// Say goodbye, let it spread for a moment, and end.
    Stop(oneshot::Sender<()>),
}

/// Everything that runs for the mesh; dropped, its HTTP tasks end and the thread follows.
#[derive(Debug)]
pub struct Running {
    handle: Handle,
    tasks: Vec<JoinHandle<()>>,
    /// Ends after the thread, when everything is written.
    disk: JoinHandle<()>,
    /// Closed when the thread ends, however it ends.
    thread: oneshot::Receiver<()>,
}

/// Starts the gossip thread on a socket from [`bind`] or [`adopt`], and the task that joins the mesh.
///
/// # Errors
/// The thread cannot be started.
pub fn start(setup: Setup, socket: UdpSocket) -> io::Result<Running> {
    let (requests, inbox) = mpsc::channel(REQUESTS_MAX);
    let (wants, wanted) = mpsc::channel(http::WANTS_MAX);
    let cluster: Arc<str> = setup.cluster.as_str().into();
    let (seeds, seeds_now) = watch::channel(setup.seeds.clone());
    let tag = ClusterTag::of(&cluster);
    let identity = setup.identity.clone();
    let peers = PeersFile::new(identity.directory(), &cluster);
    let (raise, generation) = watch::channel(identity.generation());
    let start = thread::Start { setup, socket, tag, inbox, wants, generation: raise };
    let (directory, thread) = thread::spawn(start)?;
    let disk = tokio::spawn(disk::keep(identity, generation, directory.clone(), peers.clone()));
    let (told, joining) = watch::channel(Joining::with(&seeds_now.borrow()));
    let handle = Handle { requests, directory, cluster, seeds, joining };
    let tasks = vec![
        tokio::spawn(join::join(handle.clone(), seeds_now, peers, told)),
        tokio::spawn(http::answer_wants(handle.clone(), wanted)),
    ];
    Ok(Running { handle, tasks, disk, thread })
}

impl Running {
    /// For the rest of the node.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Waits until the gossip thread ends by itself, which it only does when it fails.
    pub async fn ended(&mut self) {
        // Nothing is ever sent: an error means that the thread is gone.
        (&mut self.thread).await.unwrap_or(());
    }

    /// Tells that this node takes nothing new, leaves the mesh and ends; returns when the goodbye has
    /// had a moment to spread.
    pub async fn stop(mut self) {
        // If the thread has ended already, nobody can be told.
        self.handle.drain().await.unwrap_or_default();
        for task in self.tasks.drain(..) {
            task.abort();
        }
        let (done, wait) = oneshot::channel();
        if self.handle.requests.send(Request::Stop(done)).await.is_ok() {
            // An error means that the thread has ended already, which is what we wait for.
            wait.await.unwrap_or(());
        }
        if tokio::time::timeout(DISK_MAX, &mut self.disk).await.is_err() {
            warn!(
                "what the gossip keeps in the data directory could not be written within {} s",
                DISK_MAX.as_secs()
            );
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        for task in self.tasks.iter().chain([&self.disk]) {
            task.abort();
        }
    }
}

impl Handle {
    /// The mesh as this node sees it.
    #[must_use]
    pub const fn directory(&self) -> &Reader {
        &self.directory
    }

    /// Name of the cluster.
    #[must_use]
    pub fn cluster(&self) -> &str {
        &self.cluster
    }

    /// How far this node is in joining.
    #[must_use]
    pub fn joining(&self) -> Joining {
        self.joining.borrow().clone()
    }

    /// Takes in what another node told over HTTP.
    ///
    /// # Errors
    /// The node is stopping.
    pub async fn merge(
        &self,
        claims: Vec<Claim>,
        term: u64,
        origin: Origin,
    ) -> Result<(), Stopped> {
        self.request(Request::Command(Command::Merge { claims, term, origin })).await
    }

    /// Somebody reached this node at this address, or a seed saw it there.
    ///
    /// # Errors
    /// The node is stopping.
    pub async fn observed(&self, ip: IpAddr) -> Result<(), Stopped> {
        self.request(Request::Observed(ip)).await
    }

    /// Tells the mesh what this node has become, and goes on by these settings.
    ///
    /// # Errors
    /// The node is stopping.
    pub async fn change(&self, changes: Changes) -> Result<(), Stopped> {
        self.seeds.send_if_modified(|seeds| {
            let is_other = *seeds != changes.seeds;
            seeds.clone_from(&changes.seeds);
            is_other
        });
        self.request(Request::Change(Box::new(changes))).await
    }

    /// Takes this node out of the mesh; returns when its own view says so.
    ///
    /// # Errors
    /// The node is stopping.
    pub async fn leave(&self) -> Result<(), Stopped> {
        self.request(Request::Command(Command::Leave)).await?;
        let mut directory = self.directory.clone();
        while !directory.snapshot().local_has_left() {
            directory.changed().await.ok_or(Stopped)?;
        }
        Ok(())
    }

    /// Somebody has reason to doubt this member: it is probed next. If it is dead already, an
    /// operator says with this that it will not come back.
    ///
    /// # Errors
    /// The node is stopping.
    pub async fn doubt(&self, id: NodeId) -> Result<(), Stopped> {
        self.request(Request::Command(Command::Dismiss(id))).await?;
        self.request(Request::Command(Command::Probe(id))).await
    }

    /// Somebody could not connect to this member: it is probed now, unless it was on a hint within
    /// the last second. Does not wait: with the gossip thread too busy to take it the hint is lost,
    /// and the next failure gives another one.
    pub fn hint(&self, id: NodeId) {
        self.requests.try_send(Request::Hint(id)).unwrap_or_default();
    }

    /// From now on this node says that it takes nothing new: to those who sent it work lately at
    /// once, by beacon, and to all others by gossip. Returns when that has been sent. It stays a
    /// member: leave when that has had a moment to arrive, so that nobody is told of a node that has
    /// left and still answers.
    ///
    /// # Errors
    /// The node is stopping.
    pub async fn drain(&self) -> Result<(), Stopped> {
        let (sent, wait) = oneshot::channel();
        self.request(Request::Drain(sent)).await?;
        wait.await.map_err(|_| Stopped)
    }

    /// Returns when the gossip thread has taken this in.
    ///
    /// # Errors
    /// The node is stopping.
    pub async fn ping(&self) -> Result<(), Stopped> {
        let (done, wait) = oneshot::channel();
        self.request(Request::Ping(done)).await?;
        wait.await.map_err(|_| Stopped)
    }

    /// When this node last heard from each member.
    ///
    /// # Errors
    /// The node is stopping.
    pub async fn heard_at(&self) -> Result<json::HeardAt, Stopped> {
        let (sender, receiver) = oneshot::channel();
        self.request(Request::HeardAt(sender)).await?;
        receiver.await.map_err(|_| Stopped)
    }

    /// What happened in the last hour to the member that `key` stands for: an id, the beginning of
    /// one, or a name.
    ///
    /// # Errors
    /// Nobody or several are meant, or the node is stopping.
    pub async fn history(&self, key: String) -> Result<NodeHistory, HistoryError> {
        let snapshot = self.directory.snapshot();
        let sought = naming::find(key, snapshot.members.iter().map(AsRef::as_ref))?;
        let (sender, receiver) = oneshot::channel();
        self.request(Request::History(sought, sender)).await?;
        Ok(receiver.await.map_err(|_| Stopped)??)
    }

    /// Listens to everything that happens in the mesh, from now on or from after the event that
    /// was seen last.
    ///
    /// # Errors
    /// Too many listen already, or the node is stopping.
    pub async fn listen(&self, last_seen: Option<u64>) -> Result<Listener, ListenError> {
        let (sender, receiver) = oneshot::channel();
        self.request(Request::Listen(last_seen, sender)).await?;
        Ok(receiver.await.map_err(|_| Stopped)??)
    }

    /// Probes these members now, whatever is known of them.
    ///
    /// # Errors
    /// The node is stopping.
    pub async fn probe(&self, ids: &[NodeId]) -> Result<(), Stopped> {
        for id in ids {
            self.request(Request::Command(Command::Probe(*id))).await?;
        }
        Ok(())
    }

    /// Addresses, socket, and the path to each member.
    ///
    /// # Errors
    /// The node is stopping.
    pub async fn inspect(&self) -> Result<Inspection, Stopped> {
        let (sender, receiver) = oneshot::channel();
        self.request(Request::Inspect(sender)).await?;
        receiver.await.map_err(|_| Stopped)
    }

    /// The engine's counters by name.
    ///
    /// # Errors
    /// The node is stopping.
    pub async fn counters(&self) -> Result<BTreeMap<String, u64>, Stopped> {
        let (sender, receiver) = oneshot::channel();
        self.request(Request::Counters(sender)).await?;
        receiver.await.map_err(|_| Stopped)
    }

    async fn request(&self, request: Request) -> Result<(), Stopped> {
        self.requests.send(request).await.map_err(|_| Stopped)
    }
}
