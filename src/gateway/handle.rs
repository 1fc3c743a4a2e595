//! One request from its head to its response: the path on one screen.
//!
//! Each stage returns a typed value with `?`; a refusal is a value, too. The CORS decision is made first and applied last, to
//! whatever response there is.

use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt;
use http::{HeaderValue, Method, Request, Response, StatusCode, Version, header};
use hyper::body::Incoming;

use super::Gateway;
use super::exchange::Exchange;
use super::head;
use super::refusal::defect;
use super::response;
use super::routes::{Route, no_such_method, no_such_route};
use crate::body::Body;
use crate::error::Reject;
use crate::server::handler::Peer;
use crate::upstream::failure::Failure;
use cors::decision::Answer;

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
                Err(defect())
            }),
            // a request without a response by then gets this one while its connection is still there
            () = gateway.shared.drain.over.cancelled() => Err(Failure::Draining.reject()),
        }
    }

    async fn answer(&mut self) -> Result<Response<Body>, Reject> {
        head::check(&self.parts, &self.gateway.config.server.hosts, self.peer.tls)?;
        match (self.route, &self.parts.method) {
            (route, &Method::OPTIONS) => Ok(options(route)),
            (Route::ChatCompletions | Route::Chat, &Method::POST) => self.complete().await,
            (Route::Streams, &Method::POST) => Box::pin(self.create_stream()).await,
            (Route::Stream, &Method::GET) => self.read_stream(),
            (Route::Stream, &Method::DELETE) => self.stop_stream(),
            (Route::Session, &Method::POST) => self.log_in(),
            (Route::Session, &Method::DELETE) => self.log_out().await,
            (Route::Models, &Method::GET | &Method::HEAD) => self.models(),
            (Route::Healthz, &Method::GET | &Method::HEAD) => {
                Ok(response::json(Bytes::from_static(b"{\"status\":\"ok\"}")))
            }
            (Route::Other, _) => Err(no_such_route()),
            (route, _) => Err(no_such_method(route)),
        }
    }

    /// `POST /v1/chat/completions` and `POST /v1/chat`.
    async fn complete(&mut self) -> Result<Response<Body>, Reject> {
        let caller = self.admit()?;
        let request = self.read().await?;
        let mut plan = self.plan(caller, request).await?;
        let reuse = self.reserve(&mut plan).await?;
        self.respond(plan, reuse).await
    }

    /// The response as it goes out: with what every response carries, and with the rest of the request's body discarded.
    async fn finish(&mut self, answer: Result<Response<Body>, Reject>) -> Response<Body> {
        let mut response = answer.unwrap_or_else(|reject| self.refuse(&reject));
        self.finish_head(&mut response);
        self.upload.drain(&self.parts.headers).await;
        if self.parts.version < Version::HTTP_2 && !self.upload.is_ended() {
            // an early response: the rest of the body is not read, so that no other request can follow on the connection
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        self.cors.apply(response.headers_mut());
        response
    }
}

/// `OPTIONS` that is no preflight: the methods of the route (RFC 9110 §9.3.7).
fn options(route: Route) -> Response<Body> {
    let mut response = response::empty(StatusCode::NO_CONTENT);
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(route.methods()));
    response
}
