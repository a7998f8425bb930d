//! Sends a request to the node that was chosen for it, and to another one when that is safe.
//!
//! Owns the connections to other nodes and the counts of requests outstanding there. A count is
//! held by the *body* of the answer: it ends when the last byte has passed, when the connection
//! breaks, or when the client leaves. Refuses to buffer answers, to read them, and to send a
//! request twice when that could run an agent twice.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use astromesh_wire::{NodeId, State};
use axum::http::uri::PathAndQuery;
use axum::http::{HeaderMap, Method, Request, Response, Uri};
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Client, Error as ClientError};
use hyper_util::rt::{TokioExecutor, TokioTimer};

use super::core::Core;
use super::headers::{IDEMPOTENCY_KEY, for_next_hop, hops, strip_hop_by_hop};
use super::in_flight::{InFlight, InFlightGuard};
use super::target::Target;
use super::terms::{self, Outcome, Place, Question};
use crate::directory::Reader;

/// Nodes that one request is sent to at most, this node included.
pub const ATTEMPTS_MAX: usize = 3;
/// Most times a request is forwarded: a node that gets it from another node serves it or says no.
pub const HOPS_MAX: u32 = 1;
/// A node of the mesh is near; one that takes longer to accept is not well.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// Half of the time after which the server closes an idle connection, so that requests do not meet
/// connections that are just being closed.
const IDLE_TIMEOUT: Duration = Duration::from_secs(5);
/// Idle connections kept for each node.
const IDLE_CONNECTIONS_MAX: usize = 64;
/// With three probes 5 s apart, a host that vanished is noticed within 25 s of silence.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(10);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEPALIVE_RETRIES: u32 = 3;

/// A request for an agent. The body is whole, so that it can be sent again.
#[derive(Debug, Clone)]
pub struct Call {
    /// The agent asked for.
    pub agent: String,
    /// As the client sent it.
    pub method: Method,
    /// As the client sent it.
    pub path_and_query: PathAndQuery,
    /// As the client sent them.
    pub headers: HeaderMap,
    /// As the client sent it.
    pub body: Bytes,
}

/// Whether this node runs the agent of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Here {
    /// It does: it is a candidate itself.
    Serves,
    /// It does not.
    DoesNotServe,
}

/// Where a call ended up.
#[derive(Debug)]
pub enum Routed {
    /// This node is to serve it; the guard counts it until then.
    Local(InFlightGuard),
    /// Another node has answered.
    Forwarded(Response<ForwardedBody>),
}

/// No node has answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    /// No member has ever said that it runs the agent.
    #[error("no node of the mesh runs the agent")]
    UnknownAgent,
    /// All members that run the agent are dead or have left.
    #[error("all nodes that run the agent are dead or have left")]
    NoAliveNode,
    /// The call came from another node and cannot be served here.
    #[error("the request came from another node and this node does not run the agent")]
    HopLimit,
    /// This node has left its mesh and does not serve the agent itself.
    #[error("this node has left the mesh and does not serve the agent")]
    Left,
    /// None of the nodes could be reached; nothing has run.
    #[error("no node that runs the agent could be reached ({tried} tried); nothing has run")]
    Unreachable {
        /// Nodes tried.
        tried: usize,
    },
    /// The connection broke after the request was sent; the agent may have run.
    #[error("the connection to the node broke before it answered ({tried} tried); it may have run")]
    Interrupted {
        /// Nodes tried.
        tried: usize,
    },
}

/// Chooses nodes and forwards to them; clones share connections and counts.
#[derive(Clone)]
pub struct Router {
    directory: Reader,
    in_flight: InFlight,
    client: Client<HttpConnector, Full<Bytes>>,
    /// Held for the time of one choice only, never over an await.
    core: Arc<Mutex<Core>>,
    started: Instant,
}

impl fmt::Debug for Router {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Router").field("core", &self.core).finish_non_exhaustive()
    }
}

/// One attempt: the node and the guard of its count.
enum Pick {
    Local(InFlightGuard),
    Remote(Arc<Target>, Outstanding),
}

/// How an attempt failed.
enum Failure {
    /// No connection: nothing was sent.
    NotConnected,
    /// A connection was there, but closed before anything was sent.
    NotSent,
    /// The connection broke after something was sent.
    Broken,
}

