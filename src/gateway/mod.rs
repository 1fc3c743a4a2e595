//! One request from head to answer: the path's steps 3 to 12 on one screen.
//!
//! Each stage returns a typed value with `?`; a refusal is a value, too. The CORS decision is made first and applied last,
//! around whatever came out.

pub mod answers;
mod begun;
mod budget;
mod cached;
pub mod head;
pub mod live;
mod process;
pub mod read;
pub mod routes;
mod session;
mod sharing;
mod streams;

pub use self::process::Shared;

use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt;
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response, Version, header};
use hyper::body::Incoming;
use tokio::time::{Instant, sleep_until};

use self::begun::{Begun, Head};
use self::read::Upload;
use self::sharing::{Sharing, Wanted};
use crate::auth::caller::Caller;
use crate::auth::check::Check;
use crate::auth::signatures::Signatures;
use crate::body::Body;
use crate::cache::key::Route as AnswerRoute;
use crate::config::Config;
use crate::error::{Code, Reject};
use crate::gateway::routes::Route;
use crate::limits::limiter::Asked;
use crate::metering::meter::Meter;
use crate::models::ModelId;
use crate::request_id::RequestId;
use crate::routing::router::{Destination, Routed, Router};
use crate::server::handler::Peer;
use crate::spend::bill::Purpose;
use crate::stream::body::Body as StreamBody;
use crate::stream::completion::{Completion, Sink, Start, Streams};
use crate::stream::upstreams::{Ask, Upstreams};
use cors::decision::{Answer, Decision, decide};
use families::chat::request as chat;

/// Everything that one request needs. Swapped whole on reload; streams in flight keep the one that they began with.
pub struct Gateway {
    /// The checked configuration.
    pub config: Config,
    upstreams: Arc<Upstreams>,
    /// By the keys of this configuration: a reload begins with none.
    signatures: Signatures,
    router: Arc<Router>,
    /// By the place of the model: under which key its answers are kept; empty where none are.
    routes: Arc<[AnswerRoute]>,
    shared: Shared,
}

/// What a request tells of who sent it, before its credentials are looked at.
#[derive(Clone, Copy)]
struct Visitor<'a> {
    /// The connection that it came on.
    peer: Peer,
    /// The client's address, beyond trusted proxies.
    address: IpAddr,
    /// What CORS says of its page.
    cors: &'a Decision,
}

impl Gateway {
    /// # Errors
    /// What in the configuration cannot be used.
    pub fn new(config: Config, shared: Shared) -> Result<Self, String> {
        let (health_registry, metrics) = (Arc::clone(&shared.health_registry), Arc::clone(&shared.metrics));
        let place = shared.store.place(process::shares_answers(&config))?;
        let upstreams = Arc::new(Upstreams::new(&config, health_registry, metrics)?);
        let router = Router::new(&config, Arc::clone(&upstreams), Arc::clone(&shared.limiter));
        let router = Arc::new(router.sharing(Arc::clone(&shared.store), &config));
        // nothing fails from here on: what outlives a reload follows it
        shared.store.move_to(place);
        shared.streams.set_rules(config.streams.clone());
        shared.cache.set_rules(config.cache.as_ref());
        let routes = sharing::routes(&config);
        Ok(Self { config, upstreams, router, routes, signatures: Signatures::default(), shared })
    }

    /// Closes upstream connections that have been idle for too long, and ends and forgets resumable streams that are due.
    pub fn sweep(&self, now: Instant) {
        self.upstreams.sweep(now);
        self.shared.streams.sweep(now);
    }

