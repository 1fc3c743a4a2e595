//! One request from its head to its response: the path on one screen.
//!
//! Each stage returns a typed value with `?`; a refusal is a value, too. The CORS decision is made first and applied last, to
//! whatever response there is.

use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt;
use http::{HeaderValue, Method, Request, Response, Version, header};
use hyper::body::Incoming;

use super::Gateway;
use super::exchange::Exchange;
use super::refusal::{draining, refuse};
use super::routes::{Route, no_such_method, no_such_route};
use super::{head, response};
use crate::body::Body;
use crate::error::Reject;
use crate::server::handler::Peer;
use cors::decision::Answer;
use families::family::Form;

impl Gateway {
    /// Answers a request. Never fails: each refusal, failure and panic is a response, and carries the CORS headers.
    pub async fn handle(self: Arc<Self>, request: Request<Incoming>, peer: Peer) -> Response<Body> {
        let mut exchange = Exchange::new(self, request, peer);
        let answer = match exchange.cors.answer() {
            Some(Answer::Empty(status)) => Ok(response::empty(status)),
            Some(Answer::Refuse(refusal)) => Err(refusal.into()),
            None => exchange.guarded_answer().await,
        };
        exchange.finish(answer).await
    }
}

impl Exchange {
    /// The response of the route; 500 after a panic, 503 once the time of a drain is over.
    async fn guarded_answer(&mut self) -> Result<Response<Body>, Reject> {
        let gateway = Arc::clone(&self.gateway);
        // pinned here: `catch_unwind` and `select!` would move it, some kilobytes
        let answer = pin!(self.answer());
        tokio::select! {
            biased;
            answer = AssertUnwindSafe(answer).catch_unwind() => answer.unwrap_or_else(|_| {
                gateway.shared.metrics.panics.inc();
                Err(Reject::defect())
            }),
            // a request without a response by then gets this one while its connection is still there
            () = gateway.shared.drain.over.cancelled() => Err(draining()),
        }
    }

    async fn answer(&mut self) -> Result<Response<Body>, Reject> {
        head::check(&self.parts, self.route, &self.gateway.config.server.hosts, self.peer.tls)?;
        match (self.route, &self.parts.method) {
            (route, &Method::OPTIONS) => Ok(response::options(route)),
            (Route::Completion(_, endpoint), &Method::POST) => match endpoint.form {
                Form::Full | Form::Short => self.complete().await,
                Form::Stream => Box::pin(self.create_stream()).await,
            },
            (Route::Stream, &Method::GET) => self.read_stream(),
            (Route::Stream, &Method::DELETE) => self.stop_stream(),
            (Route::Session, &Method::POST) => self.log_in(),
            (Route::Session, &Method::DELETE) => self.log_out().await,
            (Route::Models, &Method::GET | &Method::HEAD) => self.models(),
            (Route::Model, &Method::GET | &Method::HEAD) => self.model(),
            (Route::Healthz, &Method::GET | &Method::HEAD) => {
                Ok(response::json(Bytes::from_static(b"{\"status\":\"ok\"}")))
            }
            (Route::Other, _) => Err(no_such_route(self.parts.uri.path(), self.gateway.shared.families)),
            (route, _) => Err(no_such_method(route)),
        }
    }

    /// `POST` to an endpoint of a family.
    async fn complete(&mut self) -> Result<Response<Body>, Reject> {
        let caller = self.admit().await?;
        let request = self.read().await?;
        let mut plan = self.plan(caller, request).await?;
        let reuse = self.reserve(&mut plan).await?;
        self.respond(plan, reuse).await
    }

    /// What every response carries; the request's body is read to its end if that is near.
    async fn finish(mut self, answer: Result<Response<Body>, Reject>) -> Response<Body> {
        let Self { gateway, route, parts, upload, cors, id, meter, .. } = &mut self;
        let mut response = answer.unwrap_or_else(|reject| refuse(&reject, route.family(), id, meter));
        let priced = || gateway.config.models.models().iter().any(|model| model.prices().is_some());
        if matches!(route, Route::Completion(..)) && priced() {
            response::add_cost_trailer(&mut response, parts, meter);
        }
        response::finish(&mut response, &parts.method, id, meter);
        upload.drain(&parts.headers).await;
        if parts.version < Version::HTTP_2 && !upload.is_ended() {
            // an early response: the rest of the body is not read, so that no other request can follow on the connection
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        cors.apply(response.headers_mut());
        response
    }
}
