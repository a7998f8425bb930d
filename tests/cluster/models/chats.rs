//! Chats with models of inference nodes, from any node.

use serde_json::{Value, json};

use super::{
    chat, gateway_and, inference, node_waits, providers, reload, says, until_models, vllm,
};
use crate::commands::ctl;
use crate::harness::{Node, Spec, client, text, until, until_whole};
use crate::model_server::ModelServer;

#[tokio::test]
async fn any_node_takes_chats_with_any_model_on_both_routes() {
    let server = ModelServer::start(&["org/big:latest", "small"]);
    let url = format!("http://{}/v1?key=hush-hush", server.address);
    let block = format!("type: vllm, endpoint: \"{url}\", api_key: sk-hush");
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
        // Errors of the server come back as they are, but for the secrets of the provider.
        let url = node.url("/v1/inference/small/chat/completions");
        let request = client().post(url).bearer_auth("mine").json(&says("fail"));
        let response = request.send().await.unwrap();
        assert_eq!(
            (response.status().as_u16(), &response.headers()["retry-after"]),
            (429, &"7".parse().unwrap())
        );
        let error: Value = response.json().await.unwrap();
        let message = "too much for Bearer *** at ***";
        assert_eq!(error, json!({"error": {"message": message, "code": "busy"}}));
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
    }
    let listed = ctl(&nodes[1], &["models", "list"]).stdout;
    assert!(listed.contains("org/big") && listed.contains("gpu"), "{listed}");
    let nodes_table = ctl(&nodes[1], &["mesh", "nodes", "-o", "wide"]).stdout;
    assert!(nodes_table.contains("org/big, small"), "{nodes_table}");
}

