//! The spans of a request on this node: one for the request, one for each attempt at another node.
//!
//! Owns what is said of them, by the semantic conventions for HTTP and by names of our own, and the
//! header with which whoever is asked goes on with the trace. There are none while traces are not
//! exported; then the header of the client passes as it came. Says nothing of bodies, keys and query
//! strings.

use std::borrow::Cow;

use super::dispatch::Dispatch;
use super::exchange::Fault;
use super::http1::{Known, KnownSet};
use super::live::Live;
use super::request::{Class, Request};
use super::tally::{By, HowEnded, Tally};
use crate::routing::{Target, Why};
use crate::telemetry::otlp::{Span, SpanKind, TEXT_BYTES_MAX, TraceContext, Tracer};

/// The trace of one request, as far as this node is concerned.
#[derive(Debug)]
pub(super) struct Spans {
    tracer: Tracer,
    route: &'static Route,
    /// Method and path as sent, without the query; empty when the trace is not exported.
    sent: (String, String),
    /// That of the request here.
    context: TraceContext,
    /// `None` when the trace is not exported, which the next one has to know.
    server: Option<Span>,
    /// The attempt that goes on.
    attempt: Option<(TraceContext, Span)>,
    /// The trace begins here, so that what the client said of another one is void.
    is_root: bool,
}

/// A path without what is different in each request.
#[derive(Debug)]
struct Route {
    path: &'static str,
    /// With the method.
    name: &'static str,
}

const RUN: Route = Route { path: "/v1/agents/{name}/run", name: "POST /v1/agents/{name}/run" };
const SOCKET: Route = Route { path: "/v1/ws/agent/{name}", name: "GET /v1/ws/agent/{name}" };
const CHAT: Route = Route {
    path: "/v1/inference/{model}/chat/completions",
    name: "POST /v1/inference/{model}/chat/completions",
};

impl Spans {
    /// Begins the span of a request whose head has come. `None` when nothing is to be done: traces
    /// are not exported, or the client's is not.
    pub(super) fn begin(live: &Live, request: &Request, input: &[u8]) -> Option<Box<Self>> {
        let tracer = live.tracer.as_ref()?;
        let route = match request.class {
            Class::Run => &RUN,
            Class::Socket => &SOCKET,
            Class::Model => &CHAT,
            Class::Document | Class::Trace | Class::Own => return None,
        };
        let headers = &request.head.headers;
        let parent = headers.value(Known::TraceParent, input).and_then(TraceContext::parse);
        let context = match &parent {
            Some(parent) if !parent.is_sampled => return None,
            Some(parent) => parent.sibling(),
            None => tracer.root(),
        };
        let mut sent = (String::new(), String::new());
        let server = context.is_sampled.then(|| {
            sent = (text(request.head.method_text.of(input)), text(request.head.path(input)));
            let mut span = tracer.begin(context, parent, SpanKind::Server, route.name);
            span.set("http.route", route.path);
            span.set("url.scheme", "http");
            span.set_text("http.request.method", &sent.0);
            span.set_text("url.path", &sent.1);
            if let Some(Ok(host)) = headers.value(Known::Host, input).map(std::str::from_utf8) {
                set_server(&mut span, host);
            }
            if request.class == Class::Model {
                span.set_text("gen_ai.request.model", request.model());
            } else {
                span.set_text("astromesh.agent", &request.agent);
            }
            span.set_text("astromesh.request.id", &request.id);
            span
        });
        Some(Box::new(Self {
            tracer: tracer.clone(),
            route,
            sent,
            context,
            server,
            attempt: None,
            is_root: parent.is_none(),
        }))
    }

    /// The value of `traceparent` for whoever is asked, and what it replaces of the client's headers.
    pub(super) fn header(&self) -> (String, KnownSet) {
        let context = self.attempt.as_ref().map_or(&self.context, |(context, _)| context);
        let mut replaced = KnownSet::of(&[Known::TraceParent]);
        if self.is_root {
            replaced = replaced.with(Known::TraceState);
        }
        (context.traceparent(), replaced)
    }

    /// Whether nobody will ever hear of this trace.
    pub(super) const fn is_untraced(&self) -> bool {
        self.is_root && self.server.is_none()
    }

