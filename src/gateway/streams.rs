//! Resumable streams: made, read, stopped.

use std::str::FromStr;

use http::header::{HeaderMap, HeaderName};
use http::{Response, StatusCode};

use super::exchange::Exchange;
use super::source::Commit;
use crate::body::Body;
use crate::cache::response_cache::Reuse;
use crate::error::{Code, Reject};
use crate::gateway::answers;
use crate::gateway::routes::stream_id;
use crate::routing::plan::Plan;
use crate::stream::log::core::Author;
use crate::stream::log::cursor;
use crate::stream::log::id::StreamId;
use crate::stream::log::owner::Owner;
use crate::stream::log::registry::{Opened, Unopened, Writer};
use crate::stream::log::render::Rendered;
use crate::stream::log::writer::drive;
use crate::stream::upstream_source::Sink;

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

impl Exchange {
    /// `POST /v1/streams`: begins a completion that goes on without this request.
    pub(super) async fn create_stream(&mut self) -> Result<Response<Body>, Reject> {
        let caller = self.admit()?;
        let owner = Owner::of(&caller, &self.parts.headers);
        let request = self.read().await?;
        let mut plan = self.plan(caller, request).await?;
        let reuse = self.reserve(&mut plan).await?;
        let (stream, log) = self.open_log(owner)?;
        self.meter.record().outlive_answer();
        let origin = self.source(plan, reuse).await?;
        let (source, _) = self.open(origin, Sink::Log, Commit::Now).await?;
        tokio::spawn(drive(source, log));
        Ok(answers::created(stream, &self.public_base()))
    }

    /// `POST /v1/chat/completions` with `tokenway-resumable: true`: streams as ever, through a log.
    pub(super) async fn respond_resumable(&self, plan: Plan, reuse: Option<Reuse>) -> Result<Response<Body>, Reject> {
        // first of all: without room no upstream is asked
        let owner = Owner::of(&plan.caller, &self.parts.headers);
        let (stream, log) = self.open_log(owner.clone())?;
        let origin = self.source(plan, reuse).await?;
        let (source, head) = self.open(origin, Sink::Log, Commit::FirstOutput).await?;
        let shared = &self.gateway.shared;
        let Ok(Opened::Reader(reader)) = shared.streams.open(stream, &owner, 0) else {
            return Err(answers::no_such_stream());
        };
        tokio::spawn(drive(source, log));
        let every = self.gateway.completions.rules().heartbeat;
        let body = Rendered::plain(reader, &shared.metrics, every, head.first_heartbeat(every));
        let mut response = head.response(Box::pin(body), &self.meter);
        answers::name_stream(&mut response, stream);
        Ok(response)
    }

    /// `GET /v1/streams/{id}`: replays what the reader misses, and goes on live.
    pub(super) fn read_stream(&self) -> Result<Response<Body>, Reject> {
        let caller = self.admit()?;
        let (stream, parts) = (self.named()?, &self.parts);
        let place = cursor::place(&parts.headers, parts.uri.query())?.unwrap_or(0);
        let owner = Owner::of_get(&caller, &parts.headers, || self.public_base());
        match self.gateway.shared.streams.open(stream, &owner, place) {
            Ok(Opened::Reader(log)) => {
                if place > 0 {
                    self.gateway.shared.metrics.stream_resumes.inc();
                }
                let reader = Rendered::numbered(log, self.meter.clone(), self.gateway.completions.rules().heartbeat);
                Ok(answers::stream(Box::pin(reader), None))
            }
            // WHATWG HTML §9.2.3: EventSource reconnects after every end but this one
            Ok(Opened::AtEnd) => Ok(answers::empty(StatusCode::NO_CONTENT)),
            Err(Unopened::Unknown) => Err(answers::no_such_stream()),
            Err(Unopened::TooLarge { last }) => Err(cursor::too_large(place, last)),
        }
    }

    /// `DELETE /v1/streams/{id}`: stops the upstream now. Leaving does not.
    pub(super) fn stop_stream(&self) -> Result<Response<Body>, Reject> {
        let owner = Owner::of(&self.admit()?, &self.parts.headers);
        let stopped = self.gateway.shared.streams.stop(self.named()?, &owner);
        stopped.map_err(|_| answers::no_such_stream())?;
        Ok(answers::empty(StatusCode::NO_CONTENT))
    }

    fn open_log(&self, owner: Owner) -> Result<(StreamId, Writer), Reject> {
        let author = Author { request_id: self.meter.record().request_id().into(), family: self.route.family() };
        self.gateway.shared.streams.create(owner, author).map_err(|_| answers::no_room())
    }

    /// Where the client has reached this gateway: `https://host:port`.
    fn public_base(&self) -> String {
        let (parts, peer) = (&self.parts, self.peer);
        let proxy = "x-forwarded-proto";
        let trusted = self.gateway.config.server.trusted_proxies.iter().any(|network| network.contains(&peer.address));
        let forwarded = parts.headers.get(proxy).filter(|_| trusted).is_some_and(|scheme| scheme == "https");
        let scheme = if peer.tls || forwarded { "https" } else { "http" };
        let host = parts.headers.get(http::header::HOST).and_then(|host| host.to_str().ok());
        let authority = parts.uri.authority().map(|authority| authority.as_str()).or(host);
        format!("{scheme}://{}", authority.unwrap_or_default())
    }

    /// The stream that the path names. What is no id is no stream.
    fn named(&self) -> Result<StreamId, Reject> {
        let text = stream_id(self.parts.uri.path()).unwrap_or_default();
        StreamId::from_str(text).map_err(|_| answers::no_such_stream())
    }
}
