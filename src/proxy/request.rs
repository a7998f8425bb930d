//! What a request is, read once from its head.
//!
//! Owns the classes of paths, the id of a request, and the headers by which nodes and clients say
//! how a request is to be treated. Refuses to decide where it goes.

use std::borrow::Cow;
use std::fmt::Write;
use std::hash::{DefaultHasher, Hasher};
use std::time::Duration;

use astromesh_wire::NodeId;
use astromesh_wire::limits::AGENT_NAME_BYTES_MAX;
use tokio::time::Instant;

use super::http1::{Framing, Known, Method, RequestHead, ToRequest};
use super::settings::{REPLAY_BYTES_MAX, Settings, after};
use super::timer::earlier;
use crate::directory::models;
use crate::routing::Repeat;

/// A longer id of a client is replaced: it ends up in each log line.
const REQUEST_ID_BYTES_MAX: usize = 128;
/// A longer session is no session: it is hashed for each request.
const SESSION_BYTES_MAX: usize = 256;
/// The session of runs that name none.
const SESSION_DEFAULT: &[u8] = b"default";

/// What a path asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// A run of an agent: counted, limited, forwarded.
    Run,
    /// A WebSocket to an agent: like a run.
    Socket,
    /// The file of an agent: forwarded, neither counted nor limited.
    Document,
    /// The trace of a run: asked of the node that keeps it.
    Trace,
    /// A chat with a model: counted, limited, forwarded.
    Model,
    /// Anything else, which this node answers itself.
    Own,
}

/// A request whose head has been read.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) head: RequestHead,
    pub(super) class: Class,
    /// The agent it is for, the entry of the model, or the id of the trace; empty for [`Class::Own`].
    pub(super) agent: String,
    pub(super) id: String,
    /// The id is not the client's.
    pub(super) is_id_new: bool,
    /// When its head was whole.
    pub(super) began: Instant,
    /// When it has to be over.
    pub(super) total: Option<Instant>,
    /// Nodes that have forwarded it.
    pub(super) hops: u32,
    /// The node that forwarded it.
    pub(super) origin: Option<NodeId>,
    pub(super) must_queue: bool,
    /// The client asks why the node was chosen.
    pub(super) explains: bool,
    /// Whether method or key make it safe to run twice.
    pub(super) repeat: Repeat,
    /// Method and path, when the head may be gone before the request has ended.
    pub(super) line: Option<(Vec<u8>, Vec<u8>)>,
}

impl Request {
    /// The agent whose work shows in the answer; empty when none works for it: a file or a trace is
    /// read whether the agent does well or not.
    pub(super) fn working_agent(&self) -> &str {
        match self.class {
            Class::Run | Class::Socket | Class::Model => &self.agent,
            Class::Document | Class::Trace | Class::Own => "",
        }
    }

    /// What it is for, for people; empty for [`Class::Own`].
    pub(super) fn subject(&self) -> String {
        match self.class {
            Class::Run | Class::Socket | Class::Document => format!("Agent '{}': ", self.agent),
            Class::Trace => format!("Trace '{}': ", self.agent),
            Class::Model => format!("Model '{}': ", self.model()),
            Class::Own => String::new(),
        }
    }

    /// The model it is for; empty for every class but [`Class::Model`].
    pub(super) fn model(&self) -> &str {
        models::of_entry(&self.agent).unwrap_or_default()
    }

