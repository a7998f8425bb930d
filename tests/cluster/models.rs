//! Models of inference nodes: announced, listed, withdrawn and back.

use std::fmt::Write;
use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::commands::ctl;
use crate::harness::{Node, Spec, client, free_port, text, until, until_whole};
use crate::model_server::ModelServer;

/// An inference node with this file of providers.
fn inference(name: &str, providers: &str) -> Spec {
    let mut spec = Spec::new(name).file("providers.yaml", providers);
    spec.services = json!({"agents": false, "tools": false, "memory": false});
    spec
}

/// A file of providers: each block in flow style under its name.
fn providers(blocks: &[(&str, &str)]) -> String {
    let mut text = "kind: ProviderConfig\nspec:\n  providers:\n".to_owned();
    for (name, block) in blocks {
        writeln!(text, "    {name}: {{{block}}}").unwrap();
    }
    text
}

/// The models in the view of a node, each with the nodes that serve it.
async fn models(node: &Node) -> Vec<(String, Vec<String>)> {
    let listed = node.get("/v1/models").await;
    assert_eq!(listed["object"], "list");
    let row = |row: &Value| {
        assert_eq!((&row["object"], &row["owned_by"]), (&json!("model"), &json!("astromesh")));
        (
            serde_json::from_value(row["id"].clone()).unwrap(),
            serde_json::from_value(row["nodes"].clone()).unwrap(),
        )
    };
    listed["data"].as_array().unwrap().iter().map(row).collect()
}

async fn until_models(node: &Node, expected: &[(&str, &[&str])]) {
    let owned = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
    let expected: Vec<_> =
        expected.iter().map(|(model, nodes)| ((*model).to_owned(), owned(nodes))).collect();
    until(&format!("{} sees {expected:?}", node.name()), async || {
        let is_up = client().get(node.url("/v1/models")).send().await.is_ok();
        is_up && models(node).await == expected
    })
    .await;
}

#[tokio::test]
async fn models_of_inference_nodes_are_listed_by_every_node_and_are_no_agents() {
    let ollama = ModelServer::start(&["llama3.1:8b", "phi4:latest", "not-wanted"]);
    let vllm = ModelServer::start(&["meta-llama/Llama-3", "phi4"]);
    let other = ModelServer::start(&["other"]);
    let ollama_block = format!(
        "type: ollama, endpoint: \"http://{}\", models: [\"llama3.1:8b\", phi4]",
        ollama.address
    );
    let vllm_block = format!("type: vllm, endpoint: \"http://{}/v1\"", vllm.address);
    let own = format!("type: openai_compat, endpoint: \"http://{}/v1\"", other.address);
    let off = format!("{vllm_block}, serve: false");
    let gateway = Spec::new("gateway").start();
    let seeds = [gateway.spec.url()];
    let one = inference("one", &providers(&[("local", &ollama_block), ("cloud", &own)]));
    let two = inference("two", &providers(&[("gpu", &vllm_block), ("off", &off)]));
    let served = format!("{own}, serve: true");
    // It has the servers, and serves none of them.
    let mut worker = Spec::new("worker").file("providers.yaml", &providers(&[("a", &served)]));
    worker.services = json!({"inference": false});
    let nodes = [
        gateway,
        one.seeds(&seeds).start(),
        two.seeds(&seeds).start(),
        worker.seeds(&seeds).start(),
    ];

    until_whole(&nodes.iter().collect::<Vec<_>>()).await;
    for node in &nodes {
        let expected: &[(&str, &[&str])] = &[
            ("llama3.1:8b", &["one"]),
            ("meta-llama/Llama-3", &["two"]),
            ("phi4", &["one", "two"]),
        ];
        until_models(node, expected).await;
        assert_eq!(node.get("/v1/agents").await["agents"], json!([]), "{}", node.name());
        let state = node.state().await.unwrap();
        for member in state["nodes"].as_array().unwrap() {
            let expected = match member["name"].as_str().unwrap() {
                "one" => json!(["llama3.1:8b", "phi4"]),
                "two" => json!(["meta-llama/Llama-3", "phi4"]),
                _ => Value::Null,
            };
            assert_eq!((&member["models"], &member["agents"]), (&expected, &json!([])));
        }
    }

    // What a provider comes to have is heard of; a reload asks at once.
    other.records().models.push("another".to_owned());
    std::fs::write(nodes[1].config_dir().join("providers.yaml"), providers(&[("cloud", &served)]))
        .unwrap();
    let (status, answer) = nodes[1].post("/v1/system/reload", &json!({})).await;
    assert_eq!((status, &answer["changed"]), (200, &json!(["providers"])), "{answer}");
    let expected: &[(&str, &[&str])] = &[
        ("another", &["one"]),
        ("meta-llama/Llama-3", &["two"]),
        ("other", &["one"]),
        ("phi4", &["two"]),
    ];
    until_models(&nodes[0], expected).await;
}

