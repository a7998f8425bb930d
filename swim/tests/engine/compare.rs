//! How two views are made equal, in datagrams.

use std::collections::VecDeque;
use std::time::Duration;

use astromesh_swim::{Change, Claim, Command, Config, Engine, Event, Instant, Origin, OwnedRecord};
use astromesh_wire::{ClusterTag, Entry, Incarnation, Load, Message, NodeId, Range, State, Update};
use bytes::BytesMut;

use crate::{CLUSTER, LOCAL, News, Sent, Subject, address, id, ms, record, short, state};

fn ping(digest: u32) -> Message {
    Message::Ping { target: short(LOCAL), sequence: 1, digest, wants_slot: false }
}

/// What a peer holds of a member of generation 1.
pub(crate) fn entry(number: u8, state: State, incarnation: u32, revision: u32) -> Entry {
    let subject = Incarnation { id: short(number), generation: 1, incarnation };
    Entry { subject, state, revision, gone_for_s: 0 }
}

pub(crate) fn unknown(number: u8) -> Entry {
    let subject = Incarnation { id: short(number), generation: 0, incarnation: 0 };
    Entry { subject, state: State::Alive, revision: 0, gone_for_s: 0 }
}

pub(crate) fn told(subject: &mut Subject, peer: u8, entries: &[Entry]) -> Vec<Sent> {
    let updates: Vec<Update<'_>> = entries.iter().copied().map(Update::Entry).collect();
    subject.hear(peer, Message::Gossip, &updates)
}

/// After this a node does not compare views more eagerly any more because it has just started.
const STARTED: Duration = Duration::from_secs(10);

/// Comparisons started by these datagrams: a small view is listed.
fn comparisons(sent: &[Sent]) -> usize {
    sent.iter().filter(|sent| matches!(sent.news.first(), Some(News::List(0, 0, _)))).count()
}

#[test]
fn differences_met_a_second_apart_start_a_comparison_with_that_peer() {
    let mut subject = Subject::among(&[1, 2]);
    subject.answered_for(STARTED);
    let other = subject.engine.digest() ^ 1;

    let mut sent = subject.hear(1, ping(other), &[]);
    sent.extend(subject.answered_for(ms(999)));
    sent.extend(subject.hear(1, ping(other), &[]));
    assert_eq!(comparisons(&sent), 0);
    subject.answered_for(ms(1));
    let sent = subject.hear(2, ping(other), &[]);

    let comparison = sent.iter().find(|sent| sent.message == Message::Gossip).unwrap();
    assert_eq!((comparison.to, comparison.news.len()), (address(2), 5));
    assert_eq!(comparison.news[0], News::List(0, 0, 3));
    for number in [1, 2, LOCAL] {
        assert!(comparison.news.contains(&News::Entry(entry(number, State::Alive, 0, 1))));
    }
    // Who has started anew may not know this node.
    assert_eq!(comparison.news[4], News::Record(record(LOCAL)));
    let stats = subject.engine.stats();
    assert_eq!((stats.digests_differing, stats.reconciles), (3, 1));
}

#[test]
fn equal_digests_start_nothing_and_are_counted() {
    let mut subject = Subject::among(&[1, 2]);
    let before = *subject.engine.stats();

    for _ in 0..10 {
        let own = subject.engine.digest();
        let sent = subject.hear(1, ping(own), &[]);
        assert_eq!((sent.len(), sent[0].bytes), (1, 17));
    }

    let stats = subject.engine.stats();
    assert_eq!(stats.digests_equal - before.digests_equal, 10);
    assert_eq!((stats.digests_differing, stats.reconciles), (0, 0));
}

#[test]
fn a_node_starts_a_comparison_each_two_seconds_at_most_and_less_often_in_vain() {
    let mut subject = Subject::among(&[1, 2]);
    subject.answered_for(STARTED);
    let mut started = Vec::new();

    for round in 0..600 {
        let other = subject.engine.digest() ^ 1;
        let sent = subject.hear(1, ping(other), &[]);
        started.extend((comparisons(&sent) > 0).then_some(round * 100));
        subject.answered_for(ms(100));
    }

    let waits: Vec<u64> = started.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(waits.iter().all(|&wait| wait >= 2_000), "{waits:?}");
    // 2, 4, 8, 16 and 16 s, and up to half as much again.
    assert!((4..=6).contains(&started.len()), "{started:?}");
}

