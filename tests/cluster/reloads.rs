//! A thousand reloads while a mesh is at work.

use std::convert::Infallible;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::response::Sse;
use axum::response::sse::Event;
use axum::routing::post;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::harness::{Node, Spec, client, mesh, text, until};
use crate::reload::write;

const RELOADS: usize = 1_000;
const STREAMS_EACH: usize = 10;
const CALLERS_EACH: usize = 2;

/// A process that serves an agent: it counts, event after event, until told to come to an end.
async fn counting(stop: watch::Receiver<bool>) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let count = move || {
        let stop = stop.clone();
        async move {
            let events = futures_util::stream::unfold(Some(0), move |next| {
                let mut stop = stop.clone();
                async move {
                    let number: usize = next?;
                    let pause = Duration::from_millis(50);
                    let is_over = tokio::time::timeout(pause, stop.wait_for(|stop| *stop)).await;
                    let over = (Event::default().data("over"), None);
                    let event = (Event::default().data(number.to_string()), Some(number + 1));
                    let (event, next) = if is_over.is_ok() { over } else { event };
                    Some((Ok::<_, Infallible>(event), next))
                }
            });
            Sse::new(events)
        }
    };
    let routes = Router::new().route("/count", post(count));
    tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
    format!("http://{address}/count")
}

/// Reads a stream to its end; says what is wrong with it.
async fn follow(url: String, opened: Arc<AtomicUsize>) -> Result<usize, String> {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let mut response = client.post(url).json(&json!({"query": "q"})).send().await.unwrap();
    let mut body = String::new();
    let mut is_new = true;
    while let Some(part) = response.chunk().await.map_err(|error| format!("cut: {error}"))? {
        body.push_str(std::str::from_utf8(&part).unwrap());
        if std::mem::take(&mut is_new) {
            opened.fetch_add(1, Ordering::Relaxed);
        }
    }
    let events: Vec<&str> = body.lines().filter_map(|line| line.strip_prefix("data: ")).collect();
    let Some((&"over", counted)) = events.split_last() else {
        return Err(format!("cut after {} events", events.len()));
    };
    let is_whole = counted.iter().enumerate().all(|(number, event)| *event == number.to_string());
    if is_whole { Ok(counted.len()) } else { Err("an event is missing".to_owned()) }
}

/// Runs an agent over and over; says how often, and what was no success.
async fn call(url: String, is_over: Arc<AtomicBool>) -> (usize, Vec<String>) {
    let client = client();
    let (mut runs, mut failures) = (0, Vec::new());
    while !is_over.load(Ordering::Relaxed) {
        runs += 1;
        match client.post(&url).json(&json!({"query": "q"})).send().await {
            Ok(response) if response.status() == 200 => {
                let answer: Value = response.json().await.unwrap();
                assert!(text(&answer["answer"]).contains('q'), "{answer}");
            }
            Ok(response) => failures.push(response.status().to_string()),
            Err(error) => failures.push(error.to_string()),
        }
    }
    (runs, failures)
}

/// Each reload finds another agent, another setting, or one agent less.
fn change(worker: &Node, number: usize) {
    let config = worker.config_dir();
    let path = config.join("agents/changing.agent.yaml");
    if number % 3 == 2 {
        fs::remove_file(path).unwrap();
    } else {
        let text = format!(
            "metadata: {{name: changing, version: \"{number}\"}}\nspec:\n  model: {{primary: \
             {{provider: echo}}}}\n"
        );
        write(&path, &text);
    }
    let file = config.join("runtime.yaml");
    let mut runtime: Value = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
    let api = &mut runtime["spec"]["api"];
    api["idle_timeout"] = json!(100 + number);
    api["max_concurrent"] = json!(if number.is_multiple_of(2) { 0 } else { 500 });
    api["access_log"] = json!(number.is_multiple_of(2));
    write(&file, &runtime.to_string());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_reloads_cut_nothing_and_fail_nothing() {
    let (stop, stopped) = watch::channel(false);
    let upstream = format!(
        "metadata: {{name: count}}\nspec:\n  upstream: {{url: \"{}\"}}\n",
        counting(stopped).await
    );
    let worker = Spec::new("a").echo_agent("echo", 20).agent_file("count", &upstream);
    let nodes = mesh(vec![worker]).await;
    let [gateway, worker] = &nodes[..] else { panic!("a gateway and a worker") };
    let opened = Arc::new(AtomicUsize::new(0));
    let is_over = Arc::new(AtomicBool::new(false));
    let (mut streams, mut callers) = (JoinSet::new(), JoinSet::new());
    for node in [gateway, worker] {
        for _ in 0..STREAMS_EACH {
            streams.spawn(follow(node.url("/v1/agents/count/run"), Arc::clone(&opened)));
        }
        for _ in 0..CALLERS_EACH {
            callers.spawn(call(node.url("/v1/agents/echo/run"), Arc::clone(&is_over)));
        }
    }
    until("all streams flow", async || opened.load(Ordering::Relaxed) == 2 * STREAMS_EACH).await;

    let client = client();
    for number in 0..RELOADS {
        change(worker, number);
        if number.is_multiple_of(100) {
            worker.signal("HUP");
        }
        let response = client.post(worker.url("/v1/system/reload")).send().await.unwrap();
        let (status, answer) = (response.status(), response.text().await.unwrap());
        assert_eq!(status, 200, "{answer}");
    }

    is_over.store(true, Ordering::Relaxed);
    stop.send_replace(true);
    let callers = callers.join_all().await;
    let runs: usize = callers.iter().map(|(runs, _)| runs).sum();
    let failures: Vec<&String> = callers.iter().flat_map(|(_, failures)| failures).collect();
    assert_eq!(failures, Vec::<&String>::new(), "of {runs} runs");
    let events: Result<Vec<usize>, String> = streams.join_all().await.into_iter().collect();
    let events = events.unwrap();
    let status = worker.get("/v1/system/status").await["reload"].clone();
    assert!(status["count"].as_u64().unwrap() >= RELOADS as u64, "{status}");
    assert_eq!(status["failed"], 0, "{status}");
    assert!(runs > 100, "{runs} runs are no load");
    assert!(events.iter().all(|events| *events > 10), "{events:?}");
    println!("{RELOADS} reloads, {runs} runs, {} streams of {events:?} events", events.len());
}