#[tokio::test]
async fn a_node_with_more_models_than_fit_a_datagram_tells_as_many_as_it_serves() {
    let many: Vec<String> = (0..300).map(|n| format!("models/number-{n:03}")).collect();
    let server = ModelServer::start(&many.iter().map(String::as_str).collect::<Vec<_>>());
    let nodes = gateway_and(&[], "").await;
    let block = providers(&[("gpu", &vllm(&server))]);
    let node = inference("gpu", &block).seeds(&[nodes[0].spec.url()]).start();
    until_whole(&[&nodes[0], &node]).await;
    let expected: Vec<_> = many[..256].iter().map(|model| (model.as_str(), &["gpu"][..])).collect();
    for asked in [&node, &nodes[0]] {
        until_models(asked, &expected).await;
    }
    let path = "/v1/inference/models/number-255/chat/completions";
    let (status, by, body) = chat(&nodes[0], path, &says("x")).await;
    assert_eq!((status, by.as_str()), (200, "gpu"), "{body}");
    until("the rest is told of", async || node.log().contains("44 models are not served")).await;
}

#[tokio::test]
async fn a_model_server_that_starts_late_is_served_and_one_missing_is_told_once() {
    let late: SocketAddr = ([127, 0, 0, 1], free_port()).into();
    let block = format!("type: llamacpp, endpoint: \"http://{late}/v1\"");
    let node = inference("node", &providers(&[("late", &block)])).start();
    until("it says that nothing answers", async || node.log().contains("does not say what it has"))
        .await;
    assert_eq!(models(&node).await, []);
    let row = "model_server:late";
    let doctor = node.get("/v1/system/doctor").await;
    assert_eq!(doctor["checks"][row]["status"], "unreachable", "{doctor}");
    let _server = ModelServer::start_at("late", late, &["late"]);
    until_models(&node, &[("late", &["node"])]).await;
    let doctor = node.get("/v1/system/doctor").await;
    assert_eq!(doctor["checks"][row]["models"], json!(["late"]), "{doctor}");
    assert_eq!(node.log().matches("does not say what it has").count(), 1, "{}", node.log());
    until("it says that one answers", async || node.log().contains("model server answers")).await;
}

/// A chat that says this; status, the node that answered, body.
async fn chat(node: &Node, path: &str, body: &Value) -> (u16, String, Value) {
    let response = client().post(node.url(path)).json(body).send().await.unwrap();
    let by = response.headers().get("x-astromesh-node").map(|name| name.to_str().unwrap());
    let (status, by) = (response.status().as_u16(), by.unwrap_or_default().to_owned());
    (status, by, response.json().await.unwrap_or(Value::Null))
}

fn says(words: &str) -> Value {
    json!({"messages": [{"role": "user", "content": words}]})
}

/// A block of a provider for this server.
fn vllm(server: &ModelServer) -> String {
    format!("type: vllm, endpoint: \"http://{}/v1\"", server.address)
}

