//! A network that comes apart and together again: network namespaces and nftables, as root.

use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::Value;

use crate::harness::{Node, Spec, text, until};

/// Two namespaces joined by a pair of interfaces; deleted when dropped.
struct Halves {
    names: [String; 2],
}

/// Addresses of the nodes in each half.
const ADDRESSES: [&[&str]; 2] =
    [&["10.99.7.1", "10.99.7.2"], &["10.99.7.3", "10.99.7.4", "10.99.7.5"]];

fn sh(line: &str) {
    let status = Command::new("sh").args(["-ec", line]).status().unwrap();
    assert!(status.success(), "failed: {line}");
}

impl Halves {
    fn make() -> Self {
        // One pair for each test of this process; interface names have at most 15 bytes.
        static PAIRS: AtomicU32 = AtomicU32::new(0);
        let id = format!("am{}p{}", std::process::id(), PAIRS.fetch_add(1, Ordering::Relaxed));
        let names = [format!("{id}a"), format!("{id}b")];
        let [a, b] = &names;
        sh(&format!("ip netns add {a}; ip netns add {b}"));
        let halves = Self { names: names.clone() };
        sh(&format!(
            "ip link add {a} type veth peer name {b}; ip link set {a} netns {a}; \
             ip link set {b} netns {b}"
        ));
        for (name, addresses) in names.iter().zip(ADDRESSES) {
            sh(&format!("ip -n {name} link set lo up; ip -n {name} link set {name} up"));
            for address in addresses {
                sh(&format!("ip -n {name} addr add {address}/24 dev {name}"));
            }
        }
        halves
    }

    /// Drops everything between the halves, both ways.
    fn cut(&self) {
        let [a, _] = &self.names;
        sh(&format!(
            "ip netns exec {a} nft 'table inet cut {{ \
               chain in {{ type filter hook input priority 0; iif {a} drop; }}; \
               chain out {{ type filter hook output priority 0; oif {a} drop; }}; }}'"
        ));
    }

    /// Drops datagrams between two addresses of different halves, in this direction only.
    fn cut_path(&self, from: &str, to: &str) {
        let [a, _] = &self.names;
        sh(&format!(
            "ip netns exec {a} nft 'table inet cut {{ chain out {{ \
               type filter hook output priority 0; \
               ip saddr {from} ip daddr {to} meta l4proto udp drop; }}; }}'"
        ));
    }

    fn mend(&self) {
        sh(&format!("ip netns exec {} nft delete table inet cut", self.names[0]));
    }
}

impl Drop for Halves {
    fn drop(&mut self) {
        for name in &self.names {
            Command::new("ip").args(["netns", "del", name]).status().ok();
        }
    }
}

/// Number of alive and of dead members in a node's view.
fn counts(node: &Node) -> (usize, usize) {
    let nodes = members(node);
    let count = |status: &str| nodes.iter().filter(|node| node["status"] == status).count();
    (count("alive"), count("dead"))
}

/// The HTTP addresses in a node's view.
fn urls(node: &Node) -> Vec<String> {
    members(node).iter().map(|node| text(&node["url"])).collect()
}

/// A node's view.
fn members(node: &Node) -> Vec<Value> {
    ctl(node, &["mesh", "nodes"])["nodes"].as_array().cloned().unwrap_or_default()
}

/// What a command says as JSON, run within the namespace of the node.
fn ctl(node: &Node, arguments: &[&str]) -> Value {
    let output = Command::new(&node.spec.prefix[0])
        .args(&node.spec.prefix[1..])
        .arg(env!("CARGO_BIN_EXE_astromeshctl"))
        .args(["--url", &node.spec.url(), "--json"])
        .args(arguments)
        .output()
        .unwrap();
    serde_json::from_slice(&output.stdout).unwrap_or_default()
}

