//! A restarted node finds its mesh again, whoever is still there.

use std::fs;

use serde_json::{Value, json};

use crate::harness::{Node, Spec, mesh, until, until_seen, until_whole};

fn stop(node: &mut Node) {
    node.signal("TERM");
    assert_eq!(node.wait().code(), Some(0));
}

/// `peers.json` of a node.
fn peers(node: &Node) -> Option<Value> {
    let text = fs::read_to_string(node.data_dir().join("peers.json")).ok()?;
    serde_json::from_str(&text).ok()
}

/// The ports that `peers.json` of a node names, sorted.
fn kept(node: &Node) -> Vec<u64> {
    let peers = peers(node).unwrap_or_default();
    let port = |peer: &Value| {
        let url = peer["url"].as_str()?.trim_end_matches('/');
        url.rsplit_once(':')?.1.parse().ok()
    };
    let mut ports: Vec<u64> =
        peers["members"].as_array().into_iter().flatten().filter_map(port).collect();
    ports.sort_unstable();
    ports
}

#[tokio::test]
async fn a_node_whose_seed_is_gone_for_good_finds_the_mesh_through_its_last_members() {
    let mut nodes = mesh(vec![Spec::new("a"), Spec::new("b")]).await;
    let mut gateway = nodes.remove(0);
    stop(&mut gateway);
    until_seen(&[&nodes[0], &nodes[1]], "gateway", "left").await;

    stop(&mut nodes[0]);
    nodes[0].restart();

    let took = until_seen(&[&nodes[1]], "a", "alive").await;
    until_seen(&[&nodes[0]], "b", "alive").await;
    println!("back after {took:?}");

    // Neither a goodbye nor seeds: what a node knew before it was killed is enough.
    until("b keeps a", async || kept(&nodes[1]).contains(&u64::from(nodes[0].spec.port))).await;
    nodes[1].kill();
    let file = nodes[1].config_dir().join("runtime.yaml");
    let mut runtime: Value = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
    runtime["spec"]["mesh"]["seeds"] = json!([]);
    fs::write(&file, runtime.to_string()).unwrap();
    nodes[1].restart();

    until_seen(&[&nodes[1]], "a", "alive").await;
    until_seen(&[&nodes[0]], "b", "alive").await;
}

#[tokio::test]
async fn a_file_of_members_that_makes_no_sense_is_named_ignored_and_written_anew() {
    let mut nodes = mesh(vec![Spec::new("a"), Spec::new("b")]).await;
    let gateway = u64::from(nodes[0].spec.port);
    let others = [u64::from(nodes[1].spec.port), u64::from(nodes[2].spec.port)];
    let foreign = json!({"cluster": "theirs", "members": []}).to_string();
    for (node, text) in [(1, "not even JSON"), (2, foreign.as_str())] {
        stop(&mut nodes[node]);
        assert!(kept(&nodes[node]).contains(&gateway), "{:?}", peers(&nodes[node]));
        fs::write(nodes[node].data_dir().join("peers.json"), text).unwrap();
        nodes[node].restart();
    }

    until_whole(&nodes.iter().collect::<Vec<_>>()).await;

    for (node, reason) in [(1, "damaged"), (2, "`theirs`")] {
        let log = nodes[node].log();
        let warning = log.lines().find(|line| line.contains("WARN") && line.contains("peers.json"));
        assert!(warning.is_some_and(|line| line.contains(reason)), "{log}");
        let mut expected = vec![gateway, others[2 - node]];
        expected.sort_unstable();
        stop(&mut nodes[node]);
        assert_eq!(kept(&nodes[node]), expected);
        nodes[node].restart();
        until_whole(&nodes.iter().collect::<Vec<_>>()).await;
    }
}

#[tokio::test]
async fn a_node_that_sees_nobody_keeps_whom_it_saw_last() {
    let mut nodes = mesh(vec![Spec::new("a")]).await;
    let port = u64::from(nodes[1].spec.port);
    until("a is kept", async || kept(&nodes[0]) == [port]).await;
    stop(&mut nodes[1]);
    until_seen(&[&nodes[0]], "a", "left").await;

    stop(&mut nodes[0]);
    nodes[0].restart();
    until("it serves alone", async || nodes[0].view().await.len() == 1).await;
    stop(&mut nodes[0]);

    assert_eq!(kept(&nodes[0]), [port]);
}
