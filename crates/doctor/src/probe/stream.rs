//! Checks whether a response arrives as a stream: by its head and by the arrival of its chunks. Pure.

use std::time::Duration;

use http::header;

use crate::body::{Chunk, End, ObservedBody};
use crate::report::{Finding, Severity};
use browser::event_source::{self, Verdict};
use browser::head::ResponseHead;
use browser::mime;
use browser::quirks::Browser;

/// Fewer events can arrive together without a buffer.
const ENOUGH: usize = 5;
/// Chunks within this time arrived together.
const AT_ONCE: Duration = Duration::from_millis(20);
/// A delay that no network explains.
const LONG: Duration = Duration::from_millis(500);
/// Proxies cut idle connections after 30 to 60 s. A stream should not be silent for half of that.
const SILENCE: Duration = Duration::from_secs(15);

/// The id of the finding that `EventSource` fails the connection.
pub const GIVES_UP: &str = "event-source-gives-up";
/// The ids of all findings.
pub const IDS: [&str; 7] = [
    GIVES_UP,
    "stream-not-sse",
    "stream-compressed",
    "stream-has-length",
    "stream-buffered",
    "stream-silent",
    "stream-unguarded",
];

/// An observed stream.
#[derive(Debug, Clone, Copy)]
pub struct Stream<'a> {
    /// The head of the response.
    pub response: &'a ResponseHead,
    /// The body.
    pub body: &'a ObservedBody,
    /// The time from the request to the head.
    pub head_after: Duration,
    /// Whether the page uses `EventSource`.
    pub by_event_source: bool,
    /// The browser whose rules decide.
    pub browser: Browser,
}

/// The findings of a stream.
pub fn findings(stream: Stream<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    if stream.by_event_source {
        findings.extend(gives_up(stream.response, stream.browser));
    }
    if !stream.response.status.is_success() {
        return findings;
    }
    let content_type = stream.response.get(header::CONTENT_TYPE).as_deref().and_then(mime::essence);
    if content_type.as_deref() != Some("text/event-stream") {
        // for EventSource, this is part of the finding above
        findings.extend(not_a_stream(content_type.as_deref()).filter(|_| !stream.by_event_source));
        return findings;
    }
    findings.extend(
        [compressed(stream), with_length(stream), buffered(stream), silent(stream), unguarded(stream)]
            .into_iter()
            .flatten(),
    );
    findings
}

/// A response for which `EventSource` fails the connection.
pub fn gives_up(response: &ResponseHead, browser: Browser) -> Option<Finding> {
    let Verdict::Closed(reason) = event_source::judge(response, browser) else { return None };
    Some(Finding {
        id: GIVES_UP,
        severity: Severity::Error,
        title: "EventSource fails the connection: it delivers no events and never connects again.",
        seen: vec![reason.to_string()],
        mend: "Answer 200 with `content-type: text/event-stream`; send errors as events, and 204 to stop.".into(),
    })
}

fn not_a_stream(content_type: Option<&str>) -> Option<Finding> {
    let (title, mend) = match content_type {
        Some("text/html") => (
            "The response is HTML instead of a stream: a login page, a proxy's error page, or the catch-all route of an application.",
            "Check the URL; let the API's paths reach the API before any catch-all route.",
        ),
        Some("application/json") => (
            "The response is JSON instead of a stream: the server does not stream, or was not asked to.",
            "Send `\"stream\": true`, and check that no proxy collects the response.",
        ),
        _ => ("The response is no event stream.", "content-type: text/event-stream"),
    };
    Some(Finding {
        id: "stream-not-sse",
        severity: Severity::Error,
        title,
        seen: vec![content_type.map_or("no content-type".to_owned(), |kind| format!("content-type: {kind}"))],
        mend: mend.into(),
    })
}

fn compressed(stream: Stream<'_>) -> Option<Finding> {
    let encoding = stream.response.get(header::CONTENT_ENCODING)?;
    let encoding = String::from_utf8_lossy(&encoding).into_owned();
    (encoding != "identity").then(|| Finding {
        id: "stream-compressed",
        severity: Severity::Warning,
        title: "The stream is compressed: tokens wait in the compressor until it is flushed.",
        seen: vec![format!("content-encoding: {encoding}")],
        mend: "cache-control: no-transform, and no compression of text/event-stream; in nginx: gzip off;".into(),
    })
}

