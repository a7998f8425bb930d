//! The SWIM-style membership engine of astromesh, without I/O and without a clock.
//!
//! Bytes in, bytes out. A host feeds an [`Engine`] with datagrams, commands and the passing of
//! time, and after each of these drains it:
//!
//! 1. `handle_datagram`, `handle_command` or `handle_timeout`, with `now` as the first argument;
//! 2. [`Engine::poll_transmit`] until it is empty: datagrams to send;
//! 3. [`Engine::poll_event`] until it is empty: what the host should know;
//! 4. [`Engine::poll_timeout`]: when to call `handle_timeout` at the latest.
//!
//! A host that has slept hands over what waits in its socket before it calls `handle_timeout`, so
//! that answers that are already there are seen before anybody is accused.
//!
//! The parts, none of which knows another's rules:
//!
//! * [`engine`]: owns the parts below and moves news between them
//! * [`member`], [`compact`], [`table`]: who is in the mesh, and the digest of that view
//! * [`ring`]: who watches whom
//! * [`precedence`]: which of two claims wins
//! * [`probe`], [`relay`]: who is pinged next, and pings on behalf of others
//! * [`detector`]: what decides that a member is suspect or dead (SWIM with Lifeguard)
//! * [`dissemination`]: which news rides on the next datagram
//! * [`sync`], [`ranges`]: when two views are compared, and where they differ
//! * [`tombstones`]: until when those that are gone are remembered
//! * [`paths`]: how the last probes of a member ended, for people
//! * [`timers`], [`time`], [`config`], [`stats`], [`io`]: what their names say
//!
//! Equal seeds and equal inputs give equal bytes: randomness comes from one seeded generator, and
//! all collections are ordered or indexed.
//!
//! Sources: Das, Gupta, Motivala, "SWIM: Scalable Weakly-consistent Infection-style Process Group
//! Membership Protocol" (DSN 2002); Dadgar, Phillips, Currey, "Lifeguard: Local Health Awareness
//! for More Accurate Failure Detection" (DSN-W 2018).

#![warn(clippy::indexing_slicing, clippy::as_conversions, clippy::wildcard_enum_match_arm)]

pub mod compact;
pub mod config;
pub mod detector;
pub mod dissemination;
pub mod engine;
pub mod io;
pub mod member;
pub mod paths;
pub mod precedence;
pub mod probe;
pub mod ranges;
pub mod relay;
pub mod ring;
pub mod stats;
pub mod sync;
pub mod table;
pub mod time;
pub mod timers;
pub mod tombstones;

pub use compact::KnownRecord;
pub use config::Config;
pub use engine::Engine;
pub use io::{Change, Claim, Command, Event, Origin, Verdict, VerdictRule};
pub use member::{Doubt, Member, OwnedRecord};
pub use paths::Path;
pub use stats::Stats;
pub use time::Instant;
