//! The log: each event becomes one line on stderr, as text or as JSON. A [`queue`] separates the threads that log from the thread
//! that writes.
//!
//! The lines are those of `tracing_subscriber`'s formatters; `golden_tests` compares them byte for byte. With these formatters the
//! line of one request costs 22,000 instructions, since each field passes through styles and `core::fmt`. [`Line`] writes
//! common events directly into one buffer. It passes the others on to `tracing_subscriber`'s formatter: events in spans,
//! records of the crate `log`, lines with colours, errors with their sources, messages with control characters.

mod json;
mod queue;
mod text;
mod value;

use std::backtrace::{Backtrace, BacktraceStatus};
use std::cell::Cell;
use std::fmt;
use std::fs::File;
use std::io::{self, IsTerminal};
use std::os::fd::AsFd;
use std::panic::PanicHookInfo;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prometheus::IntCounter;
use tracing::{Event, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, MakeWriter};
use tracing_subscriber::registry::LookupSpan;

use queue::Queue;

thread_local! {
    /// The buffer of this thread's lines. It is empty between two lines, and its memory is used again.
    static LINE: Cell<String> = const { Cell::new(String::new()) };
}

/// The log of the process. Clones are the same log.
#[derive(Clone)]
pub struct Log(Arc<Queue>);

impl Log {
    /// Installs the log: JSON, or text, which has colours on a terminal. The environment variable `RUST_LOG` selects the events;
    /// the default is `info`. Panics are logged as well. `dropped` counts the lines that were discarded.
    ///
    /// # Errors
    /// There is no descriptor or no thread for the writer.
    ///
    /// # Panics
    /// The process already has a subscriber.
    pub fn to_stderr(json: bool, dropped: IntCounter) -> io::Result<Self> {
        let log = Self(Arc::new(Queue::new(dropped)));
        // a descriptor of its own: a write through `io::stderr` would hold its lock
        let out = File::from(io::stderr().as_fd().try_clone_to_owned()?);
        let queue = Arc::clone(&log.0);
        std::thread::Builder::new().name("log".into()).spawn(move || queue.write_to(out))?;
        let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| "info".into());
        let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(log.clone());
        // the subscriber would report its own errors with `eprintln!`
        let builder = builder.log_internal_errors(false);
        if json {
            builder.json().with_ansi(false).flatten_event(true).map_event_format(Line::json).init();
        } else {
            builder.with_ansi(io::stderr().is_terminal()).map_event_format(Line::text).init();
        }
        std::panic::set_hook(Box::new(log_panic));
        Ok(log)
    }

    /// Writes this text as it is, whatever the format of the log.
    pub fn print(&self, text: &str) {
        self.0.push(format!("{text}\n").as_bytes());
    }

    /// Waits until all lines are written, at most this long; false if some are not.
    pub fn flush_within(&self, patience: Duration) -> bool {
        self.0.flush_within(patience)
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

/// The subscriber writes each line at once.
impl io::Write for Log {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The default hook writes to stderr from the thread that panics, and so waits where the reader of stderr stalls.
fn log_panic(panic: &PanicHookInfo<'_>) {
    let message = panic.payload_as_str().unwrap_or("no message");
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    // RUST_BACKTRACE asks for it
    let backtrace = Backtrace::capture();
    let backtrace = (backtrace.status() == BacktraceStatus::Captured).then(|| backtrace.to_string());
    tracing::error!(target: "tokenway::panic", place, backtrace, "panicked: {message}");
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
