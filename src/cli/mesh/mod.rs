//! `astromeshctl mesh ...`: the mesh as one node sees it, or as it would be.
//!
//! Owns what the commands share that ask a daemon: asking for the state and drawing its table.

mod events;
mod leave;
mod nodes;
mod simulate;
mod status;
mod why;

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

const STATUS_EXAMPLES: &str = "\
Examples:
  astromeshctl mesh status
  astromeshctl --url http://10.0.0.5:8000 mesh status";

const NODES_EXAMPLES: &str = "\
Examples:
  astromeshctl mesh nodes
  astromeshctl mesh nodes -o wide
  astromeshctl mesh nodes --json | jq -r '.nodes[] | select(.status == \"dead\").name'";

const LEAVE_EXAMPLES: &str = "\
Examples:
  astromeshctl mesh leave
  astromeshctl --url http://10.0.0.5:8000 mesh leave";

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Show how many members there are, in which state, and who leads
    #[command(after_help = STATUS_EXAMPLES)]
    Status,
    /// List the members with what they serve and how busy they are
    #[command(after_help = NODES_EXAMPLES)]
    Nodes,
    /// Say why a member was declared dead, and what else happened to it in the last hour
    Why(why::Args),
    /// Follow everything that happens in the mesh, one line an event
    ///
    /// It goes on until it is interrupted or the daemon stops. With --json each event is one line
    /// of JSON.
    Events(events::Args),
    /// Make the daemon's node leave the mesh, and wait until it has
    ///
    /// The node tells the others that it goes, so that they stop choosing it at once. Its daemon
    /// keeps running; a restart joins again.
    #[command(after_help = LEAVE_EXAMPLES)]
    Leave,
    /// Plan a mesh: run your configuration on a virtual clock and measure it
    ///
    /// The very engine and datagrams of the daemon, on one virtual clock and a network of this
    /// size and loss; no daemon is asked. All nodes but one find each other; the last one joins;
    /// nothing happens for --duration; --kill nodes crash at once; --pause nodes stand still; the
    /// mesh is cut in two halves for --partition and heals.
    Simulate(simulate::Args),
}

pub(super) async fn run(
    global: &Global,
    output: &Output,
    command: &Command,
) -> Result<(), Failure> {
    let client = || Client::new(global, PATIENCE);
    match command {
        Command::Status => status::run(&client()?, output).await,
        Command::Nodes => nodes::run(&client()?, output).await,
        Command::Why(args) => why::run(&client()?, output, args).await,
        Command::Events(args) => events::run(global, output, args).await,
        Command::Leave => leave::run(&client()?, output).await,
        Command::Simulate(args) => simulate::run(output, args),
    }
}
