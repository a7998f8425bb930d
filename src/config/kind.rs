//! The kinds of values that keys take, and how each is read.
//!
//! Owns one reading function per kind, used both to find problems and to build
//! [`super::Runtime`], so that the two cannot differ. Refuses to know any key.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use astromesh_wire::Service;
use serde_json::Value;
use url::{Host, Url};

use super::api::Workers;
use super::log::{LogFormat, LogLevel};
use super::otlp;
use super::runtime::{Advertise, Detection};

/// The longest path in bytes, that of Linux.
const PATH_BYTES_MAX: usize = 4_096;

/// What a key takes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Kind {
    /// A mapping with keys of its own, listed in the table.
    Section,
    /// A list of at most so many mappings, their keys listed in the table under `KEY[]`.
    Sections {
        /// The most items.
        max: usize,
    },
    /// A mapping in which everything is allowed and nothing is read.
    Free,
    /// Exactly this text.
    Exactly(&'static str),
    /// Text of a length in bytes, without control characters.
    Text {
        /// The shortest.
        min: usize,
        /// The longest.
        max: usize,
    },
    /// A path; in the file a relative one starts at the configuration directory, elsewhere at the
    /// working directory.
    Path,
    /// `true` or `false`.
    Bool,
    /// A whole number.
    Integer {
        /// The lowest.
        min: u64,
        /// The highest.
        max: u64,
    },
    /// A number of seconds, whole or with decimals.
    Seconds {
        /// The shortest.
        min: f64,
        /// The longest.
        max: f64,
    },
    /// A number of seconds, or 0 for none.
    SecondsOrOff {
        /// The shortest but 0.
        min: f64,
        /// The longest.
        max: f64,
    },
    /// `auto`, or a number of threads.
    Workers,
    /// An IP address.
    Ip,
    /// An IP address with a port.
    Socket,
    /// A host name or IP address, perhaps with a port.
    Advertise,
    /// The base URL of an HTTP server.
    BaseUrl,
    /// The base URL of an HTTP server that may be spoken to with encryption.
    Endpoint,
    /// How OTLP is spoken.
    OtlpProtocol,
    /// A number from 0 to 1.
    Ratio,
    /// A list of at most so many base URLs.
    BaseUrls {
        /// The most items.
        max: usize,
    },
    /// A list of names of services.
    Services,
    /// `debug`, `info`, `warning` or `error`.
    LogLevel,
    /// One of these names of what log lines look like.
    LogFormat(&'static [LogFormat]),
    /// How deaths are decided: a name, or a number of seconds.
    Detection,
}

/// What is wrong with a value, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    /// The item that is meant, when the value is a list.
    pub(super) item: Option<usize>,
    pub(super) what: String,
    pub(super) remedy: String,
}

impl Fault {
    /// The value as a whole is wrong.
    pub(super) fn new(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { item: None, what: what.into(), remedy: remedy.into() }
    }
}

type Read<T> = Result<T, Fault>;

fn fault<T>(what: impl Into<String>, remedy: impl Into<String>) -> Read<T> {
    Err(Fault::new(what, remedy))
}

impl Kind {
    /// For the reference: what to write.
    pub(super) fn describe(self) -> String {
        match self {
            Self::Section | Self::Free => "mapping".to_owned(),
            Self::Sections { max } => format!("list of at most {max} mappings"),
            Self::Exactly(text) => format!("`{text}`"),
            Self::Text { min, max } => format!("text of {min} to {max} bytes"),
            Self::Path => "path".to_owned(),
            Self::Bool => "`true` or `false`".to_owned(),
            Self::Integer { min, max } => format!("whole number, {min} to {max}"),
            Self::Seconds { min, max } => format!("seconds, {min} to {max}"),
            Self::SecondsOrOff { min, max } => format!("0 for none, or seconds, {min} to {max}"),
            Self::Workers => format!("`auto`, or whole number, 1 to {}", Workers::MAX),
            Self::Ip => "IP address".to_owned(),
            Self::Socket => "IP address and port".to_owned(),
            Self::Advertise => "host or `host:port`".to_owned(),
            Self::BaseUrl => "URL, `http`".to_owned(),
            Self::Endpoint => "URL, `http` or `https`".to_owned(),
            Self::OtlpProtocol => "`grpc` or `http/protobuf`".to_owned(),
            Self::Ratio => "number, 0 to 1".to_owned(),
            Self::BaseUrls { max } => format!("list of at most {max} URLs, `http` or `https`"),
            Self::Services => "list of services".to_owned(),
            Self::Detection => {
                "`fast`, `default`, `patient`, `lifeguard`, or seconds, 0 to 60".to_owned()
            }
            Self::LogLevel => "`debug`, `info`, `warning` or `error`".to_owned(),
            Self::LogFormat(formats) => {
                let names: Vec<_> = formats.iter().map(|one| format!("`{}`", one.name())).collect();
                names.join(", ")
            }
        }
    }

