//! Compares lines with those of `tracing_subscriber`, byte for byte.

use std::error::Error;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use proptest::prelude::*;
use tracing::{Level, debug, error, info, trace, warn};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::time::FormatTime;

use super::*;

const NOW: &str = "2026-11-22T17:00:00.123456Z";

fn fixed() -> Duration {
    Duration::from_nanos(1_795_366_800_123_456_789)
}

/// The clock of the general formatter.
struct Clock;

impl FormatTime for Clock {
    fn format_time(&self, writer: &mut Writer<'_>) -> fmt::Result {
        writer.write_str(NOW)
    }
}

/// The writes of a subscriber: one a line.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

impl MakeWriter<'_> for Lines {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().push(String::from_utf8(bytes.to_vec()).unwrap());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Replaces the general formatter where no event may reach it.
struct Nothing;

impl<S, N> FormatEvent<S, N> for Nothing
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut writer: Writer<'_>, _: &Event<'_>) -> fmt::Result {
        writer.write_str("the general formatter\n")
    }
}

/// Whether [`Line`] writes an event itself.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Common,
    Rare,
}

/// Compares the lines of what `log` logs: by `tracing_subscriber`, by [`Line`] in front of it, and by [`Line`] alone; as text and
/// as JSON.
fn compare(kind: Kind, log: impl Fn()) -> Result<(), TestCaseError> {
    macro_rules! lines {
        ($builder:ident => $subscriber:expr) => {{
            let lines = Lines::default();
            let $builder =
                tracing_subscriber::fmt().with_max_level(Level::TRACE).with_timer(Clock).with_writer(lines.clone());
            tracing::subscriber::with_default($subscriber, &log);
            let lines = lines.0.lock().unwrap();
            lines.clone()
        }};
    }
    let general = lines!(it => it.with_ansi(false).finish());
    prop_assert!(general.iter().all(|line| line.starts_with(NOW) && line.ends_with('\n')), "{general:?}");
    let ours = lines!(it => it.with_ansi(false).map_event_format(|general| Line { now: fixed, ..Line::text(general) }).finish());
    prop_assert_eq!(&ours, &general);
    let alone =
        lines!(it => it.with_ansi(false).map_event_format(|_| Line { now: fixed, ..Line::text(Nothing) }).finish());
    prop_assert!(kind == Kind::Rare || alone == general, "{alone:?} is not {general:?}");

    let general = lines!(it => it.json().flatten_event(true).finish());
    prop_assert!(general.iter().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()), "{general:?}");
    let json = lines!(it => it.json().with_ansi(false).flatten_event(true)
        .map_event_format(|general| Line { now: fixed, ..Line::json(general) }).finish());
    prop_assert_eq!(&json, &general);
    Ok(())
}

#[track_caller]
fn same(kind: Kind, log: impl Fn()) {
    compare(kind, log).unwrap();
}

#[test]
fn the_line_of_a_request_is_the_same() {
    let (name, absent) = ("gpt-4o".to_owned(), None::<&str>);
    same(Kind::Common, || {
        info!(
            target: "tokenway::request", request_id = "req_0a", client = "127.0.0.1", caller = absent, origin = Some("https://a.example"),
            model = &name, status = 200_u16, ttft_ms = Some(12.345), output_tokens = Some(17_u64), cost = None::<String>,
            tokens_per_second = 83.2, duration_ms = 204.0,
        );
    });
}

#[test]
fn messages_levels_and_targets_are_the_same() {
    same(Kind::Common, || {
        info!("a message alone");
        warn!(number = 1, "a message, {} with an argument, and a field", "formatted");
        error!(target: "another::target", error = %"shown", "it says \"no\" and \\ no more");
        debug!(number = 1, other = true);
        trace!("");
        info!(message = "a message that is a field");
        info!(wait = ?Duration::from_millis(1500), r#type = "raw", "dotted.name" = 3, "a \"quoted\" name" = 5);
        info!(log.line = 3, "a name that the crate log uses");
    });
}

#[test]
fn values_of_every_type_are_the_same() {
    same(Kind::Common, || {
        info!(a = 0_u8, b = -1_i8, c = u64::MAX, d = i64::MIN, e = u128::MAX, f = i128::MIN, g = usize::MAX);
        info!(a = true, b = false, c = Some(false), d = None::<bool>, e = None::<f64>, f = None::<u64>);
        info!(
            a = 1.0,
            b = 0.25,
            c = 12.345_f32,
            d = 1e16,
            e = 1e-7,
            f = -2.5,
            g = -0.0,
            h = f64::NAN,
            i = f64::INFINITY
        );
        info!(
            a = "",
            b = "plain",
            c = "it's \"quoted\"",
            d = "back\\slash",
            e = "two\nlines\tand \u{7f}",
            f = "größer 気"
        );
        info!(a = ?"debug", b = ?Some("debug"), c = ?None::<u8>, d = ?[1, 2], e = %"shown \"so\"", f = %format_args!("{}", 1));
        info!(a = %"shown\nin two lines \u{1b}[31m", b = ?"\u{1b}[31m", c = &[1_u8, 255][..]);
        info!(a = tracing::field::Empty, b = 1);
    });
}

#[derive(Debug)]
struct Failure(Option<Box<Failure>>);

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("it \u{1b}[31mfailed")
    }
}

impl Error for Failure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.as_deref().map(|source| source as _)
    }
}

#[test]
fn rare_events_are_the_same() {
    same(Kind::Rare, || {
        info!("a message with \u{1b}[31mcolours, \u{7} and \u{9b}");
        info!(message = "größer\nthan ASCII");
        let (alone, caused) = (Failure(None), Failure(Some(Box::new(Failure(None)))));
        info!(error = &alone as &(dyn Error + 'static), other = &caused as &(dyn Error + 'static), "a message");
        let span = tracing::info_span!("span", number = 1, text = "a \"value\"");
        info!(parent: &span, "inside of it");
        let _inside = span.enter();
        warn!(field = 2, "inside of it");
        tracing::info_span!("within").in_scope(|| debug!(parent: None, field = 3, "outside of it"));
    });
}

#[test]
fn a_value_that_logs_while_it_is_formatted_disturbs_no_line() {
    struct Logs;
    impl fmt::Debug for Logs {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            warn!(number = 1, "from within");
            f.write_str("logs")
        }
    }
    same(Kind::Common, || info!(before = 1, value = ?Logs, after = 2, "outside"));
}

#[test]
fn colours_are_the_same() {
    let lines = [Lines::default(), Lines::default()];
    let builder =
        |lines: &Lines| tracing_subscriber::fmt().with_timer(Clock).with_ansi(true).with_writer(lines.clone());
    let log = || info!(number = 1, "a message");
    tracing::subscriber::with_default(builder(&lines[0]).finish(), log);
    tracing::subscriber::with_default(builder(&lines[1]).map_event_format(Line::text).finish(), log);
    let [general, ours] = lines.map(|lines| lines.0.lock().unwrap().concat());
    assert!(general.contains("\u{1b}[") && ours == general, "{ours}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_value_is_written_the_same(
        text in ".*", plain in "[ -~]*", number: f64, count: u64, whole: i64, thousandths in 0u64..10_000_000, truth: bool,
    ) {
        let part = thousandths as f64 / 1000.0;
        compare(Kind::Common, || {
            info!(text, plain, number, count, whole, part, truth, debug = ?text, shown = %text, some = Some(&text[..]), number, "a message");
            info!(target: "tokenway::request", part, text, "{plain}");
        })?;
        compare(Kind::Rare, || info!(plain, "{text}"))?;
    }
}