#[test]
fn a_camp_that_agrees_does_not_hide_one_that_differs() {
    // Two camps that know of each other, half the peers in each: an equal digest now and then must
    // not put the comparison off for ever.
    let mut subject = Subject::among(&[1, 2]);
    let (own, other) = (subject.engine.digest(), subject.engine.digest() ^ 1);
    let mut sent = Vec::new();

    for _ in 0..4 {
        sent.extend(subject.hear(1, ping(own), &[]));
        sent.extend(subject.hear(2, ping(other), &[]));
        sent.extend(subject.answered_for(ms(500)));
    }

    assert_eq!(comparisons(&sent), 1);
}

#[test]
fn a_view_that_always_moves_is_compared_all_the_same() {
    // Under churn no view ever stands still; what is missing must be found then too.
    let mut subject = Subject::among(&[1, 2]);
    let mut sent = Vec::new();

    for incarnation in 1..10 {
        subject.told(2, &[state(1, State::Alive, incarnation, 0)]);
        let other = subject.engine.digest() ^ 1;
        sent.extend(subject.hear(2, ping(other), &[]));
        sent.extend(subject.answered_for(ms(1_000)));
    }

    assert!((2..=4).contains(&comparisons(&sent)), "{}", comparisons(&sent));
}

#[test]
fn a_difference_met_long_ago_does_not_count() {
    let mut subject = Subject::among(&[1, 2]);
    let other = subject.engine.digest() ^ 1;

    let mut sent = subject.hear(1, ping(other), &[]);
    sent.extend(subject.answered_for(ms(60_000)));
    sent.extend(subject.hear(1, ping(other), &[]));

    assert_eq!(comparisons(&sent), 0);
}

#[test]
fn each_side_of_an_entry_gets_what_is_newer_with_the_other() {
    let row = |what, held: Entry, answer: Option<News>, after: (u32, u32)| {
        let mut subject = Subject::among(&[1, 2]);
        subject.told(1, &[state(2, State::Alive, 3, 0)]);
        let known = OwnedRecord { incarnation: 3, revision: 4, ..record(2) };
        subject.hear(1, Message::Gossip, &[Update::Record(known.borrow())]);
        subject.settle();

        let sent = told(&mut subject, 1, &[held]);

        let answered: Vec<News> = sent.into_iter().flat_map(|sent| sent.news).collect();
        assert_eq!(answered, Vec::from_iter(answer), "{what}");
        let record = &subject.member(2).unwrap().record;
        assert_eq!((record.incarnation, record.revision), after, "{what}");
    };
    let known = OwnedRecord { incarnation: 3, revision: 4, ..record(2) };
    let whole = Some(News::Record(known));
    let line = |incarnation| Some(News::Entry(entry(2, State::Alive, incarnation, 4)));
    row("equal", entry(2, State::Alive, 3, 4), None, (3, 4));
    row("not known there", unknown(2), whole.clone(), (3, 4));
    row("older description there", entry(2, State::Alive, 3, 2), whole, (3, 4));
    row("older state there", entry(2, State::Alive, 1, 4), line(3), (3, 4));
    row("newer state there", entry(2, State::Alive, 5, 4), None, (5, 4));
    row("newer description there", entry(2, State::Alive, 3, 9), line(3), (3, 4));
    row("newer in both", entry(2, State::Alive, 5, 9), line(5), (5, 4));
}

#[test]
fn an_entry_about_somebody_unknown_is_answered_with_the_question_for_the_record() {
    let mut subject = Subject::among(&[1, 2]);

    let sent = told(&mut subject, 1, &[entry(5, State::Alive, 0, 1), unknown(6)]);

    assert_eq!(sent.len(), 1);
    // Who is not known there either is not asked for.
    assert_eq!((sent[0].to, &sent[0].news), (address(1), &vec![News::Entry(unknown(5))]));
    subject.hear(1, Message::Gossip, &[Update::Record(record(5).borrow())]);
    assert_eq!(subject.changes(), [(id(5), Change::Joined)]);
}

#[test]
fn who_is_not_named_in_a_list_is_told_in_full() {
    let mut subject = Subject::among(&[1, 2]);
    let list = Range { prefix: 0, bits: 0, content: astromesh_wire::Content::List(2) };
    let updates = [
        Update::Range(list),
        Update::Entry(entry(1, State::Alive, 0, 1)),
        Update::Entry(entry(LOCAL, State::Alive, 0, 1)),
    ];

    let sent = subject.hear(1, Message::Gossip, &updates);

    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0].news, [News::Record(record(2))]);
    assert_eq!(subject.engine.stats().records_sent, 1);
}

