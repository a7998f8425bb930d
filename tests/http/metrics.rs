//! The page of metrics: what was counted is on it, and the document for users says so.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use astromesh::agent::Records;
use astromesh::api::metrics::{Levels, Sources, router};
use astromesh::directory;
use astromesh::telemetry::families::{ALL, Kind, Unit};
use astromesh::telemetry::labels::{
    Arrival, Deadline, EjectionCause, Keyed, Limit, LoadSource, Outcome, Phase, PickReason, Place,
    Refusal, RetryCause, RetryDenial, RouteClass, Side, SpanFate,
};
use astromesh::telemetry::metrics::{Ended, Metrics};
use astromesh_wire::State;
use axum::http::StatusCode;

use crate::client::{Answer, call, get};
use crate::node::{Node, id, member};

const DOCUMENT: &str = include_str!("../../docs/metrics.md");

/// A node with this page, whose mesh has an alive, a suspect and two dead members.
async fn node_with(metrics: &Metrics) -> Node {
    let nowhere = "127.0.0.1:1".parse().unwrap();
    let states = [State::Alive, State::Suspect, State::Dead, State::Dead];
    let members = states.into_iter().zip(1..).map(|(state, number)| {
        let mut member = member(number, nowhere, &[]);
        member.state = state;
        Arc::new(member)
    });
    let (_, directory) = directory::channel(directory::Snapshot {
        version: 1,
        local: id(1),
        leader: None,
        term: 0,
        members: members.collect(),
    });
    let sources = Sources {
        metrics: metrics.clone(),
        records: Records::default(),
        log: None,
        directory,
        mesh: None,
        reloads: None,
        levels: Arc::new(|| Levels { running: 5, queued: 6, ejected: 7, results: [8, 9] }),
    };
    Node::start_with(1, &[], &[], router(Some(sources))).await
}

async fn page(node: &Node) -> Answer {
    let page = get(node.address, "/metrics").await;
    assert_eq!(page.status, StatusCode::OK);
    page
}

/// The lines of a page that are numbers but 0, those of the process left out.
fn counted(page: &Answer) -> BTreeSet<&str> {
    let lines = page.text.lines();
    lines
        .filter(|line| !line.starts_with('#') && !line.starts_with("process_"))
        .filter(|line| !line.ends_with(" 0") && !line.ends_with(" 0.0"))
        .collect()
}

const RUN: Ended = Ended {
    class: RouteClass::Run,
    from: Arrival::Client,
    outcome: Outcome::Success,
    duration: Duration::from_millis(7),
    first_byte: None,
    added: None,
    bytes_in: 300,
    bytes_out: 500,
};

#[tokio::test]
async fn a_page_has_the_levels_of_the_moment_before_anything_is_counted() {
    let node = node_with(&Metrics::default()).await;
    let page = page(&node).await;
    let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    assert_eq!(page.header("content-type"), content_type);
    assert!(page.text.ends_with("\n# EOF\n"));
    let version = format!("astromesh_build_info{{version=\"{}\"}} 1", env!("CARGO_PKG_VERSION"));
    let expected = [
        "astromesh_requests_in_flight{at=\"here\"} 5",
        "astromesh_requests_in_flight{at=\"queued\"} 6",
        "astromesh_ejected_nodes 7",
        "astromesh_limits_total{limit=\"result_bytes\"} 8",
        "astromesh_limits_total{limit=\"results_bytes\"} 9",
        "astromesh_members{state=\"alive\"} 1",
        "astromesh_members{state=\"suspect\"} 1",
        "astromesh_members{state=\"dead\"} 2",
        &*version,
    ];
    assert_eq!(counted(&page), BTreeSet::from(expected));
    for name in
        ["start_time_seconds", "cpu_seconds_total", "resident_memory_bytes", "open_fds", "threads"]
    {
        let line = format!("\nprocess_{name} ");
        assert!(page.text.contains(&line), "{line}");
    }
}

