//! What runs leave behind: traces, from whichever node they are asked, and what agents used.

use serde_json::{Value, json};

use crate::commands::{alone, ctl};
use crate::harness::{Node, Spec, client, mesh, text, until, until_seen};

/// An agent whose model cannot be connected to.
const BROKEN: &str = "metadata: {name: broken}\nspec:\n  model:\n    primary:\n      \
                      endpoint: http://127.0.0.1:1/v1\n      model: m9\n      api_key: unused\n";

async fn run(node: &Node, agent: &str) -> Value {
    let body = json!({"query": "hello", "session_id": "s1"});
    node.post(&format!("/v1/agents/{agent}/run"), &body).await.1
}

#[tokio::test]
async fn any_node_shows_the_trace_of_a_run_on_any_other() {
    let mut nodes =
        mesh(vec![Spec::new("a").echo_agent("echo", 0), Spec::new("b").echo_agent("other", 0)])
            .await;
    let answer = run(&nodes[0], "echo").await;
    let id = text(&answer["trace"]["trace_id"]);
    assert_eq!(id.len(), 32);
    for node in &nodes {
        let response = client().get(node.url(&format!("/v1/traces/{id}/"))).send().await.unwrap();
        assert_eq!(response.headers()["x-astromesh-node"], "a");
        let trace: Value = response.json().await.unwrap();
        assert_eq!(trace["spans"], answer["trace"]["spans"]);
        assert_eq!((&trace["status"], &trace["session_id"]), (&json!("ok"), &json!("s1")));
    }
    let shown = ctl(&nodes[0], &["trace", &id]);
    assert!(shown.stdout.contains("Node      a\n"), "{}", shown.stdout);
    for line in ["agent.run ", "├ prompt_render ", "└ orchestration ", "  └ llm.complete "] {
        assert!(shown.stdout.lines().any(|shown| shown.starts_with(line)), "{}", shown.stdout);
    }
    // A list is that of one node.
    assert_eq!(nodes[0].get("/v1/traces/").await["traces"], json!([]));
    assert_eq!(nodes[1].get("/v1/traces").await["traces"][0]["trace_id"], *id);

    nodes[1].kill();
    until_seen(&[&nodes[0]], "a", "dead").await;
    let gone = client().get(nodes[0].url(&format!("/v1/traces/{id}"))).send().await.unwrap();
    assert_eq!(gone.status(), 404);
    assert_eq!(gone.json::<Value>().await.unwrap()["code"], "trace_not_found");
    assert_eq!(ctl(&nodes[0], &["trace", &id]).code, 1);
}

#[tokio::test]
async fn runs_that_fail_or_are_left_have_a_trace_too() {
    let spec = Spec::new("a").echo_agent("slow", 60_000).echo_agent("echo", 0);
    let node = alone(spec.agent_file("broken", BROKEN)).await;
    run(&node, "broken").await;
    let url = node.url("/v1/agents/slow/run");
    let left = tokio::spawn(client().post(url).json(&json!({"query": "q"})).send());
    until("the run has begun", async || {
        node.get("/v1/metrics/").await["gauges"].as_object().unwrap().iter().any(|(name, value)| {
            name.starts_with("astromesh_requests_in_flight") && *value == json!(1)
        })
    })
    .await;
    left.abort();
    until("the run that was left is kept", async || {
        node.get("/v1/traces/?agent=slow").await["traces"] != json!([])
    })
    .await;
    run(&node, "echo").await;

    let traces = node.get("/v1/traces/?limit=100").await;
    let traces = traces["traces"].as_array().unwrap();
    let seen: Vec<_> =
        traces.iter().map(|one| (text(&one["agent"]), text(&one["status"]))).collect();
    let expected = [("echo", "ok"), ("slow", "canceled"), ("broken", "error")];
    assert_eq!(seen, expected.map(|(agent, status)| (agent.to_owned(), status.to_owned())));
    assert!(text(&traces[2]["error"]).contains("model_connection_refused"), "{}", traces[2]);
    let failed = traces[2]["spans"].as_array().unwrap().last().unwrap();
    assert_eq!(
        (&failed["status"], &failed["attributes"]["model"]),
        (&json!("error"), &json!("m9"))
    );
    assert!(traces.iter().all(|one| one["duration_ms"].as_f64().unwrap() > 0.0));

    let list = ctl(&node, &["traces", "list", "slow"]);
    assert!(list.stdout.contains("canceled") && !list.stdout.contains("broken"), "{list:?}");
    assert_eq!(
        ctl(&node, &["traces", "list", "--last", "1", "--json"]).json()["traces"][0]["agent"],
        "echo"
    );
    let limit = client().get(node.url("/v1/traces/?limit=101")).send().await.unwrap();
    assert_eq!(limit.status(), 422);
    assert_eq!(limit.json::<Value>().await.unwrap()["detail"][0]["loc"], json!(["query", "limit"]));
    assert_eq!(ctl(&node, &["traces", "list", "--last", "101"]).code, 2);
}

