//! Who may begin now, who waits, and who is refused.
//!
//! Owns the limits of the node and of its agents on requests served at once, the queue of those who
//! wait for a place, and the counts of both. Refuses to know what a request is, and to choose
//! another node. Driven by the worker's side of the proxy: it takes a [`Permit`] before it reads a
//! body and drops it with the last byte of the answer.
//!
//! Places go to those who wait longest, with one exception: who waits for an agent that is full
//! keeps nobody from an agent that is not. Nor does it fill the queue: of an agent with a limit of
//! its own no more may wait than there are places left in the queue, which is half of them when it
//! is alone, and always leaves some to the others. As long as a place is free nobody waits for it, so
//! [`Admission::try_enter`] overtakes no one. No lock is held while anything waits.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

/// The places of a node. Clones share them.
#[derive(Debug, Clone)]
pub struct Admission {
    places: Arc<Mutex<Places>>,
}

/// An agent and its own limit.
#[derive(Debug, Clone, Copy)]
pub struct AgentLimit<'a> {
    /// Its name; an agent of this node, so that there are not endlessly many.
    pub name: &'a str,
    /// Requests for it at once; 0 means no limit but the node's.
    pub max_concurrent: u32,
}

/// A place, taken until it is dropped.
pub struct Permit {
    admission: Admission,
    /// The agent whose own count it is part of.
    agent: Option<Arc<str>>,
}

/// No place is free now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Full {
    /// The node serves as many requests as it may.
    #[error("the node serves as many requests as it may")]
    Node,
    /// The agent does.
    #[error("the agent serves as many requests as it may")]
    Agent,
}

/// No place was free in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotAdmitted {
    /// As many wait as may, in all or for this agent.
    #[error("as many requests wait as may")]
    QueueFull,
    /// It waited as long as it may.
    #[error("no place was free in time")]
    TimedOut,
}

/// What [`Admission`] has counted since it was made, and what is there now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Places taken now.
    pub active: u32,
    /// Requests that wait now.
    pub queued: u32,
    /// Requests that waited and got a place.
    pub admitted_from_queue: u64,
    /// Refused as node or agent were full and the request was not to wait.
    pub refused_full: u64,
    /// Refused as the queue was full, or the agent's share of it.
    pub refused_queue_full: u64,
    /// Gave up waiting as their time was over.
    pub timed_out: u64,
}

impl Admission {
    /// Places for `node_limit` requests, 0 for no limit, and a queue for `queue_max` more.
    #[must_use]
    pub fn new(node_limit: u32, queue_max: u32) -> Self {
        let places = Places { node_limit, queue_max, ..Places::default() };
        Self { places: Arc::new(Mutex::new(places)) }
    }

    /// Changes the limits. Requests that already have a place or wait for one stay.
    pub fn set_limits(&self, node_limit: u32, queue_max: u32) {
        let mut places = self.places();
        places.node_limit = node_limit;
        places.queue_max = queue_max;
        self.settle(places);
    }

    /// Takes a place if one is free.
    ///
    /// # Errors
    /// Node or agent are full; nothing has changed but a count.
    pub fn try_enter(&self, agent: AgentLimit<'_>) -> Result<Permit, Full> {
        let mut places = self.places();
        let entered = places.enter(agent).map(|agent| self.permit(agent));
        places.counts.refused_full += u64::from(entered.is_err());
        self.settle(places);
        entered
    }