#[tokio::test]
async fn requests_are_counted_by_what_where_from_and_how_they_ended() {
    let metrics = Metrics::default();
    metrics.ended(&RUN);
    let added = Some((Place::There, Duration::from_micros(41)));
    let from = Arrival::Node;
    let first_byte = Some(Duration::from_millis(7));
    metrics.ended(&Ended { from, first_byte, added, ..RUN });
    metrics.ended(&Ended { class: RouteClass::Malformed, outcome: Outcome::of_status(400), ..RUN });
    let page = page(&node_with(&metrics).await).await;
    let counted = counted(&page);
    for line in [
        "astromesh_requests_total{class=\"run\",from=\"client\",outcome=\"2xx\"} 1",
        "astromesh_requests_total{class=\"run\",from=\"node\",outcome=\"2xx\"} 1",
        "astromesh_requests_total{class=\"malformed\",from=\"client\",outcome=\"4xx\"} 1",
        "astromesh_request_duration_seconds_sum{class=\"run\"} 0.014",
        "astromesh_request_duration_seconds_count{class=\"run\"} 2",
        "astromesh_request_duration_seconds_bucket{le=\"0.01\",class=\"run\"} 2",
        "astromesh_request_duration_seconds_bucket{le=\"+Inf\",class=\"run\"} 2",
        "astromesh_first_byte_seconds_count 1",
        "astromesh_added_latency_seconds_sum{place=\"there\"} 0.000041",
        "astromesh_added_latency_seconds_bucket{le=\"0.00005\",place=\"there\"} 1",
        "astromesh_transferred_bytes_total{direction=\"in\"} 900",
        "astromesh_transferred_bytes_total{direction=\"out\"} 1500",
    ] {
        assert!(counted.contains(line), "{line} is not among\n{counted:#?}");
    }
    assert!(!page.text.contains("bucket{le=\"0.005\",class=\"run\"} 1"));
    assert!(page.text.contains("bucket{le=\"0.00004\",place=\"there\"} 0\n"));
}

#[tokio::test]
async fn each_method_counts_in_one_place() {
    let metrics = Metrics::default();
    metrics.picked(Place::There, PickReason::Sampled);
    metrics.refused(Side::Met, Refusal::Full);
    metrics.retried(RetryCause::Refused);
    metrics.retry_denied(RetryDenial::Budget);
    metrics.ejected(EjectionCause::Broken);
    metrics.canceled(Phase::Waiting);
    metrics.timed_out(Deadline::FirstByte);
    metrics.limited(Limit::HeadBytes);
    metrics.keyed(Keyed::Replayed);
    metrics.heard(LoadSource::Beacon, 1);
    metrics.upstream_failed();
    metrics.spans(SpanFate::Failed, 1);
    let node = node_with(&Metrics::default()).await;
    let idle = page(&node).await;
    let page = page(&node_with(&metrics).await).await;
    let expected = [
        "astromesh_picks_total{place=\"there\",reason=\"sampled\"} 1",
        "astromesh_refusals_total{side=\"met\",kind=\"full\"} 1",
        "astromesh_retries_total{cause=\"refused\"} 1",
        "astromesh_retries_denied_total{cause=\"budget\"} 1",
        "astromesh_ejections_total{cause=\"broken\"} 1",
        "astromesh_client_cancellations_total{phase=\"waiting\"} 1",
        "astromesh_deadlines_total{kind=\"first_byte\"} 1",
        "astromesh_limits_total{limit=\"head_bytes\"} 1",
        "astromesh_idempotent_requests_total{result=\"replayed\"} 1",
        "astromesh_load_records_total{source=\"beacon\"} 1",
        "astromesh_upstream_connects_total{result=\"failed\"} 1",
        "astromesh_otlp_spans_total{fate=\"failed\"} 1",
    ];
    let new: BTreeSet<&str> = counted(&page).difference(&counted(&idle)).copied().collect();
    assert_eq!(new, BTreeSet::from(expected));
}

