//! A node of foca 2.0: one thread, one UDP socket, `Config::new_lan(members)`.
//!
//! `peer-foca --bind ADDR [--seed ADDR] --name NAME --members N` prints `UP id` and `DOWN id` for
//! the others; the id is their IP address, since foca knows no names. It does for foca what foca
//! leaves to its user, and no more: the socket, the timers, and an announcement to the seed.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::num::NonZeroU32;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use foca::{
    AccumulatingRuntime, Config, Foca, NoCustomBroadcast, OwnedNotification, PostcardCodec,
};
use rand::rngs::StdRng;

/// As in foca's own example of an agent: the address, and a number that grows at each return.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
struct Id {
    addr: SocketAddr,
    bump: u64,
}

impl foca::Identity for Id {
    type Addr = SocketAddr;

    fn renew(&self) -> Option<Self> {
        Some(Self { bump: self.bump.wrapping_add(1), ..*self })
    }

    fn addr(&self) -> SocketAddr {
        self.addr
    }

    fn win_addr_conflict(&self, adversary: &Self) -> bool {
        self.bump > adversary.bump
    }
}

/// A timer of foca, due at a time; in foca's own order among those of the same time.
type Due = Reverse<(Instant, foca::Timer<Id>)>;

struct Node {
    foca: Foca<Id, PostcardCodec, StdRng, NoCustomBroadcast>,
    runtime: AccumulatingRuntime<Id>,
    socket: UdpSocket,
    timers: BinaryHeap<Due>,
    seed: Option<SocketAddr>,
    announce_at: Instant,
}

/// Wait between two announcements to the seed while nobody is known.
const ANNOUNCE_INTERVAL: Duration = Duration::from_millis(500);

/// The longest datagram of `new_lan` is 1,400 bytes.
const RECEIVE_BYTES: usize = 1_500;

impl Node {
    fn run(mut self) -> std::io::Result<()> {
        let mut datagram = [0; RECEIVE_BYTES];
        loop {
            self.announce();
            self.fire();
            self.flush();
            self.receive(&mut datagram)?;
        }
    }

    fn announce(&mut self) {
        let Some(addr) = self.seed else { return };
        if self.foca.num_members() == 0 && Instant::now() >= self.announce_at {
            self.announce_at = Instant::now() + ANNOUNCE_INTERVAL;
            report(self.foca.announce(Id { addr, bump: 0 }, &mut self.runtime));
        }
    }

    fn fire(&mut self) {
        while self.timers.peek().is_some_and(|Reverse((due, _))| *due <= Instant::now()) {
            if let Some(Reverse((_, timer))) = self.timers.pop() {
                report(self.foca.handle_timer(timer, &mut self.runtime));
                self.flush();
            }
        }
    }

    /// Waits for a datagram until the next timer, then takes in all that are there: after a pause
    /// of the process, what waits in the socket comes before the timers.
    fn receive(&mut self, datagram: &mut [u8]) -> std::io::Result<()> {
        let due = self.timers.peek().map(|Reverse((due, _))| *due);
        let wake = due.map_or(self.announce_at, |due| match self.seed {
            Some(_) if self.foca.num_members() == 0 => due.min(self.announce_at),
            _ => due,
        });
        let wait = wake.saturating_duration_since(Instant::now()).max(Duration::from_micros(1));
        self.socket.set_read_timeout(Some(wait))?;
        let mut length = self.socket.recv(datagram);
        self.socket.set_nonblocking(true)?;
        while let Ok(bytes) = length {
            report(self.foca.handle_data(&datagram[..bytes], &mut self.runtime));
            self.flush();
            length = self.socket.recv(datagram);
        }
        self.socket.set_nonblocking(false)?;
        match length {
            Err(error) if !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                eprintln!("receiving failed: {error}");
            }
            _ => {}
        }
        Ok(())
    }

    fn flush(&mut self) {
        while let Some((to, bytes)) = self.runtime.to_send() {
            if let Err(error) = self.socket.send_to(&bytes, to.addr) {
                eprintln!("sending failed: {error}");
            }
        }
        while let Some((after, timer)) = self.runtime.to_schedule() {
            self.timers.push(Reverse((Instant::now() + after, timer)));
        }
        while let Some(notification) = self.runtime.to_notify() {
            match notification {
                OwnedNotification::MemberUp(id) => println!("UP {}", id.addr.ip()),
                OwnedNotification::MemberDown(id) => println!("DOWN {}", id.addr.ip()),
                _ => {}
            }
        }
    }
}

/// What a datagram of a stranger or an old timer can cause is no reason to stop.
fn report(result: Result<(), foca::Error>) {
    if let Err(error) = result {
        eprintln!("foca: {error}");
    }
}

fn argument(name: &str) -> Option<String> {
    std::env::args().skip_while(|argument| argument != name).nth(1)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let addr: SocketAddr = argument("--bind").ok_or("--bind is missing")?.parse()?;
    let members: NonZeroU32 = argument("--members").ok_or("--members is missing")?.parse()?;
    let seed = argument("--seed").map(|seed| seed.parse()).transpose()?;
    let bump = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let rng: StdRng = rand::make_rng();
    let foca = Foca::new(Id { addr, bump }, Config::new_lan(members), rng, PostcardCodec);
    let node = Node {
        foca,
        runtime: AccumulatingRuntime::new(),
        socket: UdpSocket::bind(addr)?,
        timers: BinaryHeap::new(),
        seed,
        announce_at: Instant::now(),
    };
    node.run()?;
    Ok(())
}
