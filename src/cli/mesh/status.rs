//! `mesh status`: the mesh in five lines.

use crate::api::types::{MeshState, Node};
use crate::cli::client::Client;
use crate::cli::failure::Failure;
use crate::cli::output::{Format, Output, Stream, Tone, state_tone};

use super::STATE;

pub(super) async fn run(client: &Client, output: &Output) -> Result<(), Failure> {
    let answer = client.get(&STATE).await?;
    if output.format == Format::Json {
        return output.json(&answer.text);
    }
    let state: MeshState = answer.read()?;
    output.line(Stream::Stdout, &text(&state, output))
}

fn text(state: &MeshState, output: &Output) -> String {
    let title = output.paint(Stream::Stdout, Tone::Strong, "Mesh Cluster");
    let leader = output.printable(Stream::Stdout, leader_name(state));
    let counts = ["alive", "suspect", "dead", "left"].map(|name| {
        let count = state.nodes.iter().filter(|node| node.status == name).count();
        let (first, rest) = name.split_at(1);
        let text = format!("{}{rest}: {count}", first.to_uppercase());
        let tone = if count == 0 { Tone::Faint } else { state_tone(name) };
        output.paint(Stream::Stdout, tone, &text)
    });
    format!(
        "{title}\n  Nodes:   {}\n  Leader:  {leader}\n  Version: {}\n  {}",
        state.nodes.len(),
        state.version,
        counts.join("  "),
    )
}

/// The leader's name; its id when this node does not know it; `none` when nobody leads.
fn leader_name(state: &MeshState) -> &str {
    let Some(id) = &state.leader_id else { return "none" };
    let is_leader = |node: &&Node| node.node_id == *id;
    state.nodes.iter().find(is_leader).map_or(id, |node| &node.name)
}
