//! Proof that the bytes mean what `docs/wire-protocol.md` says.
//!
//! * `golden`: the bytes of one example of everything, kept as files that never change
//! * `damage`: what is cut, flipped or of another cluster is not believed
//! * `rejections`: each reason to reject, each provoked
//! * `budget`: no datagram outgrows 1,200 bytes, and how much fits into them
//! * `properties`: what was written is what is read
//! * `metadata`: the bytes behind a record, and hostile ones in their place
//! * `corpus`: the committed fuzz corpus, replayed
//!
//! Refuses to test what a message means for a mesh; that is the engine's.

#![expect(clippy::unwrap_used, reason = "tests")]

mod budget;
mod corpus;
mod damage;
mod golden;
mod metadata;
mod properties;
mod rejections;
mod samples;
mod strategies;