#[tokio::test]
async fn what_agents_did_is_counted_by_agent_and_model() {
    let node = alone(Spec::new("a").echo_agent("echo", 0).agent_file("broken", BROKEN)).await;
    for agent in ["echo", "echo", "broken"] {
        run(&node, agent).await;
    }
    let mut report = Value::Null;
    // A request is counted after its last byte has been written.
    until("all runs are counted", async || {
        report = node.get("/v1/metrics/").await;
        report["histograms"]["astromesh_request_duration_seconds{class=\"run\"}"]["count"] == 3
    })
    .await;
    let counter = |name: &str| report["counters"][name].clone();
    assert_eq!(counter("astromesh_agent_runs_total{agent=\"echo\",outcome=\"ok\"}"), 2);
    assert_eq!(counter("astromesh_agent_runs_total{agent=\"broken\",outcome=\"error\"}"), 1);
    let failures = "astromesh_agent_model_failures_total{agent=\"broken\",provider=\"openai_compat\",model=\"m9\"}";
    assert_eq!(counter(failures), 1);
    let calls =
        "astromesh_agent_model_calls_total{agent=\"echo\",provider=\"echo\",model=\"echo\"}";
    assert_eq!(counter(calls), 2);
    let requests = "astromesh_requests_total{class=\"run\",from=\"client\",outcome=\"2xx\"}";
    assert_eq!(counter(requests), 2, "{report}");
    let times = &report["histograms"]["astromesh_agent_run_seconds{agent=\"echo\"}"];
    let second = |name: &str| times[name].as_f64().unwrap();
    assert_eq!(times["count"], 2);
    assert!(0.0 < second("min") && second("min") <= second("avg"), "{times}");
    assert!(second("avg") <= second("max") && second("max") <= second("sum"), "{times}");
    let whole = &report["histograms"]["astromesh_request_duration_seconds{class=\"run\"}"];
    assert!(whole["min"].as_f64().unwrap() <= whole["max"].as_f64().unwrap());

    let page = client().get(node.url("/metrics")).send().await.unwrap().text().await.unwrap();
    for line in [
        "astromesh_agent_runs_total{agent=\"echo\",outcome=\"ok\"} 2\n",
        "astromesh_agent_run_seconds_count{agent=\"broken\"} 1\n",
        "astromesh_agent_run_seconds_bucket{le=\"+Inf\",agent=\"echo\"} 2\n",
        &format!("{calls} 2\n"),
        &format!("{failures} 1\n"),
    ] {
        assert!(page.contains(line), "{line} is not on\n{page}");
    }

    let one = node.get("/v1/metrics?agent=echo").await;
    assert!(!one.to_string().contains("broken") && !one.to_string().contains("astromesh_requests"));
    let table = ctl(&node, &["metrics", "--agent", "echo"]).stdout;
    assert!(table.contains("agent_runs_total agent=echo outcome=ok"), "{table}");
    let cost = ctl(&node, &["cost"]);
    assert!(cost.stdout.contains("broken") && cost.stderr.contains("Runs on a since"), "{cost:?}");
    let usage = ctl(&node, &["cost", "--json"]).json();
    assert_eq!(usage["agents"][1]["runs_ok"], 2);
    assert_eq!(usage["agents"][0]["models"][0]["model"], "m9");
}

#[tokio::test]
async fn a_node_that_observes_nothing_says_how_to_change_that() {
    let mut spec = Spec::new("a");
    spec.services = json!({"observability": false});
    let node = alone(spec).await;
    let outcome = ctl(&node, &["metrics"]);
    assert_eq!(outcome.code, 1);
    assert!(outcome.stderr.contains("spec.services.observability"), "{outcome:?}");
    assert_eq!(ctl(&node, &["traces", "list"]).stdout, "No runs on a since it started.\n");
    assert_eq!(ctl(&node, &["cost"]).stdout, "No agent ran on a since it started.\n");
}
