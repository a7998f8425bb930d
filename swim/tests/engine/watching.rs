//! Who watches whom, when, and how a probe goes; pings on behalf of others.

use std::collections::BTreeSet;

use astromesh_swim::detector::evidence::pings::PINGS;
use astromesh_swim::ring::Ring;
use astromesh_swim::{Command, Origin};
use astromesh_wire::{Message, ShortId, State};

use crate::peers::{ALL_WELL, NO_HELP, ONE_IS_GONE, Peers, asks_about, times, up_to};
use crate::{LOCAL, Subject, address, claim, id, is_ping, is_ping_to, ms, record, short};

fn ring_of(last: u8) -> Ring {
    let mut ring = Ring::default();
    (1..=last.max(LOCAL)).for_each(|number| ring.insert(short(number)));
    ring
}

#[test]
fn each_is_watched_by_all_others_up_to_nine_and_by_eight_beyond() {
    for count in [2_u8, 3, 4, 5, 6, 7, 8, 9, 10, 20, 100] {
        let mut ring = Ring::default();
        (1..=count).for_each(|number| ring.insert(short(number)));
        let wanted = usize::from(count - 1).min(8);
        for watched in 1..=count {
            let observers: BTreeSet<ShortId> = ring.before(short(watched)).take(wanted).collect();
            assert_eq!(observers.len(), wanted, "of {count}");
            assert!(!observers.contains(&short(watched)), "of {count}");
            // Both sides see it the same way.
            let watching = (1..=count).filter(|&other| other != watched).filter(|&other| {
                ring.behind(short(other)).take(wanted).any(|id| id == short(watched))
            });
            assert_eq!(watching.map(short).collect::<BTreeSet<_>>(), observers, "of {count}");
        }
    }
}

#[test]
fn who_leaves_the_ring_changes_the_watches_of_the_eight_before_only() {
    let (before, mut after) = (ring_of(100), ring_of(100));
    after.remove(short(50));
    let watches = |ring: &Ring, number| ring.behind(short(number)).take(8).collect::<BTreeSet<_>>();

    let changed: BTreeSet<ShortId> = (1..=100)
        .filter(|&number| number != 50 && watches(&before, number) != watches(&after, number))
        .map(short)
        .collect();

    assert_eq!(changed, before.before(short(50)).take(8).collect());
}

#[test]
fn each_subject_is_pinged_once_a_period_and_nobody_else() {
    for (last, period) in [(2, 2), (3, 3), (9, 8), (20, 8), (100, 8)] {
        let peers = up_to(last);
        let mut subject = Subject::observing(&peers);
        let ring = ring_of(last.max(LOCAL));
        // With fewer peers than the local number the ring has a gap; the count is what matters.
        let subjects: Vec<u8> = if last > LOCAL {
            let behind: BTreeSet<_> = ring.behind(short(LOCAL)).take(8).collect();
            peers.iter().copied().filter(|&peer| behind.contains(&short(peer))).collect()
        } else {
            peers.clone()
        };

        let sent = subject.live(ALL_WELL, ms(period * 1_000 * 3));

        let pinged: BTreeSet<_> =
            sent.iter().filter(|(_, sent)| is_ping(sent)).map(|(_, sent)| sent.to).collect();
        assert_eq!(pinged, subjects.iter().map(|&peer| address(peer)).collect(), "of {last}");
        for peer in subjects {
            let at = times(&sent, is_ping_to(peer));
            assert_eq!(at.len(), 3, "peer {peer} of {last}");
            assert_eq!((at[1] - at[0], at[2] - at[1]), (period * 1_000, period * 1_000));
        }
    }
}

#[test]
fn a_new_subject_is_probed_within_a_second() {
    let mut subject = Subject::observing(&up_to(5));
    subject.merge(vec![claim(record(6), State::Alive)], Origin::Join);

    let sent = subject.live(ALL_WELL, ms(1_000));

    assert_eq!(times(&sent, is_ping_to(6)).len(), 1);
}

