//! `mesh nodes`: one row a member.

use comfy_table::Table;

use crate::api::types::{MeshState, Node};
use crate::cli::client::Client;
use crate::cli::failure::Failure;
use crate::cli::output::{Fit, Format, Output, Stream, Tone, state_tone};

use super::STATE;

pub(super) async fn run(client: &Client, output: &Output) -> Result<(), Failure> {
    let answer = client.get(&STATE).await?;
    if output.format == Format::Json {
        return output.json(&answer.text);
    }
    let state: MeshState = answer.read()?;
    let table = table(&state, output, Stream::Stdout);
    output.line(Stream::Stdout, &output.table_text(&table))
}

/// The members, ordered by name; those with the same name by URL.
pub(in crate::cli) fn table(state: &MeshState, output: &Output, stream: Stream) -> Table {
    let columns = [
        ("Name", Fit::Whole),
        ("URL", Fit::Whole),
        // `observability` is the longest name of a service.
        ("Services", Fit::Wrap { cells_min: 13 }),
        ("Agents", Fit::Wrap { cells_min: 6 }),
        // `CPU:100%` over `Req:12`.
        ("Load", Fit::Wrap { cells_min: 8 }),
        ("Status", Fit::Whole),
        ("Leader", Fit::Whole),
        ("Models", Fit::Wide),
        ("Memory", Fit::Wide),
        ("Limit", Fit::Wide),
        ("Gossip", Fit::Wide),
        ("Start", Fit::Wide),
        ("Id", Fit::Wide),
    ];
    let mut table = output.table(stream, &columns);
    let mut nodes: Vec<&Node> = state.nodes.iter().collect();
    nodes.sort_by(|a, b| (&a.name, &a.url).cmp(&(&b.name, &b.url)));
    for node in nodes {
        let load = format!("CPU:{:.0}% Req:{}", node.load.cpu_percent, node.load.active_requests);
        let leads = state.leader_id.as_ref() == Some(&node.node_id);
        table.add_row([
            output.cell(&node.name),
            output.cell(&node.url),
            output.cell(&node.services.join(", ")),
            output.cell(&node.agents.join(", ")),
            output.cell(&load),
            output.toned_cell(stream, &node.status, state_tone(&node.status)),
            if leads { output.toned_cell(stream, "YES", Tone::Strong) } else { output.cell("") },
            output.cell(&node.models.join(", ")),
            output.cell(&format!("{:.0}%", node.load.memory_percent)),
            output.cell(&if node.load.limit == 0 {
                "none".to_owned()
            } else {
                node.load.limit.to_string()
            }),
            output.cell(node.gossip_address.as_deref().unwrap_or_default()),
            output.cell(&node.generation.to_string()),
            output.cell(&node.node_id),
        ]);
    }
    table
}
