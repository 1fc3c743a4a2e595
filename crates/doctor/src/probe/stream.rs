//! Is the stream a stream when it arrives? Judged from its head and from when its pieces came. Pure.

use std::time::Duration;

use http::header;

use crate::report::{Finding, Severity};
use crate::watch::{End, Piece, Watched};
use browser::answer::Answer;
use browser::event_source::{self, Verdict};
use browser::mime;
use browser::quirks::Browser;

/// Fewer events than this may well have come at once.
const ENOUGH: usize = 5;
/// Pieces within this time came at once.
const AT_ONCE: Duration = Duration::from_millis(20);
/// A wait that no network explains.
const LONG: Duration = Duration::from_millis(500);
/// Idle connections are cut after 30 to 60 s by what stands between: a stream should not be silent for half of it.
const SILENCE: Duration = Duration::from_secs(15);

/// Every finding that there can be.
pub const IDS: [&str; 7] = [
    "event-source-gives-up",
    "stream-not-sse",
    "stream-compressed",
    "stream-has-length",
    "stream-buffered",
    "stream-silent",
    "stream-unguarded",
];

/// What is known of a stream.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'a> {
    /// The head.
    pub answer: &'a Answer,
    /// The body.
    pub watched: &'a Watched,
    /// From the request to the head.
    pub head_after: Duration,
    /// Whether the page uses `EventSource`.
    pub by_event_source: bool,
    /// Whose rules decide.
    pub browser: Browser,
}

/// Everything that is wrong with it.
pub fn judge(seen: Seen<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    if seen.by_event_source
        && let Verdict::GivesUp(why) = event_source::judge(seen.answer, seen.browser)
    {
        findings.push(Finding {
            id: "event-source-gives-up",
            severity: Severity::Error,
            title: "EventSource gives up for good: it neither delivers events nor connects again.".to_owned(),
            seen: vec![why.to_string()],
            mend: "Answer 200 with `content-type: text/event-stream`; tell errors as an event, and end by 204."
                .to_owned(),
        });
    }
    if !seen.answer.status.is_success() {
        return findings;
    }
    let content_type = seen.answer.get(header::CONTENT_TYPE).as_deref().and_then(mime::essence);
    if content_type.as_deref() != Some("text/event-stream") {
        // EventSource was told so already
        findings.extend(not_a_stream(content_type.as_deref()).filter(|_| !seen.by_event_source));
        return findings;
    }
    findings.extend(
        [compressed(seen), with_length(seen), buffered(seen), silent(seen), unguarded(seen)].into_iter().flatten(),
    );
    findings
}

fn not_a_stream(content_type: Option<&str>) -> Option<Finding> {
    let (title, mend) = match content_type {
        Some("text/html") => (
            "HTML came instead of a stream: a login page, a proxy's error page, or a single-page application's catch-all.",
            "Check the URL; let the API's paths reach the API before any catch-all.",
        ),
        Some("application/json") => (
            "JSON came instead of a stream: the server does not stream, or was not asked to.",
            "Ask with `\"stream\": true`, and see that no proxy collects the answer.",
        ),
        _ => ("What came is no event stream.", "content-type: text/event-stream"),
    };
    Some(Finding {
        id: "stream-not-sse",
        severity: Severity::Error,
        title: title.to_owned(),
        seen: vec![content_type.map_or("no content-type".to_owned(), |kind| format!("content-type: {kind}"))],
        mend: mend.to_owned(),
    })
}

fn compressed(seen: Seen<'_>) -> Option<Finding> {
    let encoding = seen.answer.get(header::CONTENT_ENCODING)?;
    let encoding = String::from_utf8_lossy(&encoding).into_owned();
    (encoding != "identity").then(|| Finding {
        id: "stream-compressed",
        severity: Severity::Warning,
        title: "The stream is compressed on its way: tokens wait in the compressor until it is flushed.".to_owned(),
        seen: vec![format!("content-encoding: {encoding}")],
        mend: "cache-control: no-transform, and no compression of text/event-stream; in nginx: gzip off;".to_owned(),
    })
}

fn with_length(seen: Seen<'_>) -> Option<Finding> {
    let length = seen.answer.get(header::CONTENT_LENGTH)?;
    Some(Finding {
        id: "stream-has-length",
        severity: Severity::Error,
        title: "The stream has a length: something waited for its end before it sent the first byte.".to_owned(),
        seen: vec![format!("content-length: {}", String::from_utf8_lossy(&length))],
        mend: "Turn off buffering where the answer is collected; in nginx: proxy_buffering off; from the application: \
               x-accel-buffering: no"
            .to_owned(),
    })
}

