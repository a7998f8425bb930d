//! HTTP to one daemon.
//!
//! Owns the base URL, the limits of a call and the reading of errors. It never retries: whether a
//! call may be repeated is for the user to say.

use std::env;
use std::error::Error;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use reqwest::{ClientBuilder, RequestBuilder, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use url::{Host, Url};

use super::Global;
use super::failure::Failure;
use crate::config::{self, Api, Environment, Overrides};

/// The largest answer read; an agent's answer is far smaller.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// The longest line of an answer without end, and what comes with it.
const LINE_BYTES_MAX: usize = 1 << 20;

/// How long a connection may take to be made, if the whole call may take longer.
const CONNECT_TIMEOUT_MAX: Duration = Duration::from_secs(5);

/// The response header that names the node which did the work.
const NODE_HEADER: &str = "x-astromesh-node";

/// A daemon's URL as users write it: `http://host:port`, with or without slashes at the end.
pub(super) fn base_url(text: &str) -> Result<Url, String> {
    let with_scheme = text.starts_with("http://") || text.starts_with("https://");
    if !with_scheme {
        return Err(format!("a URL starts with http:// or https://; try http://{text}"));
    }
    let mut url = Url::parse(text).map_err(|error| error.to_string())?;
    if url.query().is_some() || url.fragment().is_some() {
        return Err("must not have a query (?) or fragment (#)".to_owned());
    }
    let path = url.path().trim_end_matches('/').to_owned();
    url.set_path(&path);
    Ok(url)
}

/// Names the daemon where no flag does. Empty it counts as unset, as variables of the daemon do.
const URL_VARIABLE: &str = "ASTROMESH_DAEMON_URL";

/// The daemon that the user named, else the one that this host's configuration describes: after a
/// change of its port it is still found.
pub(super) fn daemon(global: &Global) -> Result<Url, Failure> {
    if let Some(url) = &global.url {
        return Ok(url.clone());
    }
    let variable = env::var_os(URL_VARIABLE).unwrap_or_default();
    if !variable.is_empty() {
        return base_url(&variable.to_string_lossy()).map_err(|advice| Failure::Usage {
            message: format!("{URL_VARIABLE} is wrong: {advice}"),
        });
    }
    let configured = config::load(&Overrides::default(), &Environment::of_this_process());
    Ok(url_of(configured.ok().as_ref().map(|runtime| &runtime.api)))
}

fn url_of(api: Option<&Api>) -> Url {
    let text = match api {
        Some(api) if api.host.is_unspecified() => format!("http://localhost:{}", api.port),
        Some(api) => format!("http://{}", SocketAddr::new(api.host, api.port)),
        None => "http://localhost:8000".to_owned(),
    };
    Url::parse(&text).expect("a host and a port make a URL")
}

/// Asks one daemon.
#[derive(Debug)]
pub(super) struct Client {
    http: reqwest::Client,
    base: Url,
    timeout: Duration,
}

/// What a daemon answered with a status of 2xx.
#[derive(Debug)]
pub(super) struct Answer {
    url: Url,
    /// The body as it came.
    pub(super) text: String,
    /// Name of the node that did the work, where the daemon says so.
    pub(super) node: Option<String>,
}

impl Client {
    /// For the daemon the user named; `patience` holds unless the user said otherwise.
    pub(super) fn new(global: &Global, patience: Duration) -> Result<Self, Failure> {
        Self::to(daemon(global)?, global.timeout.unwrap_or(patience))
    }

    /// For the daemon at `base`; no call takes longer than `timeout`.
    pub(super) fn to(base: Url, timeout: Duration) -> Result<Self, Failure> {
        Self::build(base, timeout, |builder| builder.timeout(timeout))
    }

    /// For answers that have no end: they must begin as other answers, and then something must come
    /// from time to time.
    pub(super) fn streaming(
        global: &Global,
        patience: Duration,
        silence_max: Duration,
    ) -> Result<Self, Failure> {
        let timeout = global.timeout.unwrap_or(patience);
        Self::build(daemon(global)?, timeout, |builder| builder.read_timeout(silence_max))
    }

    fn build(
        base: Url,
        timeout: Duration,
        limit: impl FnOnce(ClientBuilder) -> ClientBuilder,
    ) -> Result<Self, Failure> {
        // Shorter than the whole, so that a silent host is told from a slow daemon.
        let connect_timeout = timeout.mul_f64(0.8).min(CONNECT_TIMEOUT_MAX);
        let mut builder = limit(reqwest::Client::builder())
            .connect_timeout(connect_timeout)
            .redirect(reqwest::redirect::Policy::none());
        if base.scheme() == "http" {
            // No certificate is ever needed: do not read the system's, which may not be there.
            builder = builder.tls_certs_only([]);
        }
        if is_this_host(&base) {
            // A proxy would look for the daemon on its own machine.
            builder = builder.no_proxy();
        }
        let http = builder
            .build()
            .map_err(|error| Failure::Local { doing: "set up HTTP", cause: root_cause(&error) })?;
        Ok(Self { http, base, timeout })
    }

    /// `GET` of a path, given as its segments.
    pub(super) async fn get(&self, segments: &[&str]) -> Result<Answer, Failure> {
        let url = self.address(segments);
        let request = self.http.get(url.clone());
        self.call(url, request).await
    }

    /// [`Self::get`], with a query.
    pub(super) async fn query(
        &self,
        segments: &[&str],
        query: &[(&str, &str)],
    ) -> Result<Answer, Failure> {
        let mut url = self.address(segments);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let request = self.http.get(url.clone());
        self.call(url, request).await
    }

    /// `GET` of a text without end, as lines. `header` goes along.
    pub(super) async fn lines(
        &self,
        segments: &[&str],
        header: Option<(&str, &str)>,
    ) -> Result<Lines, Failure> {
        let url = self.address(segments);
        let mut request = self.http.get(url.clone());
        if let Some((name, value)) = header {
            request = request.header(name, value);
        }
        let late = || Failure::Timeout { url: self.name(), seconds: self.timeout.as_secs_f64() };
        let response =
            tokio::time::timeout(self.timeout, request.send()).await.map_err(|_| late())?;
        let response = response.map_err(|error| self.explain(&url, &error))?;
        if !response.status().is_success() {
            return Err(self.read(url, response).await.err().unwrap_or_else(late));
        }
        Ok(Lines { daemon: self.name(), response, buffer: Vec::new() })
    }

    /// `POST` of a JSON body to a path, given as its segments.
    pub(super) async fn post<B: Serialize>(
        &self,
        segments: &[&str],
        body: &B,
    ) -> Result<Answer, Failure> {
        let url = self.address(segments);
        let request = self.http.post(url.clone()).json(body);
        self.call(url, request).await
    }

    /// `PUT` of a JSON body to a path, given as its segments.
    pub(super) async fn put<B: Serialize>(
        &self,
        segments: &[&str],
        body: &B,
    ) -> Result<Answer, Failure> {
        let url = self.address(segments);
        let request = self.http.put(url.clone()).json(body);
        self.call(url, request).await
    }

    /// `DELETE` of a path, given as its segments.
    pub(super) async fn delete(&self, segments: &[&str]) -> Result<Answer, Failure> {
        let url = self.address(segments);
        let request = self.http.delete(url.clone());
        self.call(url, request).await
    }

    /// As [`Self::post`], with an `Idempotency-Key`: the mesh may then try a second node.
    pub(super) async fn post_with_key<B: Serialize>(
        &self,
        segments: &[&str],
        body: &B,
        key: &str,
    ) -> Result<Answer, Failure> {
        let url = self.address(segments);
        let request = self.http.post(url.clone()).header("Idempotency-Key", key).json(body);
        self.call(url, request).await
    }

    /// The URL as the user would write it.
    fn name(&self) -> String {
        self.base.as_str().trim_end_matches('/').to_owned()
    }

    fn address(&self, segments: &[&str]) -> Url {
        let mut url = self.base.clone();
        url.path_segments_mut().expect("http URLs have a path").pop_if_empty().extend(segments);
        url
    }

    async fn call(&self, url: Url, request: RequestBuilder) -> Result<Answer, Failure> {
        let response = request.send().await.map_err(|error| self.explain(&url, &error))?;
        self.read(url, response).await
    }

    async fn read(&self, url: Url, response: Response) -> Result<Answer, Failure> {
        let status = response.status();
        let node = response
            .headers()
            .get(NODE_HEADER)
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned);
        let text = self.body(&url, response).await?;
        if status.is_success() {
            return Ok(Answer { url, text, node });
        }
        if status.is_redirection() || status.is_informational() {
            let cause = format!("it answered {status}, which no daemon does");
            return Err(Failure::Unintelligible { url: url.into(), cause });
        }
        match serde_json::from_str(&text) {
            Ok(body @ Value::Object(_)) => {
                Err(Failure::Refused { url: url.into(), status: status.as_u16(), body })
            }
            _ => {
                let cause = format!("it answered {status} without the JSON of an error");
                Err(Failure::Unintelligible { url: url.into(), cause })
            }
        }
    }

    async fn body(&self, url: &Url, mut response: Response) -> Result<String, Failure> {
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.explain(url, &error))? {
            if bytes.len() + chunk.len() > ANSWER_BYTES_MAX {
                let cause = format!("it is larger than {ANSWER_BYTES_MAX} bytes");
                return Err(Failure::Unintelligible { url: url.to_string(), cause });
            }
            bytes.extend_from_slice(&chunk);
        }
        String::from_utf8(bytes).map_err(|_| Failure::Unintelligible {
            url: url.to_string(),
            cause: "it is not UTF-8".to_owned(),
        })
    }

    fn explain(&self, url: &Url, error: &reqwest::Error) -> Failure {
        if error.is_connect() {
            let url = self.name();
            let cause = if error.is_timeout() {
                "no answer to the connection attempt".to_owned()
            } else {
                root_cause(error)
            };
            return Failure::Unreachable { url, cause };
        }
        if error.is_timeout() {
            let seconds = self.timeout.as_secs_f64();
            return Failure::Timeout { url: self.name(), seconds };
        }
        Failure::Unintelligible { url: url.to_string(), cause: root_cause(error) }
    }
}