    /// Takes a place, and waits for one until then. Dropping the future gives up.
    ///
    /// # Errors
    /// The queue is full, or the time was over.
    pub async fn enter_queued(
        &self,
        agent: AgentLimit<'_>,
        until: Instant,
    ) -> Result<Permit, NotAdmitted> {
        let mut waiting = {
            let mut places = self.places();
            if let Ok(agent) = places.enter(agent) {
                let permit = self.permit(agent);
                self.settle(places);
                return Ok(permit);
            }
            let (name, ticket, granted) = places.enqueue(agent)?;
            self.settle(places);
            Waiting { admission: self.clone(), name, ticket, granted }
        };
        match timeout_at(until, &mut waiting.granted).await {
            Ok(granted) => Ok(granted.expect("who waits is granted a place or gives up itself")),
            Err(_) => {
                waiting.granted.close();
                // It may have come at the last moment.
                waiting.granted.try_recv().map_err(|_| {
                    self.places().counts.timed_out += 1;
                    NotAdmitted::TimedOut
                })
            }
        }
    }

    /// Places taken now.
    #[must_use]
    pub fn active(&self) -> u32 {
        self.places().counts.active
    }

    /// Requests that wait now.
    #[must_use]
    pub fn queued(&self) -> u32 {
        self.places().counts.queued
    }

    /// Requests that have a place or wait for one.
    #[must_use]
    pub fn present(&self) -> u32 {
        let Counts { active, queued, .. } = self.counts();
        active.saturating_add(queued)
    }

    /// All counts at one moment.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.places().counts
    }

    fn places(&self) -> MutexGuard<'_, Places> {
        self.places.lock().expect("nothing panics while it holds the places")
    }

    fn permit(&self, agent: Option<Arc<str>>) -> Permit {
        Permit { admission: self.clone(), agent }
    }

    /// Gives free places to those who wait.
    fn settle(&self, mut places: MutexGuard<'_, Places>) {
        let mut grants = Vec::new();
        while let Some((grant, agent)) = places.next_grant() {
            grants.push((grant, self.permit(agent)));
        }
        drop(places);
        for (grant, permit) in grants {
            // Whoever has given up meanwhile gives the place back by dropping it.
            drop(grant.send(permit));
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut places = self.admission.places();
        places.leave(self.agent.as_ref());
        self.admission.settle(places);
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit").field("agent", &self.agent).finish_non_exhaustive()
    }
}

/// One who waits; dropping it leaves the queue.
struct Waiting {
    admission: Admission,
    name: Arc<str>,
    ticket: u64,
    /// Dropped after the queue has been left: a place that lies in it is given back.
    granted: oneshot::Receiver<Permit>,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.admission.places().dequeue(&self.name, self.ticket);
    }
}

/// All that is behind the lock.
#[derive(Debug, Default)]
struct Places {
    node_limit: u32,
    queue_max: u32,
    counts: Counts,
    /// Agents with a limit that serve or are waited for, and agents that are waited for.
    lines: HashMap<Arc<str>, Line>,
    /// By ticket, the first who waits for each agent that has room. Empty while the node has room.
    ready: BTreeMap<u64, Arc<str>>,
    next_ticket: u64,
}

/// Those who are served by one agent and those who wait for it.
#[derive(Debug, Default)]
struct Line {
    /// 0 means no limit.
    limit: u32,
    /// Served now and counted here: those who entered while there was a limit.
    active: u32,
    /// By ticket.
    waiting: BTreeMap<u64, oneshot::Sender<Permit>>,
    /// The ticket under which it is in [`Places::ready`].
    ready: Option<u64>,
}

impl Line {
    const fn has_room(&self) -> bool {
        self.limit == 0 || self.active < self.limit
    }
}

impl Places {
    const fn has_room(&self) -> bool {
        self.node_limit == 0 || self.counts.active < self.node_limit
    }

    /// Takes a place; returns the agent if it counts there too.
    fn enter(&mut self, agent: AgentLimit<'_>) -> Result<Option<Arc<str>>, Full> {
        if !self.has_room() {
            return Err(Full::Node);
        }
        let is_counted = agent.max_concurrent > 0 || self.lines.contains_key(agent.name);
        if !is_counted {
            self.counts.active += 1;
            return Ok(None);
        }
        let name = self.line(agent);
        let line = self.lines.get_mut(&name).expect("made above");
        if !line.has_room() {
            return Err(Full::Agent);
        }
        line.active += 1;
        self.counts.active += 1;
        Ok(Some(name))
    }

