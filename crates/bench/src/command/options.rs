//! The options of the command.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::report::document::Arrivals;
use flags::parse_duration;

/// The options of a load test; `--help` shows the comments of the fields.
#[derive(Debug, Clone, clap::Args)]
#[command(args_override_self = true)]
pub struct Options {
    /// The URL of chat completions. A URL without a path, or one that ends in /v1, gets the rest of
    /// /v1/chat/completions
    #[arg(required_unless_present = "self_test")]
    pub url: Option<String>,
    /// Send requests to this URL, too, in pairs whose order alternates, and report the difference pair by pair. A user starts
    /// the second of a pair when the first has ended. It gets the same headers and key
    #[arg(long, value_name = "URL", help_heading = "Load")]
    pub compare: Option<String>,
    /// Closed loop: this number of users, each of whom starts a stream when the previous one has ended
    #[arg(short, long, value_name = "USERS", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=100_000), help_heading = "Load")]
    pub concurrency: u32,
    /// Open loop instead: this number of streams a second (to each target), independent of earlier streams. Times count from
    /// the scheduled start of a stream, so that a slow server cannot hide its queue (no coordinated omission)
    #[arg(short, long, value_name = "STREAMS/S", value_parser = rate, conflicts_with = "concurrency", help_heading = "Load")]
    pub rate: Option<f64>,
    /// How the starts of an open loop are distributed
    #[arg(long, value_enum, value_name = "KIND", default_value_t, requires = "rate", help_heading = "Load")]
    pub arrivals: Arrivals,
    /// Stop after this number of streams to each target [default: 100, if there is no --duration]
    #[arg(short = 'n', long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..), help_heading = "Load")]
    pub streams: Option<u64>,
    /// Stop starting streams after this time, the warm-up not counted; open streams run to their end
    #[arg(short, long, value_name = "DURATION", value_parser = length, conflicts_with = "streams", help_heading = "Load")]
    pub duration: Option<Duration>,
    /// Do not measure streams that start within this initial time
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = parse_duration, help_heading = "Load")]
    pub warmup: Duration,
    /// Increase the load evenly over this initial time
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = parse_duration, help_heading = "Load")]
    pub ramp: Duration,
    /// Abort a stream that has not ended after this time
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = length, help_heading = "Load")]
    pub timeout: Duration,
    /// A stream counts as goodput only if its first token comes within this
    #[arg(long, value_name = "DURATION", value_parser = length, help_heading = "Load")]
    pub goal_first_token: Option<Duration>,
    /// A stream counts as goodput only if a token after the first takes at most this time, on average
    #[arg(long, value_name = "DURATION", value_parser = length, help_heading = "Load")]
    pub goal_token: Option<Duration>,
    /// The seed of the start times of an open loop: the same seed gives the same times
    #[arg(long, value_name = "NUMBER", default_value_t = 0, help_heading = "Load")]
    pub seed: u64,

    /// The prompt
    #[arg(
        short,
        long,
        value_name = "TEXT",
        default_value = "Write a short story about a lighthouse.",
        help_heading = "Request"
    )]
    pub prompt: String,
    /// A file of JSON lines, sent in turn: each a string, {"prompt": …} or {"messages": […]}; an object's other members
    /// go into the request
    #[arg(long, value_name = "FILE", conflicts_with = "prompt", help_heading = "Request")]
    pub prompts: Option<PathBuf>,
    /// The most tokens of an answer (`max_tokens`)
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..), help_heading = "Request")]
    pub max_tokens: Option<u64>,
    /// The model
    #[arg(short, long, value_name = "NAME", help_heading = "Request")]
    pub model: Option<String>,
    /// A JSON object whose members go into every request
    #[arg(long, value_name = "JSON", help_heading = "Request")]
    pub body: Option<String>,
    /// A header, such as 'x-team: search'; may be repeated
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE", help_heading = "Request")]
    pub headers: Vec<String>,
    /// The environment variable that holds the key; it is sent as `authorization: Bearer`
    #[arg(long, value_name = "NAME", help_heading = "Request")]
    pub key_env: Option<String>,
    /// Behave as a page of this origin: preflight first, then check the CORS headers of the stream
    #[arg(long, value_name = "ORIGIN", help_heading = "Request")]
    pub origin: Option<String>,

    /// The version of HTTP: 1, 2, or what the server prefers
    #[arg(long, value_enum, value_name = "VERSION", default_value_t, help_heading = "Connection")]
    pub http: Http,
    /// Open a connection for each stream, instead of reusing connections
    #[arg(long, help_heading = "Connection")]
    pub new_connections: bool,
    /// Trust the authorities of this PEM file instead of the public ones
    #[arg(long, value_name = "FILE", help_heading = "Connection")]
    pub ca: Option<PathBuf>,
    /// Trust every certificate: a machine in the middle can read the key
    #[arg(long, conflicts_with = "ca", help_heading = "Connection")]
    pub insecure: bool,

    /// Write the results to this file, as JSON; - is stdout, instead of the table
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub json: Option<PathBuf>,
    /// Write the results to this file, as a self-contained HTML page
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub html: Option<PathBuf>,
    /// Measure the tool itself: 200 users against a built-in server with known delays
    #[arg(long, conflicts_with_all = ["url", "compare", "json", "html"], help_heading = "Output")]
    pub self_test: bool,
}

impl Options {
    /// Whether the JSON document goes to stdout.
    pub fn wants_json(&self) -> bool {
        self.json.as_deref() == Some(Path::new("-"))
    }
}

/// A version of HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Http {
    /// What the server prefers
    #[default]
    Any,
    /// HTTP/1.1
    #[value(name = "1", alias = "1.1")]
    One,
    /// HTTP/2; without TLS, with prior knowledge
    #[value(name = "2")]
    Two,
}

fn length(text: &str) -> Result<Duration, String> {
    parse_duration(text)
        .and_then(|length| if length.is_zero() { Err("expected more than nothing".to_owned()) } else { Ok(length) })
}

fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse().ok().filter(|rate: &f64| (0.001..=100_000.0).contains(rate));
    rate.ok_or_else(|| "expected a number from 0.001 to 100000".to_owned())
}
