//! Laws that hold for all inputs: merging is free of order, the queue of news keeps its bounds.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;

use astromesh_swim::dissemination::{Class, Dissemination, Kind, Offer, Topic};
use astromesh_swim::precedence::Standing;
use astromesh_swim::{Claim, Command, Config, Engine, Instant, Origin, OwnedRecord};
use astromesh_wire::{
    Bucket, ClusterTag, Encoder, Load, Message, NodeId, ShortId, State, StateUpdate, Update,
};
use bytes::{Bytes, BytesMut};
use proptest::prelude::*;

const CLUSTER: &str = "laws";

fn any_state() -> impl Strategy<Value = State> {
    prop_oneof![Just(State::Alive), Just(State::Suspect), Just(State::Dead), Just(State::Left),]
}

fn any_standing() -> impl Strategy<Value = Standing> {
    (0_u32..4, 0_u32..4, any_state()).prop_map(|(generation, incarnation, state)| Standing {
        generation,
        incarnation,
        state,
    })
}

fn id(number: u8) -> NodeId {
    NodeId::from_bytes([number; 16])
}

fn record(number: u8) -> OwnedRecord {
    OwnedRecord {
        id: id(number),
        generation: 1,
        incarnation: 0,
        revision: 1,
        address: ([10, 0, 0, number], 8000).into(),
        name: format!("node-{number}"),
        metadata: Bytes::new(),
    }
}

/// What somebody says of member 1, 2 or 3.
#[derive(Debug, Clone)]
enum Said {
    State(StateUpdate),
    Record(OwnedRecord),
}

impl Said {
    fn update(&self) -> Update<'_> {
        match self {
            Self::State(update) => Update::State(*update),
            Self::Record(record) => Update::Record(record.borrow()),
        }
    }
}

fn any_said() -> impl Strategy<Value = Said> {
    let state = (1_u8..4, any_standing(), 0_u8..8).prop_map(|(number, standing, accuser)| {
        Said::State(StateUpdate {
            id: id(number).short(),
            state: standing.state,
            accuser: Bucket::of(id(accuser).short()),
            generation: standing.generation,
            incarnation: standing.incarnation,
        })
    });
    // What a member says of itself is a function of its generation and revision: it says one thing.
    let said = (1_u8..4, 1_u32..4, 0_u32..4, 1_u32..4).prop_map(
        |(number, generation, incarnation, revision)| {
            Said::Record(OwnedRecord {
                generation,
                incarnation,
                revision,
                address: ([10, number, generation as u8, revision as u8], 8000).into(),
                ..record(number)
            })
        },
    );
    prop_oneof![state, said]
}

fn any_order() -> impl Strategy<Value = (Vec<Said>, Vec<Said>)> {
    prop::collection::vec(any_said(), 1..12)
        .prop_flat_map(|said| (Just(said.clone()), Just(said).prop_shuffle()))
}

/// An engine that knows the members 1 to 3 and is told all this by member 4.
fn told(all: &[Said]) -> Engine {
    let now = Instant::from_micros(1);
    let tag = ClusterTag::of(CLUSTER);
    let mut engine = Engine::new(now, Config::default(), tag, record(9), 1);
    let known = |number| Claim {
        record: record(number),
        state: State::Alive,
        load: Load::default(),
        load_sequence: 0,
    };
    let claims = (1..=4).map(known).collect();
    engine.handle_command(now, Command::Merge { claims, term: 0, origin: Origin::Join });
    for said in all {
        let mut buffer = BytesMut::new();
        let mut encoder = Encoder::begin(&mut buffer, id(4).short(), &Message::Gossip);
        encoder.push(&said.update()).unwrap();
        encoder.finish(tag);
        engine.handle_datagram(now, ([10, 0, 0, 4], 8000).into(), &buffer);
    }
    engine
}

/// What lasts of a view: who is in which state at which numbers, and at which address.
fn view(engine: &Engine) -> BTreeMap<NodeId, (Standing, u32, String)> {
    engine
        .members()
        .map(|member| {
            // Revision 0: only the state of a new generation is known so far.
            let address = match member.record.revision {
                0 => String::from("still to come"),
                _ => member.record.address().to_string(),
            };
            (member.record.id, (member.standing(), member.record.revision, address))
        })
        .collect()
}

