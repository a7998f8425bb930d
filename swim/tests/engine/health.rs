//! Whether a node trusts its own probes, and patience with those that keep coming back.

use std::time::Duration;

use astromesh_swim::Instant;
use astromesh_swim::detector::evidence::damping::{Damping, MEMORY, REMEMBERED_MAX};
use astromesh_swim::detector::evidence::health::Health;
use astromesh_swim::detector::evidence::rtt::{Rtt, STRETCH_MAX};
use astromesh_swim::ring::Ring;
use astromesh_wire::{NodeId, ShortId};

use crate::{ms, short};

fn at(milliseconds: u64) -> Instant {
    Instant::from_micros(milliseconds * 1_000)
}

/// The outcomes, in order: a member, and whether it answered. Then: sick, score.
fn judged(outcomes: &[(u8, bool)]) -> (bool, u8) {
    let mut health = Health::default();
    for (member, is_answered) in outcomes {
        health.note(short(*member), *is_answered);
    }
    (health.is_sick(at(0)), health.score(at(0)))
}

#[test]
fn isolated_is_who_fails_more_than_three_quarters_of_three_or_more_members() {
    let (yes, no) = (true, false);
    assert_eq!(judged(&[]), (false, 0));
    // One or two members prove nothing, however often.
    assert_eq!(judged(&[(1, no); 20]), (false, 8));
    assert_eq!(judged(&[(1, no), (2, no), (1, no), (2, no)]), (false, 8));
    assert_eq!(judged(&[(1, no), (2, no), (3, no)]), (true, 8));
    assert_eq!(judged(&[(1, yes), (2, no), (3, no)]), (false, 5));
    // Exactly three quarters is not more.
    assert_eq!(judged(&[(1, yes), (2, no), (3, no), (4, no)]), (false, 6));
    assert_eq!(judged(&[(1, yes), (2, no), (3, no), (4, no), (5, no)]), (true, 8));
    // Of one member the newest counts.
    assert_eq!(judged(&[(1, yes), (2, no), (3, no), (1, no)]), (true, 8));
    assert_eq!(judged(&[(1, no), (1, yes), (2, yes), (3, yes)]), (false, 0));
    // However often others were probed since: five of eight that died say little of this node.
    let again = [(1, no), (2, no), (3, no), (1, no), (2, no), (3, no), (4, no), (5, no)];
    let first = [(1, yes), (2, yes), (3, yes), (4, yes), (5, yes), (6, yes), (7, yes), (8, yes)];
    assert_eq!(judged(&[&first[..], &again].concat()), (false, 5));
    // Members beyond eight push out those noted first.
    let others = [(11, yes), (12, yes), (13, yes), (14, yes), (15, yes), (16, yes), (17, yes)];
    assert_eq!(judged(&[&[(1, no), (3, no)][..], &others, &[(18, yes)]].concat()), (false, 0));
}

#[test]
fn who_is_isolated_stays_so_until_half_have_answered() {
    let mut health = Health::default();
    (1..=8).for_each(|member| health.note(short(member), false));
    for member in 1..=3 {
        health.note(short(member), true);
        assert!(health.is_sick(at(0)), "{member} of 8 answered");
    }
    health.note(short(4), true);
    assert!(!health.is_sick(at(0)));
    // And not again at once: five of eight is no more than three quarters.
    health.note(short(4), false);
    assert!(!health.is_sick(at(0)));
}

#[test]
fn the_silence_of_the_dead_does_not_speak_against_this_node() {
    let mut health = Health::default();
    [1, 2].iter().for_each(|member| health.note(short(*member), true));
    (3..=8).for_each(|member| health.note(short(member), false));
    assert!(!health.is_sick(at(0)));
    (3..=8).for_each(|member| health.forget(short(member)));
    assert_eq!(health.score(at(0)), 0);

    let mut health = Health::default();
    (1..=5).for_each(|member| health.note(short(member), false));
    (1..=5).for_each(|member| health.forget(short(member)));
    assert!(health.is_sick(at(0)), "nobody has answered yet");
    health.note(short(6), true);
    assert!(!health.is_sick(at(0)));
}

#[test]
fn who_fell_behind_is_sick_for_the_longest_time_said() {
    let mut health = Health::default();
    health.fell_behind(at(0), ms(3_000));
    health.fell_behind(at(1_000), ms(1_000));
    assert!(health.is_sick(at(2_999)));
    assert_eq!(health.score(at(2_999)), 8);
    assert!(!health.is_sick(at(3_000)));
    assert_eq!(health.score(at(3_000)), 0);
}

