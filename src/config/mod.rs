//! What can be set: layers, validation, and every problem named at once.

pub mod yaml;