/// A gateway, and an inference node for each server, named like it; all know all models.
async fn gateway_and(servers: &[(&str, &ModelServer)], model: &str) -> Vec<Node> {
    let gateway = inference("gateway", "").start();
    let seeds = [gateway.spec.url()];
    let mut nodes = vec![gateway];
    for (name, server) in servers {
        let providers = providers(&[("gpu", &vllm(server))]);
        nodes.push(inference(name, &providers).seeds(&seeds).start());
    }
    until_whole(&nodes.iter().collect::<Vec<_>>()).await;
    let names: Vec<&str> = servers.iter().map(|(name, _)| *name).collect();
    for node in nodes.iter().filter(|_| !names.is_empty()) {
        until_models(node, &[(model, &names)]).await;
    }
    nodes
}

#[tokio::test]
async fn any_node_takes_chats_with_any_model_on_both_routes() {
    let server = ModelServer::start(&["org/big:latest", "small"]);
    let block = format!("{}, api_key: sk-hush", vllm(&server));
    let gateway = inference("gateway", "").start();
    let node = inference("gpu", &providers(&[("a", &block)]));
    let nodes = [node.seeds(&[gateway.spec.url()]).start(), gateway];
    until_whole(&nodes.iter().collect::<Vec<_>>()).await;
    for node in &nodes {
        until_models(node, &[("org/big", &["gpu"]), ("small", &["gpu"])]).await;
        let paths = [
            "/v1/inference/org/big/chat/completions",
            "/v1/inference/org%2Fbig%3Alatest/chat/completions",
            "/v1/chat/completions",
        ];
        for path in paths {
            let mut body = says("hello");
            body["model"] = "org/big".into();
            body["temperature"] = json!(0.25);
            let (status, by, answer) = chat(node, path, &body).await;
            assert_eq!((status, by.as_str()), (200, "gpu"), "{path}: {answer}");
            assert_eq!(answer["choices"][0]["message"]["content"], "server: hello");
            let (headers, body) = server.records().chats.pop().unwrap();
            assert_eq!(
                (&body["model"], &body["temperature"]),
                (&json!("org/big:latest"), &json!(0.25))
            );
            assert_eq!(headers["authorization"], "Bearer sk-hush");
            assert!(!headers.keys().any(|name| name.as_str().starts_with("x-")), "{headers:?}");
        }
        // Errors of the server come back as they are, but for the key of the provider.
        let url = node.url("/v1/inference/small/chat/completions");
        let request = client().post(url).bearer_auth("mine").json(&says("fail"));
        let response = request.send().await.unwrap();
        assert_eq!(
            (response.status().as_u16(), &response.headers()["retry-after"]),
            (429, &"7".parse().unwrap())
        );
        let error: Value = response.json().await.unwrap();
        assert_eq!(error, json!({"error": {"message": "too much for Bearer ***", "code": "busy"}}));
        let (headers, _) = server.records().chats.pop().unwrap();
        assert_eq!(headers["authorization"], "Bearer sk-hush", "that of the caller goes nowhere");

        for (path, body) in [
            ("/v1/inference/nobodys/chat/completions", says("hello")),
            ("/v1/chat/completions", json!({"model": "nobodys", "messages": []})),
        ] {
            let (status, _, error) = chat(node, path, &body).await;
            assert_eq!((status, &error["code"]), (404, &json!("model_not_found")), "{error}");
            assert!(text(&error["detail"]).contains("served are org/big, small"), "{error}");
            assert_eq!(error["error"]["message"], error["detail"]);
            assert_eq!(
                (&error["error"]["code"], &error["error"]["param"]),
                (&json!("model_not_found"), &json!("model"))
            );
            assert!(!text(&error["request_id"]).is_empty(), "{error}");
        }
        for body in [json!({"messages": []}), json!({"model": 7}), json!([]), json!({"model": ""})]
        {
            let (status, _, error) = chat(node, "/v1/chat/completions", &body).await;
            assert_eq!(
                (status, &error["code"]),
                (422, &json!("invalid_request")),
                "{body}: {error}"
            );
        }
        let (status, _, error) =
            chat(node, "/v1/agents/model:small/run", &json!({"query": "q"})).await;
        assert_eq!((status, &error["code"]), (404, &json!("agent_not_found")), "{error}");
    }
    let listed = ctl(&nodes[1], &["models", "list"]).stdout;
    assert!(listed.contains("org/big") && listed.contains("gpu"), "{listed}");
    let nodes_table = ctl(&nodes[1], &["mesh", "nodes", "-o", "wide"]).stdout;
    assert!(nodes_table.contains("org/big, small"), "{nodes_table}");
}

