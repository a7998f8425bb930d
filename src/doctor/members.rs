//! The path to each member, both ways, and how it sees this node.

use std::net::SocketAddr;
use std::time::Duration;

use astromesh_wire::State;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout_at};

use super::ask::{Fault, Said, Sees};
use super::mesh::seen;
use super::network::{MEMBERS_MAX, Network, answers_directly, listed};
use super::report::{Check, Status};
use crate::api::types::NodeHistory;
use crate::directory::Member;
use crate::gossip::Handle;
use crate::gossip::inspect::MemberPath;
use crate::gossip::json::status;

/// Members for which it is looked up since when they are not well.
const HISTORIES_MAX: usize = 32;

/// Every member hears from each of its observers within eight probe intervals; a silence of twice
/// that is one.
const SILENCE: Duration = Duration::from_secs(16);

/// A row for each member, the unhealthy first; what is not told by then is left out of the rows.
pub(super) async fn checks(
    mesh: &Handle,
    network: &Network,
    until: Instant,
) -> Vec<(String, Check)> {
    let mut rows = Vec::new();
    for (index, member) in listed(&network.snapshot).take(MEMBERS_MAX).enumerate() {
        let is_well = member.state == State::Alive;
        let history = if is_well || index >= HISTORIES_MAX {
            None
        } else {
            let history = timeout_at(until, mesh.history(member.id.to_string())).await;
            history.ok().and_then(Result::ok)
        };
        rows.push((format!("member:{}", member.name), check(network, member, history.as_ref())));
    }
    // Members that are alive may be unwell too.
    rows.sort_by_key(|(_, check)| check.status == Status::Ok);
    rows
}

fn check(network: &Network, member: &Member, history: Option<&NodeHistory>) -> Check {
    let path = network.paths.get(&member.id);
    let said = network.members.get(&member.id);
    let check = match member.state {
        State::Dead | State::Left => dead(member, history),
        State::Suspect => suspect(member, history),
        State::Alive => alive(network, member, path, said),
    };
    // What somebody else says at its address is not told as the member's.
    let is_it =
        |said: &&Said| said.mesh.as_ref().is_some_and(|mesh| mesh.node_id == member.id.to_string());
    let said = said.and_then(|said| said.as_ref().ok()).filter(is_it);
    let ago = |at: fn(&MemberPath) -> Option<Duration>| -> Value {
        json!(path.and_then(at).map(|ago| ago.as_secs_f64()))
    };
    check
        .with("node_id", member.id.to_string())
        .with("url", member.url.as_str())
        .with("gossip_address", member.gossip_address.to_string())
        .with("member_status", status(member.state))
        .with("answered_directly_seconds_ago", ago(|path| path.direct))
        .with("answered_through_helper_seconds_ago", ago(|path| path.relayed))
        .with("unanswered_seconds_ago", ago(|path| path.failed))
        .with("heard_seconds_ago", ago(|path| Some(path.heard)))
        .with("round_trip_seconds", ago(|path| path.round_trip))
        .with("sees_this_node_as", seen(said.and_then(|said| said.sees.as_ref())))
        .with("version", said.map(|said| said.version.clone()))
        .with("clock_ahead_seconds", said.and_then(|said| said.clock_ahead))
}

fn dead(member: &Member, history: Option<&NodeHistory>) -> Check {
    let why =
        history.and_then(|history| history.verdicts.last()).map_or_else(String::new, |last| {
            let accuser = last.accuser.name.as_ref().unwrap_or(&last.accuser.node_id);
            format!(", declared by {accuser} ({})", last.rule)
        });
    Check::bad(
        Status::Unreachable,
        format!("dead{}{why}", since(history)),
        format!(
            "`astromeshctl mesh why {}` tells the evidence; look at its process and its log, and \
             start it again; if it will not come back: POST /v1/mesh/leave with its id",
            member.name
        ),
    )
}

fn suspect(member: &Member, history: Option<&NodeHistory>) -> Check {
    Check::bad(
        Status::Degraded,
        format!("suspect{}: it does not answer, and others are being asked", since(history)),
        format!(
            "look whether its process is well and UDP {} is open; `astromeshctl mesh why {}` tells \
             what is known",
            member.gossip_address, member.name
        ),
    )
}

fn since(history: Option<&NodeHistory>) -> String {
    let at = history.and_then(|history| Some(history.now - history.changes.last()?.at));
    at.map_or_else(String::new, |ago| format!(" for {ago:.0} s"))
}

fn alive(
    network: &Network,
    member: &Member,
    path: Option<&MemberPath>,
    said: Option<&Result<Said, Fault>>,
) -> Check {
    let udp = member.gossip_address;
    match path {
        Some(path) if !answers_directly(path) && path.relayed.is_some() => {
            return indirect(network, member, path);
        }
        Some(path) if path.failed.is_some() && !answers_directly(path) => {
            return Check::bad(
                Status::Degraded,
                "does not answer pings of this node, nor those of others",
                format!("look whether its process is well and UDP {udp} is open"),
            );
        }
        _ => {}
    }
    answer(member, path, said, network.inspection.advertised)
}

