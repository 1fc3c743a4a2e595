//! Which model answers when another one fails or is slow: three upstreams, each with one model of its own price.

mod health;
mod hedged_schedules;
mod hedging;
mod order;
mod reload;
pub mod schedules;

use demo_upstream::{Demo, Knobs};
use families::chat::Chat;
use families::family::{Family, Form};
use serde_json::{Value, json};
use tokenway::price::{Cost, Price};
use tokio::net::TcpListener;

use crate::support::answer::Answer;
use crate::support::edge::{Edge, Setup, Version, completion, is_usage_only, streaming};
use crate::support::{log, soon};

/// The models, with the price per million tokens of both directions, dearest first. Each falls back to the cheaper ones.
const MODELS: [(&str, &str); 3] = [("dear", "9"), ("middle", "3"), ("cheap", "1")];

/// A gateway before three demo upstreams, named as their models are.
struct Stage {
    edge: Edge,
    demos: Vec<Demo>,
}

/// Whether the upstream was asked under this id: once, or a second time on a new connection because a reused one gave no byte of an
/// answer.
fn was_asked(demo: &Demo, id: &str) -> bool {
    let all = demo.requests();
    let places: Vec<usize> = (0..all.len()).filter(|at| all[*at].headers["x-request-id"] == id).collect();
    let is_reused = |at: usize| all[..at].iter().any(|earlier| earlier.connection == all[at].connection);
    match places[..] {
        [] => false,
        [_] => true,
        [first, again] => {
            assert!(is_reused(first) && !is_reused(again), "{id}: sent again without a reason");
            true
        }
        _ => panic!("{id}: sent {} times", places.len()),
    }
}

impl Stage {
    /// `fallback` and `stream`: lines of these sections.
    async fn start(fallback: &str, stream: &str) -> Self {
        let mut demos = Vec::new();
        let mut more = format!("[fallback]\n{fallback}\n");
        for (name, price) in MODELS {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let demo = Demo::start(listener, Knobs { record: 100_000, ..Knobs::default() }).unwrap();
            more += &format!(
                "[[upstreams]]\nname = \"{name}\"\nbase_url = \"http://{}/v1\"\n[[models]]\nname = \"{name}\"\nupstream = \"{name}\"\n\
                 input_price = {price}\noutput_price = {price}\ncontext = {}\nfallback = \"cheaper\"\n",
                demo.addr,
                if name == "middle" { 2000 } else { 128_000 },
            );
            demos.push(demo);
        }
        let edge = Edge::start(Setup { stream, more: &more, ..Setup::default() }).await;
        Self { edge, demos }
    }

    fn demo(&self, model: &str) -> &Demo {
        &self.demos[MODELS.iter().position(|(name, _)| *name == model).unwrap()]
    }

    /// Asks under this id on a connection of its own.
    async fn ask(&self, id: &str, body: &Value) -> Answer {
        let mut request = completion(body);
        request.headers_mut().insert("x-request-id", id.parse().unwrap());
        self.edge.client(Version::Http2).await.send(request).await
    }

    /// Who was asked under this id, dearest first.
    fn asked(&self, id: &str) -> Vec<&'static str> {
        let asked = MODELS.iter().zip(&self.demos).filter(|(_, demo)| was_asked(demo, id));
        asked.map(|((name, _), _)| *name).collect()
    }

    /// The cost that the request's log line tells, once it is written; `None` where it tells none.
    async fn logged_cost(&self, id: &str) -> Option<String> {
        let mark = format!("request_id=\"{id}\"");
        let line = soon(async {
            loop {
                let text = log::text();
                if let Some(line) = text.lines().find(|line| line.contains("tokenway::request") && line.contains(&mark))
                {
                    return line.to_owned();
                }
                tokio::task::yield_now().await;
            }
        })
        .await;
        let (_, cost) = line.split_once(" cost=\"")?;
        Some(cost.split('"').next().unwrap().to_owned())
    }

    fn fallbacks(&self, from: &str, to: &str, reason: &str) -> u64 {
        self.edge.metrics.fallbacks.with_label_values(&[from, to, reason]).get()
    }
}

/// A streaming request to `first`, which tells each upstream by its model what to do.
fn request(first: &str, models: Value) -> Value {
    streaming(first, json!({ "models": models }))
}

/// What so many tokens cost at this model.
fn price(model: &str, input: u64, output: u64) -> Cost {
    let (_, price) = MODELS.iter().find(|(name, _)| *name == model).unwrap();
    Price::parse(price).unwrap().of(input + output)
}

/// Tokens of its prompt as the gateway estimates them.
fn estimated_prompt(request: &Value) -> u64 {
    Chat.parse(request.to_string().into(), Form::Full).unwrap().estimated_prompt_tokens()
}

/// What a good answer of this model to this request costs by the upstream's own count.
fn usage(model: &str, request: &Value) -> Cost {
    let mut request = request.clone();
    request["model"] = model.into();
    request["stream"] = true.into();
    request["stream_options"] = json!({ "include_usage": true });
    let events = crate::support::edge::expected(&request);
    let usage = events.iter().find(|event| is_usage_only(event)).unwrap();
    let usage: Value = serde_json::from_slice(&usage["data: ".len()..]).unwrap();
    let of = |name: &str| usage["usage"][name].as_u64().unwrap();
    price(model, of("prompt_tokens"), of("completion_tokens"))
}