    /// Finds what is wrong with a value, leaving what is inside sections to whoever walks them.
    pub(super) fn check(self, value: &Value) -> Vec<Fault> {
        let read = match self {
            Self::Section | Self::Free => mapping(value),
            Self::Sections { max } => items(value, max).map(drop),
            Self::Exactly(expected) => exactly(value, expected),
            Self::Text { min, max } => text(value, min, max).map(drop),
            Self::Path => path(value).map(drop),
            Self::Bool => boolean(value).map(drop),
            Self::Integer { min, max } => integer(value, min, max).map(drop),
            Self::Seconds { min, max } => seconds(value, min, max).map(drop),
            Self::SecondsOrOff { min, max } => seconds_or_off(value, min, max).map(drop),
            Self::Workers => workers(value).map(drop),
            Self::Ip => ip(value).map(drop),
            Self::Socket => socket(value).map(drop),
            Self::Advertise => advertise(value).map(drop),
            Self::BaseUrl => peer_url(value).map(drop),
            Self::Endpoint => endpoint(value).map(drop),
            Self::OtlpProtocol => otlp::protocol(value).map(drop),
            Self::Ratio => otlp::ratio(value).map(drop),
            Self::BaseUrls { max } => return each(value, max, base_url),
            Self::Services => return each(value, Service::ALL.len(), service),
            Self::LogLevel => log_level(value).map(drop),
            Self::LogFormat(formats) => one_format(value, formats).map(drop),
            Self::Detection => detection(value).map(drop),
        };
        read.err().into_iter().collect()
    }
}

/// The faults of all items of a list.
fn each<T>(value: &Value, max: usize, read: fn(&Value) -> Read<T>) -> Vec<Fault> {
    match items(value, max) {
        Ok(items) => items
            .iter()
            .enumerate()
            .filter_map(|(index, item)| {
                read(item).err().map(|fault| Fault { item: Some(index), ..fault })
            })
            .collect(),
        Err(fault) => vec![fault],
    }
}

fn mapping(value: &Value) -> Read<()> {
    if value.is_object() {
        return Ok(());
    }
    fault("must be a mapping", "write its keys below it, one a line, indented by two spaces")
}

/// The items of a list.
pub(super) fn items(value: &Value, max: usize) -> Read<&[Value]> {
    match value {
        Value::Array(items) if items.len() <= max => Ok(items),
        Value::Array(items) => fault(
            format!("has {} items, more than {max}", items.len()),
            format!("keep at most {max} of them"),
        ),
        _ => fault("must be a list", "write each item on its own line after `- `"),
    }
}

fn exactly(value: &Value, expected: &str) -> Read<()> {
    if value.as_str() == Some(expected) {
        return Ok(());
    }
    fault(format!("must be {expected}"), format!("write {expected}, or leave the key out"))
}

/// Text of `min` to `max` bytes.
pub(super) fn text(value: &Value, min: usize, max: usize) -> Read<&str> {
    let Some(text) = value.as_str() else {
        return fault("must be text", "put the value in quotes");
    };
    if text.len() < min || text.len() > max {
        return fault(
            format!("is {} bytes long, not {min} to {max}", text.len()),
            format!("write {min} to {max} bytes"),
        );
    }
    if text.chars().any(char::is_control) {
        return fault("contains control characters", "remove line breaks and other control codes");
    }
    Ok(text)
}

/// A path.
pub(super) fn path(value: &Value) -> Read<&Path> {
    text(value, 1, PATH_BYTES_MAX).map(Path::new)
}

