//! `cargo bench --bench route`: what the model name `auto` adds to the first token.
//!
//! In one process: demo upstreams whose easy model gives its first token after 30 ms and whose classifier decides after 15 ms,
//! a gateway for each mode, and a client that asks each in turn, so that whatever else the machine does meets all of them.
//! Each prompt is new, but where it says otherwise. Ends with status 1 if a speculative easy answer comes more than a
//! millisecond later, at the median of the pairs, than one that names its model; then in nanoseconds what the rules cost.

use std::hint::black_box;
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use demo_upstream::{Demo, Knobs};
use families::excerpt::Excerpt;
use families::prompt::Prompt;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokenway::config::Config;
use tokenway::drain::Drain;
use tokenway::gateway::live::Live;
use tokenway::gateway::{Gateway, Shared};
use tokenway::metrics::Metrics;
use tokenway::routing::rules::Rules;
use tokenway::server::{self, Settings};
use tokenway::stream::open::OpenStreams;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

type BoxError = Box<dyn std::error::Error>;

const ROUNDS: usize = 300;
const EASY: Duration = Duration::from_millis(30);
const CLASSIFIER: Duration = Duration::from_millis(15);
const MOST_ADDED_MS: f64 = 1.0;

#[tokio::main]
async fn main() -> Result<ExitCode, BoxError> {
    let easy = demo(Knobs { first_token: EASY, tokens: Some(3), ..Knobs::default() }).await?;
    let judge = demo(Knobs { first_token: CLASSIFIER, say: Some("easy".into()), ..Knobs::default() }).await?;
    let mut asked = Vec::new();
    for (what, model, mode, same_prompt) in [
        ("no routing: the model is named", "cheap", "speculative", false),
        ("auto, speculative, easy", "auto", "speculative", false),
        ("auto, the same prompt again", "auto", "speculative", true),
        ("auto, rules", "auto", "rules", false),
        ("auto, first", "auto", "first", false),
    ] {
        let gateway = gateway(easy.addr, judge.addr, mode).await?;
        asked.push(Asked { what, model, same_prompt, client: connect(gateway).await?, times: Vec::new() });
    }
    for round in 0..ROUNDS {
        // who is first in a round has the coldest caches: everybody is, in turn
        for place in 0..asked.len() {
            let count = asked.len();
            let asked = &mut asked[(round + place) % count];
            asked.ask(round).await?;
        }
    }
    println!("{:<34}{:>12}{:>12}{:>14}{:>10}", "", "p50 ms", "p95 ms", "added p50 ms", "ratio");
    let plain = asked[0].times.clone();
    let mut speculative = f64::MAX;
    for (place, asked) in asked.iter().enumerate() {
        let added = quantile(asked.times.iter().zip(&plain).map(|(with, without)| with - without), 0.5);
        if place == 1 {
            speculative = added;
        }
        let [p50, p95] = [0.5, 0.95].map(|q| quantile(asked.times.iter().copied(), q));
        let ratio = p50 / quantile(plain.iter().copied(), 0.5);
        println!("{:<34}{p50:>12.2}{p95:>12.2}{added:>14.3}{ratio:>10.3}", asked.what);
    }
    rules();
    Ok(if speculative <= MOST_ADDED_MS { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// One way to ask, over a connection of its own.
struct Asked {
    what: &'static str,
    model: &'static str,
    same_prompt: bool,
    client: SendRequest<Full<Bytes>>,
    /// Request begun → first bytes of the body, milliseconds.
    times: Vec<f64>,
}

impl Asked {
    async fn ask(&mut self, round: usize) -> Result<(), BoxError> {
        let number = if self.same_prompt { 0 } else { round };
        let content = format!("What is the {number}th letter of the alphabet?");
        let body = json!({ "model": self.model, "stream": true, "messages": [{ "role": "user", "content": content }] });
        let request = Request::post("/v1/chat/completions")
            .header("host", "localhost")
            .header("content-type", "application/json")
            .body(Full::from(body.to_string()))?;
        self.client.ready().await?;
        let begun = Instant::now();
        let response = self.client.send_request(request).await?;
        if response.status() != 200 || response.headers()["tokenway-model"] != "cheap" {
            return Err(format!("{}: {:?}", self.what, response.headers()).into());
        }
        let mut body = response.into_body();
        body.frame().await.ok_or("an empty body")??;
        self.times.push(begun.elapsed().as_secs_f64() * 1e3);
        while body.frame().await.transpose()?.is_some() {}
        Ok(())
    }
}

async fn demo(knobs: Knobs) -> Result<Demo, BoxError> {
    Ok(Demo::start(TcpListener::bind("127.0.0.1:0").await?, Knobs { record: 0, ..knobs })?)
}

async fn gateway(easy: SocketAddr, judge: SocketAddr, mode: &str) -> Result<SocketAddr, BoxError> {
    let text = format!(
        r#"
server = {{ plaintext = true, hosts = ["localhost"] }}
limits = {{ requests_per_minute = 0 }}
upstreams = [{{ name = "easy", base_url = "http://{easy}/v1" }}, {{ name = "judge", base_url = "http://{judge}/v1" }}]
models = [{{ name = "cheap", upstream = "easy" }}, {{ name = "strong", upstream = "easy" }}, {{ name = "judge", upstream = "judge" }}]
routing.auto = {{ easy = "cheap", hard = "strong", classifier = "judge", mode = "{mode}" }}
"#
    );
    let config = Config::parse(&text, Path::new(""), &|_| None)?;
    let metrics = Arc::new(Metrics::new()?);
    let drain = Drain::default();
    let open = OpenStreams::new(metrics.streams_active.clone());
    let settings = Arc::new(ArcSwap::from_pointee(Settings::new(&config.server)?));
    let shared = Shared::start(&config, metrics.clone(), open, drain.clone()).await?;
    let live = Arc::new(Live::new(Gateway::new(config, shared)?));
    let listener = server::bind("server.listen", "127.0.0.1:0".parse()?, false)?;
    let address = listener.local_addr()?;
    tokio::spawn(server::serve(listener, settings, live, metrics, drain));
    Ok(address)
}

async fn connect(gateway: SocketAddr) -> Result<SendRequest<Full<Bytes>>, BoxError> {
    let tcp = TcpStream::connect(gateway).await?;
    tcp.set_nodelay(true)?;
    let (sender, connection) = handshake(TokioIo::new(tcp)).await?;
    tokio::spawn(connection);
    Ok(sender)
}

/// What the rules take of this thread, for prompts of some lengths; the best of several rounds.
fn rules() {
    let rules = Rules::default();
    let sentence = "Compare the two proposals and say which of them you would choose, and why. ";
    println!();
    for bytes in [100, 1000, 10_000, 1_000_000] {
        let text = sentence.repeat(bytes / sentence.len() + 1);
        let prompt = Prompt { text: Excerpt::of(&text[..bytes], 8192, 8192), ..Prompt::default() };
        let best = (0..20).map(|_| {
            let begun = Instant::now();
            black_box(rules.decide(black_box(&prompt)));
            begun.elapsed()
        });
        let best = best.min().unwrap_or_default();
        println!("the rules, a message of {bytes:>7} bytes {:>10.1} µs", best.as_secs_f64() * 1e6);
    }
}

fn quantile(values: impl Iterator<Item = f64>, q: f64) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(((values.len() as f64 * q) as usize).min(values.len().saturating_sub(1))).copied().unwrap_or_default()
}
