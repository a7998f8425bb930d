//! The checkers bite: each is shown what it must find, and a like thing that it must let pass.

use std::time::Duration;

use astromesh_sim::checks::Checks;
use astromesh_sim::ledger::{CrashEnd, VictimClass};
use astromesh_sim::network::{Direction, NodeLoss};
use astromesh_sim::node::{self, Pace, record};
use astromesh_sim::{Violation, World};
use astromesh_swim::{Change, Claim, Command, Config, Engine, Event, Instant, Origin};
use astromesh_wire::{
    Bucket, ClusterTag, Encoder, Load, Message, NodeId, State, StateUpdate, Update,
};
use bytes::BytesMut;

use crate::{secs, seeded};

const SUBJECT: NodeId = NodeId::from_bytes([7; 16]);

/// Who tells of its end.
const OTHER: NodeId = NodeId::from_bytes([9; 16]);

/// An engine that has just learned of one member.
fn view(generation: u32, incarnation: u32, state: State) -> Engine {
    let own = record(0, NodeId::from_bytes([1; 16]));
    let now = Instant::default();
    let mut engine = Engine::new(now, Config::default(), ClusterTag::of("sim"), own, 1);
    let record = astromesh_swim::OwnedRecord { generation, incarnation, ..record(1, SUBJECT) };
    let other = node::record(2, OTHER);
    let claim =
        |record| Claim { record, state: State::Alive, load: Load::default(), load_sequence: 0 };
    let claims = vec![claim(record), claim(other)];
    engine.handle_command(now, Command::Merge { claims, term: 0, origin: Origin::Join });
    if state != State::Alive {
        let accuser = Bucket::of(OTHER.short());
        let (id, tag) = (SUBJECT.short(), ClusterTag::of("sim"));
        let update = Update::State(StateUpdate { id, state, accuser, generation, incarnation });
        let mut buffer = BytesMut::new();
        let mut encoder = Encoder::begin(&mut buffer, OTHER.short(), &Message::Gossip);
        encoder.push(&update).unwrap();
        encoder.finish(tag);
        engine.handle_datagram(now, node::address(2), &buffer);
    }
    engine
}

/// What the checkers say to one view that follows upon another.
fn told(before: &Engine, after: &Engine) -> Vec<Violation> {
    let mut checks = Checks::default();
    checks.started(0);
    for engine in [before, after] {
        let event = Event::Member { id: SUBJECT, change: Change::Alive };
        checks.reported(0, engine, &event);
    }
    checks.violations().to_vec()
}

#[test]
fn a_member_whose_numbers_fall_is_found() {
    let alive = |generation, incarnation| view(generation, incarnation, State::Alive);
    let fell =
        |before, after| vec![Violation::Fell { observer: 0, member: SUBJECT, before, after }];
    assert_eq!(told(&alive(2, 5), &alive(2, 4)), fell((2, 5), (2, 4)));
    assert_eq!(told(&alive(2, 5), &alive(1, 9)), fell((2, 5), (1, 9)));
    assert_eq!(told(&alive(2, 5), &alive(2, 5)), []);
    assert_eq!(told(&alive(2, 5), &alive(3, 0)), []);
}

#[test]
fn a_member_that_rises_from_the_dead_in_the_same_life_is_found() {
    let risen = |life| vec![Violation::Resurrected { observer: 0, member: SUBJECT, life }];
    for gone in [State::Dead, State::Left] {
        let gone = view(1, 0, gone);
        assert_eq!(told(&gone, &view(1, 0, State::Alive)), risen((1, 0)));
        assert_eq!(told(&gone, &view(1, 1, State::Alive)), []);
        assert_eq!(told(&gone, &view(2, 0, State::Alive)), []);
        assert_eq!(told(&gone, &gone), []);
    }
    assert_eq!(told(&view(3, 2, State::Dead), &view(3, 2, State::Alive)), risen((3, 2)));
}

#[test]
fn what_changes_without_a_report_is_found_by_the_audit() {
    let mut checks = Checks::default();
    checks.started(0);
    let at = |seconds: u64| Instant::from_micros(seconds * 1_000_000);
    checks.look(at(0), 0, &view(2, 5, State::Alive), 0);
    checks.look(at(5), 0, &view(2, 4, State::Alive), 0);
    assert!(matches!(checks.violations(), [Violation::Fell { .. }]), "{:?}", checks.violations());
}

