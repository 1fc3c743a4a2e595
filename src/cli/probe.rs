//! `tokenway check --live`: asks each model to say hello through the same path that browsers use.
//!
//! What comes out is read by `eventsource-stream`, a reader that nobody here wrote. It has no bound on an event's size and
//! trips over byte order marks; the relay in front of it has the one and drops the other.

use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use eventsource_stream::Eventsource;
use futures_util::StreamExt;
use http_body_util::BodyDataStream;
use serde_json::json;
use tokio::time::Instant;

use crate::caller::Caller;
use crate::chat::event::{Chunk, Inspector};
use crate::chat::request::Request;
use crate::config::Config;
use crate::error::Reject;
use crate::fallback::{Ask, Upstreams};
use crate::metrics::Metrics;
use crate::request_id::RequestId;
use crate::route::table::ModelId;
use crate::stream::bill::Purpose;
use crate::stream::meter::Meter;
use crate::stream::open::OpenStreams;
use crate::stream::relay::Relay;
use crate::upstream::standing::Standings;

/// How one model did.
struct Probed {
    first_output: Duration,
    events: u64,
    done: bool,
}

/// Asks every model in turn. Exit status 0 if all of them stream.
pub(super) fn run(config: Config, as_json: bool) -> ExitCode {
    let all_good = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .and_then(|runtime| runtime.block_on(probe_all(&config, as_json)));
    match all_good {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn probe_all(config: &Config, as_json: bool) -> io::Result<bool> {
    let metrics = Arc::new(Metrics::new().map_err(io::Error::other)?);
    let standings = Arc::new(Standings::new(Arc::clone(&metrics)));
    let upstreams = Arc::new(Upstreams::new(config, standings, Arc::clone(&metrics)).map_err(io::Error::other)?);
    let mut all_good = true;
    for (place, model) in config.models.models().iter().enumerate() {
        let upstream = &config.upstreams[model.upstream.0].name;
        let probed = probe(Arc::clone(&upstreams), Arc::clone(&metrics), ModelId(place)).await;
        all_good &= probed.as_ref().is_ok_and(|probed| probed.done);
        let mut out = io::stdout().lock();
        match (as_json, probed) {
            (true, probed) => {
                let (probed, error) = (probed.as_ref().ok(), probed.as_ref().err());
                writeln!(
                    out,
                    "{}",
                    json!({
                        "model": model.name,
                        "upstream": upstream,
                        "ok": probed.is_some_and(|probed| probed.done),
                        "first_token_ms": probed.map(|probed| probed.first_output.as_secs_f64() * 1e3),
                        "events": probed.map(|probed| probed.events),
                        "error": error.map(|error| &error.message),
                    })
                )?;
            }
            (false, Ok(Probed { first_output, events, done })) => {
                let end = if done { "whole" } else { "breaks off" };
                let first = first_output.as_millis();
                writeln!(
                    out,
                    "live      {}: {upstream} streams, first token after {first} ms, {events} events, {end}",
                    model.name
                )?;
            }
            (false, Err(reject)) => writeln!(out, "live      {}: {upstream} fails: {}", model.name, reject.message)?,
        }
    }
    Ok(all_good)
}

async fn probe(upstreams: Arc<Upstreams>, metrics: Arc<Metrics>, model: ModelId) -> Result<Probed, Reject> {
    // no bound on tokens: models do not agree on its name, and refuse the other one
    let body = json!({ "messages": [{ "role": "user", "content": "Say hello." }], "stream": true });
    let request = Request::parse(body.to_string().into())?;
    let id = RequestId::random();
    let started = Instant::now();
    let open = OpenStreams::new(metrics.streams_active.clone());
    let meter = Meter::start(metrics, started, id.text(), "probe", None, std::net::Ipv4Addr::LOCALHOST.into());
    // no fallback: each model answers for itself
    let caller = Caller::operator();
    let (candidates, purpose) = (vec![model], Purpose::Answer);
    let ask = Ask { caller, candidates, request, request_id: id.header(), idempotency_key: None, purpose };
    let opened = Arc::clone(&upstreams).stream(ask, meter.clone()).await.map_err(|failure| failure.reject())?;
    let first_output = started.elapsed();
    let relay = Relay::opened(opened, meter, upstreams.rules(), &open);
    let mut events = BodyDataStream::new(relay).eventsource();
    let mut inspector = Inspector::default();
    let mut probed = Probed { first_output, events: 0, done: false };
    while let Some(Ok(event)) = events.next().await {
        match inspector.inspect(None, event.data.as_bytes()) {
            Chunk::Done => probed.done = true,
            Chunk::Delta(delta) => {
                probed.done |= delta.finished;
                probed.events += 1;
            }
            // the relay's own last words: what the upstream sent broke off
            Chunk::Error(_) => probed.done = false,
            Chunk::Malformed => {}
        }
    }
    Ok(probed)
}
