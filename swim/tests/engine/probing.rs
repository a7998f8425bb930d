//! Direct and indirect probes, for this node and on behalf of others.

use astromesh_wire::{Message, State};

use crate::{Subject, address, is_ping_to, ms, sequence_of, short};

#[test]
fn a_probe_that_is_answered_leads_to_nothing() {
    let mut subject = Subject::among(&[1]);
    let ping = subject.wait_for_ping();

    let digest = subject.engine.digest();
    subject.hear(1, Message::Ack { sequence: sequence_of(&ping), digest, slot_ms: None }, &[]);
    let sent = subject.wait(ms(900));

    assert_eq!(sent, []);
    assert_eq!(subject.state_of(1), Some(State::Alive));
}

#[test]
fn a_ping_not_answered_in_500_ms_is_repeated_and_three_others_are_asked() {
    let mut subject = Subject::among(&[1, 2, 3, 4, 5]);
    let ping = subject.wait_for_ping();
    let sequence = sequence_of(&ping);

    let early = subject.wait(ms(499));
    let sent = subject.wait(ms(1));

    assert_eq!(early, []);
    assert_eq!(sent.len(), 4);
    let asked: Vec<_> =
        sent.iter().filter(|sent| matches!(sent.message, Message::PingReq { .. })).collect();
    assert_eq!(asked.len(), 3);
    for request in asked {
        let Message::Ping { target, .. } = ping.message else { unreachable!("a ping") };
        assert_eq!(request.message, Message::PingReq { target, sequence });
        assert_ne!(request.to, ping.to);
    }
    assert_eq!(sent.iter().filter(|sent| sent.to == ping.to).count(), 1);
}

#[test]
fn an_ack_through_a_relay_saves_the_member() {
    let mut subject = Subject::among(&[1, 2]);
    let ping = subject.wait_for_ping();
    let relay = if ping.to == address(1) { 2 } else { 1 };
    subject.wait(ms(500));

    let digest = subject.engine.digest();
    subject.hear(relay, Message::Ack { sequence: sequence_of(&ping), digest, slot_ms: None }, &[]);
    subject.wait(ms(499));
    subject.wait(ms(1));

    assert_eq!(subject.engine.stats().probes_failed, 0);
    assert_eq!(subject.engine.health(), 0);
}

#[test]
fn an_ack_from_somebody_who_was_not_asked_does_not_count() {
    let mut subject = Subject::among(&[1, 2]);
    let ping = subject.wait_for_ping();
    let other = if ping.to == address(1) { 2 } else { 1 };

    let digest = subject.engine.digest();
    subject.hear(other, Message::Ack { sequence: sequence_of(&ping), digest, slot_ms: None }, &[]);
    subject.wait(ms(1_000));

    assert_eq!(subject.engine.stats().probes_failed, 1);
}

#[test]
fn a_failed_probe_makes_a_suspect_and_nacks_keep_this_node_healthy() {
    let mut subject = Subject::among(&[1, 2]);
    let ping = subject.wait_for_ping();
    let (target, relay) = if ping.to == address(1) { (1, 2) } else { (2, 1) };
    subject.wait(ms(500));

    subject.hear(relay, Message::Nack { sequence: sequence_of(&ping) }, &[]);
    subject.wait(ms(500));

    assert_eq!(subject.state_of(target), Some(State::Suspect));
    assert_eq!(subject.engine.health(), 0);
}

#[test]
fn relays_that_say_nothing_speak_against_this_node() {
    let mut subject = Subject::among(&[1, 2, 3, 4, 5]);
    subject.wait_for_ping();

    subject.wait(ms(1_000));

    assert_eq!(subject.engine.health(), 3);
}

#[test]
fn a_relay_pings_and_passes_the_ack_on_with_the_sequence_of_the_request() {
    let mut subject = Subject::among(&[1, 2]);

    let sent = subject.hear(1, Message::PingReq { target: short(2), sequence: 77 }, &[]);

    assert_eq!(sent.len(), 1);
    assert!(is_ping_to(2)(&sent[0]));
    let digest = subject.engine.digest();
    let sequence = sequence_of(&sent[0]);
    let sent = subject.hear(2, Message::Ack { sequence, digest, slot_ms: None }, &[]);
    assert_eq!(sent.len(), 1);
    assert_eq!(
        (sent[0].to, sent[0].message),
        (address(1), Message::Ack { sequence: 77, digest, slot_ms: None })
    );
}

#[test]
fn a_relay_without_an_answer_says_so_after_400_ms_and_still_passes_a_late_one_on() {
    let mut subject = Subject::among(&[1, 2]);
    // Just after its own probe was answered, so that nothing of its own is under way.
    subject.answered_for(ms(1_000));
    let sent = subject.hear(1, Message::PingReq { target: short(2), sequence: 77 }, &[]);
    let sequence = sequence_of(&sent[0]);

    let early: Vec<_> = subject.answered_without(2, ms(399));
    let sent = subject.answered_without(2, ms(1));

    let nack = Message::Nack { sequence: 77 };
    assert!(early.iter().all(|sent| sent.message != nack));
    assert_eq!(sent.iter().filter(|sent| sent.message == nack).count(), 1);
    let digest = subject.engine.digest();
    let sent = subject.hear(2, Message::Ack { sequence, digest, slot_ms: None }, &[]);
    assert_eq!(
        (sent[0].to, sent[0].message),
        (address(1), Message::Ack { sequence: 77, digest, slot_ms: None })
    );
}

#[test]
fn a_relay_that_does_not_know_the_target_says_so_at_once() {
    let mut subject = Subject::among(&[1]);

    let sent = subject.hear(1, Message::PingReq { target: short(99), sequence: 5 }, &[]);

    assert_eq!(sent.len(), 1);
    assert_eq!((sent[0].to, sent[0].message), (address(1), Message::Nack { sequence: 5 }));
}

#[test]
fn a_ping_for_another_node_at_this_address_is_not_answered() {
    let mut subject = Subject::among(&[1]);
    let digest = subject.engine.digest();

    let sent = subject.hear(
        1,
        Message::Ping { target: short(99), sequence: 5, digest, wants_slot: false },
        &[],
    );

    assert_eq!(sent, []);
}

impl Subject {
    /// Lets time pass; nobody answers, but what the local node's own probe sends is left out.
    fn answered_without(&mut self, silent: u8, duration: std::time::Duration) -> Vec<crate::Sent> {
        self.wait(duration).into_iter().filter(|sent| sent.to != address(silent)).collect()
    }
}

#[test]
fn a_repeated_nack_counts_once() {
    let mut subject = Subject::among(&[1, 2, 3, 4]);
    let ping = subject.wait_for_ping();
    let sent = subject.wait(ms(500));
    let relay = sent.iter().find(|sent| matches!(sent.message, Message::PingReq { .. })).unwrap();
    let relay = [1, 2, 3, 4].into_iter().find(|&peer| address(peer) == relay.to).unwrap();

    for _ in 0..3 {
        subject.hear(relay, Message::Nack { sequence: sequence_of(&ping) }, &[]);
    }
    subject.wait(ms(500));

    assert_eq!(subject.engine.health(), 2);
}