    /// The name of the line of an agent, which has the agent's present limit from now on: with a
    /// new one, those who wait may be ready.
    fn line(&mut self, agent: AgentLimit<'_>) -> Arc<str> {
        let name = match self.lines.get_key_value(agent.name) {
            Some((name, _)) => Arc::clone(name),
            None => Arc::from(agent.name),
        };
        let line = self.lines.entry(Arc::clone(&name)).or_default();
        if line.limit != agent.max_concurrent {
            line.limit = agent.max_concurrent;
            self.refresh_ready(&name);
        }
        name
    }

    fn enqueue(
        &mut self,
        agent: AgentLimit<'_>,
    ) -> Result<(Arc<str>, u64, oneshot::Receiver<Permit>), NotAdmitted> {
        let left = self.queue_max.saturating_sub(self.counts.queued);
        let waiting = self.lines.get(agent.name).map_or(0, |line| line.waiting.len());
        let is_beyond_share = agent.max_concurrent > 0 && waiting >= left as usize;
        if left == 0 || is_beyond_share {
            self.counts.refused_queue_full += 1;
            return Err(NotAdmitted::QueueFull);
        }
        let name = self.line(agent);
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        let (grant, granted) = oneshot::channel();
        self.lines.entry(Arc::clone(&name)).or_default().waiting.insert(ticket, grant);
        self.counts.queued += 1;
        self.refresh(&name);
        Ok((name, ticket, granted))
    }

    /// Leaves the queue; nothing happens to one who is not in it any more.
    fn dequeue(&mut self, name: &Arc<str>, ticket: u64) {
        let left = self.lines.get_mut(name).and_then(|line| line.waiting.remove(&ticket));
        if left.is_some() {
            self.counts.queued -= 1;
            self.refresh(name);
        }
    }

    /// Gives a place back.
    fn leave(&mut self, agent: Option<&Arc<str>>) {
        self.counts.active -= 1;
        if let Some(name) = agent {
            let line = self.lines.get_mut(name).expect("a line stays while it serves");
            line.active -= 1;
            self.refresh(name);
        }
    }

    /// Takes a place for the one who waits longest of those whose agent has room.
    fn next_grant(&mut self) -> Option<(oneshot::Sender<Permit>, Option<Arc<str>>)> {
        if !self.has_room() {
            return None;
        }
        let (ticket, name) = self.ready.pop_first()?;
        let Some(line) = self.lines.get_mut(&name) else {
            unreachable!("a line stays while it is waited for");
        };
        line.ready = None;
        let Some(grant) = line.waiting.remove(&ticket) else {
            unreachable!("who is ready waits");
        };
        let is_counted = line.limit > 0;
        line.active += u32::from(is_counted);
        self.counts.active += 1;
        self.counts.queued -= 1;
        self.counts.admitted_from_queue += 1;
        self.refresh(&name);
        Some((grant, is_counted.then_some(name)))
    }

    /// Brings everything in line with one agent, after its counts have changed.
    fn refresh(&mut self, name: &Arc<str>) {
        self.refresh_ready(name);
        if self.lines.get(name).is_some_and(|line| line.active == 0 && line.waiting.is_empty()) {
            self.lines.remove(name);
        }
    }

    fn refresh_ready(&mut self, name: &Arc<str>) {
        let Some(line) = self.lines.get_mut(name) else { return };
        let first = line.waiting.first_key_value().map(|(ticket, _)| *ticket);
        let ready = first.filter(|_| line.has_room());
        if ready == line.ready {
            return;
        }
        if let Some(ticket) = line.ready {
            self.ready.remove(&ticket);
        }
        if let Some(ticket) = ready {
            self.ready.insert(ticket, Arc::clone(name));
        }
        line.ready = ready;
    }
}