/// `true` or `false`.
pub(super) fn boolean(value: &Value) -> Read<bool> {
    if let Some(value) = value.as_bool() {
        return Ok(value);
    }
    let remedy = match value.as_str().map(str::to_ascii_lowercase).as_deref() {
        Some("yes" | "on" | "true") => "write true, without quotes",
        Some("no" | "off" | "false") => "write false, without quotes",
        _ => "write true or false",
    };
    fault("must be true or false", remedy)
}

/// A whole number from `min` to `max`.
pub(super) fn integer(value: &Value, min: u64, max: u64) -> Read<u64> {
    let remedy = format!("write a whole number from {min} to {max}, without quotes");
    match value.as_u64() {
        Some(number) if (min..=max).contains(&number) => Ok(number),
        Some(_) => fault(format!("is out of range {min} to {max}"), remedy),
        None if value.is_number() => {
            fault(format!("must be a whole number from {min} to {max}"), remedy)
        }
        None => fault("must be a whole number", remedy),
    }
}

/// A duration from `min` to `max` seconds.
pub(super) fn seconds(value: &Value, min: f64, max: f64) -> Read<Duration> {
    let remedy = format!("write a number of seconds from {min} to {max}, without a unit");
    match value.as_f64() {
        Some(number) if (min..=max).contains(&number) => Ok(Duration::from_secs_f64(number)),
        Some(_) => fault(format!("is out of range {min} to {max} seconds"), remedy),
        None => fault("must be a number of seconds", remedy),
    }
}

/// A duration from `min` to `max` seconds, or none at all.
pub(super) fn seconds_or_off(value: &Value, min: f64, max: f64) -> Read<Duration> {
    if value.as_f64() == Some(0.0) {
        return Ok(Duration::ZERO);
    }
    seconds(value, min, max).map_err(|fault| {
        let remedy = format!("{}, or 0 for no limit", fault.remedy);
        Fault { remedy, ..fault }
    })
}

/// A number of threads.
pub(super) fn workers(value: &Value) -> Read<Workers> {
    let read = match value {
        Value::String(text) if text == "auto" => Some(Workers::Auto),
        Value::Number(number) => number.to_string().parse().ok(),
        _ => None,
    };
    match read {
        Some(workers) => Ok(workers),
        None => fault(
            "is no number of threads",
            format!("write auto, or a whole number from 1 to {}, without quotes", Workers::MAX),
        ),
    }
}

/// An IP address.
pub(super) fn ip(value: &Value) -> Read<IpAddr> {
    let text = value.as_str().unwrap_or_default();
    match text.parse() {
        Ok(address) => Ok(address),
        Err(_) if text == "localhost" => fault("must be an IP address", "write 127.0.0.1"),
        Err(_) => fault(
            "must be an IP address",
            "write an address of this host, 0.0.0.0 for all of IPv4 or \"::\" for all of IPv6",
        ),
    }
}

/// An IP address with a port.
pub(super) fn socket(value: &Value) -> Read<SocketAddr> {
    const REMEDY: &str = "write ADDRESS:PORT such as 0.0.0.0:8000 or \"[::]:8000\"";
    match value.as_str().and_then(|text| SocketAddr::from_str(text).ok()) {
        Some(address) if address.port() != 0 => Ok(address),
        Some(_) => fault("has port 0, which is out of range 1 to 65535", REMEDY),
        None => fault("must be an IP address with a port", REMEDY),
    }
}

/// A host other nodes can reach, perhaps with a port.
pub(super) fn advertise(value: &Value) -> Read<Advertise> {
    const REMEDY: &str = "write HOST or HOST:PORT, where HOST is a name or address that other \
                          nodes reach, such as node-1.example.org or 192.0.2.7:8000";
    let Some(text) = value.as_str() else {
        return fault("must be a host, perhaps with a port", REMEDY);
    };
    // An IPv6 address without a port contains colons too.
    let is_address = text.ends_with(']') || text.parse::<IpAddr>().is_ok();
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !is_address => match port.parse::<u16>() {
            Ok(port) if port != 0 => (host, Some(port)),
            _ => return fault("has a port that is not 1 to 65535", REMEDY),
        },
        _ => (text, None),
    };
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let host = match bare.parse::<IpAddr>() {
        Ok(address) if address.is_unspecified() => {
            return fault("is a wildcard, which no other node can reach", REMEDY);
        }
        Ok(address) => address.to_string(),
        Err(_) => match Host::parse(host) {
            Ok(Host::Domain(name)) if !name.is_empty() => name,
            _ => return fault("is no host name or address", REMEDY),
        },
    };
    Ok(Advertise { host, port })
}

