//! The tool `http_request`: one HTTP request to the outside world.
//!
//! Every address is checked where it is used: names by the resolver that the connection itself
//! asks, so that a second look-up cannot give another answer; literal addresses in the URL and in
//! each redirect. Refuses everything but http and https.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::OnceLock;
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Method, Response, Url, redirect};
use serde_json::{Map, Value, json};

use super::address::{Reach, reach};
use super::{Finding, text};
use crate::model::http_client_with;

pub(super) const DESCRIPTION: &str =
    "Makes an HTTP request and returns the status code, the headers and the body.";

const REDIRECTS_MAX: usize = 5;
const HEADERS_MAX: usize = 64;

/// What an agent file can set.
#[derive(Debug, Clone)]
pub(in crate::agent) struct HttpRequestSettings {
    /// Whether loopback and private addresses may be reached too.
    pub(in crate::agent) allow_localhost: bool,
    /// Limit for one call, redirects and body included.
    pub(in crate::agent) timeout: Duration,
    pub(in crate::agent) response_bytes_max: usize,
}

impl Default for HttpRequestSettings {
    fn default() -> Self {
        Self {
            allow_localhost: false,
            timeout: Duration::from_secs(30),
            response_bytes_max: 5 * 1024 * 1024,
        }
    }
}

pub(super) fn parameters() -> Value {
    json!({
        "type": "object",
        "properties": {
            "method": {
                "type": "string",
                "enum": ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"],
                "description": "GET if left out.",
            },
            "url": {"type": "string", "description": "An http or https URL."},
            "headers": {"type": "object", "additionalProperties": {"type": "string"}},
            "body": {"description": "Text, or a JSON value that is sent as JSON."},
        },
        "required": ["url"],
    })
}

/// The tool with its client, made at the first call; connections are kept between calls.
pub(super) struct HttpRequest {
    settings: HttpRequestSettings,
    client: OnceLock<Client>,
}

impl HttpRequest {
    pub(super) fn new(settings: HttpRequestSettings) -> Self {
        Self { settings, client: OnceLock::new() }
    }

    pub(super) async fn call(&self, arguments: &Map<String, Value>) -> Result<Finding, String> {
        let guard = Guard { allow_private: self.settings.allow_localhost };
        let method = method(text(arguments, "method")?.unwrap_or("GET"))?;
        let url = text(arguments, "url")?.ok_or("the argument url is missing")?;
        let url =
            Url::parse(url).map_err(|error| format!("the argument url is no URL: {error}"))?;
        guard.check_url(&url).map_err(|refusal| refusal.to_string())?;
        let mut request = self
            .client(guard)
            .request(method, url)
            .timeout(self.settings.timeout)
            .headers(headers(arguments.get("headers"))?);
        match arguments.get("body") {
            None | Some(Value::Null) => {}
            Some(Value::String(body)) => request = request.body(body.clone()),
            Some(body) => request = request.json(body),
        }
        let response = request.send().await.map_err(|error| describe(&error))?;
        self.read(response).await
    }

    fn client(&self, guard: Guard) -> &Client {
        self.client.get_or_init(|| {
            http_client_with(|builder| {
                builder.dns_resolver(guard).redirect(redirect::Policy::custom(move |attempt| {
                    if attempt.previous().len() > REDIRECTS_MAX {
                        return attempt.error(format!("more than {REDIRECTS_MAX} redirects"));
                    }
                    match guard.check_url(attempt.url()) {
                        Ok(()) => attempt.follow(),
                        Err(refusal) => attempt.error(refusal),
                    }
                }))
            })
        })
    }

