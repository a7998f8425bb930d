//! Which node is picked when all goes well.

use astromesh_wire::State::{Alive, Dead, Left, Suspect};

use super::*;
use crate::routing::tuning::SEQUENCE_AHEAD;
use crate::routing::{Nobody, Reason, Why};

struct Row {
    name: &'static str,
    /// Number, state, load and limit of each other node.
    others: &'static [(u8, State, u32, u32)],
    here: Here,
    tried: &'static [u8],
    /// All that may be picked; empty for nobody.
    expected: &'static [u8],
}

const ROW: Row = Row { name: "", others: &[], here: Here::DoesNotServe, tried: &[], expected: &[] };

const fn here(active: u32) -> Here {
    Here::Serves { active, limit: 0 }
}

const ROWS: &[Row] = &[
    Row { name: "nobody has it", ..ROW },
    Row { name: "only here", here: here(9), expected: &[1], ..ROW },
    Row {
        name: "the least busy",
        others: &[(2, Alive, 3, 0), (3, Alive, 1, 0), (4, Alive, 2, 0)],
        expected: &[3],
        ..ROW
    },
    Row {
        name: "ties are open",
        others: &[(2, Alive, 1, 0), (3, Alive, 1, 0), (4, Alive, 1, 0), (5, Alive, 2, 0)],
        expected: &[2, 3, 4],
        ..ROW
    },
    Row {
        name: "a larger node takes more",
        others: &[(2, Alive, 3, 4), (3, Alive, 10, 16)],
        expected: &[3],
        ..ROW
    },
    Row {
        name: "of idle nodes the larger one is filled less by a request",
        others: &[(2, Alive, 0, 4), (3, Alive, 0, 16)],
        expected: &[3],
        ..ROW
    },
    Row {
        name: "room in a small node before none in a large one",
        others: &[(2, Alive, 3, 4), (3, Alive, 16, 16)],
        expected: &[2],
        ..ROW
    },
    Row {
        name: "the local node wins ties",
        others: &[(2, Alive, 1, 0), (3, Alive, 1, 0)],
        here: here(1),
        expected: &[1],
        ..ROW
    },
    Row {
        name: "a busier local node does not win",
        others: &[(2, Alive, 1, 0)],
        here: here(2),
        expected: &[2],
        ..ROW
    },
    Row { name: "dead never", others: &[(2, Dead, 0, 0)], ..ROW },
    Row { name: "left never", others: &[(2, Left, 0, 0)], ..ROW },
    Row {
        name: "alive before suspect, however busy",
        others: &[(2, Suspect, 0, 0), (3, Alive, 50, 0)],
        expected: &[3],
        ..ROW
    },
    Row {
        name: "suspect when no alive one is left",
        others: &[(2, Suspect, 0, 0), (3, Alive, 0, 0), (4, Dead, 0, 0)],
        tried: &[3],
        expected: &[2],
        ..ROW
    },
    Row {
        name: "never one that was tried",
        others: &[(2, Alive, 0, 0), (3, Alive, 5, 0)],
        tried: &[2],
        expected: &[3],
        ..ROW
    },
    Row {
        name: "nor this one when it was tried",
        others: &[(2, Alive, 5, 0)],
        here: here(0),
        tried: &[1],
        expected: &[2],
    },
    Row { name: "all tried", others: &[(2, Alive, 0, 0)], tried: &[2], ..ROW },
];

#[test]
fn the_rule_holds_in_each_case() {
    for row in ROWS {
        let others = row.others.iter().map(|(number, state, ..)| {
            let mut member = member(*number);
            member.state = *state;
            member
        });
        let mut core = core(others.collect());
        for (number, _, active, limit) in row.others {
            core.heard(NOW, id(*number), record(1, *active, *limit));
        }
        let tried: Vec<NodeId> = row.tried.iter().map(|number| id(*number)).collect();
        let question = Question { here: row.here, tried: &tried, ..ASK };
        assert_eq!(chosen(&mut core, NOW, &question, 200), row.expected, "{}", row.name);
    }
}

