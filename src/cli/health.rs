//! `health`: whether the node takes work, in one word and one exit code.

use std::time::Duration;

use super::Global;
use super::client::Client;
use super::failure::Failure;
use super::output::{Format, Output, Stream, Tone};

pub(super) const EXAMPLES: &str = "\
Examples:
  astromeshctl health                        the health check of the container image
  until astromeshctl health; do sleep 1; done";

const PATIENCE: Duration = Duration::from_secs(3);

pub(super) async fn run(global: &Global, output: &Output) -> Result<(), Failure> {
    let answer = Client::new(global, PATIENCE)?.get(&["readyz"]).await?;
    match output.format {
        Format::Json => output.json(&answer.text),
        Format::Text => {
            output.line(Stream::Stdout, &output.paint(Stream::Stdout, Tone::Good, "ready"))
        }
    }
}
