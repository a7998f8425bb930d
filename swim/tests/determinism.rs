//! Equal seeds and equal inputs give equal bytes.

use std::time::Duration;

use astromesh_swim::{Claim, Command, Config, Engine, Instant, Origin, OwnedRecord};
use astromesh_wire::{ClusterTag, Load, NodeId, State};
use bytes::{Bytes, BytesMut};

fn record(number: u8) -> OwnedRecord {
    OwnedRecord {
        id: NodeId::from_bytes([number; 16]),
        generation: 1,
        incarnation: 0,
        revision: 1,
        address: ([10, 0, 0, number], 8000).into(),
        name: format!("node-{number}"),
        metadata: Bytes::new(),
    }
}

/// All bytes that an engine with silent peers sends in a minute, with their times and receivers.
fn transcript(seed: u64) -> Vec<u8> {
    let mut now = Instant::default();
    let tag = ClusterTag::of("same");
    let mut engine = Engine::new(now, Config::default(), tag, record(100), seed);
    let claims = (1..30)
        .map(|number| Claim {
            record: record(number),
            state: State::Alive,
            load: Load::default(),
            load_sequence: 0,
        })
        .collect();
    engine.handle_command(now, Command::Merge { claims, term: 0, origin: Origin::Sync });
    let (mut all, mut buffer) = (Vec::new(), BytesMut::new());
    while let Some(due) = engine.poll_timeout() {
        if due.since(Instant::default()) > Duration::from_secs(60) {
            break;
        }
        now = due;
        engine.handle_timeout(now);
        while let Some(to) = engine.poll_transmit(&mut buffer) {
            all.extend(now.as_micros().to_be_bytes());
            all.extend(to.to_string().bytes());
            all.extend_from_slice(&buffer);
        }
        while let Some(event) = engine.poll_event() {
            all.extend(format!("{event:?}").bytes());
        }
    }
    all
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    let first = transcript(1);
    assert!(first.len() > 10_000, "something happened");
    assert!(first == transcript(1));
}

#[test]
fn another_seed_gives_other_bytes() {
    assert!(transcript(1) != transcript(2));
}
