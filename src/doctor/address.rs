//! The address this node advertises, against where others see it; and clocks.

use serde_json::json;

use super::ask::{Said, Sees};
use super::network::Network;
use super::report::{Check, Status};
use crate::gossip::address::Certainty;

/// A difference of clocks from which on it is told, in seconds.
const CLOCK_MAX: f64 = 5.0;

const REMEDY: &str = "set spec.mesh.advertise to the host, or HOST:PORT, at which other nodes reach \
                      this one";

/// Whether others can reach this node where it says.
pub(super) fn check(network: &Network) -> Check {
    let inspection = &network.inspection;
    let advertised = inspection.advertised;
    let ip = advertised.ip();
    let how = match inspection.certainty {
        Certainty::Given => "as configured",
        Certainty::Observed => "as others see it",
        Certainty::Guessed => "a guess, for nobody has told where it is seen",
    };
    let seen_alive =
        network.said().any(|said| matches!(&said.sees, Some(Sees::As(state)) if state == "alive"));
    let observed: Vec<_> = inspection.observed.iter().map(|(ip, _)| *ip).collect();
    let listening = inspection.bound.map(|bound| bound.port());
    let is_elsewhere = !observed.is_empty() && !observed.contains(&ip);
    let is_mapped = listening.is_some_and(|port| port != advertised.port());
    let impostor = impostor(network);
    let is_deaf = matches!(network.itself, Some(Err(_)));
    let bad = |message: String, remedy: &str| Check::bad(Status::Error, message, remedy);
    let check = if ip.is_unspecified() {
        bad(format!("{advertised} is no address that anybody could reach"), REMEDY)
    } else if ip.is_loopback() && has_others_elsewhere(network) {
        bad(format!("{advertised} reaches this node from this host only"), REMEDY)
    } else if let Some(name) = impostor {
        bad(format!("{advertised} is where the node {name} answers, not this one"), REMEDY)
    } else if seen_alive && !(is_elsewhere && is_deaf) {
        Check::ok(format!("{advertised}, {how}; others see this node as alive there"))
    } else if is_elsewhere {
        let seen = observed.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        bad(format!("advertises {advertised}, {how}, but others see this node at {seen}"), REMEDY)
    } else if is_mapped && network.said().next().is_some() {
        let port = listening.unwrap_or_default();
        bad(
            format!("advertises {advertised}, listens on UDP {port}, and nobody sees it as alive"),
            "let the advertised port lead to the one it listens on, both TCP and UDP (-p \
             8000:8000/tcp -p 8000:8000/udp), or mend spec.mesh.advertise",
        )
    } else {
        Check::ok(format!("{advertised}, {how}"))
    };
    let observed: Vec<_> = inspection
        .observed
        .iter()
        .map(|(ip, ago)| json!({"ip": ip.to_string(), "seconds_ago": ago.as_secs_f64()}))
        .collect();
    check
        .with("advertised", advertised.to_string())
        .with("listening", inspection.bound.map(|bound| bound.to_string()))
        .with("observed", observed)
}

/// The name of another node that answers over HTTP where this one should.
fn impostor(network: &Network) -> Option<String> {
    let said = network.itself.as_ref()?.as_ref().ok().filter(|said| !network.is_itself(said))?;
    Some(said.mesh.as_ref().map_or_else(|| "?".to_owned(), |mesh| mesh.node_name.clone()))
}

/// Whether a node is known that is not on this host.
fn has_others_elsewhere(network: &Network) -> bool {
    let members = network.snapshot.members.iter();
    let member = members
        .filter(|member| member.id != network.snapshot.local)
        .any(|member| !member.gossip_address.ip().is_loopback());
    let seeds = network.joining.seeds.iter();
    member
        || seeds.filter_map(|seed| seed.url.host()).any(|host| match host {
            url::Host::Ipv4(ip) => !ip.is_loopback(),
            url::Host::Ipv6(ip) => !ip.is_loopback(),
            url::Host::Domain(_) => false,
        })
}

/// How far the clocks of others differ from this one's. A hint: nothing is decided by clocks.
pub(super) fn clock(network: &Network) -> Check {
    let ahead = network.said().filter_map(|said| Some((said, said.clock_ahead?)));
    let farthest = ahead.max_by(|(_, a), (_, b)| a.abs().total_cmp(&b.abs()));
    let Some((Said { mesh, .. }, ahead)) = farthest else {
        return Check::ok("nobody to compare it with");
    };
    let name = mesh.as_ref().map_or("?", |mesh| mesh.node_name.as_str());
    let check = if ahead.abs() > CLOCK_MAX {
        let side = if ahead > 0.0 { "behind" } else { "ahead of" };
        Check::bad(
            Status::Degraded,
            format!("{:.1} s {side} that of {name}", ahead.abs()),
            "set both clocks (chrony, systemd-timesyncd); the mesh does not depend on them, but \
             times in logs and histories do",
        )
    } else {
        Check::ok(format!(
            "within {:.1} s of those of others; the mesh does not depend on it",
            ahead.abs()
        ))
    };
    check.with("farthest_node", name).with("ahead_seconds", ahead)
}