#[test]
fn the_floor_is_four_and_then_sixteen_times_as_long_within_bounds() {
    let longest = ms(32_000);
    let mut damping = Damping::default();
    let floor = |damping: &Damping, now, generation, floor| {
        damping.floor(now, short(1), generation, (ms(floor), longest)).as_millis()
    };
    for (returns, floors) in [
        (0, [0, 100, 2_000, 8_000, 40_000]),
        (1, [2_000, 2_000, 8_000, 32_000, 40_000]),
        (2, [8_000, 8_000, 32_000, 32_000, 40_000]),
        (3, [8_000, 8_000, 32_000, 32_000, 40_000]),
    ] {
        if returns > 0 {
            damping.returned(at(returns), short(1), 1);
        }
        for (base, wanted) in [0, 100, 2_000, 8_000, 40_000].into_iter().zip(floors) {
            assert_eq!(floor(&damping, at(10), 1, base), wanted, "{returns} returns, {base} ms");
        }
    }
    assert_eq!(floor(&damping, at(10), 2, 2_000), 2_000, "a new generation");
    let end = at(3) + MEMORY;
    assert_eq!(floor(&damping, Instant::from_micros(end.as_micros() - 1), 1, 2_000), 32_000);
    assert_eq!(floor(&damping, end, 1, 2_000), 2_000, "long ago");
    damping.returned(end, short(1), 1);
    assert_eq!(floor(&damping, end, 1, 2_000), 8_000, "counted anew");
    damping.returned(end, short(1), 2);
    assert_eq!(floor(&damping, end, 2, 2_000), 8_000, "counted anew");
    assert_eq!(MEMORY, Duration::from_secs(1_800));
}

#[test]
fn the_oldest_return_is_forgotten_first() {
    let many = |number: usize| -> ShortId {
        let number = u32::try_from(number).unwrap().to_be_bytes();
        NodeId::from_bytes([number; 4].concat().try_into().unwrap()).short()
    };
    let mut damping = Damping::default();
    for number in 0..=REMEMBERED_MAX {
        damping.returned(at(u64::try_from(number).unwrap()), many(number), 1);
    }
    let floor = |number| damping.floor(at(5_000), many(number), 1, (ms(2_000), ms(32_000)));
    assert_eq!(floor(0), ms(2_000));
    assert_eq!((floor(1), floor(REMEMBERED_MAX)), (ms(8_000), ms(8_000)));
}

#[test]
fn offsets_are_stretched_for_slow_answers_only() {
    let stretch = |answers: &[u64]| {
        let mut rtt = Rtt::default();
        answers.iter().for_each(|answer| rtt.note(ms(*answer)));
        rtt.stretch()
    };
    assert!((stretch(&[]) - 1.0).abs() < 1e-9);
    assert!((stretch(&[1; 50]) - 1.0).abs() < 1e-9);
    assert!((stretch(&[10]) - 1.0).abs() < 1e-9);
    // 20 ms and twice that in variation.
    assert!((stretch(&[20]) - 2.0).abs() < 1e-9);
    // The variation dies down.
    assert!((stretch(&[60; 50]) - 2.0).abs() < 1e-3);
    assert!((stretch(&[60_000; 50]) - STRETCH_MAX).abs() < 1e-9);
    assert!((stretch(&[u64::MAX / 1_000_000; 2]) - STRETCH_MAX).abs() < 1e-9);
}

#[test]
fn a_ring_goes_round_in_both_directions_without_the_one_who_asks() {
    let mut ring = Ring::default();
    assert!(ring.is_empty());
    assert_eq!((ring.before(short(1)).count(), ring.behind(short(1)).count()), (0, 0));
    (1..=9).for_each(|number| ring.insert(short(number)));
    ring.insert(short(9));
    assert_eq!(ring.len(), 9);
    for number in 1..=9 {
        let behind: Vec<_> = ring.behind(short(number)).collect();
        let mut before: Vec<_> = ring.before(short(number)).collect();
        assert_eq!(behind.len(), 8);
        before.reverse();
        assert_eq!(behind, before);
        assert!(!behind.contains(&short(number)));
    }
    // One who is not on it sees all.
    assert_eq!((ring.before(short(77)).count(), ring.behind(short(77)).count()), (9, 9));
    ring.remove(short(77));
    ring.remove(short(1));
    assert_eq!(ring.len(), 8);
}
