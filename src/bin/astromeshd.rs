//! The daemon: arguments to the library, and its exit code.

use std::process::ExitCode;

use clap::Parser;

/// The astromesh daemon: one node of a self-healing mesh for AI agents.
#[derive(Debug, Parser)]
#[command(name = "astromeshd", version, after_help = astromesh::node::EXIT_CODES)]
struct Cli {
    #[command(flatten)]
    args: astromesh::node::Args,
}

fn main() -> ExitCode {
    astromesh::node::main(Cli::parse().args)
}
