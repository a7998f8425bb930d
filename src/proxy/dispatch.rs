//! Where a request goes: to this node's own routes, to another node, or nowhere.
//!
//! Owns the plan of one request: which node is asked, and when to give up. The rules of the choice
//! are the core's; what follows a failure or a refusal is decided in `retry`.

use std::sync::Arc;

use astromesh_wire::NodeId;
use smallvec::SmallVec;
use tokio::sync::watch;

use super::Proxy;
use super::client::{BodyFault, Upload};
use super::exchange::{Fault, Lane};
use super::here::{NotHere, WhenFull};
use super::http1::Framing;
use super::live::Live;
use super::local::Pipe;
use super::refusal::Refusal;
use super::request::{Class, Request};
use super::settings::{ATTEMPTS_MAX, HOPS_MAX, REFUSALS_MAX};
use super::spans::Spans;
use super::tally::{HowEnded, Tally, pick_reason};
use crate::agent::Offer;
use crate::api::{Code, Connection};
use crate::routing::{Here, Nobody, Pick, Place, Question, Repeat, Why};
use crate::telemetry::labels::{
    Deadline, Limit, Phase, Place as At, Refusal as Refused, RetryCause, RetryDenial, Side,
};

/// What becomes of the connection of the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum After {
    /// The next request.
    Next,
    /// It is closed in an orderly way.
    Close,
    /// It is closed at once: the client left, or has to see that something broke.
    Gone,
}

/// Where a request is, and what it began with.
#[derive(Debug, Clone, Copy)]
pub(super) struct On<'a> {
    pub(super) proxy: &'a Proxy,
    pub(super) live: &'a Arc<Live>,
}

/// The plan of one request.
#[derive(Debug)]
pub(super) struct Dispatch<'a> {
    pub(super) proxy: &'a Proxy,
    pub(super) live: &'a Arc<Live>,
    pub(super) lane: &'a mut Lane,
    pub(super) pipe: &'a mut Option<Pipe>,
    pub(super) ends: Connection,
    pub(super) request: &'a Request,
    stopped: &'a watch::Receiver<()>,
    pub(super) upload: Upload,
    /// The client waits for `100 Continue`, and has not had it.
    pub(super) is_continue_due: bool,
    /// Nodes that failed, do not have the agent, or are draining.
    pub(super) tried: SmallVec<[NodeId; 4]>,
    /// Nodes that refused for being full.
    pub(super) bounced: SmallVec<[NodeId; 4]>,
    /// Nodes that failed.
    pub(super) failed: usize,
    /// Nodes that refused, for whatever reason.
    pub(super) refused: usize,
    /// What the last one of them said.
    pub(super) last_refusal: Option<Refusal>,
    /// The process of the agent on this node could not be reached.
    pub(super) is_down: Option<Refusal>,
    /// What became of the attempt before, when another is to be made.
    pub(super) again: Option<RetryCause>,
    /// Some node may have read some of it.
    pub(super) was_sent: bool,
    /// Whether it may run twice, for what the request and the files of this node say.
    pub(super) repeat: Repeat,
    /// What led to the node that is asked; `None` when there was no choice.
    pub(super) why: Option<Why>,
    pub(super) tally: Tally,
    /// `None` when there is no trace to add to.
    pub(super) spans: Option<Box<Spans>>,
}

/// What an attempt at another node came to.
pub(super) enum Attempted {
    /// The client has its answer, or left.
    Done(After),
    /// It is to be said to the client.
    Refuse(Refusal),
    /// Another node is to be asked.
    Again,
}

impl<'a> Dispatch<'a> {
    pub(super) fn new(
        On { proxy, live }: On<'a>,
        lane: &'a mut Lane,
        pipe: &'a mut Option<Pipe>,
        ends: Connection,
        request: &'a Request,
        stopped: &'a watch::Receiver<()>,
    ) -> Self {
        let bytes_max = match request.class {
            Class::Own => usize::MAX,
            Class::Run | Class::Socket | Class::Document | Class::Trace | Class::Model => {
                live.settings.body_bytes_max
            }
        };
        let spans = Spans::begin(live, request, &lane.client.input);
        Self {
            proxy,
            live,
            lane,
            pipe,
            ends,
            request,
            stopped,
            upload: Upload::new(request.head.length, request.head.framing, bytes_max),
            is_continue_due: request.head.expects_continue,
            tried: SmallVec::new(),
            bounced: SmallVec::new(),
            failed: 0,
            refused: 0,
            last_refusal: None,
            is_down: None,
            again: None,
            was_sent: false,
            repeat: request.repeat,
            why: None,
            tally: Tally::default(),
            spans,
        }
    }

