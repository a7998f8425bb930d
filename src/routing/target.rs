//! A place to send requests to, ready to connect.
//!
//! Owns the cut of a base URL into authority and path. Refuses to resolve names.

use std::sync::Arc;

use astromesh_wire::{NodeId, Service};

use crate::config::Peer;
use crate::directory::Member;

/// Where requests go: a node of the mesh, or a static peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Id of the node; one made up by [`Core`](super::Core) for a static peer.
    pub id: NodeId,
    /// Label given by its operator.
    pub name: Arc<str>,
    /// Which run of its process; 0 for a static peer.
    pub generation: u32,
    /// `host:port` for the connection and the `host` header; the port is missing when a static
    /// peer's URL leaves it out.
    pub host: Arc<str>,
    /// What goes before the path of a request: empty, or such as `/base`.
    pub path_prefix: Arc<str>,
    /// A node of the mesh. A static peer may be any HTTP server.
    pub is_node: bool,
}

impl Target {
    /// The way to a member.
    #[must_use]
    pub fn of_member(member: &Member) -> Self {
        let (host, path_prefix) = cut(&member.url);
        Self {
            id: member.id,
            name: member.name.as_str().into(),
            generation: member.generation,
            host: host.into(),
            path_prefix: path_prefix.into(),
            is_node: true,
        }
    }

    /// The way to a static peer.
    pub(super) fn of_peer(id: NodeId, peer: &StaticPeer) -> Self {
        let (host, path_prefix) = cut(&peer.url);
        Self {
            id,
            name: peer.name.as_str().into(),
            generation: 0,
            host: host.into(),
            path_prefix: path_prefix.into(),
            is_node: false,
        }
    }

    /// Whether both lead to the same URL.
    pub(super) fn is_same_place(&self, other: &Self) -> bool {
        (&self.host, &self.path_prefix) == (&other.host, &other.path_prefix)
    }
}

/// A place named by the operator of a node without a mesh.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StaticPeer {
    /// Its label.
    pub name: String,
    /// Base URL of its HTTP server.
    pub url: String,
    /// What it offers; requests go to those with [`Service::Agents`].
    pub services: Vec<Service>,
}

impl From<&Peer> for StaticPeer {
    fn from(peer: &Peer) -> Self {
        let services = peer.services.clone();
        Self { name: peer.name.clone(), url: peer.url.as_str().to_owned(), services }
    }
}

/// Authority and path prefix of a URL; the prefix ends in no slash.
fn cut(url: &str) -> (&str, &str) {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let rest = rest.trim_end_matches('/');
    rest.find('/').map_or((rest, ""), |slash| rest.split_at(slash))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_cut_into_authority_and_prefix() {
        let rows = [
            ("http://127.0.0.1:8000", ("127.0.0.1:8000", "")),
            ("http://127.0.0.1:8000/", ("127.0.0.1:8000", "")),
            ("http://[::1]:8000/base/", ("[::1]:8000", "/base")),
            ("http://agents.internal/a/b", ("agents.internal", "/a/b")),
        ];
        for (url, expected) in rows {
            assert_eq!(cut(url), expected, "{url}");
        }
    }
}
