//! The texts of verdicts: the name, the description and where to look. Pure.

use super::{Delivery, Pattern, Rule, UnknownReason, Verdict};
use crate::report::format::{bytes, number, whole_or_tenth};

/// Nagle's algorithm (RFC 896) waits for the acknowledgement that the other end delays by this, on Linux.
const DELAYED_ACK_MS: std::ops::RangeInclusive<f64> = 38.0..=48.0;

impl Verdict {
    /// Whether something buffers the events.
    pub fn is_buffered(&self) -> bool {
        matches!(self.delivery, Delivery::Bursts(_) | Delivery::AtOnce)
    }

    /// The stable name in the JSON document.
    pub fn name(&self) -> &'static str {
        match self.delivery {
            Delivery::Streaming => "streaming",
            Delivery::Uneven => "uneven",
            Delivery::Bursts(pattern) => match pattern.rule {
                Rule::Size => "bursts_of_fixed_size",
                Rule::Count => "bursts_of_fixed_count",
                Rule::Timer => "bursts_by_timer",
                Rule::Either => "bursts_by_size_or_timer",
            },
            Delivery::AtOnce => "all_at_once",
            Delivery::Unknown(_) => "unknown",
        }
    }

    /// The verdict in one sentence.
    pub fn description(&self) -> String {
        match self.delivery {
            Delivery::Streaming => "Nothing buffers: events arrive one by one, as they are made.".to_owned(),
            Delivery::Uneven => "Events arrive in groups of no fixed size or period: a network or a server under load, \
                                 not a buffer."
                .to_owned(),
            Delivery::Bursts(pattern) => describe_bursts(pattern),
            Delivery::AtOnce => "Something buffers: nearly all events arrive at once, at the end of the stream.".to_owned(),
            Delivery::Unknown(UnknownReason::FewEvents) => {
                "No verdict on buffering: there are too few events in a stream; ask for longer answers (--max-tokens).".to_owned()
            }
            Delivery::Unknown(UnknownReason::TooFast) => {
                "No verdict on buffering: the streams were too short to see a buffer; ask for longer answers (--max-tokens).".to_owned()
            }
            Delivery::Unknown(UnknownReason::FewBursts) => "No verdict on buffering: events arrive in groups, but too few to see a rule; \
                                                  ask for longer answers (--max-tokens)."
                .to_owned(),
        }
    }

    /// Where to look for the buffer; `None` without one.
    pub fn look_at(&self) -> Option<String> {
        const PROXY: &str = "nginx: `proxy_buffering off`, or the header `X-Accel-Buffering: no` from the server";
        let advice = match self.delivery {
            Delivery::Bursts(Pattern { rule: Rule::Size, .. }) => {
                format!(
                    "{PROXY}; compression of text/event-stream (gzip fills its window first); the server's own output buffer."
                )
            }
            Delivery::Bursts(Pattern { rule: Rule::Count, .. }) => {
                "The model's server: some send only every n-th step (`--stream-interval` of vLLM, SGLang and others). \
                 A proxy does not count events."
                    .to_owned()
            }
            Delivery::Bursts(Pattern { rule: Rule::Timer, period, .. }) => {
                let nagle = DELAYED_ACK_MS.contains(&(period.as_secs_f64() * 1e3));
                let first = if nagle {
                    "Nagle's algorithm and delayed acknowledgements make 40 ms: set TCP_NODELAY. "
                } else {
                    ""
                };
                format!(
                    "{first}A proxy that flushes by the clock (`FlushInterval` of Go's ReverseProxy, `flushwait` of Apache's \
                     mod_proxy), or a server that batches its output."
                )
            }
            Delivery::Bursts(Pattern { rule: Rule::Either, .. }) => {
                format!("{PROXY}; compression; a proxy that flushes by the clock; a server that sends every n-th step.")
            }
            Delivery::AtOnce => format!(
                "{PROXY}; compression of text/event-stream; a CDN or security proxy that wants the whole answer; a function runtime \
                 without response streaming. A server that answers from a cache looks the same."
            ),
            Delivery::Streaming | Delivery::Uneven | Delivery::Unknown(_) => return None,
        };
        Some(advice)
    }
}

fn describe_bursts(Pattern { rule, events, bytes: size, period }: Pattern) -> String {
    let (count, size, period) = (whole_or_tenth(events), bytes(size), number(period.as_secs_f64() * 1e3));
    let events = if count == "1" { "1 event".to_owned() } else { format!("{count} events") };
    match rule {
        Rule::Size => format!(
            "Something buffers: events arrive in bursts of {size} (about {events}, every {period} ms). A buffer of that size has \
             to fill before it sends."
        ),
        Rule::Count => format!("Something holds events back: they arrive {count} at a time, every {period} ms."),
        Rule::Timer => format!(
            "Something buffers: every {period} ms a burst arrives (about {events}, {size}), of any size. A timer \
             flushes."
        ),
        Rule::Either => format!(
            "Something buffers: {events}, {size}, arrive together every {period} ms. The source is too steady to \
             distinguish a buffer of that size from a timer."
        ),
    }
}