    /// Answers the request, one way or another, and tells how it ended.
    pub(super) async fn run(mut self, client: &str) -> After {
        let mut after = self.answer().await;
        if after == After::Gone && self.tally.status == 0 && self.lane.client.is_cut() {
            after = self.refuse(&self.cut_off());
        }
        let request = self.request;
        if after == After::Gone && self.tally.status == 0 {
            self.tally.end = HowEnded::Canceled;
        }
        let input = &self.lane.client.input;
        let sent = match &request.line {
            Some((method, path)) => (method.as_slice(), path.as_slice()),
            None => (request.head.method_text.of(input), request.head.path(input)),
        };
        let bytes_in = request.head.length as u64 + self.upload.progress_in();
        self.tally.tell(self.proxy, self.live, request, sent, client, bytes_in);
        if let Some(spans) = self.spans.take() {
            spans.end(&self.tally, &self.live.node_name);
        }
        self.upload.finish(&mut self.lane.client);
        after
    }

    async fn answer(&mut self) -> After {
        let request = self.request;
        if let Err(fault) = self.upload.track(&self.lane.client.input) {
            return self.refuse(&self.bad_body(fault));
        }
        if request.class == Class::Own {
            return self.own().await;
        }
        let body_bytes_max = self.live.settings.body_bytes_max as u64;
        if matches!(request.head.framing, Framing::Length(bytes) if bytes > body_bytes_max) {
            return self.refuse(&self.bad_body(BodyFault::TooLong));
        }
        if request.class == Class::Trace {
            return self.trace().await;
        }
        if request.class == Class::Document && self.live.agents.has_document(&request.agent) {
            return self.own().await;
        }
        let offer = if request.class == Class::Model {
            self.live.models.offer(&request.agent)
        } else {
            self.live.agents.offer(&request.agent)
        };
        if offer.as_ref().is_some_and(|offer| offer.is_idempotent) {
            self.repeat = Repeat::Safe;
        }
        if let Some(offer) = &offer
            && let Some(after) = self.repeated(offer).await
        {
            return match self.is_down.take() {
                Some(refusal) => self.refuse(&refusal),
                None => after,
            };
        }
        if request.hops >= HOPS_MAX {
            return self.as_worker(offer).await;
        }
        // A node that stops has left; what still runs there may ask for models all the same.
        let is_last = request.class == Class::Model && self.proxy.local_load.is_draining();
        if is_last || !self.proxy.directory.snapshot().local_has_left() {
            return self.as_gateway(offer).await;
        }
        let Some(offer) = offer else {
            let (whose, task) = (request.subject(), request.task());
            let detail = format!("{whose}this node has left the mesh and does not {task}");
            return self.refuse(&Refusal::new(Code::MeshLeft, detail));
        };
        self.here_or_wait(&offer).await
    }

    /// The request came from another node: it is served here or refused.
    async fn as_worker(&mut self, offer: Option<Offer>) -> After {
        let (whose, task) = (self.request.subject(), self.request.task());
        let Some(offer) = offer else {
            let detail =
                format!("{whose}the request came from another node and this node does not {task}");
            self.proxy.metrics.refused(Side::Sent, Refused::Absent);
            return self.refuse(&Refusal::bounced(Code::HopLimit, "absent", detail));
        };
        if self.proxy.local_load.is_draining() {
            let detail = format!("{whose}this node is stopping; nothing has run");
            self.proxy.metrics.refused(Side::Sent, Refused::Draining);
            return self.refuse(&Refusal::bounced(Code::Draining, "draining", detail));
        }
        let when_full = if self.request.must_queue { WhenFull::Queue } else { WhenFull::GoOn };
        match self.here(&offer, when_full).await {
            Ok(after) => after,
            Err(NotHere::Down(refusal)) => {
                self.proxy.metrics.refused(Side::Sent, Refused::Absent);
                self.refuse(&refusal)
            }
            Err(NotHere::Full(full)) => {
                let detail = format!("{whose}{full}; nothing has run");
                self.proxy.metrics.refused(Side::Sent, Refused::Full);
                self.refuse(&Refusal::bounced(Code::NodeFull, "full", detail))
            }
        }
    }

