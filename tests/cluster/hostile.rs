//! What comes from outside and is wrong, or a lie.

use std::net::UdpSocket;
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Node, Spec, client, mesh, text, until, until_one_leader, until_whole};

async fn own_node(node: &Node) -> Value {
    let state = node.state().await.unwrap();
    let id = state["this_node"].clone();
    let nodes = state["nodes"].as_array().unwrap();
    nodes.iter().find(|node| node["node_id"] == id).unwrap().clone()
}

#[tokio::test]
async fn forged_claims_about_a_node_are_refuted() {
    let nodes = mesh(vec![Spec::new("a"), Spec::new("b")]).await;
    let all: Vec<&Node> = nodes.iter().collect();
    let victim = own_node(&nodes[2]).await;
    for (what, key, value) in [
        ("dead", "status", json!("dead")),
        ("left", "status", json!("left")),
        ("ahead", "incarnation", json!(1_000)),
        ("of a later life", "generation", json!(77)),
    ] {
        let mut forged = victim.clone();
        forged["url"] = json!("http://127.0.0.9:9");
        forged["gossip_address"] = json!("127.0.0.9:9");
        forged["incarnation"] = json!(500);
        forged["last_heartbeat"] = json!(4e12);
        forged[key] = value;
        // To the victim itself, and to another one.
        for node in [&nodes[2], &nodes[0]] {
            assert_eq!(node.post("/v1/mesh/join", &forged).await.0, 200, "{what}");
            assert_eq!(node.post("/v1/mesh/heartbeat", &forged).await.0, 200, "{what}");
            let body = json!({"nodes": [forged]});
            assert_eq!(node.post("/v1/mesh/gossip", &body).await.0, 200, "{what}");
        }
        until_whole(&all).await;
        until(&format!("all know where it is, after it was called {what}"), async || {
            for node in &all {
                let state = node.state().await.unwrap();
                let nodes = state["nodes"].as_array().unwrap();
                let seen = nodes.iter().find(|node| node["node_id"] == victim["node_id"]).unwrap();
                if seen["url"] != victim["url"] || seen["status"] != "alive" {
                    return false;
                }
            }
            true
        })
        .await;
    }
}

#[tokio::test]
async fn a_forged_node_with_the_highest_id_never_leads() {
    let nodes = mesh(vec![Spec::new("a")]).await;
    let all: Vec<&Node> = nodes.iter().collect();
    let leader = until_one_leader(&all).await;
    let forged = json!({
        "node_id": "ffffffff-ffff-4fff-bfff-ffffffffffff", "name": "king",
        "url": "http://127.0.0.9:9", "joined_at": 1.0, "last_heartbeat": 4e12, "leader": true,
    });
    for node in &nodes {
        assert_eq!(node.post("/v1/mesh/join", &forged).await.0, 200);
        assert_eq!(node.post("/v1/mesh/gossip", &json!({"nodes": [forged]})).await.0, 200);
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    for node in &nodes {
        let state = node.state().await.unwrap();
        assert_eq!(text(&state["leader_id"]), leader);
        assert_eq!(state["nodes"].as_array().unwrap().len(), 2);
    }
}

#[tokio::test]
async fn bad_datagrams_are_counted_by_reason_and_not_answered() {
    let nodes = mesh(vec![]).await;
    let node = &nodes[0];
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    let to = (node.spec.host.clone(), node.spec.port);
    // A ping with a checksum that no cluster has twice, and one that looks like another cluster's.
    let mut damaged = vec![0xA2, 1, 1, 2, 3, 4, 5, 9, 9, 9, 9, 9, 0, 1, 0, 0, 0, 0];
    damaged.extend([1, 2, 3, 4]);
    let cases: [(&str, &[u8], usize); 6] = [
        ("rejected_garbage", b"GET / HTTP/1.1\r\n\r\n", 1),
        ("rejected_truncated", &[0xA2, 1, 1], 1),
        ("rejected_version", &[0xA1; 40], 1),
        ("rejected_oversize", &[0xA2; 1_400], 1),
        ("rejected_checksum", &damaged, 1),
        ("rejected_cluster", &damaged, 1),
    ];
    for (counter, datagram, times) in cases {
        let before = node.counter(counter).await;
        for _ in 0..times {
            socket.send_to(datagram, (to.0.as_str(), to.1)).unwrap();
        }
        until(counter, async || node.counter(counter).await == before + times as u64).await;
    }
    let mut buffer = [0; 2_048];
    assert!(socket.recv(&mut buffer).is_err(), "a bad datagram was answered");
    assert_eq!(node.view().await.len(), 1);
}

#[tokio::test]
async fn bad_bodies_on_mesh_routes_are_named_and_change_nothing() {
    let nodes = mesh(vec![]).await;
    let node = &nodes[0];
    let good = json!({
        "node_id": "0b6f3c1e-8d3a-4f6e-9a51-2f0c7d9e1b42", "name": "n",
        "url": "http://127.0.0.9:9", "joined_at": 1.0, "last_heartbeat": 1.0,
    });
    for (field, value) in [
        ("node_id", json!("zzzz")),
        ("url", json!("not a url")),
        ("status", json!("fine")),
        ("joined_at", json!("yesterday")),
        ("generation", json!(-1)),
        ("agents", json!(7)),
    ] {
        let mut bad = good.clone();
        bad[field] = value;
        for (path, body) in [
            ("/v1/mesh/join", bad.clone()),
            ("/v1/mesh/heartbeat", bad.clone()),
            ("/v1/mesh/gossip", json!({"nodes": [bad]})),
        ] {
            let (status, answer) = node.post(path, &body).await;
            assert_eq!(status, 422, "{path} {field}: {answer}");
            assert!(answer["detail"].to_string().contains(field), "{path}: {answer}");
        }
    }
    let (status, answer) = node.post("/v1/mesh/leave", &json!({"node_id": "zzzz"})).await;
    assert_eq!(status, 422, "{answer}");
    let (status, _) = node.post("/v1/mesh/election", &json!({})).await;
    assert_eq!(status, 422);
    assert_eq!(node.view().await, [("gateway".to_owned(), "alive".to_owned())]);
}

#[tokio::test]
async fn a_page_in_a_browser_cannot_take_a_node_out_of_its_mesh() {
    let nodes = mesh(vec![]).await;
    let url = nodes[0].url("/v1/mesh/leave");
    let request = client().post(url).header("origin", "http://example.org");
    let response = request.body("{\"node_id\": \"self\"}").send().await.unwrap();
    assert_eq!(response.status().as_u16(), 403);
    assert_eq!(nodes[0].status_of("gateway").await.as_deref(), Some("alive"));
}

#[tokio::test]
async fn a_leave_in_the_name_of_a_live_node_does_not_remove_it() {
    let nodes = mesh(vec![Spec::new("a")]).await;
    let all: Vec<&Node> = nodes.iter().collect();
    let id = nodes[1].id().await;
    let (status, body) = nodes[0].post("/v1/mesh/leave", &json!({"node_id": id})).await;
    assert_eq!((status, &body["status"]), (200, &json!("ok")));
    tokio::time::sleep(Duration::from_secs(2)).await;
    until_whole(&all).await;
}
