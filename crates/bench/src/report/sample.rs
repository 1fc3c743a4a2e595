//! The measurement of one stream. Pure.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use dial::Phases;

/// The measurement of one stream. Unless a field says otherwise, times count from [`Sample::scheduled`], so that the wait of a
/// stream that started late is part of its times (no coordinated omission).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// The number of its target, from 0.
    pub target: usize,
    /// The number of its turn, from 0. With two targets, the two streams of a turn are a pair.
    pub number: u64,
    /// The scheduled start, since the start of the run.
    pub scheduled: Duration,
    /// The actual start, since the start of the run.
    pub started: Duration,
    /// The phases of its new connection; `None` with a reused connection or none.
    pub connect: Option<Phases>,
    /// Whether its connection had carried a stream before.
    pub reused: bool,
    /// The duration from the preflight to the head of its response.
    pub preflight: Option<Duration>,
    /// The arrival of the response head.
    pub head: Option<Duration>,
    /// The arrival of the first byte of the body.
    pub first_byte: Option<Duration>,
    /// Each event with data, in order.
    pub events: Vec<Arrival>,
    /// The end: the last event of a whole stream, or the moment of the failure.
    pub total: Duration,
    /// The bytes of the response body.
    pub bytes: u64,
    /// The output tokens: the server's count, or an estimate (see `counted`).
    pub output_tokens: u64,
    /// Whether `output_tokens` is the server's count (`usage`).
    pub counted: bool,
    /// What a browser would have done with the CORS headers; `None` where no browser was simulated.
    pub cors: Option<Cors>,
    /// How it ended.
    pub outcome: Outcome,
}

/// The arrival of one event with data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival {
    /// The time.
    pub at: Duration,
    /// The number of the socket read: events with the same number came together.
    pub read: u64,
    /// The bytes of the body up to then, with all of the current chunk.
    pub bytes: u64,
    /// Whether it has output: content, reasoning, a refusal or a tool call.
    pub output: bool,
}

/// What a browser does with the CORS headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cors {
    /// The page may read the stream.
    Allowed,
    /// The preflight fails: the request is not sent.
    PreflightRefused {
        /// Chromium's name for the failing step.
        code: &'static str,
    },
    /// The response is blocked.
    AnswerRefused {
        /// Chromium's name for the failing step.
        code: &'static str,
    },
}

/// How a stream ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// With `[DONE]` or a finish reason.
    Whole,
    /// Without either, after the response had begun.
    Truncated,
    /// In any other way.
    Failed(Failure),
}

/// Why a stream failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The kind.
    pub kind: Kind,
    /// One sentence with the place and the fix. It contains no text of the server.
    pub message: String,
}

/// A kind of failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// No connection: the word of `dial::Error::kind`, such as `connection_refused`.
    Connect(&'static str),
    /// The connection was closed before the response head.
    ClosedBeforeHead,
    /// The response is not HTTP.
    NotHttp,
    /// A browser would have blocked the stream.
    Cors,
    /// A status other than 200.
    Status(u16),
    /// The response is no event stream.
    NotAnEventStream,
    /// The stream was whole, but without output.
    NoOutput,
    /// The server sent an error event.
    ErrorEvent,
    /// An event exceeds the maximum size.
    EventTooLong,
    /// The stream did not end in time.
    TimedOut,
}

impl Sample {
    /// The arrival of the first output.
    pub fn first_token(&self) -> Option<Duration> {
        self.outputs().next()
    }

    /// The arrivals of events with output.
    pub fn outputs(&self) -> impl DoubleEndedIterator<Item = Duration> + Clone {
        self.events.iter().filter(|event| event.output).map(|event| event.at)
    }

    /// The time from the first output to the last, divided by the tokens after the first; `None` for fewer than two.
    pub fn time_per_output_token(&self) -> Option<Duration> {
        let mut outputs = self.outputs();
        let (first, last) = (outputs.next()?, outputs.next_back()?);
        let after_first = self.output_tokens.checked_sub(1).filter(|tokens| *tokens > 0)?;
        Some(last.saturating_sub(first).div_f64(after_first as f64))
    }

    /// The output tokens a second after the first; `None` for fewer than two, or if all came at one moment.
    pub fn tokens_per_second(&self) -> Option<f64> {
        let each = self.time_per_output_token()?.as_secs_f64();
        (each > 0.0).then(|| 1.0 / each)
    }
}

impl Kind {
    /// The stable name, for counters.
    pub fn name(self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Kind::Connect(name) => name,
            Kind::ClosedBeforeHead => "closed_before_head",
            Kind::NotHttp => "not_http",
            Kind::Cors => "cors",
            Kind::Status(status) => return Cow::Owned(format!("status_{status}")),
            Kind::NotAnEventStream => "not_an_event_stream",
            Kind::NoOutput => "no_output",
            Kind::ErrorEvent => "error_event",
            Kind::EventTooLong => "event_too_long",
            Kind::TimedOut => "timed_out",
        })
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A whole stream with one event in each read, with these milliseconds to the first and between events.
    pub(in crate::report) fn sample(target: usize, number: u64, first_ms: u64, gaps_ms: &[u64]) -> Sample {
        let mut at = Duration::from_millis(first_ms);
        let mut events = vec![Arrival { at, read: 0, bytes: 200, output: true }];
        for gap in gaps_ms {
            at += Duration::from_millis(*gap);
            let (read, bytes) = (events.len() as u64, 200 * (events.len() as u64 + 1));
            events.push(Arrival { at, read, bytes, output: true });
        }
        Sample {
            target,
            number,
            scheduled: Duration::from_millis(10 * number),
            started: Duration::from_millis(10 * number),
            connect: None,
            reused: true,
            preflight: None,
            head: Some(Duration::from_millis(first_ms / 2)),
            first_byte: Some(Duration::from_millis(first_ms)),
            total: at,
            bytes: 200 * events.len() as u64,
            output_tokens: events.len() as u64,
            counted: true,
            events,
            cors: None,
            outcome: Outcome::Whole,
        }
    }

    #[test]
    fn time_per_token_excludes_the_first() {
        let mut of_three = sample(0, 0, 500, &[10, 30]);
        assert_eq!(of_three.time_per_output_token(), Some(Duration::from_millis(20)));
        assert_eq!(of_three.tokens_per_second(), Some(50.0));
        // an event may hold several tokens: the server's count decides
        of_three.output_tokens = 9;
        assert_eq!(of_three.time_per_output_token(), Some(Duration::from_millis(5)));
        assert_eq!(sample(0, 0, 500, &[]).time_per_output_token(), None);
        assert_eq!(sample(0, 0, 500, &[0]).tokens_per_second(), None);
    }
}