#[test]
fn who_is_gone_is_not_probed_any_more() {
    let mut subject = Subject::observing(&up_to(5));
    subject.told(2, &[crate::state(1, State::Left, 0, 0)]);

    assert_eq!(times(&subject.live(ALL_WELL, ms(10_000)), is_ping_to(1)), []);
}

/// Asks for a slot as this peer; what the ack says.
fn slot(subject: &mut Subject, peer: u8, wants_slot: bool) -> Option<u16> {
    let digest = subject.engine.digest();
    let ping = Message::Ping { target: short(LOCAL), sequence: 5, digest, wants_slot };
    let sent = subject.hear(peer, ping, &[]);
    assert_eq!((sent.len(), sent[0].to), (1, address(peer)));
    let Message::Ack { sequence: 5, slot_ms, .. } = sent[0].message else { panic!("{sent:?}") };
    slot_ms
}

#[test]
fn slots_of_observers_are_spread_evenly_and_half_a_period_ahead_others_get_none() {
    for (last, observers) in [(2, 2), (4, 4), (9, 8), (20, 8), (100, 8)] {
        let peers = up_to(last);
        let mut subject = Subject::observing(&peers);
        let period = observers * 1_000;
        for _ in 0..5 {
            subject.live(ALL_WELL, ms(777));
            let mut slots = Vec::new();
            for &peer in &peers {
                slots.extend(slot(&mut subject, peer, true).map(u64::from));
                assert_eq!(slot(&mut subject, peer, false), None);
            }
            slots.sort_unstable();
            assert_eq!(slots.len(), usize::try_from(observers).unwrap(), "of {last}");
            // Rounded down to a millisecond.
            assert!(slots[0] >= period / 2 && slots[0] <= period / 2 + 1_000, "{slots:?}");
            assert!(slots.windows(2).all(|pair| pair[1] - pair[0] == 1_000), "{slots:?}");
        }
    }
}

#[test]
fn observers_ask_for_slots_and_keep_them() {
    let mut subject = Subject::observing(&up_to(5));
    let ping = subject.wait_for_ping();
    let Message::Ping { target, sequence, wants_slot, .. } = ping.message else { panic!() };
    assert!(wants_slot);
    let peer = crate::peers::number_of(target);

    subject.acked(peer, sequence, Some(3_210));
    let sent = subject.live(ALL_WELL, ms(9_000));

    // A period of 5 s after that: the ack to the second ping had no slot.
    assert_eq!(times(&sent, is_ping_to(peer)), [3_210, 8_210]);
}

/// A member that wants to be pinged without end, or never, gets the usual pings.
#[test]
fn a_slot_out_of_any_measure_is_not_kept() {
    for slot_ms in [0, 1, 499, 12_001, u16::MAX] {
        let mut subject = Subject::observing(&up_to(5));
        let ping = subject.wait_for_ping();
        let Message::Ping { target, sequence, .. } = ping.message else { panic!() };
        let peer = crate::peers::number_of(target);

        subject.acked(peer, sequence, Some(slot_ms));
        let sent = subject.live(ALL_WELL, ms(5_000));

        assert_eq!(times(&sent, is_ping_to(peer)), [5_000], "after {slot_ms} ms");
    }
}

#[test]
fn a_probe_pings_at_0_80_200_and_asks_four_at_120_and_the_same_at_210() {
    let mut subject = Subject::observing(&up_to(7));
    let sent = subject.probe(1, Peers { silent: &[1], nacks: true, vote: None });

    assert_eq!(times(&sent, is_ping_to(1)), [0, 80, 200]);
    let requests = times(&sent, asks_about(1));
    assert_eq!(requests, [120, 120, 120, 120, 210, 210, 210, 210]);
    let helpers = |at| -> BTreeSet<_> {
        let asked = sent.iter().filter(|(when, sent)| *when == at && asks_about(1)(sent));
        asked.map(|(_, sent)| sent.to).collect()
    };
    assert_eq!(helpers(120).len(), 4);
    assert_eq!(helpers(120), helpers(210));
    assert_eq!(subject.shown(1), Some(State::Suspect));
    assert_eq!(subject.engine.stats().probes_failed, 1);
}

