//! `tokenway check --live`: sends a short request to each model through the same path that browsers use.
//!
//! The crate `eventsource-stream` reads the bytes that a browser would receive, behind the guards of the load tester: it is
//! independent of the gateway's own framer.
//!
//! A request asks for few tokens. Upstreams have two names for that bound, and some refuse one of them, or `stream_options`:
//! a refusal costs nothing, and the next shape of the request is tried. A stream that goes on nevertheless is left.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::BodyDataStream;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout_at};

use super::quirks::{Counts, Quirk};
use crate::cli::failure::Failure;
use bench::load::sse::{Events, MAX_EVENT};
use bench::report::format::plural;
use dial::connect_error::{Cause, CertificateFault};
use families::chat::Chat;
use families::family::{Family, Form};
use families::fault::Fault;
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
use tokenway::upstream::clients::Clients;
use tokenway::upstream::failure;

/// The tokens of output that are asked for.
const TOKENS: u64 = 16;
/// A model that sends more events than this ignores the bound: its stream is left.
const MOST_EVENTS: u64 = 4 * TOKENS;
/// A stream is left this long after its first output: by then it is known to stream.
const LONGEST: Duration = Duration::from_secs(10);

/// What `ask_all` reports.
pub(super) enum Progress<'a> {
    /// This model of this upstream is asked now.
    Asking(&'a str, &'a str),
    /// Its result.
    Answered(&'a Answer<'a>),
}

/// The result of one model. `Display` writes one line, without the names of model and upstream.
pub(super) struct Answer<'a> {
    model: &'a str,
    upstream: &'a str,
    probed: Result<Probed, String>,
}

/// What was measured at one model.
struct Probed {
    first_output: Duration,
    events: u64,
    end: End,
    quirks: Vec<Quirk>,
}

/// How a stream ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Whole,
    /// It went on, and enough was seen.
    Left,
    Broken,
}

