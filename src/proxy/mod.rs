//! The HTTP data plane: from the bytes of a client to the bytes of whoever answers.
//!
//! * [`admission`]: who may begin, who waits, who is refused
//! * [`idempotency`]: requests that run once however often they are sent
//! * [`http1`]: the framing of HTTP/1.1, without I/O

pub mod admission;
pub mod http1;
pub mod idempotency;