#[tokio::test]
async fn chats_spread_over_the_nodes_and_survive_one_of_them() {
    let servers = [ModelServer::named("one", &["m"]), ModelServer::named("two", &["m"])];
    let mut nodes = gateway_and(&[("one", &servers[0]), ("two", &servers[1])], "m").await;
    let url = nodes[0].url("/v1/inference/m/chat/completions");
    let waiting: Vec<_> =
        (0..8).map(|_| tokio::spawn(client().post(&url).json(&says("wait")).send())).collect();
    until("all eight are being answered", async || {
        servers.iter().map(|server| server.records().active).sum::<usize>() == 8
    })
    .await;
    assert_eq!([servers[0].records().active, servers[1].records().active], [4, 4]);

    // What was being answered there is asked of the other: it has changed nothing.
    nodes[1].kill();
    until("the other one answers all", async || servers[1].records().active == 8).await;
    servers[1].go_on();
    for waits in waiting {
        let response = waits.await.unwrap().unwrap();
        assert_eq!(
            (response.status().as_u16(), &response.headers()["x-astromesh-node"]),
            (200, &"two".parse().unwrap())
        );
    }
    for _ in 0..4 {
        let (status, by, body) =
            chat(&nodes[0], "/v1/inference/m/chat/completions", &says("x")).await;
        assert_eq!((status, by.as_str()), (200, "two"), "{body}");
    }
}

#[tokio::test]
async fn a_model_is_withdrawn_when_its_server_goes_and_is_back_with_it() {
    let (stays, goes) = (ModelServer::named("stays", &["m"]), ModelServer::named("goes", &["m"]));
    let nodes = gateway_and(&[("one", &goes), ("two", &stays)], "m").await;
    let address = goes.stop();
    // Whichever node is asked first: the caller sees nothing of it.
    for asked in [&nodes[0], &nodes[1]] {
        for _ in 0..3 {
            let (status, by, body) =
                chat(asked, "/v1/inference/m/chat/completions", &says("x")).await;
            assert_eq!((status, by.as_str()), (200, "two"), "{body}");
        }
    }
    // The one that was asked in vain has looked at once.
    until_models(&nodes[0], &[("m", &["two"])]).await;
    let back = ModelServer::start_at("back", address, &["m"]);
    for node in &nodes {
        until_models(node, &[("m", &["one", "two"])]).await;
    }
    drop(stays);
    let (status, by, body) = chat(&nodes[2], "/v1/inference/m/chat/completions", &says("x")).await;
    assert_eq!((status, by.as_str()), (200, "one"), "{body}");
    drop(back);
    let (status, _, error) = chat(&nodes[0], "/v1/inference/m/chat/completions", &says("x")).await;
    assert!(matches!(status, 502 | 503 | 404), "{error}");
    until_models(&nodes[0], &[]).await;
    let (status, _, error) = chat(&nodes[0], "/v1/inference/m/chat/completions", &says("x")).await;
    assert_eq!((status, &error["code"]), (404, &json!("model_not_found")), "{error}");
}

#[tokio::test]
async fn a_stream_passes_as_it_comes_and_ends_at_the_server_when_the_client_leaves() {
    let server = ModelServer::start(&["m"]);
    let nodes = gateway_and(&[("gpu", &server)], "m").await;
    let mut body = says("hello");
    (body["model"], body["stream"]) = ("m".into(), true.into());
    for path in ["/v1/inference/m/chat/completions", "/v1/chat/completions"] {
        let ask = || async { client().post(nodes[0].url(path)).json(&body).send().await.unwrap() };
        let mut response = ask().await;
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        assert_eq!(response.chunk().await.unwrap().unwrap(), "data: first\n\n");
        assert_eq!(server.records().active, 1, "the rest waits");
        drop(response);
        until("the server is rid of it", async || server.records().active == 0).await;
    }
    let mut response =
        client().post(nodes[0].url("/v1/chat/completions")).json(&body).send().await.unwrap();
    assert_eq!(response.chunk().await.unwrap().unwrap(), "data: first\n\n");
    server.go_on();
    assert_eq!(response.chunk().await.unwrap().unwrap(), "data: [DONE]\n\n");
    assert_eq!(response.chunk().await.unwrap(), None);
}