#[tokio::test]
async fn levels_fall_again() {
    let metrics = Metrics::default();
    let worker = metrics.clone();
    let node = node_with(&metrics).await;
    let client = metrics.client_connected();
    let one = worker.upstream_connected();
    let _two = worker.upstream_connected();
    worker.upstream_parked();
    worker.ask_began();
    worker.queued(Duration::from_secs(1));
    let busy = page(&node).await;
    for line in [
        "astromesh_client_connections 1",
        "astromesh_upstream_connections{use=\"busy\"} 1",
        "astromesh_upstream_connections{use=\"idle\"} 1",
        "astromesh_requests_in_flight{at=\"there\"} 1",
        "astromesh_queue_wait_seconds_sum 1.0",
    ] {
        assert!(counted(&busy).contains(line), "{line}");
    }
    worker.upstream_reused();
    worker.upstream_parked();
    worker.upstream_expired();
    drop((client, one));
    worker.ask_ended();
    let after = page(&node).await;
    for line in [
        "astromesh_client_connections 0",
        "astromesh_client_connections_accepted_total 1",
        "astromesh_upstream_connections{use=\"busy\"} 1",
        "astromesh_upstream_connections{use=\"idle\"} 0",
        "astromesh_upstream_connects_total{result=\"opened\"} 2",
        "astromesh_upstream_connects_total{result=\"reused\"} 1",
        "astromesh_requests_in_flight{at=\"there\"} 0",
    ] {
        assert!(after.text.contains(&format!("\n{line}\n")), "{line}");
    }
}

#[tokio::test]
async fn a_node_without_observability_has_no_page() {
    let node = Node::start_with(1, &[], &[], router(None)).await;
    get(node.address, "/metrics").await.is_error(404, "not_found");
    let node = node_with(&Metrics::default()).await;
    call(node.address, "POST", "/metrics", &[], "").await.is_error(405, "method_not_allowed");
}

#[tokio::test]
async fn each_declared_family_is_on_the_page_of_a_node_with_a_mesh() {
    let page = page(&node_with(&Metrics::default()).await).await;
    let declared = ALL.iter().map(|family| {
        let full = family.full_name();
        let name =
            full.strip_suffix("_total").or_else(|| full.strip_suffix("_info")).unwrap_or(&full);
        name.to_owned()
    });
    // This node has no mesh to ask.
    let declared = declared.filter(|name| !name.starts_with("astromesh_gossip_"));
    let types = page.text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let shown = types.filter_map(|line| line.split(' ').next()).map(ToOwned::to_owned);
    assert_eq!(declared.collect::<Vec<_>>(), shown.collect::<Vec<_>>());
}

/// The table of the document, made from the declarations.
fn table() -> String {
    let mut table = "| name | type | unit | labels | meaning |\n|---|---|---|---|---|\n".to_owned();
    for family in ALL {
        let kind = match family.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram(_) => "histogram",
            Kind::Info => "info",
        };
        let unit = match family.unit {
            Unit::None => "",
            Unit::Seconds => "s",
            Unit::Bytes => "bytes",
        };
        let labels = family.labels.iter().map(|label| {
            let values = label.values.iter().map(|value| format!("`{value}`"));
            let values = values.collect::<Vec<_>>().join(", ");
            let key = format!("**{}**", label.key);
            if values.is_empty() { key } else { format!("{key}: {values}") }
        });
        let labels = labels.collect::<Vec<_>>().join("; ");
        let name = family.full_name();
        table += &format!("| `{name}` | {kind} | {unit} | {labels} | {} |\n", family.help);
    }
    table
}

#[test]
fn the_table_of_the_document_is_that_of_the_code() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/metrics.md");
    let text = std::fs::read_to_string(path).unwrap();
    let begin = text.find("<!-- families:").unwrap();
    let begin = begin + text[begin..].find('\n').unwrap() + 1;
    let end = text.find("<!-- end of families -->").unwrap();
    let expected = format!("\n{}\n", table());
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(path, format!("{}{expected}{}", &text[..begin], &text[end..])).unwrap();
        return;
    }
    assert_eq!(
        &text[begin..end],
        expected,
        "run UPDATE_GOLDEN=1 cargo test --test http metrics, and look at the difference"
    );
}

/// Each value of a label has a row of its own that says what it means.
#[test]
fn each_label_value_is_explained() {
    for label in ALL.iter().flat_map(|family| family.labels) {
        for value in label.values {
            let row = format!("| **{}** | `{value}` |", label.key);
            assert!(DOCUMENT.contains(&row), "docs/metrics.md lacks the row {row}");
        }
    }
}