impl Answer {
    /// The body as a value of the API.
    pub(super) fn read<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        serde_json::from_str(&self.text).map_err(|error| Failure::Unintelligible {
            url: self.url.to_string(),
            cause: error.to_string(),
        })
    }
}

/// The lines of an answer without end.
#[derive(Debug)]
pub(super) struct Lines {
    daemon: String,
    response: Response,
    buffer: Vec<u8>,
}

impl Lines {
    /// The next line; the failure says how the answer ended after all.
    pub(super) async fn next(&mut self) -> Result<String, Failure> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                return Ok(String::from_utf8_lossy(&line).trim_end().to_owned());
            }
            match self.response.chunk().await {
                Ok(Some(chunk)) if self.buffer.len() + chunk.len() <= LINE_BYTES_MAX => {
                    self.buffer.extend_from_slice(&chunk);
                }
                Ok(Some(_)) => {
                    return Err(self.ended(format!("a line is longer than {LINE_BYTES_MAX} bytes")));
                }
                Ok(None) => return Err(self.ended("it has stopped, or let us go".to_owned())),
                Err(error) if error.is_timeout() => {
                    return Err(self.ended("it was silent for too long".to_owned()));
                }
                Err(error) => return Err(self.ended(root_cause(&error))),
            }
        }
    }

    fn ended(&self, cause: String) -> Failure {
        Failure::StreamEnded { url: self.daemon.clone(), cause }
    }
}