#[test]
fn equals_are_equally_likely() {
    let mut core = idle(3);
    let mut counts = [0; 5];
    for _ in 0..3_000 {
        counts[usize::from(number(&core.pick(NOW, &ASK).unwrap()))] += 1;
    }
    // Expected 1,000 each; the standard deviation is 26.
    assert!(counts[2..].iter().all(|count| (850..1_150).contains(count)), "{counts:?}");
}

#[test]
fn nobody_is_told_apart() {
    let mut dead = member(2);
    dead.state = Dead;
    let mut core = core(vec![dead, member(3)]);
    let unknown = Question { agent: "nothing", ..ASK };
    assert_eq!(core.pick(NOW, &unknown), Err(Nobody::UnknownAgent));
    let tried = Question { tried: &[id(3)], ..ASK };
    assert_eq!(core.pick(NOW, &tried), Err(Nobody::AllTried));
    let mut left = member(3);
    left.state = Left;
    let mut dead = member(2);
    dead.state = Dead;
    core.observe(NOW, &Arc::new(snapshot(vec![dead, left])));
    assert_eq!(core.pick(NOW, &ASK), Err(Nobody::NoAliveNode));
}

#[test]
fn with_fresh_news_each_request_goes_to_the_least_loaded_of_all() {
    let mut core = idle(8);
    for _ in 0..24 {
        core.request_began(NOW, AGENT);
        let pick = core.pick(NOW, &ASK).unwrap();
        assert_eq!((pick.why.reason, pick.why.sampled), (Reason::LeastLoad, 8));
        core.begin(NOW, id(number(&pick)));
    }
    let outstanding: Vec<u32> = (2..10).map(|number| core.outstanding(id(number))).collect();
    assert_eq!(outstanding, [3; 8]);
}

#[test]
fn with_old_news_a_few_are_drawn_and_compared() {
    let mut core = idle(8);
    for number in 2..10 {
        core.heard(NOW, id(number), record(1, if number == 2 { 0 } else { 4 }, 0));
    }
    let later = NOW + Duration::from_secs(30);
    for _ in 0..500 {
        core.request_began(later, AGENT);
    }
    let picks: Vec<Pick> = (0..100).map(|_| core.pick(later, &ASK).unwrap()).collect();
    let sampled = |pick: &Pick| pick.why.reason == Reason::Sampled && pick.why.sampled == 2;
    assert!(picks.iter().all(sampled));
    assert!(picks.iter().all(|pick| pick.why.age_ms == 30_000 && pick.why.candidates == 8));
    let to_the_least = picks.iter().filter(|pick| number(pick) == 2).count();
    // It is among two of eight with probability 1/4.
    assert!((10..45).contains(&to_the_least), "{to_the_least}");
}

#[test]
fn what_a_pick_says_of_its_reasons_is_so() {
    let mut core = idle(2);
    core.heard(NOW, id(2), record(1, 2, 8));
    core.heard(NOW, id(3), record(1, 6, 8));
    let pick = core.pick(NOW + Duration::from_millis(40), &ASK).unwrap();
    let expected = Why {
        reason: Reason::LeastLoad,
        candidates: 2,
        sampled: 2,
        estimate_milli: 250,
        age_ms: 40,
    };
    assert_eq!((number(&pick), pick.must_queue, pick.why), (2, false, expected));
    let only = core.pick(NOW, &Question { tried: &[id(2)], ..ASK }).unwrap();
    assert_eq!((only.why.reason, only.why.estimate_milli), (Reason::OnlyOne, 750));
    let mut picks = [0; Reason::ALL.len()];
    picks[Reason::LeastLoad as usize] = 1;
    picks[Reason::OnlyOne as usize] = 1;
    assert_eq!(core.stats().picks, picks);
}

