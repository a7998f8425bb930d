//! The two protocols under test: our engine with its defaults, and foca with `new_lan`.
//!
//! Both know all members from the start, since foca has no way to learn them all at once.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU32;
use std::time::Duration;

use astromesh_swim::{Change, Claim, Command, Config, Engine, Event, Instant, Origin, OwnedRecord};
use astromesh_wire::{ClusterTag, Load, NodeId, State};
use bytes::{Bytes, BytesMut};
use rand::SeedableRng as _;

use crate::driver::{Output, Subject, Verdict};

const PORT: u16 = 8000;

fn address(number: u32) -> SocketAddr {
    let [_, b, c, d] = number.to_be_bytes();
    SocketAddr::from((Ipv4Addr::new(10, b, c, d), PORT))
}

/// The number of the node at this address.
fn number(address: SocketAddr) -> Option<u32> {
    let SocketAddr::V4(address) = address else { return None };
    let [_, b, c, d] = address.ip().octets();
    Some(u32::from_be_bytes([0, b, c, d]))
}

/// Our engine.
pub(crate) struct Ours {
    engine: Engine,
    buffer: BytesMut,
}

fn instant(now: Duration) -> Instant {
    Instant::from_micros(u64::try_from(now.as_micros()).expect("the run is short"))
}

fn id(number: u32) -> NodeId {
    let [a, b, c, d] = number.wrapping_mul(2_654_435_761).to_be_bytes();
    let mut bytes = [7; 16];
    bytes[..4].copy_from_slice(&[a, b, c, d]);
    NodeId::from_bytes(bytes)
}

fn record(number: u32) -> OwnedRecord {
    OwnedRecord {
        id: id(number),
        generation: 1,
        incarnation: 0,
        revision: 1,
        address: address(number),
        name: format!("node-{number}"),
        metadata: Bytes::from_static(&[0x1f, 0x40, 0x03, 0x00, 0x00]),
    }
}

impl Subject for Ours {
    const NAME: &'static str = "astromesh";

    fn start(now: Duration, own: u32, members: u32, seed: u64, output: &mut Output) -> Self {
        let now = instant(now);
        let tag = ClusterTag::of("bench");
        let mut engine = Engine::new(now, Config::default(), tag, record(own), seed);
        let known = |number| Claim {
            record: record(number),
            state: State::Alive,
            load: Load::default(),
            load_sequence: 0,
        };
        let claims = (0..members).filter(|&number| number != own).map(known).collect();
        engine.handle_command(now, Command::Merge { claims, term: 0, origin: Origin::Join });
        let mut ours = Self { engine, buffer: BytesMut::new() };
        ours.drain(output);
        ours
    }

    fn handle_datagram(&mut self, now: Duration, from: u32, bytes: &[u8], output: &mut Output) {
        self.engine.handle_datagram(instant(now), address(from), bytes);
        self.drain(output);
    }

    fn handle_timeout(&mut self, now: Duration, output: &mut Output) {
        self.engine.handle_timeout(instant(now));
        self.drain(output);
    }

    fn next_timeout(&self) -> Option<Duration> {
        self.engine.poll_timeout().map(|due| Duration::from_micros(due.as_micros()))
    }
}

impl Ours {
    fn drain(&mut self, output: &mut Output) {
        while let Some(to) = self.engine.poll_transmit(&mut self.buffer) {
            if let Some(to) = number(to) {
                output.datagrams.push((to, self.buffer.to_vec()));
            }
        }
        while let Some(event) = self.engine.poll_event() {
            match event {
                Event::Member { id, change } => self.report(id, change, output),
                Event::SyncWanted(_) => output.comparisons_wanted += 1,
                Event::Leader { .. }
                | Event::Generation(_)
                | Event::OwnIdSeen(_)
                | Event::Verdict(_)
                | Event::Beacon { .. } => {}
            }
        }
    }

