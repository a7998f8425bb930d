//! What a line of the access log costs the thread that serves the request.
//!
//! The lines go to standard error: `cargo bench --bench access_log 2>/dev/null`. The thread that
//! writes them runs beside, as in a node; no line is dropped.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::{Duration, Instant};

use astromesh::telemetry::access::Line;
use astromesh::telemetry::logging::levels::Levels;
use astromesh::telemetry::logging::{self, Format, Settings};
use criterion::{Criterion, criterion_group, criterion_main};

const LINE: Line<'_> = Line {
    client: "192.0.2.7:40112",
    method: b"POST",
    path: b"/v1/agents/support/run",
    status: 200,
    request_id: b"987f55d17c2b56e080339b5cda446fb1",
    agent: "support",
    node: "worker-1",
    tried: 1,
    bytes_out: 512,
    duration: Duration::from_micros(12_034),
    upstream: Some(Duration::from_micros(11_987)),
};

/// Fewer bytes than a buffer holds.
const LINES_AT_ONCE: u64 = 1_000;

fn access_log(criterion: &mut Criterion) {
    for (name, format) in [("text", Format::Text), ("json", Format::Json)] {
        let levels = Levels { level: tracing::Level::INFO, modules: BTreeMap::new() };
        let logging = logging::start(Settings { format, levels, file: None });
        let log = logging.as_ref().expect("there is a standard error").log();
        let access = log.access_log();
        criterion.bench_function(&format!("access_log/{name}"), |bencher| {
            bencher.iter_custom(|lines| {
                let mut spent = Duration::ZERO;
                let mut left = lines;
                while left > 0 {
                    let now = left.min(LINES_AT_ONCE);
                    let started = Instant::now();
                    for _ in 0..now {
                        access.write(black_box(&LINE));
                    }
                    spent += started.elapsed();
                    left -= now;
                    log.flush();
                }
                spent
            });
        });
        assert_eq!(log.lines()[0][1], 0, "lines were dropped");
    }
}

criterion_group!(benches, access_log);
criterion_main!(benches);
