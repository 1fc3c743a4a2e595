//! The results as a document, which `--json` writes and the table and the page render. Pure.
//!
//! Names are stable and end in their unit. Milliseconds have a resolution of a microsecond. A value that was not measured is
//! `null`. `docs/BENCH.md` explains each field.

use serde::Serialize;

use super::compare::CONFIDENCE;

/// The version of the format: it increases when a field is removed or changes its meaning.
pub const SCHEMA: u32 = 1;

/// All results of a run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Document {
    /// [`SCHEMA`].
    pub schema: u32,
    /// The tool: `tokenway/` and its version.
    pub tool: &'static str,
    /// The parameters of the run.
    pub run: Run,
    /// The results of each target, in the order of the command line.
    pub targets: Vec<Target>,
    /// With two targets, the differences between the first and the second.
    pub comparison: Option<Comparison>,
}

/// The parameters of the run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Run {
    /// The start, in seconds since 1970-01-01 UTC.
    pub began_unix_s: u64,
    /// The duration, with the warm-up.
    pub seconds: f64,
    /// Whether it was stopped before its limit.
    pub interrupted: bool,
    /// The streams that were open then. No figure includes them.
    pub cut_streams: u64,
    /// How streams were started.
    pub load: Load,
    /// Streams that started within this initial time were not measured.
    pub warmup_s: f64,
    /// Within this initial time, the load increased.
    pub ramp_s: f64,
    /// The seed of the start times of an open loop.
    pub seed: u64,
    /// The requested model.
    pub model: Option<String>,
    /// The origin of the simulated page.
    pub origin: Option<String>,
    /// The goals that a whole stream must meet to count as goodput.
    pub goals: Goals,
}

/// How streams are started.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Load {
    /// Each user starts a stream when the previous one has ended.
    Closed {
        /// The number of users, at least 1.
        users: usize,
    },
    /// All start times are fixed before the run and do not depend on the server: a slow server cannot hide its queue.
    Open {
        /// Streams a second to each target, above 0.
        #[serde(rename = "streams_per_second")]
        rate: f64,
        /// How they are distributed.
        #[serde(rename = "even")]
        arrivals: Arrivals,
    },
}

/// How the starts of an open loop are distributed. In JSON: whether evenly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, clap::ValueEnum)]
#[serde(into = "bool")]
pub enum Arrivals {
    /// Independent of each other, as those of many people are: sometimes several at once
    #[default]
    Poisson,
    /// At equal intervals
    Uniform,
}

impl From<Arrivals> for bool {
    fn from(arrivals: Arrivals) -> bool {
        arrivals == Arrivals::Uniform
    }
}

/// Goals of [`Target::goodput_per_second`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Goals {
    /// The longest time to first token.
    pub first_token_ms: Option<f64>,
    /// The longest time per output token.
    pub time_per_output_token_ms: Option<f64>,
}

/// The results of one target.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Target {
    /// A short name.
    pub name: String,
    /// The URL without its query, which may contain a key.
    pub url: String,
    /// How streams ended.
    pub streams: Streams,
    /// The failures by kind, the most frequent first.
    pub failures: Vec<FailureCount>,
    /// The CORS results, where a page was simulated.
    pub cors: Option<Cors>,
    /// From the start of the first stream to the end of the last one: the time that rates are computed over.
    pub window_s: f64,
    /// The rate of whole streams.
    pub streams_per_second: f64,
    /// The rate of whole streams that met the goals.
    pub goodput_per_second: f64,
    /// The rate of output tokens of all streams.
    pub output_tokens_per_second: f64,
    /// The output tokens of all streams.
    pub output_tokens: u64,
    /// The source of the token counts.
    pub tokens_counted_by: Option<CountedBy>,
    /// The bytes of all bodies.
    pub body_bytes: u64,
    /// The streams that opened a connection.
    pub new_connections: u64,
    /// The streams on a reused connection.
    pub reused_connections: u64,
    /// From the scheduled to the actual start.
    pub start_lag_ms: Option<Summary>,
    /// The DNS lookup of new connections.
    pub dns_ms: Option<Summary>,
    /// The TCP connect of new connections.
    pub connect_ms: Option<Summary>,
    /// The TLS handshake of new connections.
    pub tls_ms: Option<Summary>,
    /// From the preflight to the head of its response.
    pub preflight_ms: Option<Summary>,
    /// From the scheduled start to the head of the response.
    pub head_ms: Option<Summary>,
    /// From the scheduled start to the first byte of the body.
    pub first_byte_ms: Option<Summary>,
    /// From the scheduled start to the first event with output.
    pub first_token_ms: Option<Summary>,
    /// Between two consecutive events with output.
    pub inter_token_ms: Option<Summary>,
    /// The time from the first to the last event with output, divided by the tokens after the first; of whole streams.
    pub time_per_output_token_ms: Option<Summary>,
    /// From the scheduled start to the end; of whole streams.
    pub total_ms: Option<Summary>,
    /// The tokens a second after the first, of each whole stream. Low values are the bad ones.
    pub stream_tokens_per_second: Option<Speed>,
    /// The number of events with output in one read.
    pub events_per_read: Option<EventsPerRead>,
    /// How events were delivered.
    pub delivery: Delivery,
    /// The time to first token by percentile.
    pub first_token_percentiles: Vec<Percentile>,
    /// The time to first token in classes of equal width, the same for all targets.
    pub first_token_histogram: Option<Histogram>,
    /// The first tokens of evenly spread streams and of the slowest ones.
    pub first_token_over_time: Vec<Point>,
    /// The arrival of each event of evenly spread streams.
    pub arrivals: Vec<Row>,
}

