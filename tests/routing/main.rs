//! The routing rule against an oracle: a simulation that drives [`astromesh::routing::Core`], the
//! code that the daemon runs, on virtual time.
//!
//! * [`scenario`]: nine meshes, and their requests
//! * [`simulation`]: one run; [`worker`], [`gossip`], [`agenda`] and [`tally`] are its parts
//! * [`policy`]: what a policy is, and simple ones to compare with; [`production`]: ours
//! * [`gates`]: how near to the oracle it has to come; [`faults`]: what it may lose
//!
//! Owns nothing but tests. A run is a function of scenario, size and seed. `docs/routing.md` holds
//! the table that the ignored tests print.

#![expect(clippy::print_stdout, reason = "tables are for people")]

mod agenda;
mod faults;
mod gates;
mod gossip;
mod policy;
mod production;
mod scenario;
mod simulation;
mod tally;
mod worker;
