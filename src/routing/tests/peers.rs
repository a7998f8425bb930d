//! Which static peer is picked.

use astromesh_wire::Service;

use super::*;
use crate::routing::{Nobody, Outcome, Reason, StaticPeer};

fn peer(number: usize) -> StaticPeer {
    StaticPeer {
        name: format!("peer-{number}"),
        url: format!("http://127.0.0.1:{}/x", 9_000 + number),
        services: vec![Service::Api, Service::Agents],
    }
}

fn peers(count: usize) -> Core {
    let peers: Vec<StaticPeer> = (0..count).map(peer).collect();
    Core::with_peers(7, &peers)
}

fn there(pick: &Pick) -> Option<Arc<Target>> {
    match &pick.place {
        Place::Here => None,
        Place::There(target) => Some(Arc::clone(target)),
    }
}

fn turns(core: &mut Core, now: Duration, count: usize) -> Vec<String> {
    let picks = (0..count).filter_map(|_| there(&core.pick(now, &ASK).unwrap()));
    picks.map(|target| target.name.to_string()).collect()
}

#[test]
fn each_peer_gets_its_turn_whatever_the_agent() {
    let mut core = peers(3);
    let expected = ["peer-0", "peer-1", "peer-2", "peer-0", "peer-1"];
    assert_eq!(turns(&mut core, NOW, 5), expected);
    let pick = core.pick(NOW, &Question { agent: "anything", ..ASK }).unwrap();
    assert_eq!((pick.why.reason, pick.why.candidates), (Reason::RoundRobin, 3));
}

#[test]
fn a_peer_that_is_no_node_fails_with_503_and_504_too() {
    for status in [500, 502, 503, 504] {
        let mut core = peers(3);
        let first = there(&core.pick(NOW, &ASK).unwrap()).unwrap();
        for _ in 0..5 {
            core.outcome(NOW, &first, AGENT, Outcome::Answered(status));
        }
        assert_eq!(core.ejected(NOW), 1, "{status}");
    }
}

#[test]
fn this_node_comes_first_when_it_serves() {
    let mut core = peers(2);
    let question = Question { here: Here::Serves { active: 50, limit: 0 }, ..ASK };
    let pick = core.pick(NOW, &question).unwrap();
    assert_eq!((pick.place, pick.why.reason), (Place::Here, Reason::OnlyOne));
}

#[test]
fn an_ejected_peer_loses_its_turn_until_a_trial() {
    let mut core = peers(3);
    let first = there(&core.pick(NOW, &ASK).unwrap()).unwrap();
    core.outcome(NOW, &first, AGENT, Outcome::NotConnected);
    assert_eq!(turns(&mut core, NOW, 4), ["peer-1", "peer-2", "peer-1", "peer-2"]);
    let later = NOW + Duration::from_secs(1);
    assert_eq!(turns(&mut core, later, 3), ["peer-0", "peer-1", "peer-2"]);
    assert_eq!(turns(&mut core, later, 2), ["peer-1", "peer-2"], "one request tries it");
    core.outcome(later, &first, AGENT, Outcome::Answered(404));
    assert_eq!(turns(&mut core, later, 3), ["peer-0", "peer-1", "peer-2"]);
}

#[test]
fn with_all_peers_ejected_each_still_gets_its_turn() {
    let mut core = peers(2);
    for _ in 0..2 {
        let target = there(&core.pick(NOW, &ASK).unwrap()).unwrap();
        core.outcome(NOW, &target, AGENT, Outcome::NotConnected);
    }
    assert_eq!(turns(&mut core, NOW, 3), ["peer-0", "peer-1", "peer-0"]);
}