    /// This node was chosen and could not serve the request.
    fn went_past_here(&mut self, not_here: NotHere) {
        self.refused += 1;
        match not_here {
            NotHere::Full(_) => self.bounced.push(self.proxy.local),
            NotHere::Down(refusal) => {
                self.tried.push(self.proxy.local);
                self.last_refusal = Some(refusal);
            }
        }
    }

    /// Served here, for want of anywhere else.
    async fn here_or_wait(&mut self, offer: &Offer) -> After {
        match self.here(offer, WhenFull::Queue).await {
            Ok(after) => after,
            Err(NotHere::Down(refusal)) => self.refuse(&refusal),
            Err(NotHere::Full(_)) => unreachable!("who waits is not told that there is no place"),
        }
    }

    /// The request came from a client: a node is chosen, and another one while that helps.
    async fn as_gateway(&mut self, offer: Option<Offer>) -> After {
        let is_draining = self.proxy.local_load.is_draining();
        let takes_work = offer.as_ref().filter(|_| !is_draining);
        loop {
            let (pick, guard) = match self.pick(takes_work) {
                Ok(picked) => picked,
                Err(nobody) => match &offer {
                    // Better here, while stopping, than nowhere.
                    Some(offer) if is_draining && !self.was_sent => {
                        return self.here_or_wait(offer).await;
                    }
                    Some(_) | None => {
                        let refusal = self.nobody(nobody);
                        return self.refuse(&refusal);
                    }
                },
            };
            let attempted = match (&pick.place, &offer, guard) {
                (Place::There(target), _, Some(guard)) => {
                    self.there(target, pick.must_queue, guard).await
                }
                (Place::Here, Some(offer), _) => {
                    let must_queue = pick.must_queue;
                    let when_full = if must_queue { WhenFull::Queue } else { WhenFull::GoOn };
                    match self.here(offer, when_full).await {
                        Ok(after) => Attempted::Done(after),
                        Err(not_here) => {
                            self.went_past_here(not_here);
                            Attempted::Again
                        }
                    }
                }
                (Place::There(_), _, None) | (Place::Here, None, _) => {
                    unreachable!("what goes elsewhere is counted, and what stays has an offer")
                }
            };
            match attempted {
                Attempted::Done(after) => return after,
                Attempted::Refuse(refusal) => return self.refuse(&refusal),
                Attempted::Again if self.failed < ATTEMPTS_MAX && self.refused < REFUSALS_MAX => {}
                Attempted::Again => {
                    let refusal = self.nobody(Nobody::AllTried);
                    return self.refuse(&refusal);
                }
            }
        }
    }

    /// Chooses and counts in one step, so that requests that arrive together see each other.
    fn pick(&mut self, offer: Option<&Offer>) -> Result<(Pick, Option<Outstanding<'a>>), Nobody> {
        let input = &self.lane.client.input;
        let (admission, settings) = (self.admission(), &self.live.settings);
        let is_model = self.request.class == Class::Model;
        let here = offer.map_or(Here::DoesNotServe, |_| Here::Serves {
            active: admission.present(),
            limit: if is_model { settings.model_max_concurrent } else { settings.max_concurrent },
        });
        let question = Question {
            agent: &self.request.agent,
            here,
            tried: &self.tried,
            bounced: &self.bounced,
            affinity: self.request.affinity(input, self.upload.body(input)),
            key: self.request.key(input),
        };
        let is_first = self.tried.is_empty() && self.bounced.is_empty();
        let proxy = self.proxy;
        let picked = proxy.with_core(|core, now| {
            if is_first {
                core.request_began(now, question.agent);
            }
            let pick = core.pick(now, &question)?;
            let guard = match &pick.place {
                Place::Here => None,
                Place::There(target) => {
                    core.begin(now, target.id);
                    proxy.metrics.ask_began();
                    Some(Outstanding { proxy, id: target.id })
                }
            };
            Ok((pick, guard))
        });
        match self.again.take() {
            Some(cause) if picked.is_ok() => proxy.metrics.retried(cause),
            // Nobody is left for it.
            Some(RetryCause::NotConnected | RetryCause::Broken | RetryCause::TimedOut) => {
                proxy.metrics.retry_denied(RetryDenial::Attempts);
            }
            Some(RetryCause::Refused) | None => {}
        }
        self.why = picked.as_ref().ok().map(|(pick, _)| pick.why);
        if let Ok((pick, guard)) = &picked {
            let place = if guard.is_some() { At::There } else { At::Here };
            proxy.metrics.picked(place, pick_reason(pick.why.reason));
            self.log(pick);
        }
        picked
    }