    fn begin_attempt(&mut self, target: &Target, why: Option<Why>, tried: u32) {
        let Some(_recorded) = &self.server else { return };
        let context = self.context.sibling();
        let mut span =
            self.tracer.begin(context, Some(self.context), SpanKind::Client, self.route.name);
        set_server(&mut span, &target.host);
        let (method, path) = &self.sent;
        let Target { host, path_prefix, .. } = target;
        span.set_text("http.request.method", method);
        span.set_text("url.full", &format!("http://{host}{path_prefix}{path}"));
        span.set_text("astromesh.peer.name", &target.name);
        span.set("astromesh.attempt", i64::from(tried));
        if tried > 1 {
            span.set("http.request.resend_count", i64::from(tried - 1));
        }
        if let Some(why) = why {
            span.set("astromesh.pick.reason", why.reason.as_str());
            span.set("astromesh.pick.candidates", i64::from(why.candidates));
        }
        self.attempt = Some((context, span));
    }

    fn end_attempt(&mut self, status: Option<u16>, error: Option<Cow<'static, str>>) {
        let Some((_, mut span)) = self.attempt.take() else { return };
        if let Some(status) = status {
            span.set("http.response.status_code", i64::from(status));
        }
        if let Some(error) = error {
            span.fail(error);
        }
        self.tracer.end(span);
    }

    /// The request has ended.
    pub(super) fn end(mut self, tally: &Tally, node_name: &str) {
        let Some(mut span) = self.server.take() else { return };
        span.set("astromesh.outcome", tally.outcome().name());
        span.set("astromesh.tried", i64::from(tally.tried));
        match &tally.by {
            By::Nobody => {}
            By::Here => span.set_text("astromesh.served_by", node_name),
            By::There(target) => span.set_text("astromesh.served_by", &target.name),
        }
        if !tally.waited.is_zero() {
            span.set("astromesh.queued_ms", tally.waited.as_secs_f64() * 1_000.0);
        }
        if tally.status != 0 {
            span.set("http.response.status_code", i64::from(tally.status));
        }
        if let Some(error) = error_of(tally, 500) {
            span.fail(error);
        }
        self.tracer.end(span);
    }
}

impl Dispatch<'_> {
    /// A node is asked from now on.
    pub(super) fn begin_attempt(&mut self, target: &Target) {
        if let Some(spans) = &mut self.spans {
            spans.begin_attempt(target, self.why, self.tally.tried);
        }
    }

    /// It answered, and the answer has been passed on as far as it came.
    pub(super) fn end_attempt(&mut self) {
        if let Some(spans) = &mut self.spans {
            spans.end_attempt(Some(self.tally.status), error_of(&self.tally, 400));
        }
    }

    /// It refused, with this word.
    pub(super) fn end_refused_attempt(&mut self, status: u16, why: &[u8]) {
        if let Some(spans) = &mut self.spans {
            let error = match why {
                b"full" => "refused_full",
                b"draining" => "refused_draining",
                b"absent" => "refused_absent",
                _ => "refused",
            };
            spans.end_attempt(Some(status), Some(Cow::Borrowed(error)));
        }
    }

    /// It gave no answer.
    pub(super) fn end_failed_attempt(&mut self, fault: Fault) {
        let Some(spans) = &mut self.spans else { return };
        let error = match fault {
            Fault::Gone => "canceled",
            Fault::Body(_) => "bad_request_body",
            Fault::NotSent => "not_connected",
            Fault::Broken => "broken",
            Fault::Died => "node_died",
            Fault::FirstByte => "first_byte_timeout",
            Fault::Total => "deadline_exceeded",
            Fault::BadAnswer(_) => "bad_answer",
        };
        spans.end_attempt(None, Some(Cow::Borrowed(error)));
    }
}

/// As much of it as a span keeps.
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(TEXT_BYTES_MAX)]).into_owned()
}

/// What went wrong, if anything; statuses from `first` on are errors.
fn error_of(tally: &Tally, first: u16) -> Option<Cow<'static, str>> {
    match tally.end {
        HowEnded::Canceled => Some(Cow::Borrowed("canceled")),
        HowEnded::Broken => Some(Cow::Borrowed("broken")),
        HowEnded::Answered if tally.status >= first => Some(Cow::Owned(tally.status.to_string())),
        HowEnded::Answered => None,
    }
}

/// Says of an authority which server it names.
fn set_server(span: &mut Span, authority: &str) {
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => {
            (host, port.parse::<u16>().ok())
        }
        Some(_) | None => (authority, None),
    };
    span.set_text("server.address", host.trim_matches(['[', ']']));
    if let Some(port) = port {
        span.set("server.port", i64::from(port));
    }
}
