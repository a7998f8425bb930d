//! Counters that prove that each fault really happened.
//!
//! A scenario that claims to test loss and loses nothing tests nothing: tests ask for the faults they
//! rely on by name.

macro_rules! faults {
    ($($(#[doc = $doc:literal])+ $name:ident,)+) => {
        /// What went wrong so far, on purpose.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
        pub struct Faults {
            $($(#[doc = $doc])+ pub $name: u64,)+
        }

        impl Faults {
            /// Name and value of each counter, in the order of their declaration.
            pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> + use<> {
                [$((stringify!($name), self.$name),)+].into_iter()
            }

            /// Adds the counts of another run.
            pub const fn add(&mut self, other: &Self) {
                $(self.$name += other.$name;)+
            }
        }
    };
}

faults! {
    /// Datagrams lost at random anywhere.
    lost,
    /// Datagrams lost at one node, in one direction.
    lost_one_way,
    /// Datagrams lost in a burst of one node.
    lost_in_burst,
    /// Datagrams that a cut stopped.
    cut,
    /// Datagrams that came twice.
    duplicated,
    /// Datagrams that overtook an earlier one from the same sender to the same receiver. At least:
    /// only the last 4,096 or so pairs are remembered.
    reordered,
    /// Datagrams that took the slow way.
    delayed_long,
    /// Datagrams between two zones.
    crossed_zones,
    /// Datagrams to a node that was down.
    unreceived,
    /// HTTP exchanges that a cut, a loss or a node that does not run stopped.
    exchanges_failed,
    /// Datagrams that waited in the socket of a node that stood still.
    queued_paused,
    /// Datagrams that waited for the next turn of a slow node.
    queued_slow,
    /// Datagrams that waited in the socket of a starved node.
    queued_starved,
    /// Datagrams that found the socket buffer full.
    overflowed,
    /// Times that a host told its engine how long a datagram had waited.
    waits,
    /// Nodes killed.
    crashes,
    /// Nodes started again under their id.
    restarts,
    /// Nodes started again under a new id.
    restarts_anew,
    /// Nodes that were made to stand still.
    pauses,
    /// Turns that a slow node took later than it wanted.
    slow_wakes,
    /// Leaps of a node's clock.
    jumps,
    /// Clocks that were made to run at another rate.
    drifts,
    /// Nodes that said goodbye.
    leaves,
}