#[tokio::test]
async fn static_peers_with_the_service_inference_are_asked_in_turn() {
    let servers = [ModelServer::named("one", &["m"]), ModelServer::named("two", &["m"])];
    let alone = |mut spec: Spec| {
        spec.mesh = false;
        spec
    };
    let [one, two] = [("one", &servers[0]), ("two", &servers[1])].map(|(name, server)| {
        alone(inference(name, &providers(&[("gpu", &vllm(server))]))).start()
    });
    let mut worker = alone(Spec::new("worker").agent_file("asks", &asks("m", "")));
    worker.services = json!({"inference": false});
    worker.peers = json!([
        {"name": "agents", "url": "http://127.0.0.1:9", "services": ["agents"]},
        {"name": "one", "url": one.spec.url(), "services": ["inference"]},
        {"name": "two", "url": two.spec.url(), "services": ["inference"]},
    ]);
    let worker = worker.start();
    for node in [&one, &two] {
        until_models(node, &[("m", &[node.name()])]).await;
    }
    until("the worker serves", async || {
        client().get(worker.url("/v1/health")).send().await.is_ok()
    })
    .await;
    let mut by = Vec::new();
    for _ in 0..4 {
        let (status, node, body) =
            chat(&worker, "/v1/inference/m/chat/completions", &says("x")).await;
        assert_eq!(status, 200, "{body}");
        by.push(node);
    }
    assert_eq!(by, ["one", "two", "one", "two"]);
    let (status, body) = run(&worker, "hello").await;
    assert_eq!((status, &body["answer"]), (200, &json!("one: hello")), "{body}");
    let (status, _, error) =
        chat(&worker, "/v1/inference/other/chat/completions", &says("x")).await;
    assert_eq!((status, &error["code"]), (503, &json!("hop_limit")), "{error}");
}

/// An agent that asks this model of the mesh, and an inference node for each server beside a worker
/// without models and a gateway without both.
async fn with_agents(model: &str, more: &str, servers: &[(&str, &ModelServer)]) -> Vec<Node> {
    let mut gateway = Spec::new("gateway");
    gateway.services = json!({"agents": false, "inference": false});
    let gateway = gateway.start();
    let seeds = [gateway.spec.url()];
    let mut worker = Spec::new("worker").agent_file("asks", &asks(model, more)).seeds(&seeds);
    worker.services = json!({"inference": false});
    let mut nodes = vec![gateway, worker.start()];
    for (name, server) in servers {
        let providers = providers(&[("gpu", &vllm(server))]);
        nodes.push(inference(name, &providers).seeds(&seeds).start());
    }
    until_whole(&nodes.iter().collect::<Vec<_>>()).await;
    let names: Vec<&str> = servers.iter().map(|(name, _)| *name).collect();
    for node in &nodes {
        until_models(node, &[("m", &names)]).await;
    }
    nodes
}

fn asks(model: &str, more: &str) -> String {
    format!(
        "metadata: {{name: asks}}\nspec:\n  model:\n    primary: {{provider: mesh, model: {model}}}\n{more}"
    )
}

async fn run(node: &Node, query: &str) -> (u16, Value) {
    node.post("/v1/agents/asks/run", &json!({"query": query})).await
}

