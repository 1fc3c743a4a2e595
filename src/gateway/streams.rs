//! Resumable streams: made, read, stopped.

use std::future::Future;
use std::pin::Pin;
use std::str::FromStr;

use http::header::{HeaderMap, HeaderName};
use http::{Response, StatusCode};

use super::Gateway;
use super::begun::{Begun, Head};
use super::exchange::Exchange;
use super::sharing::Sharing;
use crate::body::Body;
use crate::cache::response_cache::Reuse;
use crate::config;
use crate::error::{Code, Reject};
use crate::gateway::answers;
use crate::gateway::routes::stream_id;
use crate::routing::plan::Plan;
use crate::stream::log::id::StreamId;
use crate::stream::log::reader::Reader;
use crate::stream::log::registry::Writer;
use crate::stream::log::store::{Opened, Owner, Store, Unopened};
use crate::stream::log::{cursor, writer};
use crate::stream::relay::Relay;

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
        let (stream, log) = self.keep(owner).await?;
        self.meter.record().outlive_answer();
        match self.share(plan, reuse).await? {
            Sharing::Alone(plan) => {
                let (gateway, meter) = (&self.gateway, &self.meter);
                let opening = gateway.router.clone().stream(*plan, meter.clone());
                let relay = Relay::opening(opening, meter.clone(), &gateway.quiet_rules(), &gateway.shared.open);
                tokio::spawn(writer::drive(relay, log));
            }
            Sharing::Shared(shared) => drop(tokio::spawn(self.telling(*shared)?.record(log))),
        }
        Ok(answers::created(stream, &self.public_base()))
    }

    /// `POST /v1/chat/completions` with `tokenway-resumable: true`: streams as ever, through a log.
    pub(super) async fn complete_resumably(&self, plan: Plan, reuse: Option<Reuse>) -> Result<Response<Body>, Reject> {
        // first of all: without room nobody is asked
        let owner = Owner::of(&plan.caller, &self.parts.headers);
        let (stream, log) = self.keep(owner.clone()).await?;
        let (writing, head): (Pin<Box<dyn Future<Output = ()> + Send>>, Head) = match self.share(plan, reuse).await? {
            Sharing::Alone(plan) => {
                let Begun { source: relay, head } = self.begin(*plan, &self.gateway.quiet_rules()).await?;
                (Box::pin(writer::drive(relay, log)), head)
            }
            Sharing::Shared(shared) => {
                let Begun { source: told, head } = self.begin_telling(*shared).await?;
                (Box::pin(told.record(log)), head)
            }
        };
        let opened = self.gateway.shared.streams.open(stream, &owner, 0).await;
        let Ok(Opened::Reader(own)) = opened else { return Err(answers::no_such_stream()) };
        tokio::spawn(writing);
        let heartbeat = self.gateway.upstreams.rules().heartbeat;
        let reader = match head.has_output {
            true => Reader::plain(own, &self.gateway.shared.metrics, heartbeat),
            false => Reader::plain_waiting(own, &self.gateway.shared.metrics, heartbeat),
        };
        let mut response = head.answer(Box::pin(reader), &self.meter);
        answers::name_stream(&mut response, stream);
        Ok(response)
    }

    /// `GET /v1/streams/{id}`: replays what the reader misses, and goes on live.
    pub(super) async fn read_stream(&self) -> Result<Response<Body>, Reject> {
        let caller = self.admit()?;
        let (stream, parts) = (self.named()?, &self.parts);
        let place = cursor::place(&parts.headers, parts.uri.query())?.unwrap_or(0);
        let owner = Owner::of_get(&caller, &parts.headers, || self.public_base());
        match self.gateway.shared.streams.open(stream, &owner, place).await {
            Ok(Opened::Reader(log)) => {
                if place > 0 {
                    self.gateway.shared.metrics.stream_resumes.inc();
                }
                let reader = Reader::numbered(log, self.meter.clone(), self.gateway.upstreams.rules().heartbeat);
                Ok(answers::stream(Box::pin(reader), None))
            }
            // WHATWG HTML §9.2.3: EventSource reconnects after every end but this one
            Ok(Opened::AtEnd) => Ok(answers::empty(StatusCode::NO_CONTENT)),
            Err(Unopened::Unknown) => Err(answers::no_such_stream()),
            Err(Unopened::TooLarge { last }) => Err(cursor::too_large(place, last)),
        }
    }

    /// `DELETE /v1/streams/{id}`: stops the upstream now. Leaving does not.
    pub(super) async fn stop_stream(&self) -> Result<Response<Body>, Reject> {
        let owner = Owner::of(&self.admit()?, &self.parts.headers);
        let stopped = self.gateway.shared.streams.stop(self.named()?, &owner).await;
        stopped.map_err(|_| answers::no_such_stream())?;
        Ok(answers::empty(StatusCode::NO_CONTENT))
    }

    async fn keep(&self, owner: Owner) -> Result<(StreamId, Writer), Reject> {
        let request_id = self.meter.record().request_id().into();
        self.gateway.shared.streams.create(owner, request_id).await.map_err(|_| answers::no_room())
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

impl Gateway {
    /// The bounds of a stream that goes into a log: each of its readers has its own heartbeats.
    pub(super) fn quiet_rules(&self) -> config::Stream {
        config::Stream { heartbeat: None, ..self.upstreams.rules().clone() }
    }
}