/// A base URL that requests are sent to as they come.
pub(super) fn peer_url(value: &Value) -> Read<Url> {
    let url = base_url(value)?;
    if url.scheme() == "https" {
        return fault(
            "asks for encryption, which peers are not spoken to with",
            "write http://HOST:PORT, or put a proxy that encrypts in between",
        );
    }
    Ok(url)
}

/// The base URL of an HTTP server, without a slash at the end of its path.
pub(super) fn base_url(value: &Value) -> Read<Url> {
    base_url_or(value, "write http://HOST:PORT, such as http://gateway:8000")
}

/// The same of a collector of traces.
pub(super) fn endpoint(value: &Value) -> Read<Url> {
    base_url_or(value, "write http://HOST:PORT, such as http://collector:4317")
}

fn base_url_or(value: &Value, remedy: &str) -> Read<Url> {
    let Some(text) = value.as_str() else {
        return fault("must be a URL", remedy);
    };
    let mut url = match Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") => url,
        Ok(_) | Err(url::ParseError::RelativeUrlWithoutBase) => {
            let candidate = format!("http://{text}");
            // What may be a password or a key is not repeated.
            let is_mendable = !text.contains("://")
                && !text.contains(['@', '?', '#'])
                && Url::parse(&candidate).is_ok();
            let remedy = if is_mendable { format!("write {candidate}") } else { remedy.to_owned() };
            return fault("is no http or https URL", remedy);
        }
        Err(error) => return fault(format!("is no URL: {error}"), remedy),
    };
    if !url.username().is_empty() || url.password().is_some() {
        return fault("holds a user name or password", "remove what stands before the @");
    }
    if url.query().is_some() || url.fragment().is_some() {
        return fault("holds more than a base URL", "remove what begins with ? or #");
    }
    let path = url.path().trim_end_matches('/').to_owned();
    url.set_path(&path);
    Ok(url)
}

/// The name of a service.
pub(super) fn service(value: &Value) -> Read<Service> {
    let names = Service::ALL.map(Service::name).join(", ");
    match value.as_str().and_then(|name| name.parse().ok()) {
        Some(service) => Ok(service),
        None => fault("is no service", format!("write one of {names}")),
    }
}

/// How deaths are decided.
pub(super) fn detection(value: &Value) -> Read<Detection> {
    let floor = |seconds| Ok(Detection::Evidence { floor: Duration::from_secs_f64(seconds) });
    let remedy = "write fast (0 s), default (2 s), patient (8 s), a number of seconds from 0 to 60, \
                  or lifeguard";
    match (value.as_str(), value.as_f64()) {
        (Some("fast"), _) => floor(0.0),
        (Some("default"), _) => floor(2.0),
        (Some("patient"), _) => floor(8.0),
        (Some("lifeguard"), _) => Ok(Detection::Lifeguard),
        (_, Some(seconds)) if (0.0..=60.0).contains(&seconds) => floor(seconds),
        (_, Some(_)) => fault("is out of range 0 to 60 seconds", remedy),
        _ => fault("is no way to decide a death", remedy),
    }
}

/// A log level.
pub(super) fn log_level(value: &Value) -> Read<LogLevel> {
    match value.as_str().and_then(|name| name.parse().ok()) {
        Some(level) => Ok(level),
        None => fault("is no log level", "write debug, info, warning or error"),
    }
}

/// Any name of what log lines look like.
pub(super) fn log_format(value: &Value) -> Read<LogFormat> {
    one_format(value, ALL_FORMATS)
}

fn one_format(value: &Value, formats: &'static [LogFormat]) -> Read<LogFormat> {
    let found = formats.iter().find(|format| value.as_str() == Some(format.name()));
    match found {
        Some(format) => Ok(*format),
        None => {
            let names: Vec<_> = formats.iter().map(|format| format.name()).collect();
            fault("is no format of log lines", format!("write one of {}", names.join(", ")))
        }
    }
}

/// Of the console.
pub(super) const ALL_FORMATS: &[LogFormat] =
    &[LogFormat::Auto, LogFormat::Text, LogFormat::Json, LogFormat::Journald];
