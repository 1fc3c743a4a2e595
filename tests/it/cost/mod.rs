//! What is told of money, against what the upstreams themselves have counted.

pub mod budgets;
mod log;
mod parts;
mod together;
mod told;

use serde_json::Value;
use tokenway::metrics::Metrics;

use crate::support::edge::{Edge, Setup};

/// Two priced models, one at each upstream; `careful-priced` falls back from the first to the second.
pub const PRICED: &str = r#"
[[models]]
name = "dear"
upstream = "one"
input_price = 2.50
output_price = 10.00
[[models]]
name = "cheap"
upstream = "two"
input_price = 0.20
output_price = 0.80
[[models]]
name = "falls"
upstream = "one"
input_price = 2.50
output_price = 10.00
fallback = ["cheap"]
"#;

/// A gateway with priced models, and further sections.
pub async fn priced(more: &str) -> Edge {
    let more = format!("{PRICED}{more}");
    Edge::start(Setup { more: &more, ..Setup::default() }).await
}

/// What these tokens cost, in dollars with twelve digits: prices in cents per million tokens.
pub fn cost(tokens: (u64, u64), cents: (u64, u64)) -> String {
    let pico = (tokens.0 * cents.0 + tokens.1 * cents.1) * 10_000;
    format!("{}.{:012}", pico / 1_000_000_000_000, pico % 1_000_000_000_000)
}

pub const DEAR: (u64, u64) = (250, 1000);
pub const CHEAP: (u64, u64) = (20, 80);

/// The upstream's own count in an answer that is not streamed.
pub fn usage(answer: &Value) -> (u64, u64) {
    let of = |name: &str| answer["usage"][name].as_u64().unwrap();
    (of("prompt_tokens"), of("completion_tokens"))
}

/// The sum of one of the metrics of dollars, as a client of the admin listener reads it.
pub fn dollars(metrics: &Metrics, name: &str) -> f64 {
    let text = metrics.text();
    let samples = text.lines().filter(|line| line.starts_with(&format!("{name}{{")));
    samples.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
}