fn with_length(stream: Stream<'_>) -> Option<Finding> {
    let length = stream.response.get(header::CONTENT_LENGTH)?;
    Some(Finding {
        id: "stream-has-length",
        severity: Severity::Error,
        title: "The stream has a length: something collected all of it before it sent the first byte.",
        seen: vec![format!("content-length: {}", String::from_utf8_lossy(&length))],
        mend:
            "Turn off buffering where the response is collected; in nginx: proxy_buffering off; from the application: \
               x-accel-buffering: no"
                .into(),
    })
}

/// A stream that something buffers. One observation of three seconds must be enough, so a stream that arrives at once is
/// buffered only after a delay that no cache needs, and blocks are a buffer only if they are cut within events. (A load test
/// can decide by the arrival times of dozens of events in many complete streams.)
fn buffered(stream: Stream<'_>) -> Option<Finding> {
    let chunks = &stream.body.chunks;
    // compressed bytes have no events to count
    if stream.response.headers.contains_key(header::CONTENT_ENCODING) || events(&stream.body.bytes()) < ENOUGH {
        return None;
    }
    let seen = all_at_once(stream).or_else(|| in_blocks(chunks))?;
    Some(Finding {
        id: "stream-buffered",
        severity: Severity::Error,
        title: "Something between the model and the page buffers: tokens do not arrive one by one.",
        seen: vec![seen],
        mend:
            "Turn it off; in nginx: proxy_buffering off; in an application behind it: x-accel-buffering: no; in Caddy: \
               flush_interval -1"
                .into(),
    })
}

fn all_at_once(stream: Stream<'_>) -> Option<String> {
    let (first, last) = (stream.body.chunks.first()?, stream.body.chunks.last()?);
    let waited = stream.head_after + first.at;
    let at_once = last.at - first.at <= AT_ONCE && waited >= LONG && stream.body.end == End::Complete;
    at_once.then(|| {
        let count = events(&stream.body.bytes());
        format!("{count} events arrived at once, {:.1} s after the request", waited.as_secs_f64())
    })
}

/// Chunks of one size, a multiple of 1 KiB, that end within an event: a buffer that fills.
fn in_blocks(chunks: &[Chunk]) -> Option<String> {
    let (_, full) = chunks.split_last()?;
    let size = full.first()?.bytes.len();
    let apart = full.windows(2).all(|pair| pair[1].at - pair[0].at > AT_ONCE);
    let cuts = full.iter().filter(|chunk| !chunk.bytes.ends_with(b"\n\n")).count();
    let is_block = full.len() >= 2 && size.is_multiple_of(1024) && full.iter().all(|chunk| chunk.bytes.len() == size);
    (is_block && apart && cuts > 0).then(|| format!("it arrives in blocks of {size} bytes, cut within events"))
}

/// The number of events: blocks with data, separated by blank lines.
fn events(bytes: &[u8]) -> usize {
    let text = String::from_utf8_lossy(bytes).replace("\r\n", "\n").replace('\r', "\n");
    text.split("\n\n").filter(|block| block.lines().any(|line| line.starts_with("data"))).count()
}

fn silent(stream: Stream<'_>) -> Option<Finding> {
    let chunks = &stream.body.chunks;
    let starts = std::iter::once(Duration::ZERO).chain(chunks.iter().map(|chunk| chunk.at));
    let longest = starts.zip(chunks).map(|(before, chunk)| chunk.at - before).max()?;
    (longest >= SILENCE).then(|| Finding {
        id: "stream-silent",
        severity: Severity::Warning,
        title: "The stream is silent for a long time: proxies and mobile networks cut idle connections.",
        seen: vec![format!("no byte for {} s, not even a comment", longest.as_secs())],
        mend: "Send a comment line, such as `: hb`, every 15 s while there is no event.".into(),
    })
}

