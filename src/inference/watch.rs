//! The task that asks the model servers of this node what they have.
//!
//! Owns when each is asked, and when its models are withdrawn: at once when nothing listens there
//! any more, else when it fails to answer twice in a row. A server that goes or comes back is logged
//! once, and not with every change of its provider. Driven by a reload, which says which servers there are.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use reqwest::Client;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tracing::{debug, info, warn};

use super::list::{self, Listed, NoList};
use super::served::{MODELS_MAX, Model, Served, Server, Table};
use crate::agent::ModelServer;

/// Time between two questions to a server that answers.
const PERIOD: Duration = Duration::from_secs(30);
/// The first of the times between questions to one that does not; each is twice the one before.
const RETRY_FIRST: Duration = Duration::from_secs(2);
/// Soonest after a question that one may be asked because somebody could not reach the server.
const DOUBT_MIN: Duration = Duration::from_millis(500);
/// Failures in a row after which nothing is thought to be there.
const FAILURES_MAX: u32 = 2;
/// Answers that wait to be taken in; their tasks wait with them.
const ANSWERS_MAX: usize = 16;

/// Says which model servers this node has. Dropped, the task ends, and nothing is served any more.
pub type Servers = watch::Sender<Vec<ModelServer>>;

/// Begins to watch these servers.
#[must_use]
pub fn begin(http: Client, first: Vec<ModelServer>) -> (Servers, Served) {
    let (servers, wanted) = watch::channel(first);
    let (table, served) = Served::new();
    let (answers, answered) = mpsc::channel(ANSWERS_MAX);
    let watch = Watch { http, wanted, table, tended: Vec::new(), answers, number: 0 };
    tokio::spawn(watch.run(answered));
    (servers, served)
}

/// The models of a server, from its task, which is known by a number.
type Answer = (u64, BTreeMap<String, String>);

struct Watch {
    http: Client,
    wanted: watch::Receiver<Vec<ModelServer>>,
    table: watch::Sender<Arc<Table>>,
    /// In the order in which the providers are.
    tended: Vec<Tended>,
    answers: mpsc::Sender<Answer>,
    /// Of the task that was begun last.
    number: u64,
}

/// A server and its task, which ends with it.
struct Tended {
    number: u64,
    server: Arc<Server>,
    models: BTreeMap<String, String>,
    task: JoinHandle<()>,
}

impl Drop for Tended {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Watch {
    async fn run(mut self, mut answered: mpsc::Receiver<Answer>) {
        self.tend();
        self.publish();
        loop {
            tokio::select! {
                changed = self.wanted.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    self.tend();
                }
                Some((number, models)) = answered.recv() => {
                    let by = self.tended.iter_mut().find(|tended| tended.number == number);
                    // One that has been let go meanwhile is not heard.
                    let Some(tended) = by else { continue };
                    tended.models = models;
                }
            }
            self.publish();
        }
    }

    /// Follows the list of servers: one that stays keeps its models, and is asked again like all. Of
    /// one whose key or choice of models has changed, those stay that may, until it has answered.
    fn tend(&mut self) {
        let wanted = self.wanted.borrow_and_update().clone();
        let mut before = std::mem::take(&mut self.tended);
        for place in wanted {
            let held = before.iter().position(|tended| tended.server.place == place);
            let tended = match held.map(|index| before.swap_remove(index)) {
                Some(tended) => {
                    tended.server.doubt();
                    tended
                }
                None => {
                    let same = before.iter().find(|tended| tended.server.place.is_same(&place));
                    let models = same.map(|tended| still_wanted(&tended.models, &place));
                    self.begin(place, models.unwrap_or_default())
                }
            };
            self.tended.push(tended);
        }
    }

    fn begin(&mut self, place: ModelServer, models: BTreeMap<String, String>) -> Tended {
        self.number += 1;
        let number = self.number;
        let server = Arc::new(Server::new(place));
        let thought = if models.is_empty() {
            Thought::Nothing
        } else {
            server.has_said(Ok(models.keys().cloned().collect()));
            Thought::Answers
        };
        let (http, answers) = (self.http.clone(), self.answers.clone());
        let watched = watch_one(http, Arc::clone(&server), thought, (number, answers));
        Tended { number, server, models, task: tokio::spawn(watched) }
    }

