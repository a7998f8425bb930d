//! A number of connections, each with one request after the other.
//!
//! `bench-load closed --target ADDR[,ADDR] --connections C (--seconds S | --requests N) QUESTION
//! [--key-prefix P] [--timeout-ms N] [--ramp-ms N]`, and what a question is says
//! `client::Question`. The connections begin one after the other within `--ramp-ms`. A SIGTERM lets
//! it end the requests it has, and no others.
//!
//! Prints one JSON object: answers by status, faults by kind, each failure with its times,
//! latencies, and for streams the time to the first event, the age of the later ones and how they
//! were framed.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{sleep, timeout};

use crate::arguments::{Arguments, Error};
use crate::client::{Connection, Fault, Question};
use crate::clock::now_us;
use crate::event;

struct Load {
    question: Question,
    targets: Vec<SocketAddr>,
    connections: usize,
    requests_each: u64,
    until_us: u64,
    key_prefix: Option<String>,
    timeout: Duration,
    ramp: Duration,
    is_ending: AtomicBool,
}

/// What one connection, or all of them, saw.
#[derive(Debug, Default)]
struct Seen {
    /// When each good answer was whole, and how long it took.
    good: Vec<(u64, u64)>,
    statuses: BTreeMap<u16, u64>,
    faults: BTreeMap<&'static str, u64>,
    failures: Vec<serde_json::Value>,
    first_us: Vec<u64>,
    age_us: Vec<u64>,
    /// Chunks with more than one event, and with less than one.
    merged_chunks: u64,
    partial_chunks: u64,
    events: u64,
}

/// Failures that are listed one by one; the counts have all.
const FAILURES_MAX: usize = 10_000;
/// What is kept of the body of a failure.
const FAILURE_BYTES: usize = 300;
/// Wait before a connection is tried again.
const RECONNECT: Duration = Duration::from_millis(5);
/// Width of the counts over time.
const BIN_US: u64 = 100_000;

pub async fn run(mut arguments: Arguments) -> Result<(), Error> {
    let targets = arguments.addresses("target")?;
    let connections: usize = arguments.number("connections", 1)?;
    let seconds: f64 = arguments.number("seconds", 0.0)?;
    let requests: u64 = arguments.number("requests", 0)?;
    let timeout = Duration::from_millis(arguments.number("timeout-ms", 5_000)?);
    let ramp = Duration::from_millis(arguments.number("ramp-ms", 0)?);
    let key_prefix = arguments.take("key-prefix");
    let question = Question::take(&mut arguments)?;
    arguments.finish()?;
    let (until_us, requests_each) = match (seconds > 0.0, requests) {
        (true, 0) => (now_us() + (seconds * 1e6) as u64, u64::MAX),
        (false, 1..) => (u64::MAX, requests.div_ceil(connections.max(1) as u64)),
        _ => return Err("either --seconds or --requests".into()),
    };
    let load: &'static Load = Box::leak(Box::new(Load {
        question,
        targets,
        connections,
        requests_each,
        until_us,
        key_prefix,
        timeout,
        ramp,
        is_ending: AtomicBool::new(false),
    }));
    let mut ending = signal(SignalKind::terminate())?;
    tokio::spawn(async move {
        ending.recv().await;
        load.is_ending.store(true, Ordering::Relaxed);
    });
    let started_us = now_us();
    let tasks: Vec<_> =
        (0..load.connections).map(|number| tokio::spawn(keep_busy(load, number))).collect();
    let mut all = Seen::default();
    for task in tasks {
        all.add(task.await?);
    }
    println!("{}", all.report(started_us, now_us()));
    Ok(())
}

