//! A node of memberlist 0.8.5, the Rust one: UDP and TCP, `Options::lan()` with its two probe
//! times set right, no checksums, no compression, no encryption, on tokio with one thread.
//!
//! `peer-memberlist --bind ADDR [--seed ADDR] --name NAME` prints `UP id` and `DOWN id` for the
//! others; the id is their name.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use memberlist::Options;
use memberlist::agnostic::tokio::TokioRuntime;
use memberlist::delegate::{CompositeDelegate, EventDelegate};
use memberlist::net::NetTransportOptions;
use memberlist::net::stream_layer::tcp::Tcp;
use memberlist::proto::{MaybeResolvedAddress, NodeState};
use memberlist::tokio::{TokioSocketAddrResolver, TokioTcpMemberlist};

type Name = smol_str::SmolStr;

/// Prints what it is told.
struct Printer {
    own_name: Name,
}

impl Printer {
    fn print(&self, change: &str, node: &NodeState<Name, SocketAddr>) {
        if *node.id() != self.own_name {
            println!("{change} {}", node.id());
        }
    }
}

impl EventDelegate for Printer {
    type Id = Name;
    type Address = SocketAddr;

    async fn notify_join(&self, node: Arc<NodeState<Name, SocketAddr>>) {
        self.print("UP", &node);
    }

    async fn notify_leave(&self, node: Arc<NodeState<Name, SocketAddr>>) {
        self.print("DOWN", &node);
    }

    async fn notify_update(&self, _: Arc<NodeState<Name, SocketAddr>>) {}
}

/// Wait between two tries to join.
const JOIN_INTERVAL: Duration = Duration::from_millis(500);

fn argument(name: &str) -> Option<String> {
    std::env::args().skip_while(|argument| argument != name).nth(1)
}

/// 0.8.5 ships these two swapped: 500 ms between probes and 1 s for each. The Go original, its own
/// comments and its later versions say 1 s and 500 ms.
fn options() -> Options {
    Options::lan()
        .with_probe_interval(Duration::from_secs(1))
        .with_probe_timeout(Duration::from_millis(500))
}

async fn run() -> Result<(), Box<dyn std::error::Error>> {
    let bind: SocketAddr = argument("--bind").ok_or("--bind is missing")?.parse()?;
    let seed: Option<SocketAddr> = argument("--seed").map(|seed| seed.parse()).transpose()?;
    let name: Name = argument("--name").ok_or("--name is missing")?.into();
    let mut transport: NetTransportOptions<Name, TokioSocketAddrResolver, Tcp<TokioRuntime>> =
        NetTransportOptions::new(name.clone()).with_advertise_address(bind);
    transport.add_bind_address(bind);
    let delegate = CompositeDelegate::new().with_event_delegate(Printer { own_name: name });
    let node = TokioTcpMemberlist::with_delegate(delegate, transport, options())
        .await
        .map_err(|error| error.to_string())?;
    if let Some(seed) = seed {
        while let Err(error) = node.join(MaybeResolvedAddress::Resolved(seed)).await {
            eprintln!("joining failed, trying on: {error}");
            tokio::time::sleep(JOIN_INTERVAL).await;
        }
    }
    std::future::pending().await
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(run())
}