#[test]
fn a_datagram_that_is_too_large_and_an_endless_queue_are_found() {
    let mut checks = Checks::default();
    checks.started(0);
    checks.sent(0, 1_200);
    checks.look(Instant::default(), 0, &view(1, 0, State::Alive), 100);
    assert_eq!(checks.violations(), []);
    checks.sent(0, 1_201);
    checks.look(Instant::default(), 0, &view(1, 0, State::Alive), 10_000);
    assert_eq!(
        checks.violations(),
        [
            Violation::Oversize { sender: 0, bytes: 1_201 },
            Violation::TooManyDatagrams { node: 0, datagrams: 10_000 }
        ]
    );
}

#[test]
fn a_crash_is_known_when_the_last_view_has_learned_of_it() {
    let mut world = World::settled(seeded(1), 5);
    world.pause(4);
    world.crash(2);
    world.run_for(secs(30));
    assert_eq!(world.crashes()[0].waiting(), [4], "the one that stands still does not know");
    world.resume(4);
    world.run_for(secs(30));
    assert!(
        matches!(world.crashes()[0].end, CrashEnd::Known(at) if world.now().since(at) < secs(30))
    );

    world.crash(1);
    world.run_for(Duration::from_millis(100));
    world.start(1);
    assert_eq!(world.crashes()[1].end, CrashEnd::Restarted);
}

#[test]
fn a_death_is_right_false_or_undecidable() {
    let mut world = World::settled(seeded(1), 5);
    world.crash(0);
    world.run_for(secs(30));
    assert_eq!(world.false_deaths(), [], "it was dead");

    world.network_mut().cut([1], [2, 3, 4]);
    world.run_for(secs(60));
    assert_eq!(world.false_deaths(), [], "nobody can know across a cut");
    world.network_mut().heal();
    world.run_for(secs(60));
    assert_eq!(world.false_deaths(), [], "nor is the old news of it false");

    // Long enough for one that was held dead a while ago, too.
    world.pause(2);
    world.run_for(secs(90));
    let classes: Vec<_> =
        world.false_deaths().iter().map(|death| (death.victim, death.class)).collect();
    assert_eq!(classes, [(2, VictimClass::Faulty)]);
    assert_eq!(world.false_deaths()[0].views, 3, "in the views of all others that run");
}

#[test]
fn a_healthy_node_that_is_declared_dead_is_counted_as_such() {
    let mut world = World::settled(seeded(1), 5);
    let mut buffer = BytesMut::new();
    let [from, to, subject] =
        [0, 1, 2].map(|node: usize| world.nodes()[node].engine.local().record.clone());
    let lie = Update::State(StateUpdate {
        id: subject.id.short(),
        state: State::Dead,
        accuser: Bucket::default(),
        generation: subject.generation,
        incarnation: subject.incarnation,
    });
    let message = &Message::Gossip;
    let mut encoder = Encoder::begin(&mut buffer, from.id.short(), message);
    encoder.push(&lie).unwrap();
    encoder.finish(ClusterTag::of(astromesh_sim::world::CLUSTER));

    world.inject(1, from.address(), &buffer);

    let death = &world.false_deaths()[0];
    assert_eq!((death.victim, death.class, death.observer), (2, VictimClass::Healthy, 1));
    assert_eq!(to.id, world.nodes()[1].id());
}

#[test]
fn a_fault_is_remembered_for_a_while_and_no_longer() {
    let mut world = World::settled(seeded(1), 3);
    let is_faulty = |world: &mut World| {
        world.network_mut().is_faulty(1) || world.nodes()[1].is_faulty(world.now())
    };
    assert!(!is_faulty(&mut world));
    world.set_pace(1, Pace::Slow(secs(1)));
    assert!(is_faulty(&mut world));
    world.calm();
    assert!(is_faulty(&mut world));
    world.run_for(secs(30));
    assert!(!is_faulty(&mut world));
    let loss = NodeLoss { share: 0.5, ..NodeLoss::default() };
    world.network_mut().set_node_loss(1, Direction::In, loss);
    assert!(is_faulty(&mut world));
    world.calm();
    world.run_for(secs(30));
    assert!(!is_faulty(&mut world));
}
