//! The results, as `--json` writes them; the table and the page are renderings of it. Pure.
//!
//! Names are stable and end in their unit. Milliseconds are to the microsecond. What was not measured is `null`: a
//! reader need not tell an old document from an empty one. `docs/BENCH.md` explains each.

use serde::Serialize;

use super::compare::CONFIDENCE;
use super::setting::Load;

/// The number of the format: it grows when a field changes its meaning or goes away.
pub const SCHEMA: u32 = 1;

/// All results of a run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Document {
    /// [`SCHEMA`].
    pub schema: u32,
    /// Who measured: `tokenway/` and its version.
    pub tool: &'static str,
    /// What was run.
    pub run: Run,
    /// What was found, in the order of the command line.
    pub targets: Vec<Target>,
    /// With two targets: how the first differs from the second.
    pub comparison: Option<Comparison>,
}

/// What was run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Run {
    /// When it began, in seconds since 1970-01-01 UTC.
    pub began_unix_s: u64,
    /// How long it took, the warm-up included.
    pub seconds: f64,
    /// It was stopped before its limit.
    pub interrupted: bool,
    /// Streams that were under way then; they are in no figure.
    pub cut_streams: u64,
    /// How streams were started.
    pub load: Load,
    /// Streams that started in this first time were not measured.
    pub warmup_s: f64,
    /// Over this first time the load grew.
    pub ramp_s: f64,
    /// Seed of the times of an open loop.
    pub seed: u64,
    /// The model that was asked for.
    pub model: Option<String>,
    /// The origin of the page that was played.
    pub origin: Option<String>,
    /// What a stream must reach, besides coming whole, to count as goodput.
    pub goals: Goals,
}

/// Goals of [`Target::goodput_per_second`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Goals {
    /// First token, at the latest.
    pub first_token_ms: Option<f64>,
    /// Time per output token, at most.
    pub time_per_output_token_ms: Option<f64>,
}

/// What was found at one target.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Target {
    /// A short name.
    pub name: String,
    /// Without query, which may hold a key.
    pub url: String,
    /// How streams ended.
    pub streams: Streams,
    /// Failures by kind, the most frequent first.
    pub failures: Vec<FailureCount>,
    /// Where a page was played.
    pub cors: Option<Cors>,
    /// From the first stream's beginning to the last one's end: what rates are over.
    pub window_s: f64,
    /// Whole streams.
    pub streams_per_second: f64,
    /// Whole streams that reached the goals.
    pub goodput_per_second: f64,
    /// Of all streams.
    pub output_tokens_per_second: f64,
    /// Of all streams.
    pub output_tokens: u64,
    /// Who counted them.
    pub tokens_counted_by: Option<CountedBy>,
    /// Of all bodies.
    pub body_bytes: u64,
    /// Streams with a connection of their own.
    pub new_connections: u64,
    /// Streams on a connection that had carried another one.
    pub reused_connections: u64,
    /// How late streams began.
    pub start_lag_ms: Option<Summary>,
    /// Looking up the name, of new connections.
    pub dns_ms: Option<Summary>,
    /// TCP, of new connections.
    pub connect_ms: Option<Summary>,
    /// TLS, of new connections.
    pub tls_ms: Option<Summary>,
    /// From the preflight to the head of its answer.
    pub preflight_ms: Option<Summary>,
    /// From the scheduled beginning to the head of the answer.
    pub head_ms: Option<Summary>,
    /// … to the first byte of the body.
    pub first_byte_ms: Option<Summary>,
    /// … to the first event with output.
    pub first_token_ms: Option<Summary>,
    /// Between two events with output.
    pub inter_token_ms: Option<Summary>,
    /// From the first to the last event with output, by tokens after the first; of whole streams.
    pub time_per_output_token_ms: Option<Summary>,
    /// From the scheduled beginning to the end; of whole streams.
    pub total_ms: Option<Summary>,
    /// Tokens a second after the first, of each whole stream: the slow end counts here.
    pub stream_tokens_per_second: Option<Speed>,
    /// Events with output that came in one read.
    pub events_per_read: Option<EventsPerRead>,
    /// How events were delivered.
    pub delivery: Delivery,
    /// Time to first token by percentile.
    pub first_token_percentiles: Vec<Percentile>,
    /// Time to first token in classes of equal width, the same for all targets.
    pub first_token_histogram: Option<Histogram>,
    /// Streams of the run, evenly spread, and the slowest ones.
    pub first_token_over_time: Vec<Point>,
    /// Streams of the run, evenly spread, with the arrival of each event.
    pub arrivals: Vec<Row>,
}

/// How streams ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Streams {
    /// With `[DONE]` or a finish reason.
    pub whole: u64,
    /// After they had begun, without either.
    pub truncated: u64,
    /// In another way.
    pub failed: u64,
}