/// What it said over HTTP, at the place that the mesh tells of it.
fn answer(
    member: &Member,
    path: Option<&MemberPath>,
    said: Option<&Result<Said, Fault>>,
    advertised: SocketAddr,
) -> Check {
    match said {
        Some(Err(fault)) => Check::bad(
            Status::Degraded,
            format!("answers pings, but not over HTTP at {}: {}", member.url, fault.text),
            "no request can be forwarded there: open its TCP port, or mend spec.mesh.advertise there",
        ),
        Some(Ok(Said { mesh: None, .. })) => Check::bad(
            Status::Degraded,
            format!("answers pings, but at {} answers a node whose mesh is off", member.url),
            "requests for it go to that node: mend spec.mesh.advertise there",
        ),
        Some(Ok(Said { mesh: Some(mesh), .. })) if mesh.node_id != member.id.to_string() => {
            Check::bad(
                Status::Degraded,
                format!(
                    "answers pings, but at {} answers another node, {}",
                    member.url, mesh.node_name
                ),
                "requests for it go to that node: mend spec.mesh.advertise there, or end the node \
                 that took its port",
            )
        }
        Some(Ok(Said { sees: Some(Sees::As(state)), .. })) if state != "alive" => Check::bad(
            Status::Degraded,
            format!("answers pings, but sees this node as {state}"),
            format!(
                "its datagrams must reach UDP {advertised}: `astromeshctl mesh why` there tells more"
            ),
        ),
        Some(Ok(Said { sees: Some(Sees::Nothing), .. })) => Check::bad(
            Status::Degraded,
            "does not have this node as a member".to_owned(),
            format!("it must reach this node at UDP {advertised}: mend spec.mesh.advertise here"),
        ),
        Some(Ok(Said { sees: Some(Sees::As(_)), .. })) => {
            Check::ok(format!("{}, sees this node as alive", well(path)))
        }
        Some(Ok(Said { sees: None, .. })) | None => Check::ok(well(path)),
    }
}

fn well(path: Option<&MemberPath>) -> String {
    match path.filter(|path| answers_directly(path)).and_then(|path| path.round_trip) {
        Some(took) => format!("answers pings in {:.1} ms", took.as_secs_f64() * 1e3),
        None => "alive; not pinged lately by this node".to_owned(),
    }
}

/// Only helpers reach it. Whether its own datagrams come tells which way is blocked.
fn indirect(network: &Network, member: &Member, path: &MemberPath) -> Check {
    let (here, there) = (network.inspection.advertised, member.gossip_address);
    if path.heard <= SILENCE {
        return Check::bad(
            Status::Degraded,
            format!(
                "pings of this node get no answer, only those of others; its own datagrams come \
                 here ({:.0} s ago)",
                path.heard.as_secs_f64()
            ),
            format!("open the way from here to UDP {there}: a firewall there, or on the way"),
        );
    }
    Check::bad(
        Status::Degraded,
        format!(
            "pings of this node get no answer, only those of others; nothing came from it for {} s",
            path.heard.as_secs()
        ),
        format!(
            "open UDP {there} there and UDP {here} here, and every firewall between; doctor on \
             {} says whether datagrams from here arrive",
            member.name
        ),
    )
}

#[cfg(test)]
mod tests {
    use astromesh_wire::NodeId;

    use super::*;
    use crate::doctor::ask::Mesh;

    #[test]
    fn a_member_sees_this_node_only_if_it_is_who_answers_and_said_so() {
        let id = |number| NodeId::from_bytes([number; 16]);
        let member = Member::new(id(1), "one", ([10, 0, 0, 1], 8000).into());
        let mesh = |number| {
            let node_id = id(number).to_string();
            Mesh { node_id, node_name: format!("n{number}"), cluster: "c".to_owned() }
        };
        let alive = || Some(Sees::As("alive".to_owned()));
        let rows = [
            ("itself", Some(mesh(1)), alive(), Status::Ok, true),
            ("itself, mute", Some(mesh(1)), None, Status::Ok, false),
            ("a stranger", Some(mesh(2)), alive(), Status::Degraded, false),
            ("without a mesh", None, None, Status::Degraded, false),
        ];
        for (name, mesh, sees, status, is_seen) in rows {
            let said = Said { version: "1".to_owned(), mesh, sees, clock_ahead: None };
            let check = answer(&member, None, Some(&Ok(said)), ([10, 0, 0, 9], 8000).into());
            let says_so = check.message.contains("sees this node");
            assert_eq!((check.status, says_so), (status, is_seen), "{name}: {check:?}");
        }
    }
}
