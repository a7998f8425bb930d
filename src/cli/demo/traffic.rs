//! Requests through the gateway, and who answered them.
//!
//! Owns the count of what was asked, answered and lost. A request is lost when the caller did not
//! get an answer of the agent, for whatever reason: it is never asked again from here.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::api::types::{RunRequest, RunResponse};
use crate::cli::client::Client;
use crate::cli::failure::Failure;

use super::profile::AGENT;

/// How many reasons for lost requests are kept, to be shown.
const REASONS_MAX: usize = 3;

/// What became of a number of requests.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(super) struct Tally {
    /// Those sent.
    pub(super) sent: usize,
    /// Those answered by the agent.
    pub(super) answered: usize,
    /// Those not answered.
    pub(super) lost: usize,
    /// The first few reasons for the lost ones.
    pub(super) reasons: Vec<String>,
    /// Answers by the name of the node that ran the agent.
    pub(super) by_node: BTreeMap<String, usize>,
}

impl Tally {
    fn note(&mut self, outcome: Result<Option<String>, String>) {
        self.sent += 1;
        match outcome {
            Ok(node) => {
                self.answered += 1;
                let node = node.unwrap_or_else(|| "(not said)".to_owned());
                *self.by_node.entry(node).or_default() += 1;
            }
            Err(reason) => {
                self.lost += 1;
                if self.reasons.len() < REASONS_MAX {
                    self.reasons.push(reason);
                }
            }
        }
    }
}

/// How many requests, and how many of them at the same time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Volume {
    /// No more than this in all.
    pub(super) total_max: usize,
    /// No more than this at once.
    pub(super) in_flight_max: usize,
}

/// Sends requests, a few at a time, as long as `go_on` says so; waits for all answers.
pub(super) async fn send(
    gateway: &Arc<Client>,
    volume: Volume,
    go_on: impl Fn() -> bool,
    progress: impl Fn(&Tally),
) -> Tally {
    let mut tally = Tally::default();
    let mut in_flight = JoinSet::new();
    let mut started = 0;
    loop {
        while in_flight.len() < volume.in_flight_max && started < volume.total_max && go_on() {
            started += 1;
            in_flight.spawn(ask(Arc::clone(gateway), started));
        }
        let Some(outcome) = in_flight.join_next().await else { return tally };
        tally.note(outcome.unwrap_or_else(|error| Err(error.to_string())));
        progress(&tally);
    }
}

/// Asks once; the name of the node that ran the agent, or why there is no answer.
async fn ask(gateway: Arc<Client>, number: usize) -> Result<Option<String>, String> {
    let request = RunRequest {
        caller: None,
        query: format!("Say hello to request {number} in five words."),
        session_id: format!("demo-{number}"),
        context: None,
    };
    // A key for each request lets the gateway ask a second worker when the first one dies.
    let key = Uuid::new_v4().to_string();
    let path = ["v1", "agents", AGENT, "run"];
    let outcome = gateway.post_with_key(&path, &request, &key).await;
    let answer = outcome.map_err(|failure: Failure| failure.to_string())?;
    let response: RunResponse = answer.read().map_err(|failure| failure.to_string())?;
    if response.answer.is_empty() {
        return Err("the answer is empty".to_owned());
    }
    Ok(answer.node)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_request_is_either_answered_or_lost() {
        let mut tally = Tally::default();
        for number in 0..10 {
            tally.note(match number % 5 {
                0 => Err(format!("reason {number}")),
                1 => Ok(None),
                _ => Ok(Some("worker-1".to_owned())),
            });
        }
        assert_eq!((tally.sent, tally.answered, tally.lost), (10, 8, 2));
        assert_eq!(tally.reasons, ["reason 0", "reason 5"]);
        assert_eq!(tally.by_node["worker-1"], 6);
        assert_eq!(tally.by_node["(not said)"], 2);
        for _ in 0..10 {
            tally.note(Err("more".to_owned()));
        }
        assert_eq!((tally.lost, tally.reasons.len()), (12, REASONS_MAX));
    }
}