#[test]
fn peers_that_were_tried_or_refused_are_not_asked_again_until_the_last_resort() {
    let mut core = peers(3);
    let ids: Vec<NodeId> =
        (0..3).map(|_| there(&core.pick(NOW, &ASK).unwrap()).unwrap().id).collect();
    let pick = core.pick(NOW, &Question { tried: &ids[..2], ..ASK }).unwrap();
    assert_eq!(there(&pick).unwrap().id, ids[2]);
    assert_eq!(core.pick(NOW, &Question { tried: &ids, ..ASK }), Err(Nobody::AllTried));
    let pick = core.pick(NOW, &Question { bounced: &ids[..1], ..ASK }).unwrap();
    assert_eq!((there(&pick).unwrap().id, pick.must_queue), (ids[1], false));
    core.heard(NOW, ids[0], record(1, 9, 8));
    core.heard(NOW, ids[1], record(1, 8, 8));
    let pick = core.pick(NOW, &Question { bounced: &ids[..2], ..ASK }).unwrap();
    assert_eq!((there(&pick).unwrap().id, pick.must_queue), (ids[1], true));
}

#[test]
fn without_peers_nobody_is_known() {
    assert_eq!(peers(0).pick(NOW, &ASK), Err(Nobody::UnknownAgent));
}

#[test]
fn only_peers_that_run_agents_get_a_turn() {
    let other = StaticPeer { services: vec![Service::Memory], ..peer(1) };
    let mut core = Core::with_peers(7, &[peer(0), other, peer(2)]);
    assert_eq!(turns(&mut core, NOW, 3), ["peer-0", "peer-2", "peer-0"]);
    let target = there(&core.pick(NOW, &ASK).unwrap()).unwrap();
    assert!(!target.is_node && *target.path_prefix == *"/x");
}

#[test]
fn models_are_asked_of_peers_that_serve_them_and_agents_of_those_that_run_them() {
    let serves =
        |number, services: &[Service]| StaticPeer { services: services.to_vec(), ..peer(number) };
    let both = serves(2, &[Service::Inference, Service::Agents]);
    let mut core = Core::with_peers(7, &[peer(0), serves(1, &[Service::Inference]), both]);
    let asked = |core: &mut Core, agent| {
        let question = Question { agent, ..ASK };
        let picks = [(); 3].map(|()| there(&core.pick(NOW, &question).unwrap()).unwrap());
        picks.map(|target| target.name.to_string())
    };
    assert_eq!(asked(&mut core, "model:m"), ["peer-1", "peer-2", "peer-1"]);
    assert_eq!(asked(&mut core, AGENT), ["peer-0", "peer-2", "peer-0"]);
    // It is one peer for both.
    let both = there(&core.pick(NOW, &ASK).unwrap()).unwrap();
    core.outcome(NOW, &both, AGENT, Outcome::NotConnected);
    assert_eq!(asked(&mut core, "model:m"), ["peer-1", "peer-1", "peer-1"]);
    core.set_peers(&[peer(0)]);
    assert_eq!(core.pick(NOW, &Question { agent: "model:m", ..ASK }), Err(Nobody::UnknownAgent));
    assert_eq!(asked(&mut core, AGENT), ["peer-0"; 3]);
}

#[test]
fn a_peer_that_stays_keeps_what_is_known_of_it_and_one_that_goes_is_counted_to_the_end() {
    let mut core = peers(3);
    let target = |core: &mut Core| there(&core.pick(NOW, &ASK).unwrap()).unwrap();
    let [first, second, _] = [(); 3].map(|()| target(&mut core));
    core.begin(NOW, first.id);
    core.outcome(NOW, &second, AGENT, Outcome::NotConnected);
    let renamed = StaticPeer { name: "second".to_owned(), ..peer(1) };

    core.set_peers(&[peer(5), renamed, peer(2)]);

    assert_eq!(turns(&mut core, NOW, 3), ["peer-5", "peer-2", "peer-5"], "one is ejected");
    assert_eq!((core.ejected(NOW), core.outstanding(first.id)), (1, 1));
    core.outcome(NOW, &second, AGENT, Outcome::Answered(200));
    core.end(NOW, first.id);
    core.outcome(NOW, &first, AGENT, Outcome::NotConnected);
    assert_eq!((core.ejected(NOW), core.outstanding(first.id)), (0, 0));
    assert_eq!(turns(&mut core, NOW, 3), ["second", "peer-2", "peer-5"]);
    core.set_peers(&[]);
    assert_eq!(core.pick(NOW, &ASK), Err(Nobody::UnknownAgent));
}