/// How streams ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Streams {
    /// With `[DONE]` or a finish reason.
    pub whole: u64,
    /// Without either, after the response had begun.
    pub truncated: u64,
    /// In any other way.
    pub failed: u64,
}

/// The failures of one kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FailureCount {
    /// The stable name of the kind.
    pub kind: String,
    /// The number of failures.
    pub count: u64,
    /// The message of the first one, with its place and its fix.
    pub words: String,
}

/// What a browser would have done with the CORS headers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Cors {
    /// The streams that the page may read.
    pub allowed: u64,
    /// The other streams, by reason.
    pub refused: Vec<Refused>,
}

/// The streams that a browser would have blocked for one reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Refused {
    /// `preflight` or `answer`.
    pub step: &'static str,
    /// Chromium's name for the failing step.
    pub code: &'static str,
    /// The number of streams.
    pub count: u64,
}

/// The source of token counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CountedBy {
    /// The server, in `usage`.
    Server,
    /// An estimate from the text.
    Estimate,
    /// The server for some streams, an estimate for the others.
    Both,
}

/// A distribution.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Summary {
    /// The number of values.
    pub count: u64,
    /// The smallest.
    pub min: f64,
    /// The arithmetic mean.
    pub mean: f64,
    /// 50 % of the values are at most this.
    pub p50: f64,
    /// 90 % of the values are at most this.
    pub p90: f64,
    /// 99 % of the values are at most this.
    pub p99: f64,
    /// 99.9 % of the values are at most this.
    pub p99_9: f64,
    /// The largest.
    pub max: f64,
}

/// A distribution whose low values are the bad ones.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Speed {
    /// The number of values.
    pub count: u64,
    /// The slowest.
    pub min: f64,
    /// 99.9 % of the values are at least this.
    pub p0_1: f64,
    /// 99 % of the values are at least this.
    pub p1: f64,
    /// 90 % of the values are at least this.
    pub p10: f64,
    /// 50 % of the values are at least this.
    pub p50: f64,
    /// The arithmetic mean.
    pub mean: f64,
    /// The fastest.
    pub max: f64,
}

/// The number of events with output in one read.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct EventsPerRead {
    /// The reads with at least one.
    pub reads: u64,
    /// The arithmetic mean.
    pub mean: f64,
    /// 50 % of the reads had at most this many.
    pub p50: f64,
    /// 99 % of the reads had at most this many.
    pub p99: f64,
    /// The largest number.
    pub max: f64,
}

/// How events were delivered.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Delivery {
    /// `streaming`, `uneven`, `bursts_of_fixed_size`, `bursts_of_fixed_count`, `bursts_by_timer`, `bursts_by_size_or_timer`,
    /// `all_at_once` or `unknown`.
    pub verdict: &'static str,
    /// Whether something buffers the events.
    pub buffered: bool,
    /// The streams with this verdict.
    pub streams_agreeing: u64,
    /// The streams with any verdict but `unknown`.
    pub streams_judged: u64,
    /// The median number of events of a burst.
    pub burst_events: Option<f64>,
    /// The median size of a burst.
    pub burst_bytes: Option<f64>,
    /// The median time from burst to burst.
    pub burst_period_ms: Option<f64>,
    /// The verdict as a sentence.
    pub words: String,
    /// Where to look for the buffer.
    pub look_at: Option<String>,
}

/// One point of the percentile curve.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Percentile {
    /// The percentile, 0 to 100.
    pub percentile: f64,
    /// The value at it.
    pub ms: f64,
}

/// Classes of equal width.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Histogram {
    /// The lower end of the first class.
    pub from_ms: f64,
    /// The width of each class.
    pub width_ms: f64,
    /// The number of values in each class.
    pub counts: Vec<u64>,
    /// The number of values beyond the last class.
    pub beyond: u64,
}

/// The first token of one stream of the run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Point {
    /// The scheduled start of the stream, from the start of the run.
    pub start_s: f64,
    /// Its time to first token.
    pub first_token_ms: f64,
}

/// The arrival of each event of one stream.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// The scheduled start of the stream, from the start of the run.
    pub start_s: f64,
    /// Whether the stream was whole.
    pub whole: bool,
    /// For each read, its time since the scheduled start in milliseconds, and its number of events with output.
    pub reads: Vec<(f64, u64)>,
}

/// The paired differences between the first target and the second.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// The first target.
    pub of: String,
    /// The second.
    pub to: String,
    /// The pairs of which both streams were whole.
    pub pairs: u64,
    /// The other pairs. No difference includes them.
    pub broken_pairs: u64,
    /// The confidence level of the intervals.
    pub confidence: f64,
    /// The time to the head of the response.
    pub head_ms: Option<Difference>,
    /// The time to first token.
    pub first_token_ms: Option<Difference>,
    /// The time per output token.
    pub time_per_output_token_ms: Option<Difference>,
    /// The time to the end.
    pub total_ms: Option<Difference>,
}

/// The median of paired differences. A positive value means that the first target takes longer.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Difference {
    /// The median.
    pub median: f64,
    /// Lower end of its confidence interval; `null` for fewer than six pairs.
    pub low: Option<f64>,
    /// Upper end.
    pub high: Option<f64>,
}

impl Document {
    /// The JSON text, in one line.
    pub fn json(&self) -> String {
        // every value is a number, a string or a list of these
        let mut text = serde_json::to_string(self).unwrap_or_default();
        text.push('\n');
        text
    }
}

impl Comparison {
    /// The confidence level as text.
    pub fn per_cent(&self) -> String {
        format!("{:.0}\u{a0}%", CONFIDENCE * 100.0)
    }
}