/// Asks every model in turn, and passes each result to `report`.
///
/// # Errors
/// A model does not stream, no request can be made, or `report` fails.
pub(super) fn ask_all(config: &Config, report: impl FnMut(Progress<'_>) -> io::Result<()>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::failed(format!("cannot start: {error}")))?;
    runtime.block_on(ask_each(config, report))
}

async fn ask_each(config: &Config, mut report: impl FnMut(Progress<'_>) -> io::Result<()>) -> Result<(), Failure> {
    let metrics = Arc::new(Metrics::new().map_err(|error| Failure::failed(error.to_string()))?);
    let health_registry = Arc::new(HealthRegistry::new(Arc::clone(&metrics)));
    let router = Arc::new(gateway::router(config, Arc::clone(&metrics)));
    let limiter = Limiter::local(1, Arc::clone(&metrics));
    let completions = gateway::completions(config, router, (health_registry, &Clients::default()), limiter)
        .map_err(Failure::failed)?;
    let completions = Arc::new(completions);
    let stdout = |error: io::Error| Failure::failed(format!("standard output: {error}"));
    let mut bad = Vec::new();
    let models = config.models.models();
    for (place, model) in models.iter().enumerate() {
        let settings = &config.upstreams[model.upstream.0];
        let upstream = &settings.name;
        report(Progress::Asking(&model.name, upstream)).map_err(stdout)?;
        let context = (Arc::clone(&completions), Arc::clone(&metrics));
        let probed = probe(context, ModelId(place), settings.stream_usage).await;
        let answer = Answer { model: &model.name, upstream, probed };
        report(Progress::Answered(&answer)).map_err(stdout)?;
        if !answer.streams() {
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
    /// Whether the stream came to its end, or went on until enough was seen.
    fn streams(&self) -> bool {
        self.probed.as_ref().is_ok_and(|probed| probed.end != End::Broken)
    }

    /// A line for each quirk.
    pub(super) fn quirks(&self) -> impl Iterator<Item = String> {
        let quirks = self.probed.as_ref().map_or(&[][..], |probed| &probed.quirks);
        quirks.iter().map(|quirk| format!("{}: {}", self.model, quirk.message()))
    }

    /// A member of the list `live`.
    pub(super) fn as_json(&self) -> Value {
        let (probed, error) = (self.probed.as_ref().ok(), self.probed.as_ref().err());
        json!({
            "model": self.model,
            "upstream": self.upstream,
            "ok": self.streams(),
            "first_token_ms": probed.map(|probed| probed.first_output.as_secs_f64() * 1e3),
            "events": probed.map(|probed| probed.events),
            "end": probed.map(|probed| probed.end.as_str()),
            "quirks": probed.map(|probed| probed.quirks.iter().map(|quirk| quirk.as_json()).collect::<Vec<_>>()),
            "error": error,
        })
    }
}

impl fmt::Display for Answer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.probed {
            Ok(Probed { first_output, events, end, .. }) => {
                let (first, events) = (first_output.as_millis(), plural(*events, "event", "events"));
                let end = match end {
                    End::Whole => "whole",
                    End::Left => "left before its end",
                    End::Broken => "breaks off",
                };
                write!(f, "streams, first token after {first} ms, {events}, {end}")
            }
            Err(reason) => write!(f, "fails: {reason}"),
        }
    }
}

impl End {
    fn as_str(self) -> &'static str {
        match self {
            End::Whole => "whole",
            End::Left => "left",
            End::Broken => "broken",
        }
    }
}

/// What a request asks for beside its messages.
#[derive(Debug, Clone, Copy)]
struct Shape {
    /// The name of the bound on tokens.
    bound: Option<&'static str>,
    usage: bool,
}

impl Shape {
    /// In the order in which they are tried: the most usual one first, and the one without a bound last.
    const ALL: [Self; 5] = [
        Self { bound: Some("max_tokens"), usage: true },
        Self { bound: Some("max_completion_tokens"), usage: true },
        Self { bound: Some("max_tokens"), usage: false },
        Self { bound: Some("max_completion_tokens"), usage: false },
        Self { bound: None, usage: false },
    ];

    fn body(self) -> Value {
        let mut body = json!({ "messages": [{ "role": "user", "content": "Say hello." }], "stream": true });
        if let Some(name) = self.bound {
            body[name] = TOKENS.into();
        }
        if self.usage {
            // asked for in the request itself: else the gateway takes the counts out of the stream
            body["stream_options"] = json!({ "include_usage": true });
        }
        body
    }

    /// What the acceptance of this shape says, where all before it were refused; `stream_usage` is the upstream's setting.
    fn quirks(self, stream_usage: bool) -> Vec<Quirk> {
        let bound = match self.bound {
            Some("max_tokens") => None,
            Some(_) => Some(Quirk::RefusesMaxTokens),
            None => Some(Quirk::RefusesAnyBound),
        };
        let usage = (stream_usage && !self.usage).then_some(Quirk::RefusesStreamOptions);
        bound.into_iter().chain(usage).collect()
    }
}

type Context = (Arc<Completions>, Arc<Metrics>);

async fn probe(context: Context, model: ModelId, stream_usage: bool) -> Result<Probed, String> {
    let mut refused = None;
    for shape in Shape::ALL.into_iter().filter(|shape| stream_usage || !shape.usage) {
        match probe_with(shape, context.clone(), model).await {
            Err(failure) if is_about_the_request(&failure) => refused = refused.or(Some(failure)),
            Err(failure) => return Err(reason(&failure)),
            Ok(mut probed) => {
                probed.quirks.splice(..0, shape.quirks(stream_usage));
                return Ok(probed);
            }
        }
    }
    // the first one: the request of most clients
    Err(refused.map_or_else(String::new, |failure| reason(&failure)))
}

/// Whether another shape of the request may be accepted.
fn is_about_the_request(failure: &failure::Failure) -> bool {
    matches!(failure, failure::Failure::Refused(refusal) if matches!(refusal.fault, Fault::Invalid | Fault::Unsupported))
}

async fn probe_with(shape: Shape, (completions, metrics): Context, model: ModelId) -> Result<Probed, failure::Failure> {
    let request = Chat.parse(shape.body().to_string().into(), Form::Full).expect("the body of a shape is valid");
    let id = RequestId::random();
    let started = Instant::now();
    let open = OpenStreams::new(metrics.streams_active.clone());
    let meter = Meter::start(metrics, started, id.text(), "probe", None, std::net::Ipv4Addr::LOCALHOST.into());
    // no fallback: each model is tested alone
    let plan = Plan::to_model(model, Caller::operator(), request, id.header());
    let opened = Arc::clone(&completions).stream(plan, meter.clone()).await?;
    let first_output = started.elapsed();
    let streams = Streams { rules: completions.rules(), open: &open };
    let body = Body::new(UpstreamSource::new(Start::Opened(opened), Sink::Body, meter, streams));
    let mut events = Events::new(BodyDataStream::new(body), MAX_EVENT);
    let mut reader = Chat.reader();
    let mut probed = Probed { first_output, events: 0, end: End::Broken, quirks: Vec::new() };
    let mut counts = Counts::default();
    let until = Instant::now() + LONGEST;
    loop {
        let event = match timeout_at(until, events.next()).await {
            Ok(Some(Ok(event))) => event,
            Ok(_) => break,
            Err(_) => {
                probed.end = End::Left;
                break;
            }
        };
        let meaning = reader.read(None, event.data.as_bytes());
        counts.look(&event.data);
        probed.events += u64::from(!meaning.terminal && !meaning.malformed && meaning.fault.is_none());
        // an error is the gateway's own last event: the upstream's stream broke
        let is_whole = meaning.fault.is_none() && (probed.end == End::Whole || meaning.terminal || meaning.finished);
        probed.end = if is_whole { End::Whole } else { End::Broken };
        if probed.events > MOST_EVENTS && !is_whole {
            probed.end = End::Left;
            probed.quirks.push(Quirk::IgnoresBound);
            break;
        }
    }
    // what was not asked for is not missing
    probed.quirks.extend(counts.quirks(shape.usage && probed.end == End::Whole));
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
        Cause::Proxy(_) => "check proxy, or HTTPS_PROXY and NO_PROXY in the environment",
        Cause::Socket(_) | Cause::Handshake(_) => "check base_url",
    };
    format!("{connect_error}; {mend}")
}