#[test]
fn a_leave_told_by_a_comparison_is_believed_at_once() {
    let mut subject = Subject::among(&[1, 2]);

    told(&mut subject, 2, &[entry(1, State::Left, 0, 1)]);

    assert_eq!(subject.changes(), [(id(1), Change::Left)]);
}

#[test]
fn what_a_comparison_says_of_this_node_is_outbid() {
    for said in [entry(LOCAL, State::Dead, 0, 1), entry(LOCAL, State::Alive, 0, 7)] {
        let mut subject = Subject::among(&[1, 2]);

        let sent = told(&mut subject, 1, &[said]);

        let own = &subject.engine.local().record;
        assert!(own.incarnation > 0 && own.revision >= said.revision, "{own:?}");
        assert_eq!(sent[0].news.first(), Some(&News::Record(own.unpack())));
    }
}

#[test]
fn ranges_and_entries_of_strangers_are_ignored() {
    let mut subject = Subject::among(&[1, 2]);
    let list = Range { prefix: 0, bits: 0, content: astromesh_wire::Content::List(0) };

    let updates = [Update::Range(list), Update::Entry(entry(1, State::Left, 9, 1))];
    let sent = subject.hear(77, Message::Gossip, &updates);

    assert_eq!((sent, subject.state_of(1)), (Vec::new(), Some(State::Alive)));
}

#[test]
fn an_answer_has_four_datagrams_at_most_whatever_is_asked() {
    let numbers: Vec<u8> = (10..210).collect();
    let mut subject = Subject::among(&numbers);
    let nothing = Range { prefix: 0, bits: 0, content: astromesh_wire::Content::List(0) };

    let sent = subject.hear(10, Message::Gossip, &[Update::Range(nothing); 100]);

    assert_eq!(sent.len(), 4);
    assert!(sent.iter().all(|sent| sent.bytes <= 1_200));
}

const NOTHING: Range<'static> =
    Range { prefix: 0, bits: 0, content: astromesh_wire::Content::List(0) };

#[test]
fn views_are_answered_to_the_address_of_the_member_only() {
    let mut subject = Subject::among(&[1, 2]);
    let asking = [Update::Range(NOTHING)];

    let forged = crate::datagram(1, Message::Gossip, &asking);
    assert_eq!(subject.hear_from(address(77), &forged), []);
    assert_eq!(subject.engine.stats().refused_views_address, 1);
    assert_eq!(subject.hear(1, Message::Gossip, &asking).len(), 1);

    // A member that has moved says so first.
    let moved = OwnedRecord { revision: 2, address: address(77), ..record(1) };
    let updates = [Update::Record(moved.borrow()), Update::Range(NOTHING)];
    let sent = subject.hear_from(address(77), &crate::datagram(1, Message::Gossip, &updates));
    assert_eq!((sent.len(), sent[0].to), (1, address(77)));
    assert_eq!(subject.engine.stats().refused_views_address, 1);
}

#[test]
fn answers_cost_a_bounded_number_of_datagrams_a_second() {
    let numbers: Vec<u8> = (10..210).collect();
    let mut subject = Subject::among(&numbers);
    let ask = |subject: &mut Subject| subject.hear(10, Message::Gossip, &[Update::Range(NOTHING)]);

    let sent: Vec<Sent> = (0..200).flat_map(|_| ask(&mut subject)).collect();
    assert_eq!((sent.len(), subject.engine.stats().refused_views_budget), (128, 168));
    subject.answered_for(ms(1_000));
    assert_eq!(ask(&mut subject).len(), 4);
}

#[test]
fn of_several_large_ranges_in_a_datagram_one_is_compared() {
    let numbers: Vec<u8> = (10..210).collect();
    let digests = [1; 256];
    let content = astromesh_wire::Content::Parts(&digests);
    let whole = Update::Range(Range { prefix: 0, bits: 0, content });
    let half = Update::Range(Range { prefix: 0, bits: 1, content });
    let pieces = |updates: &[Update<'_>]| -> (usize, u64) {
        let mut subject = Subject::among(&numbers);
        let sent = subject.hear(10, Message::Gossip, updates);
        let pieces = sent.iter().map(|sent| sent.news.len()).sum();
        (pieces, subject.engine.stats().refused_ranges)
    };

    let (one, refused) = pieces(&[whole]);
    assert!(one > 64, "{one} pieces");
    assert_eq!(refused, 0);
    assert_eq!(pieces(&[whole; 4]), (one, 3));
    assert_eq!(pieces(&[whole, half]), (one, 1));
}

