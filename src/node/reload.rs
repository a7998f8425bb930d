//! The configuration and the agent files read again while the node runs.
//!
//! Owns what the mesh is told of this node from then on, models that come and go included, and the
//! order of a reload: everything is read and checked, and only when nothing is wrong is it
//! swapped in; with any problem nothing changes. One reload follows the other, whoever asks for
//! them. What cannot change at run time stays as it was, and is named. Which key is which is said
//! in [`crate::config::reload`].

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::signal::unix::Signal;
use tracing::{error, info, warn};

use super::live::{Lasting, announced, announced_agents};
use super::logs;
use super::notifier::{News, Notifier};
use super::parts::{model_servers, read_agents};
use crate::agent::{Differences, Findings, Registry};
use crate::api::reload::{Orders, Outcome, problem};
use crate::api::types::{AgentChanges, ReloadAnswer};
use crate::config::{self, Environment, Overrides, Problem, Problems, Reloaded, Runtime};
use crate::directory::{Member, Publisher, Snapshot};
use crate::gossip::{self, Changes};
use crate::inference::{Served, watch};
use crate::model::Access;
use crate::proxy::Proxy;
use crate::routing::StaticPeer;

/// Reloads when told to.
pub(super) struct Reloader {
    /// The flags, with the directory that was found at the start.
    pub(super) overrides: Overrides,
    /// What the node runs with.
    pub(super) running: Arc<Runtime>,
    pub(super) agents: Arc<Registry>,
    /// Told which model servers there are.
    pub(super) servers: watch::Servers,
    /// How models are asked.
    pub(super) access: Access,
    pub(super) lasting: Lasting,
    pub(super) proxy: Arc<Proxy>,
    /// The directory of a node without a mesh.
    pub(super) alone: Option<Arc<Publisher>>,
    pub(super) orders: Orders,
    pub(super) notifier: Notifier,
}

/// What was read, all of it sound.
struct Read {
    config: Runtime,
    agents: Registry,
    warnings: Vec<String>,
}

impl Reloader {
    /// Reloads on each SIGHUP and for each who asks, until nobody can ask any more.
    pub(super) async fn run(mut self, mut hangup: Signal) {
        let mut models = self.lasting.models.clone();
        loop {
            tokio::select! {
                () = models.changed() => self.announce().await,
                _ = hangup.recv() => drop(self.reload().await),
                order = self.orders.orders.recv() => match order {
                    // Nobody waits any more if this fails.
                    Some(reply) => drop(reply.send(self.reload().await)),
                    None => return,
                },
            }
        }
    }

    async fn reload(&mut self) -> Outcome {
        self.notifier.tell(vec![News::Reloading]);
        let outcome = self.read_and_apply().await;
        self.notifier.tell(vec![News::Ready]);
        outcome
    }

    async fn read_and_apply(&mut self) -> Outcome {
        let (overrides, access) = (self.overrides.clone(), self.access.clone());
        let running = Arc::clone(&self.running);
        let read = tokio::task::spawn_blocking(move || read(&overrides, &running, &access)).await;
        let outcome = match read.expect("reading files does not panic") {
            Ok(read) => Ok(self.apply(read).await),
            Err(problems) => Err(refused(&problems)),
        };
        self.orders.status.send_modify(|status| {
            status.count += 1;
            status.failed += u64::from(outcome.is_err());
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            status.last_at = Some(now.as_secs());
            let word = if outcome.is_ok() { "reloaded" } else { "refused" };
            status.outcome = Some(word.to_owned());
            status.problems = outcome.as_ref().err().cloned().unwrap_or_default();
            if let Ok(answer) = &outcome {
                status.needs_restart.clone_from(&answer.needs_restart);
            }
        });
        outcome
    }

    /// Swaps everything in. Requests under way keep what they began with.
    async fn apply(&mut self, read: Read) -> ReloadAnswer {
        let Reloaded { runtime, changed, needs_restart } =
            config::reload(&self.running, &read.config);
        let differences = self.agents.differences(&read.agents);
        self.running = Arc::new(runtime);
        self.agents = Arc::new(read.agents);
        let config = &self.running;
        self.lasting.log.reload(logs::levels(config));
        self.proxy.replace(self.lasting.live(config, &self.agents));
        if !config.mesh.enabled {
            let peers: Vec<StaticPeer> = config.peers.iter().map(StaticPeer::from).collect();
            self.proxy.set_peers(&peers);
        }
        self.servers.send_replace(model_servers(config, &self.agents));
        self.announce().await;
        answer(&changed, &needs_restart, differences, read.warnings)
    }
}

