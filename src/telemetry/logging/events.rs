//! The events of the code, on their way to the pipes.
//!
//! Owns the translation of an event of `tracing` into an entry. Spans are not logged: none of our
//! code opens one.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::time::SystemTime;

use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use super::entry::{Entry, Value};
use super::pipe::Pipe;

/// Hands each event to each pipe.
#[derive(Debug)]
pub(super) struct Events {
    pub(super) pipes: Vec<Pipe>,
}

impl<S: Subscriber> Layer<S> for Events {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let now = SystemTime::now();
        let mut found = Found::default();
        event.record(&mut found);
        let meta = event.metadata();
        let entry = Entry {
            level: *meta.level(),
            target: meta.target(),
            message: found.message.as_bytes(),
            fields: &*found.fields,
            place: meta.file().zip(meta.line()),
        };
        for pipe in &self.pipes {
            pipe.write(now, &entry);
        }
    }
}

/// What an event holds.
#[derive(Default)]
struct Found {
    message: String,
    fields: Vec<(&'static str, Value<'static>)>,
}

impl Found {
    fn add(&mut self, field: &Field, value: Value<'static>) {
        self.fields.push((field.name(), value));
    }

    fn add_text(&mut self, field: &Field, text: String) {
        if field.name() == "message" {
            self.message = text;
        } else {
            self.add(field, Value::Text(Cow::Owned(text.into_bytes())));
        }
    }
}

impl Visit for Found {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add_text(field, format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.add_text(field, value.to_owned());
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        self.add_text(field, value.to_string());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, Value::Natural(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        let natural = u64::try_from(value).map(Value::Natural);
        self.add(field, natural.unwrap_or(Value::Integer(value)));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field, Value::Real(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, Value::Bool(value));
    }
}