impl Router {
    /// A router over this directory; runs that it decides to serve here are counted in `in_flight`.
    #[must_use]
    pub fn new(directory: Reader, in_flight: InFlight) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
        connector.set_keepalive(Some(KEEPALIVE_IDLE));
        connector.set_keepalive_interval(Some(KEEPALIVE_INTERVAL));
        connector.set_keepalive_retries(Some(KEEPALIVE_RETRIES));
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(IDLE_CONNECTIONS_MAX)
            .build(connector);
        let core = Arc::new(Mutex::new(Core::new(fastrand::u64(..))));
        Self { directory, in_flight, client, core, started: Instant::now() }
    }

    /// Requests forwarded to this node and not finished.
    #[must_use]
    pub fn outstanding(&self, id: NodeId) -> u32 {
        lock(&self.core).outstanding(id)
    }

    /// Finds the node for a call. If that is another one, sends the call there and returns when the
    /// head of the answer is here. Dropping the future ends the request at the other node too.
    ///
    /// # Errors
    /// No node has answered; the error says whether something may have run.
    pub async fn route(&self, call: &Call, here: Here) -> Result<Routed, RouteError> {
        let only_here = if hops(&call.headers) >= HOPS_MAX {
            Some(RouteError::HopLimit)
        } else if self.directory.snapshot().local_has_left() {
            Some(RouteError::Left)
        } else {
            None
        };
        if let Some(otherwise) = only_here {
            return match here {
                Here::Serves => Ok(Routed::Local(self.in_flight.enter())),
                Here::DoesNotServe => Err(otherwise),
            };
        }
        let may_repeat = matches!(call.method, Method::GET | Method::HEAD)
            || call.headers.contains_key(IDEMPOTENCY_KEY);
        let mut tried = Vec::with_capacity(ATTEMPTS_MAX);
        let mut sent = false;
        while tried.len() < ATTEMPTS_MAX {
            let (target, guard) = match self.pick(&call.agent, here, &tried) {
                Some(Pick::Local(guard)) => return Ok(Routed::Local(guard)),
                Some(Pick::Remote(target, guard)) => (target, guard),
                None => break,
            };
            tried.push(target.id);
            match self.attempt(call, &target).await {
                Ok(response) => {
                    return Ok(Routed::Forwarded(response.map(|body| guard.hold_by(body))));
                }
                Err(Failure::Broken) if !may_repeat => {
                    return Err(RouteError::Interrupted { tried: tried.len() });
                }
                Err(Failure::Broken) => sent = true,
                Err(Failure::NotConnected | Failure::NotSent) => {}
            }
        }
        Err(match tried.len() {
            0 => self.nobody(&call.agent),
            tried if sent => RouteError::Interrupted { tried },
            tried => RouteError::Unreachable { tried },
        })
    }

    /// Chooses and counts in one step, so that requests that arrive together see each other.
    fn pick(&self, agent: &str, here: Here, tried: &[NodeId]) -> Option<Pick> {
        let mut core = lock(&self.core);
        // Read under the lock: an older snapshot must not follow a newer one.
        let snapshot = self.directory.snapshot();
        let now = self.started.elapsed();
        core.observe(now, &snapshot);
        if tried.is_empty() {
            core.request_began(now, agent);
        }
        let here = match here {
            Here::Serves => terms::Here::Serves { active: self.in_flight.active(), limit: 0 },
            Here::DoesNotServe => terms::Here::DoesNotServe,
        };
        let question = Question { agent, here, tried, bounced: &[], affinity: None };
        match core.pick(now, &question).ok()?.place {
            Place::Here => Some(Pick::Local(self.in_flight.enter())),
            Place::There(target) => {
                core.begin(now, target.id);
                Some(Pick::Remote(Arc::clone(&target), self.outstanding_at(target.id)))
            }
        }
    }

    fn outstanding_at(&self, id: NodeId) -> Outstanding {
        Outstanding {
            id,
            directory: self.directory.clone(),
            core: Arc::clone(&self.core),
            started: self.started,
        }
    }

    async fn attempt(&self, call: &Call, target: &Target) -> Result<Response<Incoming>, Failure> {
        let outcome = match request_for(call, target) {
            Some(request) => tokio::select! {
                outcome = self.client.request(request) => outcome.map_err(|error| {
                    let name = &*target.name;
                    tracing::debug!(node.name = name, error = chain(&error), "no answer");
                    classify(&error)
                }),
                () = self.death_of(target) => {
                    tracing::debug!(node.name = &*target.name, "no answer, and it is dead now");
                    Err(Failure::Broken)
                }
            },
            None => {
                let (name, host) = (&*target.name, &*target.host);
                tracing::debug!(node.name = name, node.host = host, "unusable URL");
                Err(Failure::NotConnected)
            }
        };
        let told = match &outcome {
            Ok(response) => Some(Outcome::Answered(response.status().as_u16())),
            Err(Failure::NotConnected) => Some(Outcome::NotConnected),
            Err(Failure::Broken) => Some(Outcome::Broken),
            Err(Failure::NotSent) => None,
        };
        if let Some(told) = told {
            lock(&self.core).outcome(self.started.elapsed(), target, told);
        }
        outcome.map(|mut response| {
            strip_hop_by_hop(response.headers_mut());
            response
        })
    }

    /// Waits until the mesh holds a node dead. A process that was stopped keeps its connections and
    /// never answers; a node that has left finishes what it was sent.
    async fn death_of(&self, target: &Target) {
        let mut directory = self.directory.clone();
        loop {
            let snapshot = directory.snapshot();
            let is_dead = snapshot.member(target.id).is_some_and(|member| {
                member.state == State::Dead && member.generation >= target.generation
            });
            if is_dead {
                return;
            }
            if directory.changed().await.is_none() {
                // The node is stopping; what it forwarded may still be answered.
                std::future::pending::<()>().await;
            }
        }
    }

    fn nobody(&self, agent: &str) -> RouteError {
        let snapshot = self.directory.snapshot();
        if snapshot.members_with_agent(agent).any(|member| member.id != snapshot.local) {
            RouteError::NoAliveNode
        } else {
            RouteError::UnknownAgent
        }
    }
}