fn unguarded(stream: Stream<'_>) -> Option<Finding> {
    let has = |name: &str, wanted: &[u8]| {
        stream
            .response
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
        title: "No header asks proxies not to compress, cache or buffer the stream.",
        seen: missing.iter().map(|line| format!("no `{line}`")).collect(),
        mend: missing.join(" and ").into(),
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

    fn response(status: u16, lines: &[(&str, &str)]) -> ResponseHead {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(HeaderName::try_from(*name).unwrap(), HeaderValue::try_from(*value).unwrap());
        }
        ResponseHead { status: StatusCode::from_u16(status).unwrap(), headers }
    }

    fn body(chunks: &[(u64, &[u8])], end: End) -> ObservedBody {
        let chunk =
            |(at, bytes): &(u64, &[u8])| Chunk { at: Duration::from_millis(*at), bytes: Bytes::copy_from_slice(bytes) };
        ObservedBody { chunks: chunks.iter().map(chunk).collect(), end }
    }

    fn ids(response: &ResponseHead, body: &ObservedBody, head_after: u64, by_event_source: bool) -> Vec<&'static str> {
        let head_after = Duration::from_millis(head_after);
        findings(Stream { response, body, head_after, by_event_source, browser: Browser::Chromium })
            .iter()
            .map(|finding| finding.id)
            .collect()
    }

    fn good() -> ResponseHead {
        response(200, &[SSE, GUARDS[0], GUARDS[1]])
    }

    #[test]
    fn a_stream_that_arrives_event_by_event_is_no_finding() {
        let event = b"data: x\n\n".as_slice();
        let chunks: Vec<_> = (0..20).map(|n| (600 + n * 50, event)).collect();
        assert!(ids(&good(), &body(&chunks, End::Complete), 5, true).is_empty());
    }

    #[test]
    fn events_that_arrive_at_once_after_a_delay_were_buffered() {
        let events = b"data: x\n\n".repeat(20);
        assert_eq!(ids(&good(), &body(&[(700, &events)], End::Complete), 5, false), ["stream-buffered"]);
        assert_eq!(ids(&good(), &body(&[(1, &events)], End::Complete), 900, false), ["stream-buffered"]);
        // a fast response is not buffered
        assert!(ids(&good(), &body(&[(3, &events)], End::Complete), 5, false).is_empty());
    }

    #[test]
    fn blocks_of_one_size_that_cut_events_are_a_buffer_that_fills() {
        let text = b"data: hello\r\n\r\n".repeat(1000);
        let chunks: Vec<_> = text.chunks(4096).enumerate().map(|(n, chunk)| (n as u64 * 400, chunk)).collect();
        assert_eq!(ids(&good(), &body(&chunks, End::Complete), 5, false), ["stream-buffered"]);
    }

    #[test]
    fn the_head_shows_compression_length_and_missing_guards() {
        let none = body(&[], End::NotReached);
        assert_eq!(
            ids(&response(200, &[SSE, GUARDS[0], GUARDS[1], ("content-encoding", "gzip")]), &none, 5, false),
            ["stream-compressed"]
        );
        assert_eq!(
            ids(&response(200, &[SSE, GUARDS[0], GUARDS[1], ("content-length", "9")]), &none, 5, false),
            ["stream-has-length"]
        );
        assert_eq!(ids(&response(200, &[SSE]), &none, 5, false), ["stream-unguarded"]);
        assert_eq!(ids(&response(200, &[("content-type", "text/html")]), &none, 5, false), ["stream-not-sse"]);
        assert_eq!(ids(&response(200, &[("content-type", "text/html")]), &none, 5, true), ["event-source-gives-up"]);
        assert_eq!(ids(&response(503, &[SSE]), &none, 5, true), ["event-source-gives-up"]);
        assert!(ids(&response(503, &[]), &none, 5, false).is_empty(), "an error is no finding of a stream");
    }

    #[test]
    fn a_long_silence_is_a_finding() {
        let chunks: [(u64, &[u8]); 2] = [(16_000, b"data: x\n\n"), (16_100, b"data: y\n\n")];
        assert_eq!(ids(&good(), &body(&chunks, End::NotReached), 5, false), ["stream-silent"]);
    }

    proptest! {
        #[test]
        fn no_stream_panics(chunks in proptest::collection::vec((0_u64..5_000, any::<Vec<u8>>()), 0..6)) {
            let mut chunks = chunks;
            chunks.sort();
            let chunks: Vec<_> = chunks.iter().map(|(at, bytes)| (*at, &bytes[..])).collect();
            let _ = ids(&good(), &body(&chunks, End::Complete), 600, false);
        }
    }
}
