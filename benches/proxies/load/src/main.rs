//! One program, three parts, for the scripts beside it; each runs on one thread.
//!
//! * `bench-load backend` answers HTTP/1.1: at once, after some time, or as a stream of events.
//! * `bench-load closed` keeps a number of connections busy and prints what came of it as JSON.
//! * `bench-load replay` sends the requests of a plan at their times, whether or not earlier ones
//!   are answered, and prints a line for each.
//!
//! All times are microseconds of `CLOCK_MONOTONIC`, so that those of two processes, and of a
//! script's `time.monotonic()`, can be subtracted.

#![forbid(unsafe_code)]

mod arguments;
mod backend;
mod client;
mod clock;
mod closed;
mod event;
mod replay;

use arguments::Arguments;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let mut words = std::env::args().skip(1);
    let part = words.next().unwrap_or_default();
    let arguments = Arguments::new(words);
    let done = match part.as_str() {
        "backend" => backend::run(arguments).await,
        "closed" => closed::run(arguments).await,
        "replay" => replay::run(arguments).await,
        _ => Err("the first word is backend, closed or replay".into()),
    };
    if let Err(error) = done {
        eprintln!("bench-load {part}: {error}");
        std::process::exit(2);
    }
}
