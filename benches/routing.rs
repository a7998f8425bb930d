//! How long a choice of a node takes.
//!
//! One question each: the least of all candidates, the least of a sample, a session, a choice while
//! a node is ejected, the last resort, how many to compare, also when half of the nodes have told their
//! load, and a snapshot in which one member changed. Sizes are those
//! of real meshes. Loads differ, so that ties do not hide the pass over all.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use astromesh::directory::{Member, Snapshot};
use astromesh::routing::{Core, Here, LoadRecord, LocalLoad, Outcome, Question, Target};
use astromesh_wire::NodeId;
use criterion::{Criterion, criterion_group, criterion_main};

const SIZES: [u16; 3] = [16, 64, 1_000];
const NOW: Duration = Duration::from_secs(100);
const AGENT: &str = "support";

fn id(number: u16) -> NodeId {
    let mut bytes = [7; 16];
    bytes[..2].copy_from_slice(&number.to_be_bytes());
    NodeId::from_bytes(bytes)
}

fn member(number: u16) -> Member {
    let address = ([127, 0, 0, 1], 8000).into();
    Member {
        agents: vec!["billing".to_owned(), AGENT.to_owned()],
        ..Member::new(id(number), format!("node-{number}"), address)
    }
}

fn snapshot(size: u16) -> Arc<Snapshot> {
    let members = (0..=size).map(|number| Arc::new(member(number))).collect();
    Arc::new(Snapshot { version: 1, local: id(0), leader: None, term: 0, members })
}

/// A core that has heard of so many nodes, with loads from 0 to 7.
fn core(size: u16) -> Core {
    let mut core = Core::new(7);
    core.observe(NOW, &snapshot(size));
    for number in 1..=size {
        let record = LoadRecord {
            boot: 1,
            sequence: 1,
            active: u32::from(number * 37 % 8),
            limit: 8,
            is_draining: false,
            yours: Some(0),
        };
        core.heard(NOW, id(number), record);
    }
    core
}

const ASK: Question<'static> = Question {
    agent: AGENT,
    here: Here::DoesNotServe,
    tried: &[],
    bounced: &[],
    affinity: None,
    key: None,
};

fn choices(criterion: &mut Criterion) {
    for size in SIZES {
        let mut bench = |name: &str, core: &mut Core, now: Duration, ask: &Question<'_>| {
            criterion.bench_function(&format!("{name}/{size}"), |bencher| {
                bencher.iter(|| black_box(core.pick(now, black_box(ask))));
            });
        };
        bench("least of all", &mut core(size), NOW, &ASK);
        let session = Question { affinity: Some(42), ..ASK };
        bench("session", &mut core(size), NOW, &session);
        let refused = [id(1), id(2)];
        let refused = Question { bounced: &refused, ..ASK };
        bench("last resort", &mut core(size), NOW, &refused);
        let mut ejected = core(size);
        ejected.outcome(NOW, &Target::of_member(&member(1)), AGENT, Outcome::NotConnected);
        bench("least of all but one ejected", &mut ejected, NOW, &ASK);
        let mut old = core(size);
        let later = NOW + Duration::from_secs(60);
        (0..5_000).for_each(|_| old.request_began(later, AGENT));
        bench("least of a sample", &mut old, later, &ASK);
    }
}

/// What the choice costs when its sample has to be worked out anew, as each 5 ms.
fn refresh(criterion: &mut Criterion) {
    for size in SIZES {
        let mut core = core(size);
        let mut now = NOW;
        criterion.bench_function(&format!("choice and size of the sample/{size}"), |bencher| {
            bencher.iter(|| {
                now += Duration::from_millis(5);
                black_box(core.pick(now, &ASK))
            });
        });
    }
}

/// The same when half of the nodes tell their changes, as they have had work, and half do not: what is
/// known of the two is of different age, so they are compared apart.
fn mix(criterion: &mut Criterion) {
    for size in SIZES {
        let mut core = core(size);
        for number in 1..=size / 2 {
            core.begin(NOW, id(number * 2));
        }
        let (mut now, mut renewed) = (NOW, NOW);
        let name = format!("choice and size of the sample, half told/{size}");
        criterion.bench_function(&name, |bencher| {
            bencher.iter(|| {
                now += Duration::from_millis(5);
                // They would tell nothing without work.
                if now > renewed + Duration::from_secs(9) {
                    renewed = now;
                    for number in 1..=size / 2 {
                        core.begin(now, id(number * 2));
                        core.end(now, id(number * 2));
                    }
                }
                black_box(core.pick(now, &ASK))
            });
        });
    }
}

/// What one request costs in all.
fn request(criterion: &mut Criterion) {
    let mut core = core(64);
    let target = Target::of_member(&member(1));
    criterion.bench_function("all calls of one request/64", |bencher| {
        let mut sequence = 1;
        bencher.iter(|| {
            sequence += 1;
            core.request_began(NOW, AGENT);
            let pick = core.pick(NOW, &ASK);
            core.begin(NOW, target.id);
            let record = LoadRecord { boot: 1, sequence, limit: 8, ..LoadRecord::default() };
            core.heard(NOW, target.id, record);
            core.outcome(NOW, &target, AGENT, Outcome::Answered(200));
            core.end(NOW, target.id);
            black_box(pick)
        });
    });
}

fn snapshots(criterion: &mut Criterion) {
    for size in SIZES {
        let mut core = core(size);
        let first = snapshot(size);
        core.observe(NOW, &first);
        let mut second = first.as_ref().clone();
        let mut changed = member(1);
        changed.load_sequence = 9;
        second.members[1] = Arc::new(changed);
        let second = Arc::new(second);
        criterion.bench_function(&format!("snapshot with one change/{size}"), |bencher| {
            bencher.iter(|| {
                core.observe(NOW, black_box(&second));
                core.observe(NOW, black_box(&first));
            });
        });
    }
}

fn local(criterion: &mut Criterion) {
    let load = LocalLoad::new(1, 8);
    criterion.bench_function("count a request of an origin", |bencher| {
        bencher.iter(|| black_box(load.enter(NOW, Some(id(3)))));
    });
    let record = load.record(NOW, Some(id(3)));
    let mut text = String::with_capacity(128);
    criterion.bench_function("write a record", |bencher| {
        bencher.iter(|| {
            text.clear();
            black_box(&record).write(&mut text).is_ok()
        });
    });
    let text = text.into_bytes();
    criterion.bench_function("read a record", |bencher| {
        bencher.iter(|| LoadRecord::parse(black_box(&text)));
    });
}

criterion_group!(benches, choices, refresh, mix, request, snapshots, local);
criterion_main!(benches);
