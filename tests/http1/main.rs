//! The framing of HTTP/1.1 from outside: what is refused, what is read, what is written on, and
//! that hyper reads it the same way.

#![expect(clippy::unwrap_used, reason = "tests")]

// The bodies of the fuzz targets name it from the top of their crate.
use astromesh::proxy::http1;

mod body;
mod corpus;
mod heads;
mod peer;
mod refused;
mod split;
mod written;