    async fn read(&self, mut response: Response) -> Result<Finding, String> {
        let max = self.settings.response_bytes_max;
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| describe(&error))? {
            if bytes.len() + chunk.len() > max {
                return Err(format!("the response is larger than {max} bytes"));
            }
            bytes.extend_from_slice(&chunk);
        }
        let status = response.status();
        let headers: Map<String, Value> = response
            .headers()
            .iter()
            .map(|(name, value)| {
                (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into())
            })
            .collect();
        let is_json = response
            .headers()
            .get(CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .is_some_and(|kind| kind.contains("json"));
        let text = String::from_utf8_lossy(&bytes);
        let body = is_json
            .then(|| serde_json::from_str(&text).ok())
            .flatten()
            .unwrap_or_else(|| Value::String(text.to_string()));
        let mut metadata = Map::new();
        metadata.insert("url".to_owned(), response.url().as_str().into());
        metadata.insert("body_bytes".to_owned(), bytes.len().into());
        Ok(Finding {
            data: json!({"status_code": status.as_u16(), "headers": headers, "body": body}),
            metadata,
            failure: (status.as_u16() >= 400).then(|| format!("HTTP {}", status.as_u16())),
        })
    }
}

fn method(text: &str) -> Result<Method, String> {
    match text.to_ascii_uppercase().as_str() {
        "GET" => Ok(Method::GET),
        "HEAD" => Ok(Method::HEAD),
        "POST" => Ok(Method::POST),
        "PUT" => Ok(Method::PUT),
        "PATCH" => Ok(Method::PATCH),
        "DELETE" => Ok(Method::DELETE),
        "OPTIONS" => Ok(Method::OPTIONS),
        _ => Err("the argument method must be an HTTP method such as GET or POST".to_owned()),
    }
}

fn headers(value: Option<&Value>) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    let fields = match value {
        None | Some(Value::Null) => return Ok(headers),
        Some(Value::Object(fields)) if fields.len() <= HEADERS_MAX => fields,
        Some(Value::Object(_)) => return Err(format!("more than {HEADERS_MAX} headers")),
        Some(_) => return Err("the argument headers must be an object of texts".to_owned()),
    };
    for (name, value) in fields {
        let wrong = || format!("the header {name:?} is no valid header of text");
        let field = HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong())?;
        let text = value.as_str().ok_or_else(wrong)?;
        headers.insert(field, HeaderValue::from_str(text).map_err(|_| wrong())?);
    }
    Ok(headers)
}

/// The whole chain of causes: the one that matters, such as a refusal, is often the innermost.
fn describe(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "the request timed out".to_owned();
    }
    let mut text = "the request failed".to_owned();
    let mut next = std::error::Error::source(error);
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}

/// Decides which addresses may be reached.
#[derive(Debug, Clone, Copy)]
struct Guard {
    allow_private: bool,
}

impl Guard {
    fn check_url(self, url: &Url) -> Result<(), Refusal> {
        if !matches!(url.scheme(), "http" | "https") {
            return Err(Refusal("only http and https URLs are requested".to_owned()));
        }
        match url.host() {
            Some(url::Host::Ipv4(address)) => self.check(address.into()),
            Some(url::Host::Ipv6(address)) => self.check(address.into()),
            Some(url::Host::Domain(_)) => Ok(()),
            None => Err(Refusal("the URL has no host".to_owned())),
        }
    }

    fn check(self, address: IpAddr) -> Result<(), Refusal> {
        match reach(address) {
            Reach::Public => Ok(()),
            Reach::Private if self.allow_private => Ok(()),
            Reach::Private => Err(Refusal(format!(
                "the address {address} is not public; the agent file can permit it with allow_localhost"
            ))),
            Reach::Forbidden => Err(Refusal(format!("the address {address} is not public"))),
        }
    }

    async fn resolve(
        self,
        name: String,
    ) -> Result<Vec<SocketAddr>, Box<dyn std::error::Error + Send + Sync>> {
        let mut refusal = None;
        let mut allowed = Vec::new();
        for address in tokio::net::lookup_host((name.as_str(), 0)).await? {
            match self.check(address.ip()) {
                Ok(()) => allowed.push(address),
                Err(refused) => refusal = Some(refused),
            }
        }
        match refusal {
            // A name with a public and a private address is an attack or a mistake.
            Some(refusal) => Err(refusal.into()),
            None => Ok(allowed),
        }
    }
}

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let guard = *self;
        Box::pin(async move {
            let addresses = Self::resolve(guard, name.as_str().to_owned()).await?;
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

/// An address that the tool must not reach.
#[derive(Debug)]
struct Refusal(String);

impl fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for Refusal {}
