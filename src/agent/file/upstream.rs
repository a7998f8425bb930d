//! The section `spec.upstream`: an agent that is a process of its own, in any language.
//!
//! Such a file has nothing that would say how to run the agent here.

use reqwest::Url;

use super::section::{Problems, Section};
use crate::agent::UpstreamUrl;

/// Keys of `spec` that say how this node runs an agent.
const KEYS_OF_PROGRAMS: &[&str] = &["model", "prompts", "orchestration", "tools"];

/// The process behind an agent, if the file names one.
pub(super) fn read(spec: &Section<'_>, problems: &mut Problems<'_>) -> Option<UpstreamUrl> {
    let upstream = spec.section("upstream", problems)?;
    upstream.only_keys(&["url"], problems);
    for key in KEYS_OF_PROGRAMS.iter().filter(|key| spec.value(key).is_some()) {
        let remedy = "has no meaning beside upstream, which runs the agent; remove one of them";
        problems.add(&spec.path.key(key), None, remedy);
    }
    if upstream.value("url").is_none() {
        upstream.wrong("url", "missing; write http://HOST:PORT/PATH", problems);
        return None;
    }
    let text = upstream.string("url", problems)?;
    match url(text) {
        Ok(url) => Some(url),
        Err(Fault { shows_value, remedy }) => {
            let value = upstream.value("url").filter(|_| shows_value);
            problems.add(&upstream.path.key("url"), value, remedy);
            None
        }
    }
}

struct Fault {
    /// False when the value may hold a password.
    shows_value: bool,
    remedy: &'static str,
}

fn url(text: &str) -> Result<UpstreamUrl, Fault> {
    let fault = |remedy| Err(Fault { shows_value: true, remedy });
    let Ok(url) = Url::parse(text) else {
        return fault("must be a URL such as http://127.0.0.1:9000/run");
    };
    if !url.username().is_empty() || url.password().is_some() {
        let remedy =
            "must not hold a user or password; let the process take what its host can reach";
        return Err(Fault { shows_value: false, remedy });
    }
    if url.scheme() == "https" {
        return fault(
            "https is not spoken to agents; write http, to a process on this host or network, or \
             to a proxy that speaks TLS",
        );
    }
    let (Some(host), "http") = (url.host_str(), url.scheme()) else {
        return fault("must be a URL such as http://127.0.0.1:9000/run");
    };
    if url.fragment().is_some() {
        return fault("must not hold a fragment; remove what begins with #");
    }
    let port = url.port_or_known_default().filter(|port| *port != 0);
    let Some(port) = port else {
        return fault("has port 0; write the port on which the process listens");
    };
    let query = url.query().map(|query| format!("?{query}")).unwrap_or_default();
    Ok(UpstreamUrl { authority: format!("{host}:{port}"), path: format!("{}{query}", url.path()) })
}
