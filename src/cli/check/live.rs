//! `tokenway check --live`: sends a short request to each model through the same path that browsers use.
//!
//! The crate `eventsource-stream` reads the bytes that a browser would receive, behind the guards of the load tester: it is
//! independent of the gateway's own framer.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::BodyDataStream;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::cli::failure::Failure;
use bench::load::sse::{Events, MAX_EVENT};
use bench::report::format::plural;
use dial::connect_error::{Cause, CertificateFault};
use families::chat::Chat;
use families::family::{Family, Form};
use tokenway::auth::caller::Caller;
use tokenway::config::Config;
use tokenway::failover::health_registry::HealthRegistry;
use tokenway::gateway;
use tokenway::limits::limiter::Limiter;
use tokenway::metering::meter::Meter;
use tokenway::metrics::Metrics;
use tokenway::models::ModelId;
use tokenway::request_id::RequestId;
use tokenway::routing::plan::Plan;
use tokenway::stream::body::Body;
use tokenway::stream::completions::Completions;
use tokenway::stream::open::OpenStreams;
use tokenway::stream::upstream_source::{Sink, Start, Streams, UpstreamSource};
use tokenway::upstream::failure;

/// The result of one model. `Display` writes one line.
pub(super) struct Answer<'a> {
    model: &'a str,
    upstream: &'a str,
    probed: Result<Probed, String>,
}

/// What was measured at one model.
struct Probed {
    first_output: Duration,
    events: u64,
    done: bool,
}

/// Asks every model in turn, and passes each result to `report`.
///
/// # Errors
/// A model does not stream, no request can be made, or `report` fails.
pub(super) fn ask_all(config: &Config, report: impl FnMut(&Answer<'_>) -> io::Result<()>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::failed(format!("cannot start: {error}")))?;
    runtime.block_on(ask_each(config, report))
}

async fn ask_each(config: &Config, mut report: impl FnMut(&Answer<'_>) -> io::Result<()>) -> Result<(), Failure> {
    let metrics = Arc::new(Metrics::new().map_err(|error| Failure::failed(error.to_string()))?);
    let health_registry = Arc::new(HealthRegistry::new(Arc::clone(&metrics)));
    let router = Arc::new(gateway::router(config, Arc::clone(&metrics)));
    let limiter = Limiter::local(1, Arc::clone(&metrics));
    let completions = gateway::completions(config, router, health_registry, limiter).map_err(Failure::failed)?;
    let completions = Arc::new(completions);
    let mut bad = Vec::new();
    let models = config.models.models();
    for (place, model) in models.iter().enumerate() {
        let upstream = &config.upstreams[model.upstream.0].name;
        let probed = probe(Arc::clone(&completions), Arc::clone(&metrics), ModelId(place)).await;
        let answer = Answer { model: &model.name, upstream, probed };
        report(&answer).map_err(|error| Failure::failed(format!("standard output: {error}")))?;
        if !answer.is_whole() {
            bad.push(answer.model);
        }
    }
    match &bad[..] {
        [] => Ok(()),
        bad => {
            let of = plural(models.len() as u64, "model", "models");
            Err(Failure::failed(format!("{} of {of} gave no complete stream: {}", bad.len(), bad.join(", "))))
        }
    }
}

impl Answer<'_> {
    fn is_whole(&self) -> bool {
        self.probed.as_ref().is_ok_and(|probed| probed.done)
    }

    /// A member of the list `live`.
    pub(super) fn as_json(&self) -> Value {
        let (probed, error) = (self.probed.as_ref().ok(), self.probed.as_ref().err());
        json!({
            "model": self.model,
            "upstream": self.upstream,
            "ok": self.is_whole(),
            "first_token_ms": probed.map(|probed| probed.first_output.as_secs_f64() * 1e3),
            "events": probed.map(|probed| probed.events),
            "error": error,
        })
    }
}

impl fmt::Display for Answer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} ", self.model, self.upstream)?;
        match &self.probed {
            Ok(Probed { first_output, events, done }) => {
                let (first, events) = (first_output.as_millis(), plural(*events, "event", "events"));
                let end = if *done { "whole" } else { "breaks off" };
                write!(f, "streams, first token after {first} ms, {events}, {end}")
            }
            Err(reason) => write!(f, "fails: {reason}"),
        }
    }
}

async fn probe(completions: Arc<Completions>, metrics: Arc<Metrics>, model: ModelId) -> Result<Probed, String> {
    // no bound on tokens: models use different names for it, and refuse the other name
    let body = json!({ "messages": [{ "role": "user", "content": "Say hello." }], "stream": true });
    let request = Chat.parse(body.to_string().into(), Form::Full).map_err(|invalid| invalid.to_string())?;
    let id = RequestId::random();
    let started = Instant::now();
    let open = OpenStreams::new(metrics.streams_active.clone());
    let meter = Meter::start(metrics, started, id.text(), "probe", None, std::net::Ipv4Addr::LOCALHOST.into());
    // no fallback: each model is tested alone
    let plan = Plan::to_model(model, Caller::operator(), request, id.header());
    let opened = Arc::clone(&completions).stream(plan, meter.clone()).await.map_err(|failure| reason(&failure))?;
    let first_output = started.elapsed();
    let streams = Streams { rules: completions.rules(), open: &open };
    let body = Body::new(UpstreamSource::new(Start::Opened(opened), Sink::Body, meter, streams));
    let mut events = Events::new(BodyDataStream::new(body), MAX_EVENT);
    let mut reader = Chat.reader();
    let mut probed = Probed { first_output, events: 0, done: false };
    while let Some(Ok(event)) = events.next().await {
        let meaning = reader.read(None, event.data.as_bytes());
        probed.events += u64::from(!meaning.terminal && !meaning.malformed && meaning.fault.is_none());
        // an error is the gateway's own last event: the upstream's stream broke
        probed.done = meaning.fault.is_none() && (probed.done || meaning.terminal || meaning.finished);
    }
    Ok(probed)
}

/// The message for the operator: without a connection, the address, the cause and the fix; otherwise the message that a
/// client would get.
fn reason(failure: &failure::Failure) -> String {
    let Some(connect_error) = failure.connect_error() else { return failure.reject().message.into() };
    let mend = match &connect_error.cause {
        Cause::NoSuchHost => "check the host of base_url, and the resolver",
        Cause::Refused => "nothing listens there: start the server, or check the port of base_url",
        Cause::NoRoute => "check the host of base_url, the network and the firewall",
        Cause::TimedOut(_) => "check base_url and the firewall, or allow more time with connect_timeout",
        Cause::Certificate(fault) => match fault {
            CertificateFault::UnknownIssuer => "name its authority with ca_file",
            CertificateFault::WrongName => "use a name from the certificate in base_url",
            CertificateFault::Expired => "have it renewed, or set this machine's clock",
            CertificateFault::NotYetValid => "set this machine's clock",
            CertificateFault::Other => "have it mended",
        },
        Cause::NotTls => "begin base_url with http://",
        Cause::Socket(_) | Cause::Handshake(_) => "check base_url",
    };
    format!("{connect_error}; {mend}")
}
