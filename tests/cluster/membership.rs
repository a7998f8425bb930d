//! Members find each other, notice failures, and come back.

use std::fs;
use std::time::Duration;

use crate::harness::{Node, Spec, mesh, until, until_one_leader, until_seen, until_whole};

fn all(nodes: &[Node]) -> Vec<&Node> {
    nodes.iter().collect()
}

async fn five() -> Vec<Node> {
    mesh((1..5).map(|n| Spec::new(&format!("worker-{n}"))).collect()).await
}

#[tokio::test]
async fn five_daemons_started_at_once_with_the_seed_last_agree_within_five_seconds() {
    let seed = Spec::new("seed");
    let seeds = [seed.url()];
    let mut nodes: Vec<Node> =
        (1..5).map(|n| Spec::new(&format!("node-{n}")).seeds(&seeds).start()).collect();
    nodes.push(seed.start());
    let took = until_whole(&all(&nodes)).await;
    until_one_leader(&all(&nodes)).await;
    assert!(took < Duration::from_secs(5), "took {took:?}");
}

#[tokio::test]
async fn a_seed_started_long_after_the_others_brings_them_together() {
    let seed = Spec::new("seed");
    // With and without a trailing slash.
    let a = Spec::new("a").seeds(&[seed.url()]).start();
    let b = Spec::new("b").seeds(&[format!("{}/", seed.url())]).start();
    until("both serve alone", async || a.view().await.len() == 1 && b.view().await.len() == 1)
        .await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let seed = seed.start();
    until_whole(&[&a, &b, &seed]).await;
}

#[tokio::test]
async fn a_killed_leader_is_dead_everywhere_within_ten_seconds_and_replaced_at_once() {
    let mut nodes = five().await;
    let leader = until_one_leader(&all(&nodes)).await;
    let mut position = 0;
    for (index, node) in nodes.iter().enumerate() {
        if node.id().await == leader {
            position = index;
        }
    }
    let mut victim = nodes.remove(position);
    let name = victim.name().to_owned();

    victim.kill();

    let took = until_seen(&all(&nodes), &name, "dead").await;
    assert!(took < Duration::from_secs(10), "took {took:?}");
    let started = std::time::Instant::now();
    let next = until_one_leader(&all(&nodes)).await;
    assert!(next != leader && started.elapsed() < Duration::from_secs(1));
}

#[tokio::test]
async fn a_stopped_daemon_is_dead_within_ten_seconds_and_alive_again_once_it_goes_on() {
    let nodes = five().await;
    let (stopped, others) = nodes.split_last().unwrap();

    stopped.signal("STOP");
    let took = until_seen(&all(others), stopped.name(), "dead").await;
    stopped.signal("CONT");

    assert!(took < Duration::from_secs(10), "took {took:?}");
    until_whole(&all(&nodes)).await;
    until_one_leader(&all(&nodes)).await;
}

#[tokio::test]
async fn a_daemon_that_stood_still_knows_that_its_datagrams_had_to_wait() {
    let nodes = mesh(vec![Spec::new("a")]).await;
    let before = nodes[1].counter("queue_delays").await;

    // The other one probes it once a second.
    nodes[1].signal("STOP");
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    nodes[1].signal("CONT");

    until("the delay is noticed", async || nodes[1].counter("queue_delays").await > before).await;
    assert_eq!(nodes[1].counter("socket_drops").await, 0);
}

#[tokio::test]
#[ignore = "takes more than a minute"]
async fn a_daemon_stopped_for_65_seconds_comes_back_by_itself() {
    let nodes = five().await;
    let (stopped, others) = nodes.split_last().unwrap();

    stopped.signal("STOP");
    until_seen(&all(others), stopped.name(), "dead").await;
    tokio::time::sleep(Duration::from_secs(65)).await;
    stopped.signal("CONT");

    let took = until_whole(&all(&nodes)).await;
    println!("whole again {took:?} after SIGCONT");
    until_one_leader(&all(&nodes)).await;
}

#[tokio::test]
async fn a_restarted_node_leaves_no_ghost() {
    let mut nodes = mesh(vec![Spec::new("a"), Spec::new("b")]).await;
    let id = nodes[2].id().await;

    nodes[2].kill();
    nodes[2].restart();
    until_whole(&all(&nodes)).await;

    assert_eq!(nodes[2].id().await, id, "the identity is kept");
    let state = nodes[0].state().await.unwrap();
    assert_eq!(state["nodes"].as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn a_killed_seed_that_starts_again_is_found_again() {
    let mut nodes = mesh(vec![Spec::new("a"), Spec::new("b")]).await;

    nodes[0].kill();
    until_seen(&[&nodes[1], &nodes[2]], "gateway", "dead").await;
    nodes[0].restart();

    until_whole(&all(&nodes)).await;
}

#[tokio::test]
async fn a_node_with_a_new_identity_replaces_its_old_self_at_once() {
    let mut nodes = mesh(vec![Spec::new("a"), Spec::new("b")]).await;
    let old = nodes[2].id().await;

    nodes[2].kill();
    fs::remove_dir_all(nodes[2].data_dir()).unwrap();
    nodes[2].restart();

    let took = until("the new one is alive and the old one has left", async || {
        let Some(state) = nodes[0].state().await else { return false };
        let status = |wanted: bool| {
            let nodes = state["nodes"].as_array().unwrap();
            let node = nodes
                .iter()
                .find(|node| node["name"] == "b" && (node["node_id"] == old.as_str()) == wanted);
            node.map(|node| crate::harness::text(&node["status"]))
        };
        status(false).as_deref() == Some("alive") && status(true).as_deref() == Some("left")
    })
    .await;
    assert!(took < Duration::from_secs(5), "took {took:?}");
}

#[tokio::test]
async fn two_clusters_never_mix() {
    let ours = mesh(vec![Spec::new("a")]).await;
    let mut theirs = Spec::new("stranger")
        .seeds(&[ours[0].spec.url()])
        .mesh_key("cluster", "another".into())
        .start();
    theirs.expect_errors();
    until("the stranger serves", async || theirs.view().await.len() == 1).await;

    tokio::time::sleep(Duration::from_secs(3)).await;

    assert_eq!(theirs.view().await.len(), 1);
    assert_eq!(ours[0].view().await.len(), 2);
    assert!(theirs.log().contains("cluster"), "{}", theirs.log());
}