impl Reloader {
    /// Tells others what this node is now.
    async fn announce(&self) {
        let (config, models) = (&self.running, &self.lasting.models);
        if let Some(alone) = &self.alone {
            let snapshot = self.lasting.directory.snapshot();
            alone.publish(itself(&snapshot, config, &self.agents, models));
        }
        if let Some(mesh) = &self.lasting.mesh
            && mesh.change(changes(config, &self.agents, models)).await.is_err()
        {
            warn!("the mesh does not hear what has changed: this node is stopping");
        }
    }
}

/// Reads everything anew and gathers all that is wrong with it. Blocks.
fn read(overrides: &Overrides, running: &Runtime, access: &Access) -> Result<Read, Vec<Problem>> {
    let config = config::load(overrides, &Environment::of_this_process());
    let services = config.as_ref().map_or(&running.services, |config| &config.services);
    let (agents, findings) = read_agents(services, &running.dir, access);
    let Findings { mut problems, mut warnings, files: _ } = findings;
    match config {
        Ok(mut config) if problems.is_empty() => {
            warnings.splice(..0, std::mem::take(&mut config.warnings));
            Ok(Read { config, agents, warnings })
        }
        Ok(_) => Err(problems),
        Err(found) => {
            problems.splice(..0, Problems::list(&found).iter().cloned());
            Err(problems)
        }
    }
}

/// Tells that nothing has changed, and why.
fn refused(problems: &[Problem]) -> Vec<crate::api::types::ConfigProblem> {
    for problem in problems {
        error!("reload refused: {}", problem.one_line());
    }
    error!(problems = problems.len(), "reload refused; the node goes on as it was");
    problems.iter().map(problem).collect()
}

/// Tells what has changed.
fn answer(
    changed: &[&str],
    needs_restart: &[&str],
    differences: Differences,
    warnings: Vec<String>,
) -> ReloadAnswer {
    for warning in &warnings {
        warn!("{warning}");
    }
    let Differences { added, removed, changed: edited, providers } = differences;
    let mut changed: Vec<String> = changed.iter().map(|key| (*key).to_owned()).collect();
    if providers {
        changed.push("providers".to_owned());
    }
    info!(
        changed = changed.join(","),
        agents.added = added.join(","),
        agents.removed = removed.join(","),
        agents.changed = edited.join(","),
        "reloaded"
    );
    if !needs_restart.is_empty() {
        warn!(keys = needs_restart.join(","), "changed keys that need a restart stay as they were");
    }
    ReloadAnswer {
        status: "reloaded".to_owned(),
        changed,
        needs_restart: needs_restart.iter().map(|key| (*key).to_owned()).collect(),
        agents: AgentChanges { added, removed, changed: edited },
        warnings,
    }
}

/// What the mesh hears, and how it is watched.
fn changes(config: &Runtime, agents: &Registry, models: &Served) -> Changes {
    Changes {
        name: config.mesh.node_name.clone(),
        services: config.services.enabled(),
        agents: announced(agents, models),
        seeds: config.mesh.seeds.clone(),
        config: gossip::settings::engine(&config.mesh),
    }
}

/// The next directory of a node without a mesh.
fn itself(before: &Snapshot, config: &Runtime, agents: &Registry, models: &Served) -> Snapshot {
    let idempotent = announced_agents(agents).into_iter().filter(|agent| agent.is_idempotent);
    let idempotent_agents = idempotent.map(|agent| agent.name).collect();
    let member = |member: &Arc<Member>| {
        Arc::new(Member {
            name: config.mesh.node_name.clone(),
            services: config.services.enabled(),
            agents: agents.served_names(),
            idempotent_agents: Vec::clone(&idempotent_agents),
            models: models.names(),
            revision: member.revision.saturating_add(1),
            ..Member::clone(member)
        })
    };
    Snapshot {
        version: before.version + 1,
        members: before.members.iter().map(member).collect(),
        ..before.clone()
    }
}