    /// What a node has to do to answer it, for people.
    pub(super) const fn task(&self) -> &'static str {
        match self.class {
            Class::Model => "serve the model",
            Class::Run | Class::Socket | Class::Document | Class::Trace | Class::Own => {
                "run the agent"
            }
        }
    }

    /// What may have come of it when there is no answer, for people.
    pub(super) const fn may_have_run(&self) -> &'static str {
        match self.class {
            Class::Document | Class::Trace | Class::Model => "",
            Class::Run | Class::Socket | Class::Own => "; it may have run",
        }
    }

    /// Reads what matters of a head.
    pub(super) fn new(head: RequestHead, input: &[u8], settings: &Settings) -> Self {
        let began = Instant::now();
        let headers = &head.headers;
        let (class, agent) = classify(head.method, head.path(input));
        let given = headers.value(Known::RequestId, input).filter(|id| is_request_id(id));
        let id = given.map_or_else(new_id, |id| String::from_utf8_lossy(id).into_owned());
        let is_id_new = given.is_none();
        let left =
            headers.value(Known::Deadline, input).and_then(number).map(Duration::from_millis);
        let total = earlier(after(began, settings.total_timeout), after(began, left));
        // A value that is no number counts as one hop: nothing but a node has reason to send it,
        // and too many hops only mean "serve it here".
        let hops = headers
            .value(Known::Hop, input)
            .map_or(0, |hops| number(hops).map_or(1, |hops| u32::try_from(hops).unwrap_or(1)));
        let origin = headers.value(Known::Origin, input).and_then(|id| text(id)?.parse().ok());
        // A model that is asked twice has changed nothing.
        let is_repeatable = matches!(head.method, Method::Get | Method::Head)
            || class == Class::Model
            || headers.has(Known::IdempotencyKey);
        let is_long = match head.framing {
            Framing::Length(bytes) => bytes > REPLAY_BYTES_MAX as u64,
            Framing::Chunked => true,
            Framing::None | Framing::UntilClose => head.upgrade,
        };
        let line =
            is_long.then(|| (head.method_text.of(input).to_vec(), head.path(input).to_vec()));
        Self {
            class,
            agent,
            line,
            id,
            is_id_new,
            began,
            total: if class == Class::Own { None } else { total },
            hops,
            origin,
            must_queue: headers.value(Known::MustQueue, input).is_some_and(|value| value == b"1"),
            explains: headers.has(Known::Explain),
            repeat: if is_repeatable { Repeat::Safe } else { Repeat::Unsafe },
            head,
        }
    }

    /// A node has forwarded it, or somebody who says what only nodes say.
    pub(super) const fn is_from_node(&self) -> bool {
        self.hops > 0 && self.origin.is_some()
    }

    pub(super) fn to(&self) -> ToRequest {
        self.head.method.into()
    }

    /// What is left of the time for everything, in ms, for a header.
    pub(super) fn deadline_left(&self) -> Option<String> {
        let left = self.total?.saturating_duration_since(Instant::now());
        Some(left.as_millis().to_string())
    }

    /// What requests that belong together have in common: their session, or their key.
    pub(super) fn affinity(&self, input: &[u8], body: Option<&[u8]>) -> Option<u64> {
        let headers = &self.head.headers;
        let named = headers.value(Known::Session, input).map(Cow::Borrowed);
        let session = named.or_else(|| body.and_then(session_in)).filter(|session| {
            !session.is_empty()
                && session.len() <= SESSION_BYTES_MAX
                && session.as_ref() != SESSION_DEFAULT
        });
        let key = || headers.value(Known::IdempotencyKey, input).map(Cow::Borrowed);
        session.or_else(key).map(|name| hash(&[&name]))
    }

    /// What repeats of a request have in common: the agent and the key.
    pub(super) fn key(&self, input: &[u8]) -> Option<u64> {
        let key = self.head.headers.value(Known::IdempotencyKey, input)?;
        (self.class == Class::Run).then(|| hash(&[self.agent.as_bytes(), b" ", key]))
    }
}

fn hash(parts: &[&[u8]]) -> u64 {
    let mut hasher = DefaultHasher::new();
    parts.iter().for_each(|part| hasher.write(part));
    hasher.finish()
}

/// `/v1/agents/{name}`, `/v1/agents/{name}/run`, `/v1/ws/agent/{name}`, `/v1/traces/{id}` and
/// `/v1/inference/{model}/chat/completions`; everything else is this node's own. A name that no agent can have is, too: its handler says so.
fn classify(method: Method, path: &[u8]) -> (Class, String) {
    let own = (Class::Own, String::new());
    let (class, name) = if let Some(rest) = path.strip_prefix(b"/v1/agents/") {
        match (method, rest.strip_suffix(b"/run")) {
            (Method::Post, Some(name)) => (Class::Run, name),
            (Method::Get | Method::Head, None) => (Class::Document, rest),
            _ => return own,
        }
    } else if let (Method::Get, Some(name)) = (method, path.strip_prefix(b"/v1/ws/agent/")) {
        (Class::Socket, name)
    } else if let (Method::Get | Method::Head, Some(id)) =
        (method, path.strip_prefix(b"/v1/traces/"))
    {
        (Class::Trace, id.strip_suffix(b"/").unwrap_or(id))
    } else if let (Method::Post, Some(rest)) = (method, path.strip_prefix(b"/v1/inference/")) {
        return model(rest).map_or(own, |entry| (Class::Model, entry));
    } else {
        return own;
    };
    if name.is_empty() || name.contains(&b'/') {
        return own;
    }
    match decode(name) {
        // The entry of a model is no agent.
        Some(name) if name.len() <= AGENT_NAME_BYTES_MAX && models::of_entry(&name).is_none() => {
            (class, name)
        }
        Some(_) | None => own,
    }
}

/// The entry of the model in `{model}/chat/completions`; its name may hold slashes.
fn model(rest: &[u8]) -> Option<String> {
    let name = decode(rest.strip_suffix(b"/chat/completions")?)?;
    let name = models::name(&name);
    models::is_name(name).then(|| models::entry(name))
}

/// A path segment as text; `None` when it is none.
fn decode(segment: &[u8]) -> Option<String> {
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.iter();
    while let Some(byte) = rest.next() {
        if *byte == b'%' {
            let mut digit = || rest.next().and_then(|digit| char::from(*digit).to_digit(16));
            let value = digit()? << 4 | digit()?;
            bytes.push(u8::try_from(value).ok()?);
        } else {
            bytes.push(*byte);
        }
    }
    String::from_utf8(bytes).ok()
}

