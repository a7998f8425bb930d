//! Pings on behalf of others, under the evidence rule.

use astromesh_wire::Message;

use crate::peers::{ALL_WELL, Peers, times, up_to};
use crate::{Sent, Subject, address, is_ping, is_ping_to, ms, sequence_of, short};

const REQUEST: Message = Message::PingReq { target: crate::peers::ONE, sequence: 77 };

const ONE_IS_SILENT: Peers<'static> = Peers { silent: &[1], nacks: false, vote: None };

/// Just after its own probe of peer 1, so that the next one is far.
fn helper() -> Subject {
    let mut subject = Subject::observing(&up_to(7));
    subject.probe(1, ALL_WELL);
    subject
}

fn asked(subject: &mut Subject) -> u16 {
    let sent = subject.hear(2, REQUEST, &[]);
    assert_eq!(sent.len(), 1);
    assert!(is_ping_to(1)(&sent[0]));
    sequence_of(&sent[0])
}

fn is_nack(sent: &Sent) -> bool {
    sent.to == address(2) && sent.message == Message::Nack { sequence: 77 }
}

fn is_relayed(sent: &[Sent]) -> bool {
    sent.len() == 1
        && sent[0].to == address(2)
        && matches!(sent[0].message, Message::Ack { sequence: 77, slot_ms: None, .. })
}

#[test]
fn a_helper_pings_at_once_and_at_70_ms_and_says_at_170_ms_that_it_has_no_answer() {
    let mut subject = helper();
    asked(&mut subject);

    let sent = subject.live(ONE_IS_SILENT, ms(1_000));

    assert_eq!(times(&sent, is_ping_to(1)), [70]);
    assert_eq!(times(&sent, is_nack), [170]);
}

#[test]
fn a_helper_relays_each_ack_within_its_170_ms() {
    let mut subject = helper();
    let sequence = asked(&mut subject);

    for wait in [1, 100, 68] {
        subject.live(ONE_IS_SILENT, ms(wait));
        let sent = subject.acked(1, sequence, Some(1));
        assert!(is_relayed(&sent), "{sent:?}");
    }
}

#[test]
fn a_helper_relays_a_late_ack_for_a_second_after_its_nack() {
    for (wait, is_late) in [(171, false), (1_169, false), (1_171, true)] {
        let mut subject = helper();
        let sequence = asked(&mut subject);
        let nacked = subject.live(ONE_IS_SILENT, ms(wait));
        assert_eq!(times(&nacked, is_nack), [170]);

        let sent = subject.acked(1, sequence, None);

        assert_eq!(is_relayed(&sent), !is_late, "after {wait} ms: {sent:?}");
    }
}

#[test]
fn a_repeated_request_is_answered_if_there_is_an_answer_and_pinged_for_if_not() {
    let mut subject = helper();
    let sequence = asked(&mut subject);
    subject.live(ONE_IS_SILENT, ms(90));

    assert_eq!(asked(&mut subject), sequence);
    subject.acked(1, sequence, None);
    let sent = subject.hear(2, REQUEST, &[]);

    assert!(is_relayed(&sent), "{sent:?}");
    assert_eq!(times(&subject.live(ONE_IS_SILENT, ms(500)), is_nack), []);
}

#[test]
fn an_ack_of_somebody_else_is_not_relayed() {
    let mut subject = helper();
    let sequence = asked(&mut subject);

    assert_eq!(subject.acked(3, sequence, None), []);
    assert_eq!(subject.acked(1, sequence.wrapping_add(1), None), []);
    assert_eq!(times(&subject.live(ONE_IS_SILENT, ms(500)), is_nack), [170]);
}

#[test]
fn a_flood_of_requests_is_bounded_and_answered_with_no_more_than_asked() {
    let mut subject = helper();
    let mut sent = Vec::new();
    for sequence in 0..2_000 {
        sent.extend(subject.hear(2, Message::PingReq { target: short(1), sequence }, &[]));
    }

    assert!(sent.len() <= 256 && sent.iter().all(is_ping), "{}", sent.len());
    assert!(subject.engine.stats().refused_relays_full >= 1_744);
}
