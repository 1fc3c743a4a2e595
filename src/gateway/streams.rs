//! Resumable streams: made, read, stopped.

use std::str::FromStr;
use std::time::Duration;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Response, StatusCode};
use serde_json::json;

use super::exchange::Exchange;
use super::source::Commit;
use crate::auth::caller::Caller;
use crate::body::Body;
use crate::cache::response_cache::Reuse;
use crate::error::{Code, Reject};
use crate::gateway::response::{self, empty, json};
use crate::gateway::routes::stream_id;
use crate::routing::plan::Plan;
use crate::stream::log::core::Author;
use crate::stream::log::cursor;
use crate::stream::log::id::StreamId;
use crate::stream::log::owner::Owner;
use crate::stream::log::registry::{NoRoom, Opened, Unopened};
use crate::stream::log::render::Rendered;
use crate::stream::log::writer::drive;
use crate::stream::upstream_source::Sink;
use crate::supervise;

const TOKENWAY_RESUMABLE: HeaderName = HeaderName::from_static("tokenway-resumable");
const TOKENWAY_STREAM_ID: HeaderName = HeaderName::from_static("tokenway-stream-id");

/// A place is free again soon: streams end often.
const RETRY_WHILE_FULL: Duration = Duration::from_secs(2);

/// Whether the request asks for a stream that can be resumed after a cut.
///
/// # Errors
/// The header says neither `true` nor `false`.
pub(super) fn is_wanted(headers: &HeaderMap) -> Result<bool, Reject> {
    let mut lines = headers.get_all(TOKENWAY_RESUMABLE).iter();
    match (lines.next().map(|line| line.as_bytes()), lines.next()) {
        (None, _) | (Some(b"false"), None) => Ok(false),
        (Some(b"true"), None) => Ok(true),
        _ => {
            let message = "the header `tokenway-resumable`: expected one `true` or `false`";
            Err(Reject::new(Code::InvalidRequest, message))
        }
    }
}

impl Exchange {
    /// `POST /v1/streams`: begins a completion that goes on without this request.
    pub(super) async fn create_stream(&mut self) -> Result<Response<Body>, Reject> {
        let caller = self.admit().await?;
        let owner = Owner::of(&caller, &self.parts.headers);
        let request = self.read().await?;
        let mut plan = self.plan(caller, request).await?;
        let reuse = self.reserve(&mut plan).await?;
        let (stream, log) = self.gateway.shared.streams.create(owner, self.author(&plan.caller)).map_err(no_room)?;
        self.meter.record().outlive_answer();
        let origin = self.source(plan, reuse).await?;
        let (source, _) = self.open(origin, Sink::Log, Commit::Now).await?;
        supervise::spawn_answer(&self.gateway.shared.metrics.panics, drive(source, log));
        Ok(created(stream, &self.public_base()))
    }

    /// `POST /v1/chat/completions` with `tokenway-resumable: true`: streams as ever, through a log.
    pub(super) async fn respond_resumable(&self, plan: Plan, reuse: Option<Reuse>) -> Result<Response<Body>, Reject> {
        // first of all: without room no upstream is asked
        let owner = Owner::of(&plan.caller, &self.parts.headers);
        let shared = &self.gateway.shared;
        // the reader exists from the start: while it waits for the first output, the stream has a client
        let (stream, log, reader) = shared.streams.create_read(owner, self.author(&plan.caller)).map_err(no_room)?;
        let origin = self.source(plan, reuse).await?;
        let (source, head) = self.open(origin, Sink::Log, Commit::FirstOutput).await?;
        supervise::spawn_answer(&shared.metrics.panics, drive(source, log));
        let every = self.gateway.completions.rules().heartbeat;
        let body = Rendered::plain(reader, &shared.metrics, every, head.first_heartbeat(every));
        let mut response = head.response(Box::pin(body), &self.meter);
        name_stream(&mut response, stream);
        Ok(response)
    }

