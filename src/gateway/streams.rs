//! Resumable streams: made, read, stopped.

use std::future::Future;
use std::pin::Pin;
use std::str::FromStr;

use http::header::{HeaderMap, HeaderName};
use http::request::Parts;
use http::{Response, StatusCode};

use super::Gateway;
use super::begun::{Begun, Head};
use super::sharing::{Sharing, Wanted};
use crate::auth::caller::Caller;
use crate::body::Body;
use crate::error::{Code, Reject};
use crate::gateway::answers;
use crate::gateway::read::Upload;
use crate::gateway::routes::{Route, stream_id};
use crate::metering::meter::Meter;
use crate::request_id::RequestId;
use crate::server::handler::Peer;
use crate::stream::completion::{Completion, Sink, Start};
use crate::stream::log::cursor;
use crate::stream::log::id::StreamId;
use crate::stream::log::owner::Owner;
use crate::stream::log::render::Rendered;
use crate::stream::log::registry::{Opened, Unopened, Writer};
use crate::stream::log::writer::drive;

const TOKENWAY_RESUMABLE: HeaderName = HeaderName::from_static("tokenway-resumable");

/// Whether the request asks for a stream that can be picked up after a cut.
///
/// # Errors
/// The header says neither `true` nor `false`, or asks it of an answer that is no stream.
pub(super) fn is_wanted(headers: &HeaderMap, streaming: bool) -> Result<bool, Reject> {
    let mut lines = headers.get_all(TOKENWAY_RESUMABLE).iter();
    let wrong = |message: &'static str| Err(Reject::new(Code::InvalidRequest, message));
    match (lines.next().map(|line| line.as_bytes()), lines.next()) {
        (None, _) | (Some(b"false"), None) => Ok(false),
        (Some(b"true"), None) if streaming => Ok(true),
        (Some(b"true"), None) => wrong("`tokenway-resumable`: only a stream can be resumed: set `stream` to true"),
        _ => wrong("the header `tokenway-resumable`: expected one `true` or `false`"),
    }
}

impl Gateway {
    /// `POST /v1/streams`: begins a completion that goes on without this request.
    pub(super) async fn create_stream(
        &self,
        caller: Caller,
        parts: &Parts,
        upload: &mut Upload,
        peer: Peer,
        id: &RequestId,
        meter: &Meter,
    ) -> Result<Response<Body>, Reject> {
        let owner = Owner::of(&caller, &parts.headers);
        let wanted = self.ask(caller, Route::Streams, parts, upload, id, meter).await?;
        let (stream, log) = self.keep(owner, meter)?;
        meter.record().outlive_answer();
        match self.share(wanted, &parts.headers, meter).await? {
            Sharing::Alone(routed) => {
                let opening = self.router.clone().stream(*routed, meter.clone());
                let source = Completion::new(Start::Opening(opening), Sink::Log, meter.clone(), self.open_streams());
                tokio::spawn(drive(source, log));
            }
            Sharing::Shared(shared) => drop(tokio::spawn(drive(self.telling(*shared, meter)?, log))),
        }
        Ok(answers::created(stream, &self.public_base(parts, peer)))
    }

    /// `POST /v1/chat/completions` with `tokenway-resumable: true`: streams as ever, through a log.
    pub(super) async fn complete_resumably(
        &self,
        wanted: Wanted,
        parts: &Parts,
        meter: &Meter,
    ) -> Result<Response<Body>, Reject> {
        // first of all: without room nobody is asked
        let owner = Owner::of(&wanted.routed.ask.caller, &parts.headers);
        let (stream, log) = self.keep(owner.clone(), meter)?;
        let (writing, head): (Pin<Box<dyn Future<Output = ()> + Send>>, Head) =
            match self.share(wanted, &parts.headers, meter).await? {
                Sharing::Alone(routed) => {
                    let Begun { source, head } = self.begin(*routed, Sink::Log, meter).await?;
                    (Box::pin(drive(source, log)), head)
                }
                Sharing::Shared(shared) => {
                    let Begun { source, head } = self.begin_telling(*shared, meter).await?;
                    (Box::pin(drive(source.into_sink(Sink::Log), log)), head)
                }
            };
        let opened = self.shared.streams.open(stream, &owner, 0);
        let Ok(Opened::Reader(own)) = opened else { return Err(answers::no_such_stream()) };
        tokio::spawn(writing);
        let heartbeat = self.upstreams.rules().heartbeat;
        let first = heartbeat.filter(|_| head.has_output).unwrap_or_default();
        let reader = Rendered::plain(own, &self.shared.metrics, heartbeat, first);
        let mut response = head.answer(Box::pin(reader), meter);
        answers::name_stream(&mut response, stream);
        Ok(response)
    }

    /// `GET /v1/streams/{id}`: replays what the reader misses, and goes on live.
    pub(super) fn read_stream(
        &self,
        caller: &Caller,
        parts: &Parts,
        peer: Peer,
        meter: &Meter,
    ) -> Result<Response<Body>, Reject> {
        let stream = named(parts)?;
        let place = cursor::place(&parts.headers, parts.uri.query())?.unwrap_or(0);
        let owner = Owner::of_get(caller, &parts.headers, || self.public_base(parts, peer));
        match self.shared.streams.open(stream, &owner, place) {
            Ok(Opened::Reader(log)) => {
                if place > 0 {
                    self.shared.metrics.stream_resumes.inc();
                }
                let reader = Rendered::numbered(log, meter.clone(), self.upstreams.rules().heartbeat);
                Ok(answers::stream(Box::pin(reader), None))
            }
            // WHATWG HTML §9.2.3: EventSource reconnects after every end but this one
            Ok(Opened::AtEnd) => Ok(answers::empty(StatusCode::NO_CONTENT)),
            Err(Unopened::Unknown) => Err(answers::no_such_stream()),
            Err(Unopened::TooLarge { last }) => Err(cursor::too_large(place, last)),
        }
    }

    /// `DELETE /v1/streams/{id}`: stops the upstream now. Leaving does not.
    pub(super) fn stop_stream(&self, caller: &Caller, parts: &Parts) -> Result<Response<Body>, Reject> {
        let stopped = self.shared.streams.stop(named(parts)?, &Owner::of(caller, &parts.headers));
        stopped.map_err(|_| answers::no_such_stream())?;
        Ok(answers::empty(StatusCode::NO_CONTENT))
    }

    fn keep(&self, owner: Owner, meter: &Meter) -> Result<(StreamId, Writer), Reject> {
        let request_id = meter.record().request_id().into();
        self.shared.streams.create(owner, request_id).map_err(|_| answers::no_room())
    }

    /// Where the client has reached this gateway: `https://host:port`.
    fn public_base(&self, parts: &Parts, peer: Peer) -> String {
        let proxy = "x-forwarded-proto";
        let trusted = self.config.server.trusted_proxies.iter().any(|network| network.contains(&peer.address));
        let forwarded = parts.headers.get(proxy).filter(|_| trusted).is_some_and(|scheme| scheme == "https");
        let scheme = if peer.tls || forwarded { "https" } else { "http" };
        let host = parts.headers.get(http::header::HOST).and_then(|host| host.to_str().ok());
        let authority = parts.uri.authority().map(|authority| authority.as_str()).or(host);
        format!("{scheme}://{}", authority.unwrap_or_default())
    }
}

/// The stream that the path names. What is no id is no stream.
fn named(parts: &Parts) -> Result<StreamId, Reject> {
    let text = stream_id(parts.uri.path()).unwrap_or_default();
    StreamId::from_str(text).map_err(|_| answers::no_such_stream())
}