/// One node for each address, all with the first as seed.
fn start_all(halves: &Halves) -> Vec<Node> {
    let mut nodes = Vec::new();
    let seed = format!("http://{}:8000", ADDRESSES[0][0]);
    for (namespace, addresses) in halves.names.iter().zip(ADDRESSES) {
        for address in addresses {
            let mut spec = Spec::new(&format!("node-{address}"));
            // Each node has an address of its own in namespaces of this test's own.
            (spec.host, spec.port) = ((*address).to_owned(), 8000);
            spec.prefix = ["ip", "netns", "exec", namespace].map(str::to_owned).into();
            nodes.push(spec.seeds(std::slice::from_ref(&seed)).start());
        }
    }
    nodes
}

#[tokio::test]
#[ignore = "needs root and iproute2"]
async fn the_default_configuration_works_across_hosts() {
    let halves = Halves::make();
    let seed = format!("http://{}:8000", ADDRESSES[0][0]);
    let mut nodes = Vec::new();
    for (namespace, name) in halves.names.iter().zip(["gateway", "worker"]) {
        // Bound to every address and told nothing about its own: the others have to tell.
        let mut spec = Spec::new(name);
        (spec.host, spec.port) = ("0.0.0.0".to_owned(), 8000);
        spec.prefix = ["ip", "netns", "exec", namespace].map(str::to_owned).into();
        let seeds = if name == "gateway" { vec![] } else { vec![seed.clone()] };
        nodes.push(spec.seeds(&seeds).start());
    }
    until("both alive in both views", async || nodes.iter().all(|node| counts(node) == (2, 0)))
        .await;
    // Long enough for a wrong address to be found out.
    tokio::time::sleep(Duration::from_secs(8)).await;
    for node in &nodes {
        assert_eq!(counts(node), (2, 0), "{}", node.log());
        let urls = urls(node);
        assert!(urls.iter().all(|url| url.starts_with("http://10.99.7.")), "{urls:?}");
    }
}

#[tokio::test]
#[ignore = "takes two minutes, needs root, iproute2 and nftables"]
async fn halves_cut_off_for_a_minute_are_whole_again_without_help() {
    let halves = Halves::make();
    let nodes = start_all(&halves);
    until("five alive everywhere", async || nodes.iter().all(|node| counts(node) == (5, 0))).await;

    halves.cut();
    until("each half holds the other dead", async || {
        nodes[..2].iter().all(|node| counts(node) == (2, 3))
            && nodes[2..].iter().all(|node| counts(node) == (3, 2))
    })
    .await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    halves.mend();

    let took =
        until("five alive everywhere", async || nodes.iter().all(|node| counts(node) == (5, 0)))
            .await;
    println!("whole again {took:?} after the cut");
}

#[tokio::test]
#[ignore = "needs root, iproute2 and nftables"]
async fn the_doctor_on_either_side_of_a_blocked_path_says_which_way_is_blocked() {
    let halves = Halves::make();
    let nodes = start_all(&halves);
    until("five alive everywhere", async || nodes.iter().all(|node| counts(node) == (5, 0))).await;
    let (from, to) = (ADDRESSES[0][0], ADDRESSES[1][0]);

    halves.cut_path(from, to);

    // Datagrams of the first do not arrive at the third, neither its pings nor its acks.
    let told = async |node: &Node, about: &str, words: &str| {
        let mut check = Value::Null;
        until(words, async || {
            check = ctl(node, &["doctor"])["checks"][format!("member:node-{about}")].clone();
            check["status"] == "degraded" && text(&check["message"]).contains(words)
        })
        .await;
        assert_eq!(check["member_status"], "alive", "{check}");
        check
    };
    let check = told(&nodes[0], to, "its own datagrams come here").await;
    assert!(text(&check["remedy"]).contains(&format!("UDP {to}:8000")), "{check}");
    told(&nodes[2], from, "nothing came from it").await;
    // Nobody else sees anything wrong.
    let others = ctl(&nodes[1], &["doctor"]);
    assert_eq!(others["healthy"], true, "{others}");
}
