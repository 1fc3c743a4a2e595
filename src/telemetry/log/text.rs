//! A line as text: `TIME LEVEL TARGET: MESSAGE NAME=VALUE…`. `tracing_subscriber::fmt::format::Full` writes the same.

use std::error::Error;
use std::fmt::{self, Write};
use std::time::Duration;

use tracing::field::{Field, Visit};
use tracing::{Event, Level};

use super::value;

pub(super) fn write(line: &mut String, at: Duration, event: &Event<'_>) -> Option<()> {
    value::timestamp(line, at)?;
    let metadata = event.metadata();
    line.push_str(match *metadata.level() {
        Level::ERROR => " ERROR ",
        Level::WARN => "  WARN ",
        Level::INFO => "  INFO ",
        Level::DEBUG => " DEBUG ",
        Level::TRACE => " TRACE ",
    });
    line.push_str(metadata.target());
    line.push_str(": ");
    let mut fields = Fields { line, is_first: true, is_written: true };
    event.record(&mut fields);
    fields.is_written.then(|| line.push('\n'))
}

/// Appends each field.
struct Fields<'a> {
    line: &'a mut String,
    is_first: bool,
    /// No field needs the general formatter.
    is_written: bool,
}

impl Fields<'_> {
    /// Appends what comes before a value: a space, except for the first field, and `name=`, except for the message. Returns
    /// `false` for a field that is not written.
    fn begin(&mut self, field: &Field) -> bool {
        let name = field.name();
        // metadata of a record of the crate `log`
        if name.starts_with("log.") {
            return false;
        }
        if !std::mem::take(&mut self.is_first) {
            self.line.push(' ');
        }
        if name != "message" {
            self.line.push_str(name.strip_prefix("r#").unwrap_or(name));
            self.line.push('=');
        }
        true
    }

    fn debug(&mut self, value: &dyn fmt::Debug) {
        self.is_written &= write!(self.line, "{value:?}").is_ok();
    }

    fn integer(&mut self, field: &Field, number: impl itoa::Integer) {
        if self.begin(field) {
            value::integer(self.line, number);
        }
    }
}

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if !self.begin(field) {
            return;
        }
        let begin = self.line.len();
        self.debug(value);
        // the general formatter escapes terminal sequences in a message
        self.is_written &= field.name() != "message" || is_harmless(&self.line[begin..]);
    }

    fn record_str(&mut self, field: &Field, text: &str) {
        if field.name() == "message" {
            self.record_debug(field, &format_args!("{text}"));
        } else if self.begin(field) {
            value::quoted(self.line, text);
        }
    }

    fn record_f64(&mut self, field: &Field, number: f64) {
        if self.begin(field) && value::thousandths(self.line, number).is_none() {
            self.debug(&number);
        }
    }

    fn record_i64(&mut self, field: &Field, number: i64) {
        self.integer(field, number);
    }

    fn record_u64(&mut self, field: &Field, number: u64) {
        self.integer(field, number);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        if self.begin(field) {
            self.line.push_str(if value { "true" } else { "false" });
        }
    }

    /// The general formatter writes an error with its sources.
    fn record_error(&mut self, _: &Field, _: &(dyn Error + 'static)) {
        self.is_written = false;
    }
}

/// Whether a message has no character that the general formatter escapes.
fn is_harmless(message: &str) -> bool {
    message.bytes().fold(true, |harmless, byte| harmless & matches!(byte, b' '..=b'~'))
}