#[test]
fn large_ranges_are_compared_32_times_a_second_even_if_nothing_differs() {
    let numbers: Vec<u8> = (10..210).collect();
    let mut subject = Subject::among(&numbers);
    let other = subject.engine.digest() ^ 1;
    subject.hear(10, ping(other), &[]);
    subject.answered_for(ms(1_000));
    let sent = subject.hear(10, ping(other), &[]);
    let digests = sent.iter().flat_map(|sent| &sent.news).find_map(|news| match news {
        News::Parts(0, 0, digests) => Some(digests),
        _ => None,
    });
    let digests: Vec<u8> =
        digests.unwrap().iter().flat_map(|digest| digest.to_be_bytes()).collect();
    let content = astromesh_wire::Content::Parts(digests.as_slice().try_into().unwrap());
    let same = Update::Range(Range { prefix: 0, bits: 0, content });

    for _ in 0..100 {
        assert_eq!(subject.hear(10, Message::Gossip, &[same]), []);
    }

    assert_eq!(subject.engine.stats().refused_views_budget, 68);
}

#[test]
fn no_more_than_1024_deaths_are_checked_at_once() {
    let mut subject = Subject::with(Config::default());
    let claims: Vec<Claim> = (0..1_100).map(|number| claim_of(numbered(number))).collect();
    subject.merge(claims.clone(), Origin::Join);

    let dead = claims.into_iter().map(|claim| Claim { state: State::Dead, ..claim }).collect();
    let sent = subject.merge(dead, Origin::Sync);

    assert_eq!(sent.iter().filter(|sent| crate::is_ping(sent)).count(), 1_024);
    assert_eq!(subject.engine.stats().refused_checks_full, 76);
}

#[test]
fn news_that_a_peer_with_our_digest_has_is_not_sent_to_it() {
    let mut subject = Subject::among(&[1, 2, 3]);
    subject.told(2, &[state(1, State::Alive, 1, 0)]);
    let (own, other) = (subject.engine.digest(), subject.engine.digest() ^ 1);

    let spared = subject.hear(3, ping(own), &[]);
    let told = subject.hear(3, ping(other), &[]);

    assert_eq!(spared[0].news, []);
    assert_eq!(told[0].news, [News::State(state(1, State::Alive, 1, 0))]);
}

/// Two engines that know these members and exchange datagrams without delay.
struct Pair {
    engines: [Engine; 2],
    now: Instant,
    /// Bytes of the datagrams that carry no probe.
    bytes: usize,
    datagrams: usize,
    syncs: usize,
}

const MANY: u32 = 10_000;

fn numbered(number: u32) -> OwnedRecord {
    let mut bytes = [0xEE; 16];
    bytes[..4].copy_from_slice(&number.to_be_bytes());
    let [.., b, c, d] = number.to_be_bytes();
    OwnedRecord {
        id: NodeId::from_bytes(bytes),
        address: ([11, b, c, d], 8000).into(),
        ..record(1)
    }
}

fn claim_of(record: OwnedRecord) -> Claim {
    Claim { record, state: State::Alive, load: Load::default(), load_sequence: 0 }
}

impl Pair {
    /// Member 0 and 1 are the engines themselves.
    fn who_know(count: u32) -> Self {
        let now = Instant::from_micros(1_000_000);
        let engine = |own: u32| {
            let tag = ClusterTag::of(CLUSTER);
            let mut engine = Engine::new(now, Config::default(), tag, numbered(own), 1);
            let others = (0..count).filter(|&number| number != own);
            let claims = others.map(|number| claim_of(numbered(number))).collect();
            engine.handle_command(now, Command::Merge { claims, term: 0, origin: Origin::Join });
            engine
        };
        let engines = [engine(0), engine(1)];
        let mut pair = Self { engines, now, bytes: 0, datagrams: 0, syncs: 0 };
        assert_eq!(pair.engines[0].digest(), pair.engines[1].digest());
        pair.exchange();
        (pair.bytes, pair.datagrams) = (0, 0);
        pair
    }