    /// `GET /v1/streams/{id}`: replays what the reader misses, and goes on live.
    pub(super) fn read_stream(&self) -> Result<Response<Body>, Reject> {
        let caller = self.authenticate()?;
        let (stream, parts) = (self.named()?, &self.parts);
        let place = cursor::place(&parts.headers, parts.uri.query())?.unwrap_or(0);
        let owner = Owner::of_get(&caller, &parts.headers, || self.public_base());
        match self.gateway.shared.streams.open(stream, &owner, place) {
            Ok(Opened::Reader(log)) => {
                if place > 0 {
                    self.gateway.shared.metrics.stream_resumes.inc();
                }
                let reader = Rendered::numbered(log, self.meter.clone(), self.gateway.completions.rules().heartbeat);
                Ok(response::stream(Box::pin(reader), None))
            }
            // WHATWG HTML §9.2.3: EventSource reconnects after every end but this one
            Ok(Opened::AtEnd) => Ok(empty(StatusCode::NO_CONTENT)),
            Err(Unopened::Unknown) => Err(no_such_stream()),
            Err(Unopened::TooLarge { last }) => Err(cursor::too_large(place, last)),
            Err(Unopened::TooManyReaders) => Err(too_many_readers()),
        }
    }

    /// `DELETE /v1/streams/{id}`: stops the upstream now. Leaving does not.
    pub(super) fn stop_stream(&self) -> Result<Response<Body>, Reject> {
        let owner = Owner::of(&self.authenticate()?, &self.parts.headers);
        let stopped = self.gateway.shared.streams.stop(self.named()?, &owner);
        stopped.map_err(|_| no_such_stream())?;
        Ok(empty(StatusCode::NO_CONTENT))
    }

    fn author(&self, caller: &Caller) -> Author {
        let request_id = self.meter.record().request_id().into();
        Author { request_id, caller: caller.id().into(), family: self.route.family() }
    }

    /// Where the client has reached this gateway: `https://host:port`.
    fn public_base(&self) -> String {
        let (parts, peer) = (&self.parts, self.peer);
        let proxy = "x-forwarded-proto";
        let trusted = self.gateway.config.server.trusted_proxies.iter().any(|network| network.contains(&peer.address));
        let forwarded = parts.headers.get(proxy).filter(|_| trusted).is_some_and(|scheme| scheme == "https");
        let scheme = if peer.tls || forwarded { "https" } else { "http" };
        let host = parts.headers.get(header::HOST).and_then(|host| host.to_str().ok());
        let authority = parts.uri.authority().map(|authority| authority.as_str()).or(host);
        format!("{scheme}://{}", authority.unwrap_or_default())
    }

    /// The stream that the path names. What is no id is no stream.
    fn named(&self) -> Result<StreamId, Reject> {
        let text = stream_id(self.parts.uri.path()).unwrap_or_default();
        StreamId::from_str(text).map_err(|_| no_such_stream())
    }
}

/// 201: a resumable stream has begun. `base` is where the client has reached this gateway: a page of another origin needs
/// the whole URL.
fn created(stream: StreamId, base: &str) -> Response<Body> {
    let path = format!("/v1/streams/{stream}");
    let mut response = json(json!({ "id": stream.to_string(), "url": format!("{base}{path}") }).to_string());
    *response.status_mut() = StatusCode::CREATED;
    name_stream(&mut response, stream);
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    HeaderValue::try_from(path).into_iter().for_each(|path| drop(headers.insert(header::LOCATION, path)));
    response
}

/// Adds the id by which the stream can be resumed.
fn name_stream(response: &mut Response<Body>, stream: StreamId) {
    let id = HeaderValue::try_from(stream.to_string());
    id.into_iter().for_each(|id| drop(response.headers_mut().insert(TOKENWAY_STREAM_ID, id)));
}

/// 404: no such resumable stream, or it belongs to another caller; the response does not say which.
fn no_such_stream() -> Reject {
    let message =
        "No such stream, or not yours, or removed since: a stream is held for resume.retention after its end.";
    Reject::new(Code::StreamNotFound, message)
}

/// 503: as many resumable streams are running as there may be; 429: as many of this caller.
fn no_room(why: NoRoom) -> Reject {
    let (code, message) = match why {
        NoRoom::Full => (
            Code::Overloaded,
            "No room for another resumable stream now: try again, or ask without tokenway-resumable.",
        ),
        NoRoom::OverShare => (
            Code::RateLimited,
            "You have as many resumable streams as one caller may have (resume.max_share): let one end, or ask without \
             tokenway-resumable.",
        ),
    };
    Reject::new(code, message).retry_after(RETRY_WHILE_FULL)
}

/// 503: the stream has as many readers as it may have.
fn too_many_readers() -> Reject {
    let message =
        "This stream has as many readers as one stream may have (resume.max_readers): close one, or try again.";
    Reject::new(Code::Overloaded, message).retry_after(RETRY_WHILE_FULL)
}