// Another question than that of `report::delivery`, and on the same arrivals sometimes another answer. That one names what
// most of many streams show, each read to its end: it needs dozens of events, and calls what a cache answers, or a burst
// before a pause, "at once" as well. This one accuses after one look of three seconds. So it wants the end seen after a wait
// that no cache needs; and it takes as proof what arrival times do not show, blocks that are cut within events.
fn buffered(seen: Seen<'_>) -> Option<Finding> {
    let pieces = &seen.watched.pieces;
    // compressed bytes have no events to count
    if seen.answer.headers.contains_key(header::CONTENT_ENCODING) || events(&seen.watched.bytes()) < ENOUGH {
        return None;
    }
    let seen_as = all_at_once(seen).or_else(|| in_blocks(pieces))?;
    Some(Finding {
        id: "stream-buffered",
        severity: Severity::Error,
        title: "Something between the model and the page buffers: tokens do not come one by one.".to_owned(),
        seen: vec![seen_as],
        mend:
            "Turn it off; in nginx: proxy_buffering off; in an application behind it: x-accel-buffering: no; in Caddy: \
               flush_interval -1"
                .to_owned(),
    })
}

fn all_at_once(seen: Seen<'_>) -> Option<String> {
    let (first, last) = (seen.watched.pieces.first()?, seen.watched.pieces.last()?);
    let waited = seen.head_after + first.at;
    let at_once = last.at - first.at <= AT_ONCE && waited >= LONG && seen.watched.end == End::Whole;
    at_once.then(|| {
        let count = events(&seen.watched.bytes());
        format!("{count} events came at once, {:.1} s after the request", waited.as_secs_f64())
    })
}

/// Pieces of one size, a multiple of 1 KiB, that end within an event: a buffer that fills.
fn in_blocks(pieces: &[Piece]) -> Option<String> {
    let (_, full) = pieces.split_last()?;
    let size = full.first()?.bytes.len();
    let apart = full.windows(2).all(|pair| pair[1].at - pair[0].at > AT_ONCE);
    let cuts = full.iter().filter(|piece| !piece.bytes.ends_with(b"\n\n")).count();
    let is_block = full.len() >= 2 && size.is_multiple_of(1024) && full.iter().all(|piece| piece.bytes.len() == size);
    (is_block && apart && cuts > 0).then(|| format!("it comes in blocks of {size} bytes, cut within events"))
}

/// Ends of events: a line end after a line end.
fn events(bytes: &[u8]) -> usize {
    let text = String::from_utf8_lossy(bytes).replace("\r\n", "\n").replace('\r', "\n");
    text.split("\n\n").filter(|block| block.lines().any(|line| line.starts_with("data"))).count()
}

fn silent(seen: Seen<'_>) -> Option<Finding> {
    let starts = std::iter::once(Duration::ZERO).chain(seen.watched.pieces.iter().map(|piece| piece.at));
    let longest = starts.zip(&seen.watched.pieces).map(|(before, piece)| piece.at - before).max()?;
    (longest >= SILENCE).then(|| Finding {
        id: "stream-silent",
        severity: Severity::Warning,
        title: "The stream is silent for long: proxies and mobile networks cut idle connections.".to_owned(),
        seen: vec![format!("nothing for {} s, not even a comment", longest.as_secs())],
        mend: "Send a comment line, such as `: hb`, every 15 s while there is nothing to say.".to_owned(),
    })
}