proptest! {
    #[test]
    fn precedence_is_commutative_associative_and_idempotent(
        a in any_standing(), b in any_standing(), c in any_standing(),
    ) {
        prop_assert_eq!(a.max(b), b.max(a));
        prop_assert_eq!(a.max(b).max(c), a.max(b.max(c)));
        prop_assert_eq!(a.max(a), a);
        // Total: of two different claims exactly one wins.
        prop_assert_eq!(a == b, a <= b && b <= a);
    }

    #[test]
    fn a_higher_generation_beats_everything_and_a_higher_incarnation_every_state(
        a in any_standing(), b in any_standing(),
    ) {
        if a.generation > b.generation {
            prop_assert!(a > b);
        } else if a.generation == b.generation && a.incarnation > b.incarnation {
            prop_assert!(a > b);
        }
    }

    #[test]
    fn the_same_news_in_any_order_gives_the_same_view((one, other) in any_order()) {
        let (one, other) = (told(&one), told(&other));
        prop_assert_eq!(view(&one), view(&other));
        prop_assert_eq!(one.digest(), other.digest());
        prop_assert_eq!(one.leader(), other.leader());
    }

    #[test]
    fn the_same_news_twice_changes_nothing(said in prop::collection::vec(any_said(), 1..12)) {
        let mut twice = said.clone();
        twice.extend(said.clone());
        prop_assert_eq!(view(&told(&said)), view(&told(&twice)));
    }

    #[test]
    fn the_view_is_the_maximum_of_what_was_said(
        said in prop::collection::vec(any_said(), 1..12),
    ) {
        let engine = told(&said);
        for number in 1..4 {
            let claims = said.iter().filter_map(|said| match said {
                Said::State(update) if update.id == id(number).short() => {
                    Some(Standing::of_update(update))
                }
                Said::Record(record) if record.id == id(number) => {
                    Some(Standing::of_record(&record.borrow()))
                }
                Said::State(_) | Said::Record(_) => None,
            });
            let start = Standing { generation: 1, incarnation: 0, state: State::Alive };
            // Under the evidence rule a suspicion is no claim of its own.
            let believed = claims.map(|claim| match claim.state {
                State::Suspect => Standing { state: State::Alive, ..claim },
                State::Alive | State::Dead | State::Left => claim,
            });
            let expected = believed.fold(start, Standing::max);
            prop_assert_eq!(engine.member(id(number)).unwrap().standing(), expected);
        }
    }

    #[test]
    fn the_queue_keeps_one_item_a_topic_and_sends_none_more_often_than_the_limit(
        actions in prop::collection::vec((0_u8..20, 0_u8..3, 0_u8..4, any::<bool>()), 1..200),
        limit in 1_usize..10,
        room in 1_usize..12,
    ) {
        let mut queue = Dissemination::default();
        // Transmissions of each topic since it was last added.
        let mut sent: BTreeMap<Topic, usize> = BTreeMap::new();
        for (number, kind, class, fills) in actions {
            let topic = Topic { id: short(number), kind: kind_of(kind) };
            queue.enqueue(topic, class_of(class));
            sent.insert(topic, 0);
            prop_assert!(queue.len() <= sent.len());
            if fills {
                let mut left = room;
                queue.fill(|_| limit, |topic, _| {
                    if left == 0 {
                        return Offer::NoRoom;
                    }
                    left -= 1;
                    *sent.get_mut(&topic).expect("only what was added is offered") += 1;
                    Offer::Taken
                });
            }
            prop_assert!(sent.values().all(|&count| count <= limit));
        }
        // Left to itself it sends each exactly as often as the limit says, and is empty then.
        for _ in 0..20 * 3 * limit {
            queue.fill(|_| limit, |topic, _| {
                *sent.get_mut(&topic).expect("only what was added is offered") += 1;
                Offer::Taken
            });
        }
        prop_assert!(queue.is_empty());
        prop_assert!(sent.values().all(|&count| count == limit), "{sent:?}");
    }

    #[test]
    fn the_queue_offers_by_class_and_then_by_how_rarely_an_item_was_sent(
        items in prop::collection::btree_map(0_u8..50, 0_u8..4, 1..50),
        sent_before in 0_usize..3,
    ) {
        let mut queue = Dissemination::default();
        let topic = |number| Topic { id: short(number), kind: Kind::State };
        let (early, late): (Vec<_>, Vec<_>) =
            items.iter().partition(|(number, _)| *number % 2 == 0);
        for &(&number, &class) in &early {
            queue.enqueue(topic(number), class_of(class));
        }
        for _ in 0..sent_before {
            queue.fill(|_| 9, |_, _| Offer::Taken);
        }
        for &(&number, &class) in &late {
            queue.enqueue(topic(number), class_of(class));
        }
        let mut order = Vec::new();
        queue.fill(|_| 9, |topic, _| {
            let number = topic.id.as_bytes()[0];
            let sent = if number % 2 == 0 { sent_before } else { 0 };
            order.push((class_of(items[&number]), sent));
            Offer::Taken
        });
        prop_assert!(order.is_sorted(), "{order:?}");
        prop_assert_eq!(order.len(), items.len());
    }
}

#[test]
fn what_became_moot_or_was_forgotten_is_dropped() {
    let mut queue = Dissemination::default();
    for kind in [Kind::State, Kind::Record, Kind::Load] {
        queue.enqueue(Topic { id: short(1), kind }, Class::State);
        queue.enqueue(Topic { id: short(2), kind }, Class::State);
    }
    queue.forget(short(1));
    assert_eq!(queue.len(), 3);
    queue.fill(
        |_| 4,
        |topic, _| if topic.kind == Kind::Load { Offer::Obsolete } else { Offer::NoRoom },
    );
    assert_eq!(queue.len(), 2);
}

#[test]
fn adding_the_same_news_a_million_times_keeps_one_item() {
    let mut queue = Dissemination::default();
    for _ in 0..1_000_000 {
        queue.enqueue(Topic { id: short(1), kind: Kind::State }, Class::Urgent);
    }
    let mut offers = 0;
    queue.fill(
        |_| 4,
        |_, _| {
            offers += 1;
            Offer::Taken
        },
    );
    assert_eq!((queue.len(), offers), (1, 1));
}

fn short(number: u8) -> ShortId {
    ShortId::from_bytes([number; 5])
}

fn kind_of(number: u8) -> Kind {
    [Kind::State, Kind::Record, Kind::Load][usize::from(number)]
}

fn class_of(number: u8) -> Class {
    [Class::Urgent, Class::State, Class::Record, Class::Load][usize::from(number)]
}