    fn log(&self, pick: &Pick) {
        let why = pick.why;
        tracing::debug!(
            request.id = self.request.id,
            agent = self.request.agent,
            node.name = match &pick.place {
                Place::Here => &*self.live.node_name,
                Place::There(target) => &*target.name,
            },
            reason = why.reason.as_str(),
            candidates = why.candidates,
            sampled = why.sampled,
            estimate = f64::from(why.estimate_milli) / 1000.0,
            age_ms = why.age_ms,
            tried = self.tally.tried,
            "a node was chosen"
        );
    }

    /// The node stopped before there was an answer.
    fn cut_off(&self) -> Refusal {
        let whose = self.request.subject();
        let what = if self.tally.asked.is_some() { "it may have run" } else { "nothing has run" };
        let detail = format!("{whose}the node stopped before there was an answer; {what}");
        Refusal::new(Code::NodeStopped, detail)
    }

    /// The client left before there was an answer.
    pub(super) fn client_left(&mut self) -> After {
        let is_sending = !self.upload.is_read();
        self.proxy.metrics.canceled(if is_sending { Phase::Sending } else { Phase::Waiting });
        self.tally.end = HowEnded::Canceled;
        After::Gone
    }

    /// A deadline passed before there was an answer.
    pub(super) fn too_late(&self, fault: Fault) -> Refusal {
        let deadline = if fault == Fault::Total { Deadline::Total } else { Deadline::FirstByte };
        self.proxy.metrics.timed_out(deadline);
        let whose = self.request.subject();
        let what = self.request.may_have_run();
        let waited = self.request.began.elapsed().as_secs_f64();
        let which = if fault == Fault::Total { "deadline" } else { "first byte" };
        let detail = format!("{whose}no answer within {waited:.1} s ({which}){what}");
        Refusal::new(Code::DeadlineExceeded, detail)
    }

    /// The body of the request is not as it should be.
    pub(super) fn bad_body(&self, fault: BodyFault) -> Refusal {
        let limit = self.live.settings.body_bytes_max;
        match fault {
            BodyFault::TooLong => {
                self.proxy.metrics.limited(Limit::BodyBytes);
                let detail = format!("Request body is longer than {limit} bytes");
                Refusal::new(Code::BodyTooLarge, detail)
            }
            BodyFault::Malformed => {
                Refusal::new(Code::BodyUnreadable, "Request body is malformed: its chunks are not")
            }
            BodyFault::Slow => {
                let waited = self.live.settings.body_idle_timeout.as_secs_f64();
                let detail = format!("No more of the body came for {waited} s");
                Refusal::new(Code::BodyTimeout, detail)
            }
        }
    }

    /// Whether the connection is to be closed after this request.
    pub(super) fn is_closing(&self) -> bool {
        // The sender is gone when the server stops.
        self.stopped.has_changed().is_err() || self.proxy.local_load.is_draining()
    }
}

/// One request outstanding at a node, until dropped.
#[derive(Debug)]
pub(super) struct Outstanding<'a> {
    proxy: &'a Proxy,
    id: NodeId,
}

impl<'a> Outstanding<'a> {
    /// Counts a request for which there was no choice of nodes.
    pub(super) fn begin(proxy: &'a Proxy, id: NodeId) -> Self {
        proxy.with_core(|core, now| core.begin(now, id));
        proxy.metrics.ask_began();
        Self { proxy, id }
    }
}

impl Drop for Outstanding<'_> {
    fn drop(&mut self) {
        self.proxy.metrics.ask_ended();
        self.proxy.with_core(|core, now| core.end(now, self.id));
    }
}
