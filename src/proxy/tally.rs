//! What is told of a request when it has ended: to the metrics, and to the access log.
//!
//! Filled in on the way; says nothing of bodies, keys and query strings.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::Proxy;
use super::live::Live;
use super::request::{Class, Request};
use crate::routing::{Reason, Target};
use crate::telemetry::access::Line;
use crate::telemetry::labels::{Arrival, Outcome, PickReason, Place, RouteClass};
use crate::telemetry::metrics::Ended;

/// What happened to one request so far.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// The last attempt began.
    pub(super) asked: Option<Instant>,
    /// The head of an answer was here.
    pub(super) answered: Option<Instant>,
    /// The first bytes of it were written to the client.
    pub(super) passed: Option<Instant>,
    /// Waiting for a place.
    pub(super) waited: Duration,
    /// Of the answer; 0 when none was given.
    pub(super) status: u16,
    /// Bytes written to the client.
    pub(super) bytes_out: u64,
    /// Nodes asked, this one included.
    pub(super) tried: u32,
    /// Whoever was asked last, until this node answers for itself.
    pub(super) by: By,
    pub(super) end: HowEnded,
}

/// Who answers.
#[derive(Debug, Default)]
pub(super) enum By {
    /// Nobody: the data plane has said something itself.
    #[default]
    Nobody,
    Here,
    There(Arc<Target>),
}

/// How a request ended.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum HowEnded {
    #[default]
    Answered,
    Canceled,
    Broken,
}

impl Tally {
    /// Tells it. `sent` is the method and the path without the query.
    pub(super) fn tell(
        &self,
        proxy: &Proxy,
        live: &Live,
        request: &Request,
        sent: (&[u8], &[u8]),
        client: &str,
        bytes_in: u64,
    ) {
        let duration = request.began.elapsed();
        let place = match &self.by {
            By::Nobody => None,
            By::Here => Some(Place::Here),
            By::There(_) => Some(Place::There),
        };
        let since = |moment: Option<Instant>| {
            moment.map(|moment| moment.saturating_duration_since(request.began))
        };
        let before = since(self.asked).map(|asked| asked.saturating_sub(self.waited));
        let behind = self.passed.zip(self.answered);
        let behind = behind.map(|(passed, answered)| passed.saturating_duration_since(answered));
        let added =
            place.zip(before.zip(behind)).map(|(place, (before, behind))| (place, before + behind));
        proxy.metrics.ended(&Ended {
            class: route_class(request.class),
            from: if request.hops > 0 { Arrival::Node } else { Arrival::Client },
            outcome: self.outcome(),
            duration,
            first_byte: since(self.passed),
            added,
            bytes_in,
            bytes_out: self.bytes_out,
        });
        let Some(log) = &live.access_log else { return };
        let upstream = self.asked.zip(self.answered);
        log.write(&Line {
            client,
            method: sent.0,
            path: sent.1,
            status: self.status,
            request_id: request.id.as_bytes(),
            agent: if request.class == Class::Trace { "" } else { &request.agent },
            node: match &self.by {
                By::Nobody => "",
                By::Here => &live.node_name,
                By::There(target) => &target.name,
            },
            tried: self.tried,
            bytes_out: self.bytes_out,
            duration,
            upstream: upstream.map(|(asked, at)| at.saturating_duration_since(asked)),
        });
    }

    pub(super) fn outcome(&self) -> Outcome {
        match (self.end, self.status) {
            (HowEnded::Canceled, _) => Outcome::Canceled,
            (HowEnded::Broken, _) => Outcome::Broken,
            (HowEnded::Answered, ..=199) => Outcome::Switched,
            (HowEnded::Answered, 200..=299) => Outcome::Success,
            (HowEnded::Answered, 300..=399) => Outcome::Redirect,
            (HowEnded::Answered, 400..=499) => Outcome::ClientError,
            (HowEnded::Answered, 500..) => Outcome::ServerError,
        }
    }
}

const fn route_class(class: Class) -> RouteClass {
    match class {
        Class::Run => RouteClass::Run,
        Class::Socket => RouteClass::WebSocket,
        Class::Document => RouteClass::Document,
        Class::Model => RouteClass::Model,
        Class::Trace | Class::Own => RouteClass::Api,
    }
}

/// The label of a reason.
pub(super) const fn pick_reason(reason: Reason) -> PickReason {
    match reason {
        Reason::OnlyOne => PickReason::OnlyOne,
        Reason::LeastLoad => PickReason::LeastLoad,
        Reason::Sampled => PickReason::Sampled,
        Reason::Affinity => PickReason::Affinity,
        Reason::LastResort => PickReason::LastResort,
        Reason::RoundRobin => PickReason::RoundRobin,
        Reason::Trial => PickReason::Trial,
        Reason::Panic => PickReason::Panic,
    }
}
