//! A line as one JSON object: time, level, the event's fields, target. `tracing_subscriber::fmt::format::Json` writes the same
//! with flattened events.

use std::fmt::{self, Write};
use std::time::Duration;

use tracing::field::{Field, Visit};
use tracing::{Event, Level};

use super::value;

pub(super) fn write(line: &mut String, at: Duration, event: &Event<'_>) -> Option<()> {
    line.push_str("{\"timestamp\":\"");
    value::timestamp(line, at)?;
    let metadata = event.metadata();
    line.push_str(match *metadata.level() {
        Level::ERROR => "\",\"level\":\"ERROR\"",
        Level::WARN => "\",\"level\":\"WARN\"",
        Level::INFO => "\",\"level\":\"INFO\"",
        Level::DEBUG => "\",\"level\":\"DEBUG\"",
        Level::TRACE => "\",\"level\":\"TRACE\"",
    });
    let mut fields = Fields { line, is_written: true };
    event.record(&mut fields);
    fields.is_written.then(|| {
        line.push_str(",\"target\":");
        value::json_string(line, metadata.target());
        line.push_str("}\n");
    })
}

/// Appends each field as a member.
struct Fields<'a> {
    line: &'a mut String,
    /// No value has failed to write itself.
    is_written: bool,
}

impl Fields<'_> {
    fn name(&mut self, field: &Field) -> &mut String {
        self.line.push(',');
        value::json_string(self.line, field.name());
        self.line.push(':');
        self.line
    }
}

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let line = self.name(field);
        line.push('"');
        let begin = line.len();
        let written = write!(line, "{value:?}").is_ok();
        if value::needs_no_json_escape(&line[begin..]) {
            line.push('"');
        } else {
            let text = line.split_off(begin);
            line.pop();
            value::json_string(line, &text);
        }
        self.is_written &= written;
    }

    fn record_str(&mut self, field: &Field, text: &str) {
        value::json_string(self.name(field), text);
    }

    fn record_f64(&mut self, field: &Field, number: f64) {
        let line = self.name(field);
        if value::thousandths(line, number).is_none() {
            // NaN and the infinities become `null`
            line.push_str(&serde_json::Value::from(number).to_string());
        }
    }

    fn record_i64(&mut self, field: &Field, number: i64) {
        value::integer(self.name(field), number);
    }

    fn record_u64(&mut self, field: &Field, number: u64) {
        value::integer(self.name(field), number);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.name(field).push_str(if value { "true" } else { "false" });
    }
}