/// The address as a base for [`Client::to`]: a node of the demo.
pub(super) fn loopback(port: u16) -> Url {
    base_url(&format!("http://127.0.0.1:{port}")).expect("digits make a valid URL")
}

pub(super) fn is_this_host(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(ip)) => IpAddr::V4(ip).is_loopback(),
        Some(Host::Ipv6(ip)) => IpAddr::V6(ip).is_loopback(),
        None => false,
    }
}

/// The innermost error says what happened; the outer ones only that something did.
fn root_cause(error: &dyn Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base_urls_lose_their_slashes_and_keep_their_prefix() {
        let rows = [
            ("http://a:8000", "http://a:8000/v1/health"),
            ("http://a:8000/", "http://a:8000/v1/health"),
            ("http://a:8000//", "http://a:8000/v1/health"),
            ("https://a/mesh/", "https://a/mesh/v1/health"),
        ];
        for (given, expected) in rows {
            let base = base_url(given).expect(given);
            let client = Client { http: reqwest_client(), base, timeout: Duration::from_secs(1) };
            assert_eq!(client.address(&["v1", "health"]).as_str(), expected, "{given}");
        }
    }

    #[test]
    fn agent_names_cannot_leave_their_place_in_the_path() {
        let client =
            Client { http: reqwest_client(), base: loopback(1), timeout: Duration::from_secs(1) };
        let url = client.address(&["v1", "agents", "a/../b?c", "run"]);
        assert_eq!(url.path(), "/v1/agents/a%2F..%2Fb%3Fc/run");
        assert_eq!(url.query(), None);
    }

    #[test]
    fn what_is_no_base_url_is_refused_with_a_hint() {
        assert!(base_url("localhost:8000").expect_err("no scheme").contains("http://localhost"));
        for bad in ["", "ftp://a", "http://", "http://a:99999", "http://a?x=1", "http://a#b"] {
            assert!(base_url(bad).is_err(), "{bad}");
        }
    }

    fn reqwest_client() -> reqwest::Client {
        drop(rustls::crypto::ring::default_provider().install_default());
        reqwest::Client::builder().tls_certs_only([]).build().expect("no system is asked")
    }
}
