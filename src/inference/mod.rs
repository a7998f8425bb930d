//! The models that this node serves: what its model servers have, and requests for them.
//!
//! A node with `spec.services.inference` asks its model servers which models they have, again and
//! again, and says so to the mesh; a request for one of them goes to the server that has it.
//!
//! * [`served`]: which models there are now, and at which server
//! * [`watch`]: the task that keeps that up to date
//! * `list`: what a server says it has
//! * [`chat`]: a request to a server, and its answer as it comes
//!
//! Refuses to choose a node ([`crate::routing`] does), to read files (the providers are
//! [`crate::agent`]'s), and to know what a chat says.

pub mod chat;
mod list;
pub mod served;
pub mod watch;

pub use served::Served;