    /// Swaps in what there is now, if that is something else.
    fn publish(&self) {
        let mut models = BTreeMap::new();
        let mut left_out = 0_usize;
        for tended in &self.tended {
            for (known_as, name) in &tended.models {
                if models.contains_key(known_as) {
                    debug!(model = known_as, provider = tended.server.place.name, "served twice");
                } else if models.len() < MODELS_MAX {
                    let server = Arc::clone(&tended.server);
                    models.insert(known_as.clone(), Model { server, name: name.clone() });
                } else {
                    left_out += 1;
                }
            }
        }
        let is_same = |a: &Model, b: &Model| Arc::ptr_eq(&a.server, &b.server) && a.name == b.name;
        self.table.send_if_modified(|held| {
            let before = &held.models;
            let is_other = before.len() != models.len()
                || !before.iter().zip(&models).all(|(a, b)| a.0 == b.0 && is_same(a.1, b.1));
            if is_other {
                if left_out > 0 {
                    warn!(left_out, "a node serves {MODELS_MAX} models; the others are left out");
                }
                info!(
                    models = models.keys().cloned().collect::<Vec<_>>().join(","),
                    "models served"
                );
            }
            let servers = self.tended.iter().map(|tended| Arc::clone(&tended.server)).collect();
            *held = Arc::new(Table { models, servers });
            is_other
        });
    }
}

/// Those of the models of a server that its provider still lets be served.
fn still_wanted(
    models: &BTreeMap<String, String>,
    place: &ModelServer,
) -> BTreeMap<String, String> {
    let is_wanted = |(_, name): &(&String, &String)| list::is_wanted(name, &place.models);
    models.iter().filter(is_wanted).map(|(a, b)| (a.clone(), b.clone())).collect()
}

/// What is thought of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Thought {
    /// It was not asked yet.
    Nothing,
    Answers,
    /// Its models are withdrawn.
    Gone,
}

async fn watch_one(
    http: Client,
    server: Arc<Server>,
    mut thought: Thought,
    (number, answers): (u64, mpsc::Sender<Answer>),
) {
    let mut failures = 0_u32;
    let mut warned = Vec::new();
    loop {
        let place = &server.place;
        match list::ask(&http, place).await {
            Ok(Listed { models, warnings }) => {
                failures = 0;
                if thought != Thought::Answers {
                    thought = Thought::Answers;
                    let (provider, endpoint) = (&place.name, place.shown());
                    info!(provider, endpoint, models = models.len(), "model server answers");
                }
                if warned != warnings {
                    for warning in &warnings {
                        warn!(provider = place.name, "model server: {warning}");
                    }
                    warned = warnings;
                }
                server.has_said(Ok(models.keys().cloned().collect()));
                if answers.send((number, models)).await.is_err() {
                    return;
                }
            }
            Err(NoList { is_gone, .. })
                if thought == Thought::Answers && !is_gone && failures + 1 < FAILURES_MAX =>
            {
                failures += 1;
            }
            Err(error) => {
                failures = failures.saturating_add(1);
                server.has_said(Err(error.to_string()));
                if thought != Thought::Gone {
                    // Nobody misses what never was there, such as an Ollama that a sample names.
                    let was_there = thought == Thought::Answers;
                    thought = Thought::Gone;
                    tell_gone(place, &error, was_there);
                }
                if answers.send((number, BTreeMap::new())).await.is_err() {
                    return;
                }
            }
        }
        tokio::time::sleep(DOUBT_MIN).await;
        // In time it is asked without anybody's doubt.
        drop(timeout(pause(failures), server.doubted.notified()).await);
    }
}

/// Says why the models of a server are not served.
fn tell_gone(place: &ModelServer, error: &NoList, was_there: bool) {
    let (provider, endpoint) = (&place.name, place.shown());
    let text = "model server does not say what it has; its models are not served until it does";
    if error.is_gone && !was_there {
        info!(provider, endpoint, %error, "{text}");
    } else {
        warn!(provider, endpoint, %error, "{text}");
    }
}

/// Time until the next question, which servers of many nodes should not hear together.
fn pause(failures: u32) -> Duration {
    let pause = match failures {
        0 => PERIOD,
        _ => RETRY_FIRST.saturating_mul(1 << (failures - 1).min(4)).min(PERIOD),
    };
    pause.mul_f64(0.9 + 0.2 * fastrand::f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_does_not_answer_is_asked_soon_and_then_more_and_more_rarely() {
        for (failures, seconds) in [(0, 30.0), (1, 2.0), (2, 4.0), (5, 30.0), (u32::MAX, 30.0)] {
            let pause = pause(failures).as_secs_f64();
            assert!((seconds * 0.9..=seconds * 1.1).contains(&pause), "{failures}: {pause}");
        }
    }
}