    fn report(&self, id: NodeId, change: Change, output: &mut Output) {
        let verdict = match change {
            Change::Dead => Verdict::Dead,
            Change::Joined | Change::Alive => Verdict::Alive,
            // A suspect is still in, and nobody leaves here.
            Change::Suspect
            | Change::Left
            | Change::Replaced
            | Change::Updated
            | Change::Load
            | Change::Reaped => return,
        };
        let member = self.engine.member(id).and_then(|member| number(member.record.address()));
        output.verdicts.extend(member.map(|member| (member, verdict)));
    }
}

#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
struct FocaId {
    address: SocketAddr,
    generation: u64,
}

impl foca::Identity for FocaId {
    type Addr = SocketAddr;

    fn renew(&self) -> Option<Self> {
        Some(Self { generation: self.generation + 1, ..*self })
    }

    fn addr(&self) -> SocketAddr {
        self.address
    }

    fn win_addr_conflict(&self, adversary: &Self) -> bool {
        self.generation > adversary.generation
    }
}

type FocaNode =
    foca::Foca<FocaId, foca::PostcardCodec, rand::rngs::SmallRng, foca::NoCustomBroadcast>;

/// foca, with the timers that it leaves to its user.
pub(crate) struct Foca {
    foca: FocaNode,
    runtime: foca::AccumulatingRuntime<FocaId>,
    timers: BinaryHeap<Reverse<(Duration, foca::Timer<FocaId>)>>,
}

fn foca_id(number: u32) -> FocaId {
    FocaId { address: address(number), generation: 1 }
}

impl Subject for Foca {
    const NAME: &'static str = "foca";

    fn start(now: Duration, own: u32, members: u32, seed: u64, output: &mut Output) -> Self {
        let size = NonZeroU32::new(members).expect("there are members");
        let config = foca::Config::new_lan(size);
        let rng = rand::rngs::SmallRng::seed_from_u64(seed);
        let mut subject = Self {
            foca: FocaNode::new(foca_id(own), config, rng, foca::PostcardCodec),
            runtime: foca::AccumulatingRuntime::new(),
            timers: BinaryHeap::new(),
        };
        let known = (0..members)
            .filter(|&number| number != own)
            .map(|number| foca::Member::alive(foca_id(number)));
        subject.foca.apply_many(known, false, &mut subject.runtime).expect("they are valid");
        subject.drain(now, output);
        subject
    }

    fn handle_datagram(&mut self, now: Duration, _from: u32, bytes: &[u8], output: &mut Output) {
        // Its errors are about the sender, a renewed identity for one; its user logs them.
        drop(self.foca.handle_data(bytes, &mut self.runtime));
        self.drain(now, output);
    }

    fn handle_timeout(&mut self, now: Duration, output: &mut Output) {
        while self.timers.peek().is_some_and(|Reverse((due, _))| *due <= now) {
            if let Some(Reverse((_, timer))) = self.timers.pop() {
                drop(self.foca.handle_timer(timer, &mut self.runtime));
                self.drain(now, output);
            }
        }
    }

    fn next_timeout(&self) -> Option<Duration> {
        self.timers.peek().map(|Reverse((due, _))| *due)
    }
}

impl Foca {
    fn drain(&mut self, now: Duration, output: &mut Output) {
        while let Some((to, bytes)) = self.runtime.to_send() {
            if let Some(to) = number(to.address) {
                output.datagrams.push((to, bytes.to_vec()));
            }
        }
        while let Some((after, timer)) = self.runtime.to_schedule() {
            self.timers.push(Reverse((now + after, timer)));
        }
        while let Some(notification) = self.runtime.to_notify() {
            let (id, verdict) = match notification {
                foca::OwnedNotification::MemberUp(id) => (id, Verdict::Alive),
                foca::OwnedNotification::MemberDown(id) => (id, Verdict::Dead),
                _ => continue,
            };
            output.verdicts.extend(number(id.address).map(|member| (member, verdict)));
        }
    }
}