#[test]
fn a_probe_is_judged_at_350_ms_and_not_before() {
    let mut subject = Subject::observing(&up_to(7));
    subject.command(Command::Probe(id(1)));

    subject.live(ONE_IS_GONE, ms(349));
    assert_eq!(subject.shown(1), Some(State::Alive));
    subject.live(ONE_IS_GONE, ms(1));
    assert_eq!(subject.shown(1), Some(State::Suspect));
}

#[test]
fn an_answer_at_any_time_ends_a_probe_directly_or_through_a_helper() {
    for (wait, through) in [(0, None), (79, None), (349, None), (121, Some(())), (349, Some(()))] {
        let mut subject = Subject::observing(&up_to(7));
        subject.command(Command::Probe(id(1)));
        let sent = subject.live(NO_HELP, ms(wait));
        let sequence = Subject::last_sequence(&sent, 1);
        let helper = sent.iter().find(|(_, sent)| asks_about(1)(sent)).map(|(_, sent)| sent.to);
        let from = match through {
            None => 1,
            Some(()) => up_to(7).into_iter().find(|&peer| Some(address(peer)) == helper).unwrap(),
        };

        subject.acked(from, sequence, None);
        let later = subject.live(NO_HELP, ms(1_000));

        assert_eq!(times(&later, is_ping_to(1)), [], "after {wait} ms");
        assert_eq!(subject.engine.stats().probes_failed, 0);
        assert_eq!(subject.changes(), []);
    }
}

#[test]
fn an_ack_with_another_sequence_or_from_one_not_asked_proves_nothing() {
    let mut subject = Subject::observing(&up_to(7));
    subject.command(Command::Probe(id(1)));
    let sent = subject.live(NO_HELP, ms(100));
    let sequence = Subject::last_sequence(&sent, 1);

    subject.acked(1, sequence.wrapping_sub(1), None);
    subject.acked(1, sequence.wrapping_add(PINGS), None);
    subject.acked(2, sequence, None);
    subject.acked(99, sequence, None);
    subject.live(NO_HELP, ms(250));

    assert_eq!(subject.shown(1), Some(State::Suspect));
}

#[test]
fn a_hint_during_a_probe_starts_no_second_one_and_is_no_standstill() {
    let mut subject = Subject::observing(&up_to(7));
    subject.command(Command::Probe(id(1)));
    let sent = subject.live(NO_HELP, ms(10));
    subject.command(Command::Probe(id(1)));
    subject.live(NO_HELP, ms(200));

    subject.acked(1, Subject::last_sequence(&sent, 1), None);
    let later = subject.live(NO_HELP, ms(1_000));

    assert_eq!(times(&later, is_ping_to(1)), []);
    assert_eq!(subject.engine.stats().stalls, 0);
}

#[test]
fn a_hint_about_one_of_many_probes_it_once_and_asks_for_no_slot() {
    let mut subject = Subject::observing(&up_to(100));
    let ring = ring_of(100);
    let other = up_to(100)
        .into_iter()
        .find(|&peer| ring.behind(short(LOCAL)).take(8).all(|watched| watched != short(peer)));
    let other = other.unwrap();

    let sent = subject.probe(other, ALL_WELL);
    let later = subject.live(ALL_WELL, ms(20_000));

    let pings: Vec<_> = sent.iter().filter(|(_, sent)| is_ping_to(other)(sent)).collect();
    assert_eq!(pings.len(), 1);
    assert!(matches!(pings[0].1.message, Message::Ping { wants_slot: false, .. }));
    assert_eq!(times(&later, is_ping_to(other)), []);
}

#[test]
fn a_flood_of_hints_probes_64_beside_the_subjects_at_most() {
    let mut subject = Subject::observing(&up_to(100));
    for peer in up_to(100) {
        subject.command(Command::Probe(id(peer)));
    }
    let sent = subject.live(ALL_WELL, ms(10));

    let pinged: BTreeSet<_> =
        sent.iter().filter(|(_, sent)| is_ping(sent)).map(|(_, sent)| sent.to).collect();
    assert!(pinged.len() >= 64 && pinged.len() <= 72, "{}", pinged.len());
}
