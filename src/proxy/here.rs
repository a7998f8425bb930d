//! A request at this node: admitted, counted, and sent through the pipe to our own routes, or to
//! the process that serves the agent.

use std::sync::Arc;

use astromesh_wire::NodeId;
use smallvec::SmallVec;
use tokio::time::Instant;

use super::admission::{Admission, AgentLimit, Full, NotAdmitted, Permit};
use super::dispatch::{After, Dispatch};
use super::exchange::{Attempt, Fault};
use super::forward::unless_gone;
use super::http1::{
    Known, KnownSet, RequestEdit, ResponseHead, Target as Path, Version, write_request,
};
use super::idempotency::Recorder;
use super::link::Link;
use super::local::Pipe;
use super::refusal::Refusal;
use super::request::Class;
use super::tally::By;
use crate::agent::{Offer, UpstreamUrl};
use crate::api::{Code, models};
use crate::directory::Member;
use crate::routing::headers;
use crate::telemetry::labels::{Deadline, Phase, Refusal as Refused, Side};

/// What another node or a client said to this node, and an upstream has no use for.
const DROPPED: KnownSet =
    KnownSet::of(&[Known::Hop, Known::Origin, Known::MustQueue, Known::Deadline, Known::Explain]);

/// What a request does that finds this node full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WhenFull {
    /// It goes elsewhere.
    GoOn,
    /// It waits.
    Queue,
}

/// Why a request is not served here after all.
pub(super) enum NotHere {
    /// There is no place.
    Full(Full),
    /// The process of the agent cannot be reached, or the model not be had; what to say if nobody else
    /// can serve it.
    Down(Refusal),
}

/// Why a request has no place.
pub(super) enum NoPlace {
    Full(Full),
    Not(NotAdmitted),
    Gone,
}

impl<'a> Dispatch<'a> {
    /// Serves a request that is neither counted nor limited.
    pub(super) async fn own(&mut self) -> After {
        self.serve(None, None).await
    }

    /// Serves a request for an agent; `Err` when that was not possible and nothing has run, so that
    /// it may go elsewhere.
    pub(super) async fn here(
        &mut self,
        offer: &Offer,
        when_full: WhenFull,
    ) -> Result<After, NotHere> {
        // Those that wait are part of the load, too.
        let counted = self.proxy.local_load.enter(self.proxy.now(), self.origin());
        let permit = match self.admit(offer, when_full).await {
            Ok(permit) => permit,
            Err(NoPlace::Full(full)) => return Err(NotHere::Full(full)),
            Err(NoPlace::Gone) => return Ok(After::Gone),
            Err(NoPlace::Not(why)) => return Ok(self.refuse_place(why)),
        };
        let after = if self.has_key() {
            self.keyed(offer, Some((counted, permit))).await
        } else {
            let _held = (counted, permit);
            self.serve(offer.upstream.as_ref(), None).await
        };
        self.is_down.take().map_or(Ok(after), |refusal| Err(NotHere::Down(refusal)))
    }

    /// The node that forwarded the request, if it is one of this mesh: others are not told how busy
    /// this node is, and share no count with it.
    pub(super) fn origin(&self) -> Option<NodeId> {
        let origin = self.request.origin.filter(|_| self.request.hops > 0)?;
        let snapshot = self.proxy.directory.snapshot();
        snapshot.member(origin).is_some_and(Member::is_live).then_some(origin)
    }

    /// There was no place until now, and there is no more time.
    pub(super) fn refuse_place(&mut self, why: NotAdmitted) -> After {
        let is_over = self.request.total.is_some_and(|total| total <= Instant::now());
        let refusal = match why {
            NotAdmitted::TimedOut if is_over => self.too_late(Fault::Total),
            NotAdmitted::TimedOut => {
                self.proxy.metrics.timed_out(Deadline::Queue);
                self.not_admitted(why)
            }
            NotAdmitted::QueueFull => self.not_admitted(why),
        };
        self.refuse(&refusal)
    }