#[tokio::test]
async fn an_agent_asks_a_model_of_the_mesh_and_goes_on_when_a_node_of_it_dies() {
    let servers = [ModelServer::named("one", &["m"]), ModelServer::named("two", &["m"])];
    let named = [("one", &servers[0]), ("two", &servers[1])];
    let mut nodes = with_agents("m", "", &named).await;
    let (status, body) = run(&nodes[0], "hello").await;
    assert_eq!(status, 200, "{body}");
    assert!(text(&body["answer"]).ends_with(": hello"), "{body}");
    let used = &body["usage"]["by_model"][0];
    assert_eq!((&used["provider"], &used["tokens_out"]), (&json!("mesh"), &json!(5)), "{body}");
    let doctor = nodes[1].get("/v1/system/doctor").await;
    assert_eq!(doctor["checks"]["provider:default:asks/cand0"]["status"], "ok", "{doctor}");

    let url = nodes[0].url("/v1/agents/asks/run");
    let ask = || tokio::spawn(client().post(&url).json(&json!({"query": "wait"})).send());
    let waiting: Vec<_> = (0..6).map(|_| ask()).collect();
    until("all are being answered", async || {
        servers.iter().map(|server| server.records().active).sum::<usize>() == 6
    })
    .await;
    assert_eq!([servers[0].records().active, servers[1].records().active], [3, 3]);
    nodes[2].kill();
    until("the other one answers all", async || servers[1].records().active == 6).await;
    servers[1].go_on();
    for waits in waiting {
        assert_eq!(waits.await.unwrap().unwrap().status().as_u16(), 200);
    }
    let (status, body) = run(&nodes[0], "hello").await;
    assert_eq!((status, &body["answer"]), (200, &json!("two: hello")));

    // And with the last one, it says what to do.
    nodes[3].kill();
    until("it is dead", async || nodes[1].status_of("two").await.as_deref() == Some("dead")).await;
    let (status, error) = run(&nodes[0], "hello").await;
    assert_eq!((status, &error["code"]), (502, &json!("model_no_eligible_provider")), "{error}");
    let hint = text(&error["detail"]["hint"]);
    assert!(hint.contains("astromeshctl models list") && hint.contains("ollama pull m"), "{error}");
}

#[tokio::test]
async fn a_run_on_a_node_that_stops_still_gets_the_models_of_the_mesh() {
    let server = ModelServer::named("one", &["m"]);
    let tool = "  tools: [{name: datetime_now, type: builtin}]\n";
    let mut nodes = with_agents("m", tool, &[("one", &server)]).await;
    let url = nodes[0].url("/v1/agents/asks/run");
    let run = tokio::spawn(client().post(url).json(&json!({"query": "tool"})).send());
    until("the model is asked", async || server.records().active == 1).await;
    nodes[1].signal("TERM");
    until("it stops", async || nodes[1].log().contains("nothing new is accepted")).await;
    server.go_on();
    // It asks the model a second time, when it has left the mesh and closed its port.
    let response = run.await.unwrap().unwrap();
    let (status, body) = (response.status().as_u16(), response.text().await.unwrap());
    assert_eq!(status, 200, "{body}");
    assert_eq!(server.records().chats.len(), 2);
    assert!(nodes[1].wait().success());
}

#[tokio::test]
async fn a_run_on_a_full_node_gets_the_model_of_the_same_node() {
    let server = ModelServer::start(&["m"]);
    let api = |spec: Spec| {
        let (host, port) = (spec.host.clone(), spec.port);
        let keys = json!({
            "host": host, "port": port, "max_concurrent": 1, "queue_max": 1,
            "model_max_concurrent": 1, "queue_timeout": 20
        });
        spec.spec_key("api", keys)
    };
    let node = Spec::new("full")
        .agent_file("asks", &asks("m", ""))
        .file("providers.yaml", &providers(&[("gpu", &vllm(&server))]));
    let node = api(node).start();
    until_models(&node, &[("m", &["full"])]).await;
    let (status, body) = run(&node, "hello").await;
    assert_eq!((status, &body["answer"]), (200, &json!("server: hello")), "{body}");

    // Each has one place: a run and its chat take both, and others wait in their own queue.
    let url = node.url("/v1/agents/asks/run");
    let first = tokio::spawn(client().post(&url).json(&json!({"query": "wait"})).send());
    until("it is being answered", async || server.records().active == 1).await;
    let chats = node.url("/v1/inference/m/chat/completions");
    let second = tokio::spawn(client().post(&chats).json(&says("hello")).send());
    until("the second waits", async || node_waits(&node).await == 1).await;
    let (status, _, error) =
        chat(&node, "/v1/chat/completions", &json!({"model": "m", "messages": []})).await;
    assert_eq!((status, &error["code"]), (429, &json!("queue_full")), "{error}");
    assert_eq!(error["error"]["code"], "queue_full");
    server.go_on();
    for waits in [first, second] {
        assert_eq!(waits.await.unwrap().unwrap().status().as_u16(), 200);
    }
}