async fn keep_busy(load: &'static Load, number: usize) -> Seen {
    let target = load.targets[number % load.targets.len()];
    let mut seen = Seen::default();
    sleep(load.ramp * number as u32 / load.connections as u32).await;
    let mut kept: Option<Connection> = None;
    let mut count = 0;
    let is_wanted = |count| count < load.requests_each && now_us() < load.until_us;
    while is_wanted(count) && !load.is_ending.load(Ordering::Relaxed) {
        let id = number as u64 * 1_000_000 + count;
        count += 1;
        let key = load.key_prefix.as_ref().map(|prefix| format!("{prefix}-{id}"));
        let request = load.question.request(target, id, key.as_deref(), "");
        let sent_us = now_us();
        let mut body = Vec::new();
        let mut parts = Parts::default();
        let whole = async {
            let mut connection = match kept.take().filter(Connection::is_open) {
                Some(connection) => connection,
                None => Connection::open(target).await?,
            };
            let on_part = |part: &[u8]| {
                parts.add(part, &mut seen);
                let room = FAILURE_BYTES.saturating_sub(body.len());
                body.extend_from_slice(&part[..part.len().min(room)]);
            };
            let answer = connection.exchange(&request, on_part).await?;
            kept = Some(connection).filter(|connection| connection.is_reusable);
            Ok(answer)
        };
        let outcome = timeout(load.timeout, whole).await.unwrap_or(Err(Fault::Timeout));
        let done_us = now_us();
        let what = match outcome {
            Ok(answer) => {
                *seen.statuses.entry(answer.status).or_default() += 1;
                // A stream that ends in good order but without its last event says so itself.
                let is_whole = parts.first_us.is_none() || parts.has_last;
                if answer.status == 200 && is_whole {
                    seen.good.push((done_us, done_us - sent_us));
                    parts.close(sent_us, count, &mut seen);
                    continue;
                }
                if is_whole { answer.status.to_string() } else { "error_event".to_owned() }
            }
            Err(fault) => {
                *seen.faults.entry(fault.name()).or_default() += 1;
                if fault == Fault::Refused {
                    sleep(RECONNECT).await;
                }
                fault.name().to_owned()
            }
        };
        if what == "error_event" {
            *seen.faults.entry("error_event").or_default() += 1;
        }
        let said = if parts.first_us.is_some() { &parts.last } else { &body };
        seen.failures.push(json!({
            "id": id, "key": key, "sent_us": sent_us, "done_us": done_us, "what": what,
            "body": String::from_utf8_lossy(said),
        }));
    }
    seen
}

/// The events of one answer as they come.
#[derive(Debug, Default)]
struct Parts {
    first_us: Option<u64>,
    has_last: bool,
    /// The last part, for the case that it names an error.
    last: Vec<u8>,
    ages: Vec<u64>,
}

impl Parts {
    fn add(&mut self, part: &[u8], seen: &mut Seen) {
        if !(self.first_us.is_some() || part.starts_with(b"data: ") || part.starts_with(b"event: "))
        {
            return;
        }
        let now = now_us();
        self.first_us.get_or_insert(now);
        let text = String::from_utf8_lossy(part);
        let ends = text.matches("\n\n").count() as u64;
        seen.events += ends;
        seen.merged_chunks += u64::from(ends > 1);
        seen.partial_chunks += u64::from(ends == 0);
        for event in text.split("\n\n") {
            self.ages.extend(event::sent_us(event).map(|sent| now.saturating_sub(sent)));
        }
        self.has_last |= text.contains(event::LAST);
        self.last.clear();
        self.last.extend_from_slice(&part[..part.len().min(FAILURE_BYTES)]);
    }

    /// Keeps the times of a whole stream. The first of a connection pays for connecting.
    fn close(self, sent_us: u64, count: u64, seen: &mut Seen) {
        if count > 1 {
            seen.first_us.extend(self.first_us.map(|first| first - sent_us));
            seen.age_us.extend(self.ages.into_iter().skip(1));
        }
    }
}

impl Seen {
    fn add(&mut self, mut other: Self) {
        self.good.append(&mut other.good);
        for (status, count) in other.statuses {
            *self.statuses.entry(status).or_default() += count;
        }
        for (fault, count) in other.faults {
            *self.faults.entry(fault).or_default() += count;
        }
        self.failures.append(&mut other.failures);
        self.first_us.append(&mut other.first_us);
        self.age_us.append(&mut other.age_us);
        self.merged_chunks += other.merged_chunks;
        self.partial_chunks += other.partial_chunks;
        self.events += other.events;
    }

    fn report(mut self, started_us: u64, ended_us: u64) -> serde_json::Value {
        let mut bins = vec![0_u64; ((ended_us - started_us) / BIN_US + 1) as usize];
        for (done, _) in &self.good {
            bins[((done - started_us) / BIN_US) as usize] += 1;
        }
        self.failures.truncate(FAILURES_MAX);
        json!({
            "started_us": started_us,
            "ended_us": ended_us,
            "good": self.good.len(),
            "statuses": self.statuses,
            "faults": self.faults,
            "failures": self.failures,
            "latency_us": spread(self.good.iter().map(|(_, took)| *took).collect()),
            "good_per_100_ms": bins,
            "events": self.events,
            "first_event_us": spread(self.first_us),
            "age_us": spread(self.age_us),
            "merged_chunks": self.merged_chunks,
            "partial_chunks": self.partial_chunks,
        })
    }
}

/// Median, 99th percentile and maximum; null of nothing.
pub fn spread(mut values: Vec<u64>) -> serde_json::Value {
    values.sort_unstable();
    let Some(max) = values.last() else { return serde_json::Value::Null };
    let at = |share: f64| values[(share * (values.len() - 1) as f64).round() as usize];
    json!({ "p50": at(0.5), "p99": at(0.99), "max": max, "count": values.len() })
}