    /// Answers a request. Never fails: each refusal, failure and panic is an answer, and carries the CORS headers.
    pub async fn handle(self: Arc<Self>, request: Request<Incoming>, peer: Peer) -> Response<Body> {
        let started = Instant::now();
        let (parts, body) = request.into_parts();
        let mut upload = Upload::new(body);
        let route = Route::of(parts.uri.path());
        let id = RequestId::of(&parts.headers);
        let cors = decide(&self.config.cors, route.methods(), &parts.method, &parts.headers);
        if let Some(labels) = cors.labels() {
            self.shared.metrics.cors.with_label_values(&[labels.kind, labels.verdict]).inc();
        }
        let origin = parts.headers.get(header::ORIGIN);
        let address = head::client_address(peer.address, &parts.headers, &self.config.server.trusted_proxies);
        let visitor = Visitor { peer, address, cors: &cors };
        let metrics = Arc::clone(&self.shared.metrics);
        let meter = Meter::start(metrics, started, id.text(), route.as_str(), origin, address);
        if let Some(entry) = cors.entry() {
            meter.record().origin_entry(entry);
        }

        let answer = match cors.answer() {
            Some(Answer::Empty(status)) => Ok(answers::empty(status)),
            Some(Answer::Refuse(refusal)) => Err(refusal.into()),
            None => {
                let answer = AssertUnwindSafe(self.answer(route, &parts, &mut upload, visitor, &id, &meter));
                tokio::select! {
                    biased;
                    answer = answer.catch_unwind() => answer.unwrap_or_else(|_| {
                        self.shared.metrics.panics.inc();
                        Err(Reject::new(Code::InternalError, "The gateway failed: this is a defect of it."))
                    }),
                    // what has not begun by then never will: its client is told so while its connection is there
                    () = self.shared.drain.over.cancelled() => Err(answers::draining()),
                }
            }
        };
        let mut response = answer.unwrap_or_else(|reject| answers::refuse(&reject, &id, &meter));
        let priced = || self.config.models.models().iter().any(|model| model.prices().is_some());
        if matches!(route, Route::ChatCompletions | Route::Chat) && priced() {
            answers::tell_cost_at_end(&mut response, &parts, &meter);
        }
        answers::finish(&mut response, &parts.method, &id, &meter);
        upload.skim(&parts.headers).await;
        if parts.version < Version::HTTP_2 && !upload.is_ended() {
            // an early answer: the rest of the body is not waited for, so that no other request can follow it
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        cors.apply(response.headers_mut());
        response
    }

    async fn answer(
        &self,
        route: Route,
        parts: &Parts,
        upload: &mut Upload,
        visitor: Visitor<'_>,
        id: &RequestId,
        meter: &Meter,
    ) -> Result<Response<Body>, Reject> {
        head::check(parts, &self.config.server.hosts, visitor.peer.tls)?;
        match (route, &parts.method) {
            (_, &Method::OPTIONS) => Ok(answers::options(route)),
            (Route::Healthz, &Method::GET | &Method::HEAD) => {
                Ok(answers::json(Bytes::from_static(b"{\"status\":\"ok\"}")))
            }
            (Route::Other, _) => Err(answers::no_such_route()),
            (Route::Models, &Method::GET | &Method::HEAD) => {
                Ok(answers::models(&self.config, &self.admit(parts, visitor, meter)?))
            }
            (Route::ChatCompletions | Route::Chat, &Method::POST) => {
                let caller = self.admit(parts, visitor, meter)?;
                self.complete(caller, route, parts, upload, id, meter).await
            }
            (Route::Streams, &Method::POST) => {
                let caller = self.admit(parts, visitor, meter)?;
                Box::pin(self.create_stream(caller, parts, upload, visitor.peer, id, meter)).await
            }
            (Route::Stream, &Method::GET) => {
                let caller = self.admit(parts, visitor, meter)?;
                self.read_stream(&caller, parts, visitor.peer, meter)
            }
            (Route::Stream, &Method::DELETE) => self.stop_stream(&self.admit(parts, visitor, meter)?, parts),
            (Route::Session, &Method::POST) => self.log_in(parts, visitor, meter),
            (Route::Session, &Method::DELETE) => self.log_out(parts, visitor).await,
            _ => Err(answers::no_such_method(route)),
        }
    }

    /// Who calls. What follows in the name of a caller begins here.
    fn admit(&self, parts: &Parts, visitor: Visitor<'_>, meter: &Meter) -> Result<Caller, Reject> {
        let caller = self.check().admit(parts, visitor.cors, visitor.address)?;
        meter.record().caller(caller.clone());
        Ok(caller)
    }

    fn check(&self) -> Check<'_> {
        let Shared { revocations, metrics, .. } = &self.shared;
        Check { rules: &self.config.access, signatures: &self.signatures, revocations: revocations.as_ref(), metrics }
    }