/// How often something failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FailureCount {
    /// The kind.
    pub kind: String,
    /// How often.
    pub count: u64,
    /// Where, and the mend: the words of the first.
    pub words: String,
}

/// What a browser would have made of the CORS headers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Cors {
    /// Streams that the page may read.
    pub allowed: u64,
    /// Others.
    pub refused: Vec<Refused>,
}

/// How often a browser would have refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Refused {
    /// `preflight` or `answer`.
    pub step: &'static str,
    /// Chromium's name.
    pub code: &'static str,
    /// How often.
    pub count: u64,
}

/// Who counted the tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CountedBy {
    /// The server, in `usage`.
    Server,
    /// Nobody: they are estimated from the text.
    Estimate,
    /// The server, in a part of the streams.
    Both,
}

/// A distribution.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Summary {
    /// How many values.
    pub count: u64,
    /// The smallest.
    pub min: f64,
    /// Arithmetic.
    pub mean: f64,
    /// Half of the values are no larger.
    pub p50: f64,
    /// 90 %.
    pub p90: f64,
    /// 99 %.
    pub p99: f64,
    /// 99.9 %.
    pub p99_9: f64,
    /// The largest.
    pub max: f64,
}

/// A distribution of which the lower end is the bad one.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Speed {
    /// How many values.
    pub count: u64,
    /// The slowest.
    pub min: f64,
    /// 99.9 % are no slower.
    pub p0_1: f64,
    /// 99 %.
    pub p1: f64,
    /// 90 %.
    pub p10: f64,
    /// Half of the values are no slower.
    pub p50: f64,
    /// Arithmetic.
    pub mean: f64,
    /// The fastest.
    pub max: f64,
}

/// How many events with output came in one read.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct EventsPerRead {
    /// Reads that brought any.
    pub reads: u64,
    /// Arithmetic.
    pub mean: f64,
    /// Half of the reads brought no more.
    pub p50: f64,
    /// 99 %.
    pub p99: f64,
    /// The most.
    pub max: f64,
}

/// How events were delivered.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Delivery {
    /// `streaming`, `uneven`, `bursts_of_fixed_size`, `bursts_of_fixed_count`, `bursts_by_timer`, `bursts_by_size_or_timer`,
    /// `all_at_once` or `unknown`.
    pub verdict: &'static str,
    /// Something holds events back by a rule.
    pub buffered: bool,
    /// So many streams say so …
    pub streams_agreeing: u64,
    /// … of so many that say anything.
    pub streams_judged: u64,
    /// Of bursts: their median size.
    pub burst_events: Option<f64>,
    /// Of bursts: their median size.
    pub burst_bytes: Option<f64>,
    /// Of bursts: the median time from one to the next.
    pub burst_period_ms: Option<f64>,
    /// In a sentence.
    pub words: String,
    /// Where to look for what buffers.
    pub look_at: Option<String>,
}

/// One point of the percentile curve.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Percentile {
    /// 0 to 100.
    pub percentile: f64,
    /// So many per cent are no larger.
    pub ms: f64,
}

/// Classes of equal width.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Histogram {
    /// Where the first class begins.
    pub from_ms: f64,
    /// Of each class.
    pub width_ms: f64,
    /// Values in each class.
    pub counts: Vec<u64>,
    /// Values beyond the last class.
    pub beyond: u64,
}

/// One stream in the course of the run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Point {
    /// Its scheduled beginning, from that of the run.
    pub start_s: f64,
    /// Its first token.
    pub first_token_ms: f64,
}

/// One stream, event by event.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// Its scheduled beginning, from that of the run.
    pub start_s: f64,
    /// Whether it came whole.
    pub whole: bool,
    /// For each read, its time from the scheduled beginning in milliseconds, and how many events with output it brought.
    pub reads: Vec<(f64, u64)>,
}

/// How the first target differs from the second, pair by pair.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// The first target.
    pub of: String,
    /// The second.
    pub to: String,
    /// Pairs of which both streams came whole.
    pub pairs: u64,
    /// Other pairs: in no difference.
    pub broken_pairs: u64,
    /// The share of such intervals that enclose the true median.
    pub confidence: f64,
    /// Median difference of the time to the head.
    pub head_ms: Option<Difference>,
    /// … to the first token.
    pub first_token_ms: Option<Difference>,
    /// … per output token.
    pub time_per_output_token_ms: Option<Difference>,
    /// … to the end.
    pub total_ms: Option<Difference>,
}

/// A median of paired differences; above zero where the first target takes longer.
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
    /// The JSON text of it, in one line.
    pub fn json(&self) -> String {
        // every value is a number, a string or a list of them
        let mut text = serde_json::to_string(self).unwrap_or_default();
        text.push('\n');
        text
    }
}

impl Comparison {
    /// The share of intervals that enclose the true median, for people.
    pub fn per_cent(&self) -> String {
        format!("{:.0}\u{a0}%", CONFIDENCE * 100.0)
    }
}