#[tokio::test]
async fn a_name_that_no_model_can_have_is_not_found_and_one_of_a_model_is_no_agent() {
    let server = ModelServer::start(&["m"]);
    let nodes = gateway_and(&[("gpu", &server)], "m").await;
    for name in [".", "..", "..:latest", "a\nb", &"m".repeat(100_000)] {
        let body = json!({"model": name, "messages": []});
        let (status, _, error) = chat(&nodes[0], "/v1/chat/completions", &body).await;
        assert_eq!((status, &error["code"]), (404, &json!("model_not_found")), "{error}");
        assert!(text(&error["detail"]).len() < 1000, "{error}");
    }
    let path = "/v1/agents/model:m/run";
    let (status, _, error) = chat(&nodes[0], path, &json!({"query": "q"})).await;
    assert_eq!((status, &error["code"]), (404, &json!("agent_not_found")), "{error}");
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
async fn the_limit_of_runs_means_nothing_to_chats() {
    let servers = [ModelServer::named("one", &["m"]), ModelServer::named("two", &["m"])];
    let seeds = [inference("gateway", "").start()];
    let [one, two] = [("one", &servers[0]), ("two", &servers[1])].map(|(name, server)| {
        let spec = inference(name, &providers(&[("gpu", &vllm(server))]));
        let (host, port) = (spec.host.clone(), spec.port);
        let api = json!({"host": host, "port": port, "max_concurrent": 1});
        spec.spec_key("api", api).seeds(&[seeds[0].spec.url()]).start()
    });
    let [gateway] = seeds;
    until_whole(&[&gateway, &one, &two]).await;
    until_models(&gateway, &[("m", &["one", "two"])]).await;
    let url = gateway.url("/v1/inference/m/chat/completions");
    let waiting: Vec<_> =
        (0..12).map(|_| tokio::spawn(client().post(&url).json(&says("wait")).send())).collect();
    until("all are being answered", async || {
        servers.iter().map(|server| server.records().active).sum::<usize>() == 12
    })
    .await;
    assert_eq!(servers.each_ref().map(|server| server.records().active), [6, 6]);
    servers.iter().for_each(ModelServer::go_on);
    for waits in waiting {
        assert_eq!(waits.await.unwrap().unwrap().status().as_u16(), 200);
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

/// The node takes one chat at a time; others wait.
fn one_at_a_time(spec: Spec) -> Spec {
    let (host, port) = (spec.host.clone(), spec.port);
    spec.spec_key(
        "api",
        json!({"host": host, "port": port, "model_max_concurrent": 1, "queue_timeout": 20}),
    )
}

#[tokio::test]
async fn a_chat_that_waited_while_the_model_went_is_answered_where_it_is_now() {
    let servers = [ModelServer::named("one", &["m"]), ModelServer::named("two", &["other"])];
    let gateway = inference("gateway", "").start();
    let seeds = [gateway.spec.url()];
    let [one, two] = [("one", &servers[0]), ("two", &servers[1])].map(|(name, server)| {
        let spec = inference(name, &providers(&[("gpu", &vllm(server))])).seeds(&seeds);
        one_at_a_time(spec).start()
    });
    until_whole(&[&gateway, &one, &two]).await;
    until_models(&gateway, &[("m", &["one"]), ("other", &["two"])]).await;
    let ask = |node: &Node, words| {
        let url = node.url("/v1/inference/m/chat/completions");
        tokio::spawn(client().post(url).json(&says(words)).send())
    };
    let first = ask(&one, "wait");
    until("it is being answered", async || servers[0].records().active == 1).await;
    // One came to the node itself, the other by way of the gateway.
    let waiting = [ask(&one, "hello"), ask(&gateway, "hello")];
    until("both wait", async || node_waits(&one).await == 2).await;

    servers[0].records().models.clear();
    servers[1].records().models.push("m".to_owned());
    reload(&one).await;
    reload(&two).await;
    for node in [&gateway, &one] {
        until_models(node, &[("m", &["two"]), ("other", &["two"])]).await;
    }
    servers[0].go_on();
    assert_eq!(first.await.unwrap().unwrap().status().as_u16(), 200);
    for waits in waiting {
        let response = waits.await.unwrap().unwrap();
        let status = response.status().as_u16();
        assert_eq!((status, response.text().await.unwrap().contains("two: hello")), (200, true));
    }
}

#[tokio::test]
async fn a_chat_that_waited_for_a_model_that_is_gone_is_told_so() {
    let server = ModelServer::start(&["m", "other"]);
    let spec = inference("node", &providers(&[("gpu", &vllm(&server))]));
    let node = one_at_a_time(spec).start();
    until_models(&node, &[("m", &["node"]), ("other", &["node"])]).await;
    let url = node.url("/v1/inference/m/chat/completions");
    let ask = |words| tokio::spawn(client().post(&url).json(&says(words)).send());
    let first = ask("wait");
    until("it is being answered", async || server.records().active == 1).await;
    let second = ask("hello");
    until("the second waits", async || node_waits(&node).await == 1).await;
    server.records().models.retain(|model| model == "other");
    reload(&node).await;
    until_models(&node, &[("other", &["node"])]).await;
    server.go_on();
    assert_eq!(first.await.unwrap().unwrap().status().as_u16(), 200);
    let response = second.await.unwrap().unwrap();
    assert_eq!(response.status().as_u16(), 404);
    let error: Value = response.json().await.unwrap();
    assert_eq!(error["code"], "model_not_found", "{error}");
    assert!(text(&error["detail"]).contains("served are other"), "{error}");
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
async fn a_model_server_that_breaks_off_in_a_stream_is_told_as_such() {
    let server = ModelServer::start(&["m"]);
    let nodes = gateway_and(&[("gpu", &server)], "m").await;
    let mut body = says("break");
    body["stream"] = true.into();
    let url = nodes[0].url("/v1/inference/m/chat/completions");
    let mut response = client().post(url).json(&body).send().await.unwrap();
    assert_eq!(response.chunk().await.unwrap().unwrap(), "data: first\n\n");
    server.go_on();
    let rest = response.text().await.unwrap();
    let event = rest.split("event: error\ndata: ").nth(1).unwrap_or_default();
    let error: Value = serde_json::from_str(event.trim()).unwrap();
    assert_eq!(error["error"]["code"], "upstream_connection_lost", "{rest}");
    assert!(text(&error["detail"]).contains("to the model server broke"), "{rest}");
}
