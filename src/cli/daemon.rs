//! `daemon`: this process becomes a node, as `astromeshd` would.
//!
//! Owns only the tie to a parent: a node started by the demo stops when the demo is gone, however
//! it went. All else is [`crate::node`]'s.

use std::io::Read;
use std::process::ExitCode;

use rustix::process::{Signal, getpid, kill_process};

use crate::node;

const EXAMPLES: &str = "\
Examples:
  astromeshctl daemon
  astromeshctl daemon --config ./config --port 8001 --log-level debug";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
// The node's own arguments form a group named after their type, which is `Args` too.
#[group(skip)]
pub(super) struct Args {
    #[command(flatten)]
    node: node::Args,

    /// Stop, as on SIGTERM, when stdin ends
    #[arg(long, hide = true)]
    until_stdin_ends: bool,
}

pub(super) fn main(args: Args) -> ExitCode {
    if args.until_stdin_ends {
        // Not joined: it waits for the end of stdin for as long as the process lives.
        drop(std::thread::spawn(stop_when_stdin_ends));
    }
    node::main(args.node)
}

fn stop_when_stdin_ends() {
    let mut ignored = [0; 64];
    let mut stdin = std::io::stdin().lock();
    while !matches!(stdin.read(&mut ignored), Ok(0) | Err(_)) {}
    kill_process(getpid(), Signal::TERM).expect("a process may always signal itself");
}
