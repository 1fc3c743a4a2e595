//! The log: each event becomes one line on stderr, as text or as JSON.
//!
//! The lines are those of `tracing_subscriber`'s formatters; `golden_tests` compares them byte for byte. With these formatters the
//! line of one request costs 22,000 instructions, since each field passes through styles and `core::fmt`. [`Line`] writes
//! common events directly into one buffer. It passes the others on to `tracing_subscriber`'s formatter: events in spans,
//! records of the crate `log`, lines with colours, errors with their sources, messages with control characters.
//!
//! The subscriber's writer receives each line in one write. A bounded queue with a writer thread can replace
//! [`std::io::stderr`] in [`to_stderr`]; nothing else changes then.

mod json;
mod text;
mod value;

use std::cell::Cell;
use std::fmt;
use std::io::{self, IsTerminal};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tracing::{Event, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

thread_local! {
    /// The buffer of this thread's lines. It is empty between two lines, and its memory is used again.
    static LINE: Cell<String> = const { Cell::new(String::new()) };
}

/// Installs the log of the process: JSON, or text, which has colours on a terminal. The environment variable `RUST_LOG`
/// selects the events; the default is `info`.
///
/// # Panics
/// The process already has a subscriber.
pub fn to_stderr(json: bool) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| "info".into());
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    if json {
        builder.json().with_ansi(false).flatten_event(true).map_event_format(Line::json).init();
    } else {
        builder.with_ansi(io::stderr().is_terminal()).map_event_format(Line::text).init();
    }
}

/// Appends the line of an event; the time is that since 1970-01-01 UTC. Returns `None` if the general formatter has to write
/// the event; the appended text is then discarded.
type Write = fn(&mut String, Duration, &Event<'_>) -> Option<()>;

/// Writes common events itself and the others with the general formatter `F`.
struct Line<F> {
    write: Write,
    now: fn() -> Duration,
    general: F,
}

impl<F> Line<F> {
    fn text(general: F) -> Self {
        Self { write: text::write, now, general }
    }

    /// `general` has to flatten its events.
    fn json(general: F) -> Self {
        Self { write: json::write, now, general }
    }
}

/// The time since 1970-01-01 UTC.
fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

impl<S, N, F> FormatEvent<S, N> for Line<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(&self, ctx: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let is_common = !writer.has_ansi_escapes()
            && event.parent().is_none()
            && ctx.lookup_current().is_none()
            // a record of the crate `log` has its target in a field
            && event.metadata().name() != "log event";
        if is_common {
            // a value may log an event while it is formatted: that line gets another buffer
            let mut line = LINE.take();
            let written = (self.write)(&mut line, (self.now)(), event).map(|()| writer.write_str(&line));
            line.clear();
            LINE.set(line);
            if let Some(written) = written {
                return written;
            }
        }
        self.general.format_event(ctx, writer, event)
    }
}

#[cfg(test)]
mod golden_tests;