fn request_for(call: &Call, target: &Target) -> Option<Request<Full<Bytes>>> {
    let (host, prefix) = (&target.host, &target.path_prefix);
    let uri: Uri = format!("http://{host}{prefix}{}", call.path_and_query).parse().ok()?;
    let mut request = Request::new(Full::new(call.body.clone()));
    *request.method_mut() = call.method.clone();
    *request.uri_mut() = uri;
    *request.headers_mut() = for_next_hop(&call.headers);
    Some(request)
}

/// hyper reports a request as cancelled only when it hands it back unsent: the pooled connection
/// had closed in the meantime.
fn classify(error: &ClientError) -> Failure {
    if error.is_connect() {
        return Failure::NotConnected;
    }
    let cause = std::error::Error::source(error).and_then(|cause| cause.downcast_ref());
    if cause.is_some_and(hyper::Error::is_canceled) { Failure::NotSent } else { Failure::Broken }
}

fn chain(error: &ClientError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}

/// A poisoned lock is taken all the same: the core is counts, and each is valid by itself.
fn lock(core: &Mutex<Core>) -> MutexGuard<'_, Core> {
    core.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One request outstanding at a node, until dropped.
#[derive(Debug)]
struct Outstanding {
    id: NodeId,
    directory: Reader,
    core: Arc<Mutex<Core>>,
    started: Instant,
}

impl Outstanding {
    fn hold_by(self, body: Incoming) -> ForwardedBody {
        ForwardedBody { outstanding: Some(self), body }
    }
}

impl Drop for Outstanding {
    fn drop(&mut self) {
        let mut core = lock(&self.core);
        let snapshot = self.directory.snapshot();
        let now = self.started.elapsed();
        core.observe(now, &snapshot);
        core.end(now, self.id);
    }
}

/// The body of an answer from another node, frame by frame as it comes.
#[derive(Debug)]
pub struct ForwardedBody {
    // Dropped before the body: when the other node sees the connection close, it is not counted.
    outstanding: Option<Outstanding>,
    body: Incoming,
}

impl Body for ForwardedBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let poll = Pin::new(&mut self.body).poll_frame(context);
        if matches!(poll, Poll::Ready(None | Some(Err(_)))) {
            self.outstanding = None;
        }
        poll
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
