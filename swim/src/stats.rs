//! Counters: what came, what went, and each refusal by its reason.

use astromesh_wire::Rejection;

macro_rules! stats {
    ($($(#[doc = $doc:literal])+ $name:ident,)+) => {
        /// Counters since the engine was made. They only grow.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
        pub struct Stats {
            $($(#[doc = $doc])+ pub $name: u64,)+
        }

        impl Stats {
            /// Name and value of each counter, in the order of their declaration.
            pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> + use<> {
                [$((stringify!($name), self.$name),)+].into_iter()
            }
        }
    };
}

stats! {
    /// Datagrams handed in, the rejected ones included.
    datagrams_received,
    /// Their bytes of UDP payload.
    bytes_received,
    /// Datagrams handed out.
    datagrams_sent,
    /// Their bytes of UDP payload.
    bytes_sent,
    /// Rejected: more than 1,200 bytes.
    rejected_oversize,
    /// Rejected: shorter than a header.
    rejected_truncated,
    /// Rejected: does not start like one of ours.
    rejected_garbage,
    /// Rejected: a version not known here.
    rejected_version,
    /// Rejected: the checksum does not match.
    rejected_checksum,
    /// Rejected: valid under the tag of another cluster, the same as in the mismatch before.
    rejected_cluster,
    /// Rejected: encrypted.
    rejected_sealed,
    /// Rejected: right checksum, wrong content.
    rejected_malformed,
    /// Not used: sent under this node's own id.
    ignored_own_id,
    /// Not used: news or requests from somebody who is no member here.
    ignored_stranger,
    /// Not inserted: the table is full.
    refused_members_full,
    /// Not inserted: another member has the same 40-bit id.
    refused_id_collision,
    /// Not inserted, or not taken from the host: address without port or unspecified, or too long
    /// a name or metadata.
    refused_record,
    /// Not verified: too many unverified members at once.
    refused_candidates_full,
    /// Not relayed: too many pings on behalf of others at once.
    refused_relays_full,
    /// Not opened: too many cases at once.
    refused_cases_full,
    /// Probes started.
    probes,
    /// Probes that nobody answered in time.
    probes_failed,
    /// Pings asked of others.
    probes_indirect,
    /// Pings to the dead.
    probes_dead,
    /// Members asked for their vote.
    solicitations,
    /// Suspicions raised by this node, or cases it took part in.
    suspicions,
    /// Members declared dead by this node.
    deaths,
    /// Claims about this node that it outbid.
    refutations,
    /// Times the host stood still and verdicts were dropped.
    stalls,
    /// Times a datagram had waited too long in the socket.
    queue_delays,
    /// Pings and acks of members whose digest was that of this node's view.
    digests_equal,
    /// Pings and acks of members whose digest was another one.
    digests_differing,
    /// Comparisons of views started by this node.
    reconciles,
    /// What others hold of a member, in answer to a comparison: sent by this node.
    entries_sent,
    /// Whole records sent in answer to a comparison.
    records_sent,
    /// Full comparisons of views, over HTTP, that were asked for.
    syncs,
    /// Deaths of live members, told by others in a comparison, that this node checked.
    deaths_checked,
    /// Of these, members that answered.
    deaths_disproved,
    /// Of these, members that did not, so that the death was believed.
    deaths_believed,
    /// Not reported: evidence about a life that is not known here, or one node's own view.
    refused_evidence,
    /// Comparisons not answered: they did not come from the address in the member's record.
    refused_views_address,
    /// Comparisons not answered: too many within a second.
    refused_views_budget,
    /// Digests not compared: more than one large range in a datagram.
    refused_ranges,
    /// Not checked: too many checks at once.
    refused_checks_full,
    /// Beacons sent: the load of this node, told to who sends it work.
    beacons_sent,
    /// Beacons received and reported to the host.
    beacons_received,
    /// Beacons not used: meant for another node, of a sender that is not live here, or of another
    /// generation of it than the one known.
    beacons_refused,
    /// Beacons not used: they did not come from the address in the member's record.
    beacons_refused_address,
    /// Dead members forgotten for good, because too many others are still pinged.
    lost_dropped,
}

impl Stats {
    /// Counts a rejected datagram. `last_tag` remembers the tag of the mismatch before.
    pub fn reject(&mut self, rejection: Rejection, last_tag: &mut Option<u32>) {
        let counter = match rejection {
            Rejection::Oversize => &mut self.rejected_oversize,
            Rejection::Truncated => &mut self.rejected_truncated,
            Rejection::Magic => &mut self.rejected_garbage,
            Rejection::Version(_) => &mut self.rejected_version,
            // Damage gives a random tag, another cluster always the same.
            Rejection::Checksum { tag } if last_tag.replace(tag) == Some(tag) => {
                &mut self.rejected_cluster
            }
            Rejection::Checksum { .. } => &mut self.rejected_checksum,
            Rejection::Sealed => &mut self.rejected_sealed,
            Rejection::Malformed => &mut self.rejected_malformed,
        };
        *counter += 1;
    }
}