    async fn complete(
        &self,
        caller: Caller,
        route: Route,
        parts: &Parts,
        upload: &mut Upload,
        id: &RequestId,
        meter: &Meter,
    ) -> Result<Response<Body>, Reject> {
        let wanted = self.ask(caller, route, parts, upload, id, meter).await?;
        let streaming = wanted.routed.ask.request.stream();
        let resumable = streams::is_wanted(&parts.headers, streaming)?;
        if resumable {
            return Box::pin(self.complete_resumably(wanted, parts, meter)).await;
        }
        let routed = match self.share(wanted, &parts.headers, meter).await? {
            Sharing::Alone(routed) => *routed,
            Sharing::Shared(shared) => return self.tell(*shared, streaming, route, meter).await,
        };
        if !streaming {
            let whole = Box::pin(Arc::clone(&self.router).whole(routed, meter.clone())).await;
            return answers::whole(route, whole.map_err(|failure| answers::failed(&failure, meter))?, meter);
        }
        let Begun { source, head } = self.begin(routed, Sink::Body, meter).await?;
        Ok(head.answer(Box::pin(StreamBody::new(source)), meter))
    }

    /// What is asked for, checked, and who can answer it.
    async fn ask(
        &self,
        caller: Caller,
        route: Route,
        parts: &Parts,
        upload: &mut Upload,
        id: &RequestId,
        meter: &Meter,
    ) -> Result<Wanted, Reject> {
        if self.shared.drain.begun.is_cancelled() {
            return Err(answers::draining());
        }
        let request = read::read(route, parts, upload, &self.config.server).await?;
        let no_such_model = || answers::no_such_model(&request);
        let scope = || self.scope(&caller, &parts.headers);
        let asked = self.router.destination(&caller, &request, scope).await.ok_or_else(no_such_model)?;
        if asked.is_of_auto() {
            meter.record().compare_with(self.config.costs.baseline);
        }
        let dearest = self.router.dearest(&asked).ok_or_else(no_such_model)?;
        let model = self.router.first(&asked).ok_or_else(no_such_model)?;
        let of_auto = asked.is_of_auto();
        let candidates = self.upstreams.candidates(model, &request, &caller);
        let idempotency_key = parts.headers.get("idempotency-key").cloned();
        let (purpose, request_id) = (Purpose::Answer, id.header());
        let mut ask = Ask { caller, candidates, request, request_id, idempotency_key, purpose };
        let (mut model, mut destination, mut free) = (model, asked, None);
        if let Err(beyond) = self.afford(&ask.caller, dearest, &ask.request, meter).await {
            // what costs nothing is within every budget
            free = Box::pin(self.free(&ask, &destination, model, &parts.headers)).await;
            if free.is_none() {
                model = self.instead(beyond, meter)?;
                let decision = of_auto.then(|| self.router.decision_for(model));
                (ask.candidates, destination) = (vec![model], Destination::Known(model, decision));
            }
        }
        self.limit(&ask.caller, model, &ask.request, meter).await?;
        Ok(Wanted { routed: Routed::new(ask, model, destination, meter), of_auto, free })
    }

    /// Asks for a stream, up to its first output or `commit_after`.
    async fn begin(&self, routed: Routed, sink: Sink, meter: &Meter) -> Result<Begun<Completion>, Reject> {
        let only_one = routed.ask.candidates.len() == 1 && !routed.is_undecided();
        let commit = sleep_until(Instant::now() + self.upstreams.rules().commit_after);
        let mut opening = Arc::clone(&self.router).stream(routed, meter.clone());
        let (start, head) = tokio::select! {
            biased;
            opened = &mut opening => {
                let opened = opened.map_err(|failure| answers::failed(&failure, meter))?;
                let vary = opened.feed.vary().cloned();
                (Start::Opened(opened), Head { vary, has_output: true, answerer_is_known: true, age: None })
            }
            // nothing was sent until here, so that the status could tell the truth: now the client must hear something.
            // With a fallback, another model may still be the one that answers
            () = commit => {
                let head = Head { vary: None, has_output: false, answerer_is_known: only_one, age: None };
                (Start::Opening(opening), head)
            }
        };
        Ok(Begun { source: Completion::new(start, sink, meter.clone(), self.open_streams()), head })
    }

    /// What holds for all streams.
    fn open_streams(&self) -> Streams<'_> {
        Streams { rules: self.upstreams.rules(), open: &self.shared.open }
    }

    /// Takes of the caller's limits what the request may use; it is settled when the meter is.
    async fn limit(
        &self,
        caller: &Caller,
        model: ModelId,
        request: &chat::Request,
        meter: &Meter,
    ) -> Result<(), Reject> {
        let (rules, model) = (&self.config.limits, self.upstreams.models().get(model));
        let asked = Asked { caller, model: &model.name, tokens: rules.reserve(request, model.context) };
        let decision = self.shared.limiter.admit(rules, asked).await;
        let mut record = meter.record();
        record.limited(decision.fields);
        record.hold(decision.outcome?);
        Ok(())
    }
}