/// Requests that wait for a place on a node.
async fn node_waits(node: &Node) -> u64 {
    let page = client().get(node.url("/metrics")).send().await.unwrap().text().await.unwrap();
    let line =
        page.lines().find(|line| line.starts_with("astromesh_requests_in_flight{at=\"queued\"}"));
    line.and_then(|line| line.rsplit(' ').next()).unwrap().parse().unwrap()
}

/// What a node with this profile does that has agents and model servers in its files.
#[tokio::test]
async fn each_profile_does_what_its_role_says_and_no_more() {
    let server = ModelServer::start(&["m"]);
    let rows = [
        ("full", true, true),
        ("gateway", false, false),
        ("worker", true, false),
        ("inference", false, true),
        ("mesh-gateway", false, false),
        ("mesh-worker", true, false),
        ("mesh-inference", false, true),
    ];
    for (profile, runs_agents, serves_models) in rows {
        let path = format!("{}/config/profiles/{profile}.yaml", env!("CARGO_MANIFEST_DIR"));
        let profile_text = std::fs::read_to_string(path).unwrap();
        let profile_spec: Value = astromesh::config::yaml::read(&profile_text).unwrap();
        let mut spec = Spec::new(profile)
            .echo_agent("echo", 0)
            .file("providers.yaml", &providers(&[("gpu", &vllm(&server))]));
        spec.services = profile_spec["spec"]["services"].clone();
        spec.mesh = profile_spec["spec"]["mesh"]["enabled"] == true;
        // Peers are asked, and this is about the node itself.
        let node = spec.start();
        until("it serves", async || client().get(node.url("/v1/health")).send().await.is_ok())
            .await;
        let (status, body) = node.post("/v1/agents/echo/run", &json!({"query": "q"})).await;
        assert_eq!(status == 200, runs_agents, "{profile}: {body}");
        if serves_models {
            until_models(&node, &[("m", &[profile])]).await;
        } else {
            assert_eq!(models(&node).await, [], "{profile}");
        }
        let (status, _, body) = chat(&node, "/v1/inference/m/chat/completions", &says("q")).await;
        assert_eq!(status, if serves_models { 200 } else { 404 }, "{profile}: {body}");
        let lists = std::mem::take(&mut server.records().lists);
        assert_eq!(lists > 0, serves_models, "{profile} has asked the server {lists} times");
    }
}

#[tokio::test]
async fn ollama_of_the_environment_is_served_unless_a_provider_speaks_of_it() {
    let server = ModelServer::start(&["llama3:latest", "phi4"]);
    let address = server.address;
    let start = |name: &str, block: Option<&str>| {
        let blocks: Vec<_> = block.iter().map(|block| ("local", *block)).collect();
        let text = if blocks.is_empty() { String::new() } else { providers(&blocks) };
        let mut spec = inference(name, &text);
        spec.prefix = vec!["env".to_owned(), format!("OLLAMA_HOST={address}")];
        spec.mesh = false;
        spec.start()
    };
    until_models(&start("none", None), &[("llama3", &["none"]), ("phi4", &["none"])]).await;
    // It has the same endpoint without saying so.
    let limited = start("limited", Some("type: ollama, models: [phi4]"));
    until_models(&limited, &[("phi4", &["limited"])]).await;
    let elsewhere = start("elsewhere", Some("type: ollama, endpoint: \"http://127.0.0.1:9\""));
    until_models(&elsewhere, &[("llama3", &["elsewhere"]), ("phi4", &["elsewhere"])]).await;
    drop((limited, elsewhere));
    server.records().lists = 0;
    let off = start("off", Some("type: ollama, serve: false"));
    until("it serves", async || client().get(off.url("/v1/health")).send().await.is_ok()).await;
    assert_eq!((models(&off).await, server.records().lists), (Vec::new(), 0));
}
