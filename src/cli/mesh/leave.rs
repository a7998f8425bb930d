//! `mesh leave`: the node leaves, and says so itself before we do.

use std::time::Duration;

use tokio::time::Instant;

use crate::api::types::{LeaveRequest, MeshState, Node};
use crate::cli::client::Client;
use crate::cli::failure::Failure;
use crate::cli::output::{Format, Output, Stream, Tone};

use super::{PATIENCE, STATE};

/// How often the node is asked whether it has left.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

pub(super) async fn run(client: &Client, output: &Output) -> Result<(), Failure> {
    let request = LeaveRequest { node_id: "self".to_owned() };
    let answer = client.post(&["v1", "mesh", "leave"], &request).await?;
    let name = confirmed(client).await?;
    if output.format == Format::Json {
        return output.json(&answer.text);
    }
    let name = output.printable(Stream::Stdout, &name);
    let done = output.paint(Stream::Stdout, Tone::Good, "Left the mesh:");
    let again = format!("{done} {name}\nIts daemon keeps running; restart it to join again.");
    output.line(Stream::Stdout, &again)
}

/// Waits until the node itself says that it has left; returns its name.
async fn confirmed(client: &Client) -> Result<String, Failure> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let state: MeshState = client.get(&STATE).await?.read()?;
        let status = match this_node(&state) {
            Some(node) if node.status == "left" => return Ok(node.name.clone()),
            Some(node) => node.status.clone(),
            None => "unknown".to_owned(),
        };
        if Instant::now() >= deadline {
            return Err(Failure::LeaveNotConfirmed { status });
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

fn this_node(state: &MeshState) -> Option<&Node> {
    let id = state.this_node.as_ref()?;
    state.nodes.iter().find(|node| node.node_id == *id)
}