#[test]
fn a_member_that_joins_is_given_little_at_first() {
    let mut core = idle(2);
    let joined = NOW + Duration::from_secs(60);
    core.observe(joined, &Arc::new(snapshot(vec![member(2), member(3), member(4)])));
    let mut given = |now| {
        let mut counts = [0; 5];
        for _ in 0..60 {
            let pick = core.pick(now, &ASK).unwrap();
            core.begin(now, id(number(&pick)));
            counts[usize::from(number(&pick))] += 1;
        }
        for (number, count) in (0..).zip(counts) {
            (0..count).for_each(|_| core.end(now, id(number)));
        }
        counts[4]
    };
    assert_eq!(given(joined), 2, "a tenth of what the others get");
    assert_eq!(given(joined + Duration::from_secs(10)), 20);
}

#[test]
fn sessions_stay_where_they_were_until_that_is_much_busier_than_the_rest() {
    let mut core = idle(8);
    let session = Question { affinity: Some(42), ..ASK };
    let first = core.pick(NOW, &session).unwrap();
    assert_eq!(first.why.reason, Reason::Affinity);
    let home = number(&first);
    assert_eq!(chosen(&mut core, NOW, &session, 50), [home]);
    // The bound is 1.25 times the mean and one more: all others at 4, it at 6 of a mean of 4.25.
    for number in 2..10 {
        core.heard(NOW, id(number), record(1, if number == home { 6 } else { 4 }, 0));
    }
    assert_eq!(chosen(&mut core, NOW, &session, 50), [home]);
    core.heard(NOW, id(home), record(2, 7, 0));
    assert!(!chosen(&mut core, NOW, &session, 50).contains(&home));
    core.heard(NOW, id(home), record(3, 4, 4));
    assert!(!chosen(&mut core, NOW, &session, 50).contains(&home), "it is full");
    core.heard(NOW, id(home), record(4, 0, 0));
    let refused = [id(home)];
    let bounced = Question { bounced: &refused, ..session };
    assert!(!chosen(&mut core, NOW, &bounced, 50).contains(&home));
}

#[test]
fn a_repeat_goes_where_the_first_went_however_busy_that_is() {
    let mut core = idle(8);
    let keyed = Question { affinity: Some(42), key: Some(7), ..ASK };
    let home = number(&core.pick(NOW, &keyed).unwrap());
    core.heard(NOW, id(home), record(1, 50, 50));
    assert_eq!(chosen(&mut core, NOW, &keyed, 20), [home], "full, and much busier than the rest");
    assert_eq!(core.pick(NOW, &keyed).unwrap().why.reason, Reason::Affinity);

    let lost = [id(home)];
    let other = number(&core.pick(NOW, &Question { tried: &lost, ..keyed }).unwrap());
    assert_ne!(other, home);
    assert_eq!(chosen(&mut core, NOW, &keyed, 20), [other], "where it went last");
}

#[test]
fn a_repeat_comes_back_to_this_node() {
    let mut core = idle(3);
    let keyed = Question { key: Some(7), here: here(0), ..ASK };
    assert_eq!(number(&core.pick(NOW, &keyed).unwrap()), LOCAL, "of equals the local one");
    let busy = Question { here: here(9), ..keyed };
    assert_eq!(number(&core.pick(NOW, &busy).unwrap()), LOCAL);
}

#[test]
fn a_session_can_stay_on_this_node() {
    let mut core = idle(3);
    let at_home = (0..40).filter(|session| {
        let question = Question { affinity: Some(*session), here: here(0), ..ASK };
        number(&core.pick(NOW, &question).unwrap()) == LOCAL
    });
    let count = at_home.count();
    assert!((3..20).contains(&count), "a quarter of them: {count}");
}

#[test]
fn a_refusing_node_is_passed_over_until_the_last_resort() {
    let mut core = idle(4);
    for number in 2..6 {
        core.heard(NOW, id(number), record(1, number.into(), 8));
    }
    let once = core.pick(NOW, &Question { bounced: &[id(2)], ..ASK }).unwrap();
    assert_eq!((number(&once), once.must_queue), (3, false));
    let bounced = [id(2), id(3)];
    let last = core.pick(NOW, &Question { bounced: &bounced, ..ASK }).unwrap();
    assert_eq!((number(&last), last.must_queue, last.why.reason), (2, true, Reason::LastResort));
    assert_eq!(last.why.sampled, 4, "those that refused and two more");
}