    /// Runs and chats have places of their own.
    pub(super) fn admission(&self) -> &'a Admission {
        let is_model = self.request.class == Class::Model;
        if is_model { &self.proxy.model_admission } else { &self.proxy.admission }
    }

    pub(super) async fn admit(
        &mut self,
        offer: &Offer,
        when_full: WhenFull,
    ) -> Result<Permit, NoPlace> {
        let (proxy, admission) = (self.proxy, self.admission());
        let agent = AgentLimit { name: &self.request.agent, max_concurrent: offer.max_concurrent };
        if when_full == WhenFull::GoOn {
            return admission.try_enter(agent).map_err(NoPlace::Full);
        }
        let began = Instant::now();
        let until = began + self.live.settings.queue_timeout;
        let until = self.request.total.map_or(until, |total| total.min(until));
        let entering = admission.enter_queued(agent, until);
        let done = self.upload.end();
        let entered = unless_gone(&mut self.lane.client, done, entering).await;
        let waited = began.elapsed();
        self.tally.waited += waited;
        proxy.metrics.queued(waited);
        entered
            .ok_or_else(|| {
                proxy.metrics.canceled(Phase::Queued);
                NoPlace::Gone
            })?
            .map_err(|why| {
                proxy.metrics.refused(
                    Side::Sent,
                    match why {
                        NotAdmitted::QueueFull => Refused::QueueFull,
                        NotAdmitted::TimedOut => Refused::QueueTimeout,
                    },
                );
                NoPlace::Not(why)
            })
    }

    /// Sends the request to whoever answers on this node, and passes the answer on.
    pub(super) async fn serve(
        &mut self,
        upstream: Option<&Arc<UpstreamUrl>>,
        recorder: Option<Recorder>,
    ) -> After {
        self.tally.tried += 1;
        self.tally.by = By::Here;
        let (mut link, head) = match upstream {
            Some(url) => match self.ask_upstream(url).await {
                Ok(answered) => answered,
                Err(fault) => return self.failed_upstream(fault),
            },
            None => match self.ask_routes().await {
                Ok(answered) => answered,
                Err(fault) => return self.failed_here(fault),
            },
        };
        if self.request.class == Class::Model
            && head.headers.has(Known::Refused)
            && self.upload.is_whole()
        {
            // Whoever called says it, if no other node can be asked.
            self.is_down = Some(self.model_is_not_here(head.status));
            self.lane.down.clear();
            return After::Gone;
        }
        self.tally.answered = Some(Instant::now());
        let (after, is_reusable) = self.pass(&mut link, &head, None, recorder).await;
        if is_reusable {
            match (link, upstream) {
                (Link::Pipe(pipe), _) => *self.pipe = Some(pipe),
                (Link::Tcp(stream), Some(url)) => self.proxy.pool.put(&url.authority, stream),
                (Link::Tcp(_), None) => {}
            }
        }
        after
    }

    /// Our own routes. A pipe that has ended while it was idle is replaced, and one to the routes from
    /// before a reload.
    async fn ask_routes(&mut self) -> Result<(Link, ResponseHead), Fault> {
        let edit = RequestEdit::default();
        if let Some(pipe) = self.pipe.take().filter(|pipe| pipe.leads_to(self.live)) {
            let mut link = Link::Pipe(pipe);
            match self.ask_here(&mut link, edit).await {
                Ok(head) => return Ok((link, head)),
                Err(Fault::NotSent) => {}
                Err(fault) => return Err(fault),
            }
        }
        let mut link = Link::Pipe(Pipe::open(self.live, self.ends));
        let head = self.ask_here(&mut link, edit).await?;
        Ok((link, head))
    }

    /// The process that serves the agent.
    async fn ask_upstream(&mut self, url: &UpstreamUrl) -> Result<(Link, ResponseHead), Fault> {
        loop {
            let pooled = self.proxy.pool.take(&url.authority);
            let is_pooled = pooled.is_some();
            let stream = match pooled {
                Some(stream) => stream,
                None => self.connect(&url.authority).await?,
            };
            let mut link = Link::Tcp(stream);
            let edit = RequestEdit {
                authority: Some(&url.authority),
                target: Path::Path(&url.path),
                drop: DROPPED,
                ..RequestEdit::default()
            };
            match self.ask_here(&mut link, edit).await {
                Ok(head) => return Ok((link, head)),
                Err(Fault::NotSent) if is_pooled => {}
                Err(fault) => return Err(fault),
            }
        }
    }

    async fn ask_here(
        &mut self,
        link: &mut Link,
        edit: RequestEdit<'_>,
    ) -> Result<ResponseHead, Fault> {
        let request = self.request;
        self.upload.begin(false);
        self.tally.asked = Some(Instant::now());
        let left = request.deadline_left();
        let traced = self.spans.as_ref().map(|spans| spans.header());
        let mut add: SmallVec<[(&str, &[u8]); 4]> = SmallVec::new();
        let mut drop = edit.drop;
        if request.is_id_new {
            drop = drop.with(Known::RequestId);
            add.push((headers::REQUEST_ID, request.id.as_bytes()));
        }
        if let Some((traceparent, replaced)) = &traced {
            drop = drop.and(*replaced);
            add.push((headers::TRACEPARENT, traceparent.as_bytes()));
        }
        // An agent that is a process of its own has no use for it.
        let is_own = matches!(link, Link::Pipe(_));
        if is_own && self.spans.as_ref().is_some_and(|spans| spans.is_untraced()) {
            add.push((headers::UNTRACED, b"1"));
        }
        if let Some(left) = &left {
            drop = drop.with(Known::Deadline);
            add.push((headers::DEADLINE, left.as_bytes()));
        }
        let edit = RequestEdit { add: &add, drop, ..edit };
        self.lane.request.clear();
        self.lane.down.clear();
        write_request(&mut self.lane.request, &request.head, &self.lane.client.input, &edit);
        let mut attempt = Attempt {
            lane: self.lane,
            link,
            upload: &mut self.upload,
            to: request.to(),
            is_continue_due: &mut self.is_continue_due,
            passes_interim: request.head.version == Version::Http11,
            may_upgrade: request.head.upgrade,
            body_idle: self.live.settings.body_idle_timeout,
            first_byte: match request.class {
                Class::Own => None,
                Class::Run | Class::Socket | Class::Document | Class::Trace | Class::Model => {
                    self.live.settings.first_byte_timeout
                }
            },
            total: request.total,
        };
        attempt.head(std::future::pending()).await
    }

    /// The routes did not find the model any more, or could not reach its server, which has seen nothing.
    fn model_is_not_here(&self, status: u16) -> Refusal {
        let whose = self.request.subject();
        let (code, detail) = if status == Code::ModelNotFound.status().as_u16() {
            let mesh = self.proxy.directory.snapshot();
            (Code::ModelNotFound, models::not_found(self.request.model(), &mesh))
        } else {
            let what = "its model server cannot be reached; nothing has run";
            (Code::UpstreamUnreachable, format!("{whose}{what}"))
        };
        if self.request.hops > 0 {
            Refusal::bounced(code, "absent", detail)
        } else {
            Refusal::new(code, detail)
        }
    }

    fn failed_here(&mut self, fault: Fault) -> After {
        let refusal = match fault {
            Fault::Gone => return self.client_left(),
            Fault::Body(fault) => self.bad_body(fault),
            Fault::FirstByte | Fault::Total => self.too_late(fault),
            Fault::NotSent | Fault::Broken | Fault::Died | Fault::BadAnswer(_) => {
                tracing::error!(
                    request.id = self.request.id,
                    ?fault,
                    "the node's own routes gave no answer; this is a defect, please report it"
                );
                Refusal::new(Code::Internal, "Internal Server Error")
            }
        };
        self.refuse(&refusal)
    }

    fn not_admitted(&self, why: NotAdmitted) -> Refusal {
        let code = match why {
            NotAdmitted::QueueFull => Code::QueueFull,
            NotAdmitted::TimedOut => Code::QueueTimeout,
        };
        Refusal::new(code, format!("{}{why}; nothing has run", self.request.subject()))
    }

    fn failed_upstream(&mut self, fault: Fault) -> After {
        let agent = &self.request.agent;
        let refusal = match fault {
            Fault::Gone => return self.client_left(),
            Fault::Body(fault) => self.bad_body(fault),
            Fault::FirstByte | Fault::Total => self.too_late(fault),
            Fault::BadAnswer(bad) => {
                Refusal::new(Code::BadAnswer, format!("Agent '{agent}': {bad}"))
            }
            Fault::NotSent => {
                let detail =
                    format!("Agent '{agent}': its process cannot be reached; nothing has run");
                let refusal = if self.request.hops > 0 {
                    Refusal::bounced(Code::UpstreamUnreachable, "absent", detail)
                } else {
                    Refusal::new(Code::UpstreamUnreachable, detail)
                };
                tracing::debug!(agent, "the process of the agent cannot be reached");
                // Whoever called says it, if no other node can be asked.
                self.is_down = Some(refusal);
                return After::Gone;
            }
            Fault::Broken | Fault::Died => Refusal::new(
                Code::UpstreamConnectionLost,
                format!("Agent '{agent}': the connection to its process broke; it may have run"),
            ),
        };
        tracing::debug!(agent, ?fault, "no answer from the process of the agent");
        self.refuse(&refusal)
    }
}
