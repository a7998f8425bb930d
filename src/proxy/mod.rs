//! The HTTP data plane: from the bytes of a client to the bytes of whoever answers.
//!
//! Every request comes in here. Its head is read, a node is chosen for it, and bytes are relayed to
//! that node, or through a pipe to the routes of this one; nothing in between is parsed. The task
//! of the client's connection does all of it, so that a client that leaves takes everything with
//! it.
//!
//! * [`server`]: the listening socket, and the end
//! * `connection`: one client: request after request
//! * `request`: what a request is, read once from its head
//! * `trace`: whom a trace is asked of
//! * `dispatch`: where it goes; `retry`: where else when that fails; `refusal`: what is said otherwise
//! * `exchange`: one attempt, until the head of the answer; `relay`: its body; `tunnel`: after a
//!   change of protocol
//! * [`admission`]: who begins, waits, or is refused; [`idempotency`] and `keyed`: what runs once
//! * `client`: the client's end, and the body of a request
//! * `link`: the other end; `upstream`: connections to it, `local`: the pipe to our own routes
//! * `tally`: what is told of a request to metrics and access log; `spans`: and to its trace
//! * [`live`]: what of all this a reload replaces; `timer`, [`settings`]: deadlines and limits
//! * [`http1`]: the framing of HTTP/1.1, without I/O
//!
//! With several threads a connection may be served by any of them. All count in the same cells, write
//! to the same log and ask the same core; `docs/routing-bench.md` says what that costs.
//!
//! Refuses to know a route beyond those of agents and models, to read bodies, and to choose by itself:
//! [`crate::routing`] does.

pub mod admission;
pub mod http1;
pub mod idempotency;
pub mod live;
pub mod server;
pub mod settings;

mod answer;
mod client;
mod connection;
mod dispatch;
mod exchange;
mod forward;
mod here;
mod keyed;
mod link;
mod local;
mod refusal;
mod relay;
mod request;
mod retry;
mod spans;
mod tally;
mod timer;
mod trace;
mod tunnel;
mod upstream;

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use astromesh_wire::NodeId;
use tokio::sync::{Semaphore, watch};

use crate::directory::Reader;
use crate::routing::{Core, LoadRecord, LocalLoad, StaticPeer};
use crate::telemetry::labels::{Limit, LoadSource};
use crate::telemetry::metrics::Metrics;
use admission::Admission;
use idempotency::Results;
use settings::CONNECTIONS_MAX;
use upstream::Pool;

pub use live::Live;
pub use server::serve;
pub use settings::Settings;

/// What the data plane needs from the rest of the node.
pub struct Setup {
    /// The choice of nodes.
    pub core: Core,
    /// Who serves what.
    pub directory: Reader,
    /// The load of this node, counted here.
    pub local_load: LocalLoad,
    /// Places for requests on this node.
    pub admission: Admission,
    /// Places for requests for models: a run must not keep the model from its place that it waits for.
    pub model_admission: Admission,
    /// Answers to requests with a key.
    pub results: Results,
    /// What can be replaced later.
    pub live: Live,
    /// What is counted.
    pub metrics: Metrics,
    /// When the process started.
    pub started: Instant,
    /// Told of nodes that could not be connected to.
    pub doubt: Box<dyn Fn(NodeId) + Send + Sync>,
}

/// The data plane of a node, shared by all its connections.
pub struct Proxy {
    core: Mutex<Core>,
    directory: Reader,
    /// The id of this node.
    local: NodeId,
    /// The same as text, for a header.
    origin: String,
    local_load: LocalLoad,
    /// Places for connections of clients.
    connections: Arc<Semaphore>,
    /// Requests that have begun and not ended, of every kind.
    in_flight: AtomicUsize,
    /// Changes when everything is to be cut.
    cut: watch::Sender<()>,
    admission: Admission,
    model_admission: Admission,
    results: Results,
    live: ArcSwap<Live>,
    pool: Pool,
    metrics: Metrics,
    started: Instant,
    doubt: Box<dyn Fn(NodeId) + Send + Sync>,
}

impl fmt::Debug for Setup {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Setup").field("live", &self.live).finish_non_exhaustive()
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Proxy")
            .field("core", &self.core)
            .field("pool", &self.pool)
            .field("live", &self.live)
            .finish_non_exhaustive()
    }
}

