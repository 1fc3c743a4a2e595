//! One measured stream. Pure.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

/// What was measured of one stream. All times but the two that say otherwise count from [`Sample::scheduled`], so that the
/// wait of a stream that could not start in time is part of what it took: no coordinated omission.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// Which target it asked, from 0.
    pub target: usize,
    /// Its turn, from 0; of two compared targets both have a stream with each number, and these are a pair.
    pub number: u64,
    /// When it was to start, after the beginning of the run.
    pub scheduled: Duration,
    /// When it did start, after the beginning of the run.
    pub started: Duration,
    /// The connection that was made for it; `None` where one was used again, or none came about.
    pub connect: Option<Connect>,
    /// Whether its connection had carried a stream before.
    pub reused: bool,
    /// How long the preflight took, from its sending to the head of its answer.
    pub preflight: Option<Duration>,
    /// When the head of the answer was there.
    pub head: Option<Duration>,
    /// When the first byte of its body was there.
    pub first_byte: Option<Duration>,
    /// Each event with data, in order.
    pub events: Vec<Arrival>,
    /// When it was over: its last event of a whole stream, else the moment at which it failed.
    pub total: Duration,
    /// Bytes of the answer's body.
    pub bytes: u64,
    /// Tokens of the answer: the server's own count, else an estimate (`counted` tells).
    pub output_tokens: u64,
    /// Whether the server has counted the tokens (`usage`).
    pub counted: bool,
    /// What a browser would have made of the CORS headers; `None` where no browser was played.
    pub cors: Option<Cors>,
    /// How it ended.
    pub outcome: Outcome,
}

/// How long the phases of making a connection took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connect {
    /// Looking up the name; zero where it was known.
    pub dns: Duration,
    /// TCP.
    pub tcp: Duration,
    /// TLS, where there is TLS.
    pub tls: Option<Duration>,
}

/// One event with data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival {
    /// When.
    pub at: Duration,
    /// In which read of the connection's socket: events with equal numbers came together.
    pub read: u64,
    /// Bytes of the body that had come by then, all of its read that was at hand included.
    pub bytes: u64,
    /// Whether it carried output: content, reasoning, a refusal or a tool call.
    pub output: bool,
}

/// What a browser makes of the CORS headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cors {
    /// The page may read the stream.
    Allowed,
    /// The preflight was refused: the request is not sent.
    PreflightRefused {
        /// Chromium's name for it.
        code: &'static str,
    },
    /// The answer is kept from the page.
    AnswerRefused {
        /// Chromium's name for it.
        code: &'static str,
    },
}

/// How a stream ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// With `[DONE]` or a finish reason.
    Whole,
    /// It had begun, and ended or broke off without either.
    Truncated,
    /// In another way.
    Failed(Failure),
}

/// Why a stream failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What kind.
    pub kind: Kind,
    /// One sentence for people, with place and mend. Nothing that the server said is in it.
    pub words: String,
}

/// A kind of failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// No connection; the word of `dial::Error::kind`, such as `connection_refused`.
    Connect(&'static str),
    /// The connection was closed before the head of an answer.
    ClosedBeforeHead,
    /// What answered speaks no HTTP.
    NotHttp,
    /// A browser would have refused the stream.
    Cors,
    /// A status other than 200.
    Status(u16),
    /// An answer that is no event stream.
    NotAnEventStream,
    /// It was whole, and said nothing.
    NoOutput,
    /// An event that says that the server failed.
    ErrorEvent,
    /// An event is longer than this client reads.
    EventTooLong,
    /// It was not over in time.
    TimedOut,
}

impl Sample {
    /// When the first output was there.
    pub fn first_token(&self) -> Option<Duration> {
        self.outputs().next()
    }

    /// When each event with output was there.
    pub fn outputs(&self) -> impl DoubleEndedIterator<Item = Duration> + Clone {
        self.events.iter().filter(|event| event.output).map(|event| event.at)
    }

    /// From the first output to the last, shared out over the tokens after the first; `None` for fewer than two.
    pub fn time_per_output_token(&self) -> Option<Duration> {
        let mut outputs = self.outputs();
        let (first, last) = (outputs.next()?, outputs.next_back()?);
        let after_first = self.output_tokens.checked_sub(1).filter(|tokens| *tokens > 0)?;
        Some(last.saturating_sub(first).div_f64(after_first as f64))
    }

    /// Output tokens a second after the first; `None` for fewer than two, or if all came at one moment.
    pub fn tokens_per_second(&self) -> Option<f64> {
        let each = self.time_per_output_token()?.as_secs_f64();
        (each > 0.0).then(|| 1.0 / each)
    }
}

impl Kind {
    /// One word for counts.
    pub fn name(self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Kind::Connect(word) => word,
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
        f.write_str(&self.words)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A whole stream of one event a read, with these milliseconds to the first and from each to the next.
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
    fn time_per_token_leaves_the_first_out() {
        let mut of_three = sample(0, 0, 500, &[10, 30]);
        assert_eq!(of_three.time_per_output_token(), Some(Duration::from_millis(20)));
        assert_eq!(of_three.tokens_per_second(), Some(50.0));
        // an event may hold more tokens than one: the server's count holds
        of_three.output_tokens = 9;
        assert_eq!(of_three.time_per_output_token(), Some(Duration::from_millis(5)));
        assert_eq!(sample(0, 0, 500, &[]).time_per_output_token(), None);
        assert_eq!(sample(0, 0, 500, &[0]).tokens_per_second(), None);
    }
}