/// 1 to 128 visible ASCII characters.
fn is_request_id(bytes: &[u8]) -> bool {
    (1..=REQUEST_ID_BYTES_MAX).contains(&bytes.len()) && bytes.iter().all(u8::is_ascii_graphic)
}

/// 32 hexadecimal digits. They tell requests apart and guard nothing, so they need not be secret.
pub(super) fn new_id() -> String {
    let mut id = String::with_capacity(32);
    write!(id, "{:032x}", fastrand::u128(..)).expect("a string grows");
    id
}

fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}

/// Digits, and not too many of them.
fn number(bytes: &[u8]) -> Option<u64> {
    let digits = text(bytes)?.trim();
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok()).flatten()
}

/// The value of `session_id` in the JSON of a run. A quoted name with a colon behind it is a name
/// wherever it stands: inside a text its quotes would be escaped. One in a nested object is taken
/// too; that only means that requests with the same one go to the same node.
fn session_in(body: &[u8]) -> Option<Cow<'_, [u8]>> {
    const NAME: &[u8] = b"\"session_id\"";
    let after = memchr::memmem::find(body, NAME)? + NAME.len();
    let rest = body[after..].trim_ascii_start().strip_prefix(b":")?.trim_ascii_start();
    let rest = rest.strip_prefix(b"\"")?;
    let end = rest.iter().position(|byte| matches!(byte, b'"' | b'\\'))?;
    // The rare one with an escape is not worth the decoding.
    (rest[end] == b'"').then(|| Cow::Borrowed(&rest[..end]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_told_apart() {
        use Method::{Get, Head, Options, Post};
        let long = format!("/v1/agents/{}", "x".repeat(AGENT_NAME_BYTES_MAX + 1));
        let rows: [(Method, &str, Class, &str); 28] = [
            (Post, "/v1/agents/a/run", Class::Run, "a"),
            (Post, "/v1/agents/a%20b/run", Class::Run, "a b"),
            (Get, "/v1/agents/a", Class::Document, "a"),
            (Head, "/v1/agents/a", Class::Document, "a"),
            (Get, "/v1/ws/agent/a", Class::Socket, "a"),
            (Get, "/v1/traces/0a", Class::Trace, "0a"),
            (Head, "/v1/traces/0a/", Class::Trace, "0a"),
            (Post, "/v1/inference/m:8b/chat/completions", Class::Model, "model:m:8b"),
            (Post, "/v1/inference/a%2Fb/chat/completions", Class::Model, "model:a/b"),
            (Post, "/v1/inference/a/b:latest/chat/completions", Class::Model, "model:a/b"),
            (Post, "/v1/agents/model:m/run", Class::Own, ""),
            (Get, "/v1/agents/model%3Am", Class::Own, ""),
            (Post, "/v1/inference//chat/completions", Class::Own, ""),
            (Post, "/v1/inference/m/completions", Class::Own, ""),
            (Get, "/v1/inference/m/chat/completions", Class::Own, ""),
            (Get, "/v1/traces/", Class::Own, ""),
            (Post, "/v1/traces/0a", Class::Own, ""),
            (Get, "/v1/agents/run", Class::Document, "run"),
            (Get, "/v1/agents/a/run", Class::Own, ""),
            (Options, "/v1/agents/a/run", Class::Own, ""),
            (Post, "/v1/agents/a", Class::Own, ""),
            (Get, "/v1/agents/", Class::Own, ""),
            (Get, "/v1/agents", Class::Own, ""),
            (Get, "/v1/agents/a/b", Class::Own, ""),
            (Get, "/v1/agents/%ff", Class::Own, ""),
            (Get, "/v1/agents/%2", Class::Own, ""),
            (Get, &long, Class::Own, ""),
            (Post, "/v1/agents//run", Class::Own, ""),
        ];
        for (method, path, class, agent) in rows {
            assert_eq!(classify(method, path.as_bytes()), (class, agent.to_owned()), "{path}");
        }
    }

    #[test]
    fn a_session_is_found_where_json_has_it() {
        let rows = [
            ("{\"query\": \"q\", \"session_id\": \"s1\"}", Some("s1")),
            ("{\"session_id\":\"s1\",\"query\":\"q\"}", Some("s1")),
            ("{\"query\":\"say \\\"session_id\\\":\\\"no\\\"\"}", None),
            ("{\"session_id\": null}", None),
            ("{\"session_id\": \"a\\\"b\"}", None),
            ("{\"session_id\": \"a", None),
        ];
        for (body, session) in rows {
            let found = session_in(body.as_bytes());
            assert_eq!(found.as_deref(), session.map(str::as_bytes), "{body}");
        }
    }

    #[test]
    fn ids_are_32_digits_and_differ() {
        let (first, second) = (new_id(), new_id());
        assert_eq!((first.len(), second.len()), (32, 32));
        assert_ne!(first, second);
        assert!(is_request_id(first.as_bytes()));
        assert!(!is_request_id(b"") && !is_request_id(b"a b") && !is_request_id(&[b'a'; 129]));
    }
}
