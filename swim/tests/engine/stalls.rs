//! A host that stood still does not accuse others of its own silence.

use astromesh_swim::Instant;
use astromesh_wire::State;

use crate::{Subject, ms, state};

fn stand_still(subject: &mut Subject, milliseconds: u64) {
    subject.now = subject.now + ms(milliseconds);
    subject.engine.handle_timeout(subject.now);
    subject.drain();
}

#[test]
fn a_probe_that_ran_during_a_standstill_accuses_nobody() {
    let mut subject = Subject::among(&[1, 2]);
    subject.wait_for_ping();

    stand_still(&mut subject, 60_000);

    assert_eq!(subject.engine.stats().stalls, 1);
    assert_eq!(subject.engine.stats().probes_failed, 0);
    assert_eq!(
        (subject.state_of(1), subject.state_of(2)),
        (Some(State::Alive), Some(State::Alive))
    );
}

#[test]
fn a_suspicion_that_ran_out_during_a_standstill_starts_anew() {
    let mut subject = Subject::among(&[1, 2]);
    subject.told(2, &[state(1, State::Suspect, 0, 2)]);

    stand_still(&mut subject, 60_000);
    assert_eq!(subject.state_of(1), Some(State::Suspect));
    subject.wait(ms(2_000));
    assert_eq!(subject.state_of(1), Some(State::Suspect));

    subject.wait(ms(5_000));
    assert_eq!(subject.state_of(1), Some(State::Dead));
}

#[test]
fn a_short_delay_of_the_host_is_no_standstill() {
    let mut subject = Subject::among(&[1, 2]);
    let due = subject.engine.poll_timeout().unwrap();

    subject.engine.handle_timeout(Instant::from_micros(due.as_micros() + 499_999));

    assert_eq!(subject.engine.stats().stalls, 0);
}

#[test]
fn after_any_wait_no_timer_is_left_in_the_past() {
    for milliseconds in [0, 1, 999, 10_000, 86_400_000, 1_000_000_000] {
        let mut subject = Subject::among(&[1, 2, 3]);
        subject.told(2, &[state(1, State::Suspect, 0, 2)]);

        stand_still(&mut subject, milliseconds);

        assert!(subject.engine.poll_timeout().unwrap() > subject.now, "after {milliseconds} ms");
    }
}
