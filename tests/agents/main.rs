//! Agents from file to answer, against a fake model server on loopback.
#![expect(clippy::unwrap_used, reason = "tests")]

mod anthropic;
mod files;
mod http_tool;
mod mesh;
mod models;
mod ollama;
mod providers;
mod runs;
mod support;
mod upstream;