impl Proxy {
    /// The data plane of a node; [`serve`] gives it connections.
    #[must_use]
    pub fn new(setup: Setup) -> Self {
        let local = setup.directory.snapshot().local;
        Self {
            core: Mutex::new(setup.core),
            directory: setup.directory,
            local,
            origin: local.to_string(),
            local_load: setup.local_load,
            connections: Arc::new(Semaphore::new(CONNECTIONS_MAX)),
            in_flight: AtomicUsize::new(0),
            cut: watch::Sender::new(()),
            admission: setup.admission,
            model_admission: setup.model_admission,
            results: setup.results,
            live: ArcSwap::from_pointee(setup.live),
            pool: Pool::new(setup.metrics.clone()),
            metrics: setup.metrics,
            started: setup.started,
            doubt: setup.doubt,
        }
    }

    /// What requests that begin now begin with.
    #[must_use]
    pub fn live(&self) -> Arc<Live> {
        self.live.load_full()
    }

    /// Replaces it. Requests under way keep what they began with; only the limits hold for all.
    pub fn replace(&self, live: Live) {
        let Settings { max_concurrent, model_max_concurrent, limit_told, queue_max, .. } =
            live.settings;
        self.live.store(Arc::new(live));
        self.admission.set_limits(max_concurrent, queue_max);
        self.model_admission.set_limits(model_max_concurrent, queue_max);
        self.local_load.set_limit(limit_told);
    }

    /// Replaces the static peers; what is known of those that stay is kept.
    pub fn set_peers(&self, peers: &[StaticPeer]) {
        self.with_core(|core, _| core.set_peers(peers));
    }

    /// Requests forwarded to this node and not finished.
    #[must_use]
    pub fn outstanding(&self, id: NodeId) -> u32 {
        self.with_core(|core, _| core.outstanding(id))
    }

    /// Requests for agents that are served here now.
    #[must_use]
    pub fn active(&self) -> u32 {
        self.local_load.active()
    }

    /// Another node says by beacon how busy it is.
    pub fn heard(&self, id: NodeId, record: LoadRecord) {
        self.metrics.heard(LoadSource::Beacon, 1);
        if self.with_core(|core, now| core.heard_by_beacon(now, id, record)) {
            self.metrics.limited(Limit::Sequence);
        }
    }

    /// Nodes that are passed over now.
    #[must_use]
    pub fn ejected(&self) -> usize {
        self.with_core(|core, now| core.ejected(now))
    }

    /// Results that were too long to be kept, and those that were dropped for newer ones.
    #[must_use]
    pub fn results_bounded(&self) -> [u64; 2] {
        let counts = self.results.counts();
        [counts.too_long, counts.evicted]
    }

    /// From now on nodes that send work here are told to take it elsewhere, and clients to connect
    /// anew. What is here is finished.
    pub fn drain(&self) {
        self.local_load.drain();
    }

    /// Requests of every kind that have begun and not ended.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Whether as many connections are open as may be, so that no other is accepted.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.connections.available_permits() == 0
    }

    /// Waits for nothing any more: requests without an answer get an error, streams of events their
    /// last one, other answers break off. Returns how many requests that are.
    pub fn cut(&self) -> usize {
        let requests = self.in_flight();
        self.cut.send_replace(());
        requests
    }

    /// Counts one request until dropped.
    fn count(&self) -> InFlight<'_> {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        InFlight(&self.in_flight)
    }

    /// Writes down the results that are not yet; for the end of the process. Blocks.
    pub fn flush(&self) {
        self.results.flush();
    }

    /// One call on the core, with the newest directory and the time.
    fn with_core<T>(&self, call: impl FnOnce(&mut Core, Duration) -> T) -> T {
        // A poisoned lock is taken all the same: the state is counts, and each is valid by itself.
        let mut core = self.core.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.now();
        // Read under the lock: an older snapshot must not follow a newer one.
        let loads = core.observe(now, &self.directory.snapshot());
        if loads > 0 {
            self.metrics.heard(LoadSource::Gossip, loads);
        }
        call(&mut core, now)
    }

    /// Since the process started.
    fn now(&self) -> Duration {
        self.started.elapsed()
    }
}

/// One request in flight, until dropped.
struct InFlight<'a>(&'a AtomicUsize);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
