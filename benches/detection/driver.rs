//! Many subjects on one virtual clock and one faulty network: the same for each protocol.
//!
//! Owns the time, the order of what happens, delay and loss, and the record of what the subjects
//! said. Refuses to know what a datagram says. Equal seeds give equal runs.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

/// One node of a protocol. Nodes are named by their number; time counts from the start.
pub(crate) trait Subject: Sized {
    /// How the table calls it.
    const NAME: &'static str;

    /// A node that knows all others from the first moment.
    fn start(now: Duration, own: u32, members: u32, seed: u64, output: &mut Output) -> Self;

    /// A datagram has arrived.
    fn handle_datagram(&mut self, now: Duration, from: u32, bytes: &[u8], output: &mut Output);

    /// The time of [`Self::next_timeout`] has come.
    fn handle_timeout(&mut self, now: Duration, output: &mut Output);

    /// When it wants to be called at the latest.
    fn next_timeout(&self) -> Option<Duration>;
}

/// What a subject wants to be done, and what it says.
#[derive(Debug, Default)]
pub(crate) struct Output {
    /// To whom, and what.
    pub(crate) datagrams: Vec<(u32, Vec<u8>)>,
    /// Members that it now takes to be alive or dead.
    pub(crate) verdicts: Vec<(u32, Verdict)>,
    /// How often it asked for more than datagrams: a comparison of views over a stream. There is
    /// none here; it has to do without.
    pub(crate) comparisons_wanted: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Alive,
    Dead,
}

/// What one node said about another.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Said {
    pub(crate) at: Duration,
    pub(crate) observer: u32,
    pub(crate) member: u32,
    pub(crate) verdict: Verdict,
}

/// The cluster and its network.
pub(crate) struct World<S> {
    now: Duration,
    /// `None` once it was killed.
    nodes: Vec<Option<S>>,
    wake_at: Vec<Option<Duration>>,
    queue: BinaryHeap<Reverse<Scheduled>>,
    scheduled: u64,
    rng: fastrand::Rng,
    loss: f64,
    output: Output,
    sent_bytes: u64,
    said: Vec<Said>,
}

/// The way of a datagram: 0.2 to 1 ms, each as likely, and a tail of this mean.
const DELAY_MIN: Duration = Duration::from_micros(200);
const DELAY_SPREAD: Duration = Duration::from_micros(800);
const JITTER_MEAN: Duration = Duration::from_micros(300);

/// IPv4 and UDP headers of each datagram.
const HEADER_BYTES: u64 = 28;

/// The nodes start within this time, so that their periods are not in step.
const START_SPREAD: Duration = Duration::from_secs(1);

/// Something that happens at a time. Of those at the same time the first scheduled comes first.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Scheduled {
    at: Duration,
    number: u64,
    what: What,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    Start { node: u32, seed: u64 },
    Wake { node: u32 },
    Arrive { from: u32, to: u32, bytes: Vec<u8> },
}

impl<S: Subject> World<S> {
    /// A cluster whose nodes start within a second, on a network with this loss.
    pub(crate) fn new(members: u32, loss: f64, seed: u64) -> Self {
        let mut world = Self {
            now: Duration::ZERO,
            nodes: (0..members).map(|_| None).collect(),
            wake_at: vec![None; index(members)],
            queue: BinaryHeap::new(),
            scheduled: 0,
            rng: fastrand::Rng::with_seed(seed),
            loss,
            output: Output::default(),
            sent_bytes: 0,
            said: Vec::new(),
        };
        for node in 0..members {
            let at = START_SPREAD.mul_f64(world.rng.f64());
            let seed = world.rng.u64(..);
            world.schedule(at, What::Start { node, seed });
        }
        world
    }

    pub(crate) const fn now(&self) -> Duration {
        self.now
    }

    /// Bytes sent so far, with headers, those lost on the way too.
    pub(crate) const fn sent_bytes(&self) -> u64 {
        self.sent_bytes
    }

    /// All that was said so far, in order.
    pub(crate) fn said(&self) -> &[Said] {
        &self.said
    }

    pub(crate) const fn comparisons_wanted(&self) -> u64 {
        self.output.comparisons_wanted
    }

    /// Ends a node as a power cut would.
    pub(crate) fn kill(&mut self, node: u32) {
        self.nodes[index(node)] = None;
        self.wake_at[index(node)] = None;
    }

    /// Lets the time pass.
    pub(crate) fn run_for(&mut self, duration: Duration) {
        let until = self.now + duration;
        while let Some(Reverse(next)) = self.queue.peek()
            && next.at <= until
        {
            let Some(Reverse(next)) = self.queue.pop() else { break };
            self.now = next.at;
            self.happen(next.what);
        }
        self.now = until;
    }

    fn happen(&mut self, what: What) {
        let members = u32::try_from(self.nodes.len()).expect("numbers of members are u32");
        let (now, output) = (self.now, &mut self.output);
        let node = match what {
            What::Start { node, seed } => {
                let subject = S::start(now, node, members, seed, output);
                self.nodes[index(node)] = Some(subject);
                node
            }
            What::Wake { node } => {
                if self.wake_at[index(node)] != Some(now) {
                    return;
                }
                self.wake_at[index(node)] = None;
                let Some(subject) = &mut self.nodes[index(node)] else { return };
                subject.handle_timeout(now, output);
                node
            }
            What::Arrive { from, to, bytes } => {
                let Some(subject) = &mut self.nodes[index(to)] else { return };
                subject.handle_datagram(now, from, &bytes, output);
                to
            }
        };
        self.carry_out(node);
    }

    /// Does what the node wants, and sees to it that it is woken in time.
    fn carry_out(&mut self, node: u32) {
        for (member, verdict) in self.output.verdicts.drain(..) {
            self.said.push(Said { at: self.now, observer: node, member, verdict });
        }
        for (to, bytes) in std::mem::take(&mut self.output.datagrams) {
            self.sent_bytes += HEADER_BYTES + u64::try_from(bytes.len()).expect("it is short");
            if self.rng.f64() >= self.loss {
                let at = self.now + self.delay();
                self.schedule(at, What::Arrive { from: node, to, bytes });
            }
        }
        let due = self.nodes[index(node)].as_ref().and_then(S::next_timeout);
        if let Some(due) = due.map(|due| due.max(self.now))
            && self.wake_at[index(node)].is_none_or(|at| due < at)
        {
            self.wake_at[index(node)] = Some(due);
            self.schedule(due, What::Wake { node });
        }
    }

    fn delay(&mut self) -> Duration {
        // The logarithm of a uniform number above 0 is exponential.
        let jitter = JITTER_MEAN.mul_f64(-(1.0 - self.rng.f64()).ln());
        DELAY_MIN + DELAY_SPREAD.mul_f64(self.rng.f64()) + jitter
    }

    fn schedule(&mut self, at: Duration, what: What) {
        self.queue.push(Reverse(Scheduled { at, number: self.scheduled, what }));
        self.scheduled += 1;
    }
}

/// The place of a node in a list.
fn index(node: u32) -> usize {
    usize::try_from(node).expect("u32 fits usize")
}