#[test]
fn the_last_resort_looks_at_two_more_and_no_others() {
    let mut core = idle(60);
    for number in 2..62 {
        core.heard(NOW, id(number), record(1, if number < 4 { 9 } else { 8 }, 8));
    }
    core.heard(NOW, id(61), record(2, 0, 8));
    let bounced = [id(2), id(3)];
    let question = Question { bounced: &bounced, ..ASK };
    let picks: Vec<Pick> = (0..300).map(|_| core.pick(NOW, &question).unwrap()).collect();
    let to_the_least = picks.iter().filter(|pick| number(pick) == 61).count();
    // It is one of two drawn of 58: expected 10, and 300 for a herd.
    assert!((1..30).contains(&to_the_least), "{to_the_least}");
}

#[test]
fn when_all_that_are_well_have_refused_one_of_them_queues_it() {
    let mut suspect = member(4);
    suspect.state = Suspect;
    let mut core = core(vec![member(2), suspect]);
    let refused = core.pick(NOW, &Question { bounced: &[id(2)], ..ASK }).unwrap();
    assert_eq!((number(&refused), refused.must_queue), (2, true));
    let full = Here::Serves { active: 8, limit: 8 };
    let bounced = [id(LOCAL)];
    let alone = Question { agent: "other", here: full, bounced: &bounced, ..ASK };
    let pick = core.pick(NOW, &alone).unwrap();
    assert_eq!((number(&pick), pick.must_queue), (LOCAL, true));
    let gone = [id(70), id(71)];
    let moved = core.pick(NOW, &Question { bounced: &gone, ..ASK }).unwrap();
    assert_eq!((number(&moved), moved.must_queue), (2, true), "those that refused are no more");
}

#[test]
fn limits_and_draining_are_heard_by_gossip_as_well() {
    let limited = |number, limit, is_draining| {
        let mut member = member(number);
        member.load = Load { active_requests: 2, limit, is_draining, ..Load::default() };
        member
    };
    let mut core = core(vec![limited(2, 4, false), limited(3, 8, false), limited(4, 90, true)]);
    assert_eq!(chosen(&mut core, NOW, &ASK, 50), [3]);
}

#[test]
fn a_forged_beacon_holds_no_longer_than_until_the_node_speaks_again() {
    let told = |core: &mut Core, now| core.pick(now, &ASK).unwrap().why.estimate_milli;
    let mut core = idle(1);
    let beacon = |sequence, active| LoadRecord { yours: None, ..record(sequence, active, 16) };
    core.heard(NOW, id(2), beacon(50_000, 4));
    let later = NOW + Duration::from_secs(10);
    assert!(!core.heard_by_beacon(later, id(2), beacon(51_000, 8)), "10 s later");
    assert_eq!(told(&mut core, later), 500);

    let forged = beacon(u32::MAX, 16);
    assert!(core.heard_by_beacon(later, id(2), forged));
    assert_eq!(told(&mut core, later), 1_000);
    let next = later + SEQUENCE_AHEAD;
    assert!(!core.heard_by_beacon(next, id(2), beacon(51_200, 4)));
    assert_eq!(told(&mut core, next), 250);

    core.heard_by_beacon(next, id(2), LoadRecord { boot: 2, ..forged });
    assert_eq!(told(&mut core, next), 250, "a process that nobody else knows");
    let news = beacon(90_000, 2);
    assert!(core.heard_by_beacon(next, id(2), news), "what came before was old when it came");
    core.heard(next, id(2), news);
    assert!(!core.heard_by_beacon(next, id(2), beacon(90_010, 4)), "an answer has set it right");
}

#[test]
fn a_draining_node_is_taken_when_nothing_else_is_left() {
    let mut core = idle(2);
    core.heard(NOW, id(2), LoadRecord { is_draining: true, ..record(1, 0, 0) });
    core.heard(NOW, id(3), record(1, 50, 0));
    assert_eq!(chosen(&mut core, NOW, &ASK, 50), [3]);
    assert_eq!(chosen(&mut core, NOW, &Question { tried: &[id(3)], ..ASK }, 50), [2]);
}
