//! `astromeshctl mesh ...`: the mesh as one node sees it.
//!
//! Owns what the three commands share: asking for the state and drawing its table.

mod leave;
mod nodes;
mod status;

use std::time::Duration;

use clap::Subcommand;

use super::Global;
use super::client::Client;
use super::failure::Failure;
use super::output::Output;

pub(super) use nodes::table;

/// How long these commands wait unless told otherwise.
const PATIENCE: Duration = Duration::from_secs(5);

/// Where a node tells its view.
pub(super) const STATE: [&str; 3] = ["v1", "mesh", "state"];

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Show how many members there are, in which state, and who leads
    Status,
    /// List the members with what they serve and how busy they are
    Nodes,
    /// Make the daemon's node leave the mesh, and wait until it has
    ///
    /// The node tells the others that it goes, so that they stop choosing it at once. Its daemon
    /// keeps running; a restart joins again.
    Leave,
}

pub(super) async fn run(
    global: &Global,
    output: &Output,
    command: &Command,
) -> Result<(), Failure> {
    let client = Client::new(global, PATIENCE)?;
    match command {
        Command::Status => status::run(&client, output).await,
        Command::Nodes => nodes::run(&client, output).await,
        Command::Leave => leave::run(&client, output).await,
    }
}