    /// One engine alone hears this from a member that is not one of the two.
    fn only_hears(&mut self, engine: usize, update: Update<'_>) {
        let mut buffer = BytesMut::new();
        let sender = numbered(2);
        let mut encoder =
            astromesh_wire::Encoder::begin(&mut buffer, sender.id.short(), &Message::Gossip);
        encoder.push(&update).unwrap();
        encoder.finish(ClusterTag::of(CLUSTER));
        self.engines[engine].handle_datagram(self.now, sender.address, &buffer);
    }

    /// The engines ping each other by hand, which shows them that their digests differ.
    fn meet(&mut self) {
        for to in [0, 1] {
            let (sender, target) = (numbered(1 - to), numbered(to).id.short());
            let digest = self.engines[usize::from(to == 0)].digest();
            let ping = Message::Ping { target, sequence: 9, digest, wants_slot: false };
            let mut buffer = BytesMut::new();
            let number = usize::try_from(to).unwrap();
            astromesh_wire::Encoder::begin(&mut buffer, sender.id.short(), &ping)
                .finish(ClusterTag::of(CLUSTER));
            self.engines[number].handle_datagram(self.now, sender.address, &buffer);
            self.exchange();
        }
    }

    /// Delivers what the engines send to each other until they are silent.
    fn exchange(&mut self) {
        let mut buffer = BytesMut::new();
        let mut ways: VecDeque<(usize, BytesMut)> = VecDeque::new();
        loop {
            for (number, engine) in self.engines.iter_mut().enumerate() {
                while let Some(to) = engine.poll_transmit(&mut buffer) {
                    let other = 1 - number;
                    if to == numbered(u32::try_from(other).unwrap()).address {
                        ways.push_back((other, buffer.clone()));
                    }
                }
                while let Some(event) = engine.poll_event() {
                    self.syncs += usize::from(matches!(event, Event::SyncWanted(_)));
                }
            }
            let Some((to, bytes)) = ways.pop_front() else { return };
            let from = numbered(u32::try_from(1 - to).unwrap()).address;
            self.bytes += bytes.len();
            self.datagrams += 1;
            assert!(self.datagrams < 1_000, "it comes to an end");
            self.engines[to].handle_datagram(self.now, from, &bytes);
        }
    }

    fn meet_until_equal(&mut self, rounds: usize) {
        for _ in 0..rounds {
            if self.engines[0].digest() == self.engines[1].digest() {
                return;
            }
            self.now = self.now + ms(1_000);
            self.meet();
        }
        assert_eq!(self.engines[0].digest(), self.engines[1].digest());
    }
}

#[test]
fn one_difference_among_ten_thousand_members_is_found_with_less_than_1500_bytes() {
    let restarted = OwnedRecord { generation: 2, ..numbered(7_777) };
    let newcomer = numbered(MANY + 1);
    let rows: [(&str, Update<'_>); 3] = [
        (
            "a refutation",
            Update::State(astromesh_wire::StateUpdate {
                id: numbered(7_777).id.short(),
                ..state(1, State::Alive, 4, 0)
            }),
        ),
        ("a restart", Update::Record(restarted.borrow())),
        ("a newcomer", Update::Record(newcomer.borrow())),
    ];
    for (what, update) in rows {
        for hears in [0, 1] {
            let mut pair = Pair::who_know(MANY);
            pair.only_hears(hears, update);

            pair.meet_until_equal(3);

            // Two pings and acks of a round that finds that they differ are part of it.
            assert!(pair.bytes < 1_500, "{what} known to {hears}: {} bytes", pair.bytes);
            assert_eq!(pair.syncs, 0, "{what}");
        }
    }
}

#[test]
fn many_differences_are_found_in_a_few_comparisons() {
    let mut pair = Pair::who_know(500);
    for number in 500..560 {
        pair.only_hears(0, Update::Record(numbered(number).borrow()));
    }
    for number in 560..620 {
        pair.only_hears(1, Update::Record(numbered(number).borrow()));
    }

    pair.meet_until_equal(30);

    assert_eq!(pair.engines[0].live_count(), 620);
    assert_eq!(pair.syncs, 0, "a small mesh has no need of HTTP");
}

#[test]
fn much_that_differs_in_a_large_mesh_is_exchanged_over_http() {
    let mut pair = Pair::who_know(2_000);
    pair.now = pair.now + STARTED;
    for number in 2_000..2_100 {
        pair.only_hears(0, Update::Record(numbered(number).borrow()));
    }
    for _ in 0..3 {
        pair.now = pair.now + ms(1_000);
        pair.meet();
    }

    // Once each at most, for it takes a while.
    assert!((1..=2).contains(&pair.syncs), "{}", pair.syncs);
}
