//! The HTTP server of a node.
//!
//! Translates between HTTP and the modules that do the work; no rule lives here.
//!
//! * [`app`]: what the handlers share
//! * [`routes`]: all routes, and how they are put together with those of other modules
//! * [`agents`], [`health`], [`log_level`], [`mesh`], [`metrics`], [`models`], [`observe`],
//!   [`records`], [`reload`], [`system`] and [`tools`]: the handlers
//! * [`body`]: reading request bodies, with the reason when they are not as they should be
//! * [`error`]: the one shape of errors, and every code
//! * [`frame`]: what happens around each request: its id, panics
//! * [`server`]: the routes at the end of a pipe
//! * [`types`]: the JSON, shared with the command line

pub mod agents;
pub mod app;
pub mod body;
pub mod error;
pub mod frame;
pub mod health;
pub mod log_level;
pub mod mesh;
pub mod metrics;
pub mod models;
pub mod observe;
pub mod records;
pub mod reload;
pub mod routes;
pub mod server;
pub mod system;
pub mod tools;
pub mod types;

pub use app::{Agents, App};
pub use body::Json;
pub use error::{ApiError, Code};
pub use frame::RequestId;
pub use routes::router;
pub use server::{Connection, serve_pipe};
