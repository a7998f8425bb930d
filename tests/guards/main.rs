//! What keeps a node whole and its work done once: places and their queue, and kept results.
#![expect(clippy::unwrap_used, reason = "tests")]

mod admission;
mod idempotency;