fn unguarded(seen: Seen<'_>) -> Option<Finding> {
    let has = |name: &str, wanted: &[u8]| {
        seen.answer
            .get(name)
            .is_some_and(|value| value.to_ascii_lowercase().windows(wanted.len()).any(|part| part == wanted))
    };
    let mut missing = Vec::new();
    if !has("cache-control", b"no-transform") && !has("cache-control", b"no-store") {
        missing.push("cache-control: no-cache, no-transform");
    }
    if !has("x-accel-buffering", b"no") {
        missing.push("x-accel-buffering: no");
    }
    (!missing.is_empty()).then(|| Finding {
        id: "stream-unguarded",
        severity: Severity::Note,
        title: "Nothing tells proxies on the way not to compress, cache or buffer the stream.".to_owned(),
        seen: missing.iter().map(|line| format!("no `{line}`")).collect(),
        mend: missing.join(" and "),
    })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
    use proptest::prelude::*;

    use super::*;

    const SSE: (&str, &str) = ("content-type", "text/event-stream; charset=utf-8");
    const GUARDS: [(&str, &str); 2] = [("cache-control", "no-cache, no-transform"), ("x-accel-buffering", "no")];

    fn answer(status: u16, lines: &[(&str, &str)]) -> Answer {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(HeaderName::try_from(*name).unwrap(), HeaderValue::try_from(*value).unwrap());
        }
        Answer { status: StatusCode::from_u16(status).unwrap(), headers }
    }

    fn watched(pieces: &[(u64, &[u8])], end: End) -> Watched {
        let piece =
            |(at, bytes): &(u64, &[u8])| Piece { at: Duration::from_millis(*at), bytes: Bytes::copy_from_slice(bytes) };
        Watched { pieces: pieces.iter().map(piece).collect(), end }
    }

    fn ids(answer: &Answer, watched: &Watched, head_after: u64, by_event_source: bool) -> Vec<&'static str> {
        let head_after = Duration::from_millis(head_after);
        judge(Seen { answer, watched, head_after, by_event_source, browser: Browser::Chromium })
            .iter()
            .map(|finding| finding.id)
            .collect()
    }

    fn good() -> Answer {
        answer(200, &[SSE, GUARDS[0], GUARDS[1]])
    }

    #[test]
    fn a_stream_that_comes_event_by_event_is_no_finding() {
        let event = b"data: x\n\n".as_slice();
        let pieces: Vec<_> = (0..20).map(|n| (600 + n * 50, event)).collect();
        assert!(ids(&good(), &watched(&pieces, End::Whole), 5, true).is_empty());
    }

    #[test]
    fn what_comes_at_once_after_a_wait_was_buffered() {
        let events = b"data: x\n\n".repeat(20);
        assert_eq!(ids(&good(), &watched(&[(700, &events)], End::Whole), 5, false), ["stream-buffered"]);
        assert_eq!(ids(&good(), &watched(&[(1, &events)], End::Whole), 900, false), ["stream-buffered"]);
        // a fast answer is no buffered one
        assert!(ids(&good(), &watched(&[(3, &events)], End::Whole), 5, false).is_empty());
    }

    #[test]
    fn blocks_of_one_size_that_cut_events_are_a_buffer_that_fills() {
        let text = b"data: hello\r\n\r\n".repeat(1000);
        let pieces: Vec<_> = text.chunks(4096).enumerate().map(|(n, chunk)| (n as u64 * 400, chunk)).collect();
        assert_eq!(ids(&good(), &watched(&pieces, End::Whole), 5, false), ["stream-buffered"]);
    }

    #[test]
    fn the_head_gives_away_compression_length_and_missing_guards() {
        let none = watched(&[], End::Left);
        assert_eq!(
            ids(&answer(200, &[SSE, GUARDS[0], GUARDS[1], ("content-encoding", "gzip")]), &none, 5, false),
            ["stream-compressed"]
        );
        assert_eq!(
            ids(&answer(200, &[SSE, GUARDS[0], GUARDS[1], ("content-length", "9")]), &none, 5, false),
            ["stream-has-length"]
        );
        assert_eq!(ids(&answer(200, &[SSE]), &none, 5, false), ["stream-unguarded"]);
        assert_eq!(ids(&answer(200, &[("content-type", "text/html")]), &none, 5, false), ["stream-not-sse"]);
        assert_eq!(ids(&answer(200, &[("content-type", "text/html")]), &none, 5, true), ["event-source-gives-up"]);
        assert_eq!(ids(&answer(503, &[SSE]), &none, 5, true), ["event-source-gives-up"]);
        assert!(ids(&answer(503, &[]), &none, 5, false).is_empty(), "an error is no broken stream");
    }

    #[test]
    fn a_long_silence_is_told() {
        let pieces: [(u64, &[u8]); 2] = [(16_000, b"data: x\n\n"), (16_100, b"data: y\n\n")];
        assert_eq!(ids(&good(), &watched(&pieces, End::Left), 5, false), ["stream-silent"]);
    }

    proptest! {
        #[test]
        fn no_stream_panics(pieces in proptest::collection::vec((0_u64..5_000, any::<Vec<u8>>()), 0..6)) {
            let mut pieces = pieces;
            pieces.sort();
            let pieces: Vec<_> = pieces.iter().map(|(at, bytes)| (*at, &bytes[..])).collect();
            let _ = ids(&good(), &watched(&pieces, End::Whole), 600, false);
        }
    }
}
