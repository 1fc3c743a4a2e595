//! The model `auto`: a demo upstream for easy, one for hard, and one whose only word is the classifier's.

mod callers;
mod decisions;
mod instances;
mod reload;
mod schedules;
mod sharing;
mod kept;
mod speculation;
mod trouble;

use std::net::SocketAddr;
use std::sync::Arc;

use demo_upstream::{Demo, Knobs};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::support::answer::Answer;
use crate::support::edge::{Edge, Setup, Version};

/// A gateway before three upstreams. The model `cheap` is the easy one, `strong` the hard one, `judge` the classifier, and
/// `spare` answers where `cheap` fails; it stands beside `strong`.
struct Routing {
    edge: Edge,
    judge: Arc<Demo>,
}

/// What a test sets.
struct Plan<'a> {
    /// What the classifier does; [`says`] makes it say something.
    judge: Knobs,
    easy: Knobs,
    hard: Knobs,
    /// Further lines of the model `cheap`.
    cheap: &'a str,
    /// Further lines of the model `strong`.
    strong: &'a str,
    /// Further lines of the model `judge`.
    classifier: &'a str,
    /// Further lines of `[routing.auto]`.
    auto: &'a str,
    /// Whole sections.
    more: &'a str,
    stream: &'a str,
    /// Lines of `[redis]`.
    redis: &'a str,
}

impl Default for Plan<'_> {
    fn default() -> Self {
        Self {
            judge: says("easy"),
            easy: Knobs::default(),
            hard: Knobs::default(),
            cheap: "",
            strong: "",
            classifier: "",
            auto: "",
            more: "",
            stream: "",
            redis: "",
        }
    }
}

/// Answers with this text at once.
fn says(text: &str) -> Knobs {
    Knobs { say: Some(text.to_owned()), ..Knobs::default() }
}

impl Routing {
    async fn start(plan: Plan<'_>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let judge = Demo::start(listener, plan.judge.clone()).unwrap();
        Self::before(Arc::new(judge), None, plan).await
    }

    /// Another gateway before the same easy model and the same classifier.
    async fn another(&self, plan: Plan<'_>) -> Self {
        Self::before(Arc::clone(&self.judge), Some(self.edge.first.addr), plan).await
    }

    async fn before(judge: Arc<Demo>, upstream: Option<SocketAddr>, plan: Plan<'_>) -> Self {
        // where a test is not about the patience with the classifier, a busy machine does not decide
        let timeout = if plan.auto.contains("timeout") { "" } else { "timeout = \"60s\"" };
        let more = format!(
            r#"
[[upstreams]]
name = "bench"
base_url = "http://{judge}/v1"
[[models]]
name = "cheap"
upstream = "one"
input_price = 1
output_price = 1
fallback = ["spare"]
{cheap}
[[models]]
name = "strong"
upstream = "two"
input_price = 10
output_price = 10
{strong}
[[models]]
name = "judge"
upstream = "bench"
input_price = 100
output_price = 100
{classifier}
[routing.auto]
easy = "cheap"
hard = "strong"
classifier = "judge"
{auto}
{timeout}
{more}
"#,
            judge = judge.addr,
            cheap = plan.cheap,
            strong = plan.strong,
            classifier = plan.classifier,
            auto = plan.auto,
            more = plan.more,
        );
        let Plan { easy: first, hard: second, stream, redis, .. } = plan;
        let setup = Setup { first, second, more: &more, stream, redis, upstream, ..Setup::default() };
        Self { edge: Edge::start(setup).await, judge }
    }

    /// Asks over a connection of its own.
    async fn ask(&self, request: &Value) -> Answer {
        self.edge.client(Version::Http2).await.ask(request).await
    }

    /// How many requests for `auto` were decided so.
    fn routes(&self, verdict: &str, by: &str) -> u64 {
        self.edge.metrics.routes.with_label_values(&[verdict, by]).get()
    }

    /// How often the classifier gave no verdict.
    fn failures(&self, reason: &str) -> u64 {
        self.edge.metrics.classifier_failures.with_label_values(&[reason]).get()
    }

    /// Requests that the three have had: easy, hard, classifier.
    fn requests(&self) -> [u64; 3] {
        [&self.edge.first, &self.edge.second, &*self.judge].map(|demo| demo.counts().requests)
    }
}

/// A request for this model.
fn asks(model: &str, text: &str, stream: bool) -> Value {
    json!({ "model": model, "stream": stream, "messages": [{ "role": "user", "content": text }] })
}

/// What nobody would call hard, and what the rules do.
const EASY: &str = "Translate 'cat' to Spanish.";
const HARD: &str = "Prove that there are infinitely many primes.";
