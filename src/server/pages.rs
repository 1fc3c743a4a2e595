//! What the playground and the admin server share: a small plaintext HTTP/1.1 server for answers that are ready at once.

use std::convert::Infallible;
use std::future::ready;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
    X_FRAME_OPTIONS,
};
use http::uri::Authority;
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::body::Body;

/// A person with some tabs, and a scraper or two; further connections wait in the backlog.
const MAX_CONNECTIONS: usize = 64;
/// From a connection's first byte, or the end of the last answer, to the end of the next head.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// A connection is closed after its current answer when it is this old: nobody holds a place for ever.
const LIFETIME: Duration = Duration::from_secs(300);
/// What a closing connection has to take its last answer.
const GRACE: Duration = Duration::from_secs(1);
/// After a failed accept (no descriptor left, say), before the next.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What all pages look like: colours, type, the frame. Each page's own style follows it.
pub(super) const STYLE: &str = include_str!("../../web/base.css");

/// One answer: all of it is in memory.
pub(super) struct Page {
    pub(super) status: StatusCode,
    pub(super) content_type: &'static str,
    pub(super) body: bytes::Bytes,
}

impl Page {
    /// A 200 with this body.
    pub(super) fn ok(content_type: &'static str, body: impl Into<bytes::Bytes>) -> Self {
        Self { status: StatusCode::OK, content_type, body: body.into() }
    }

    /// A sentence for a person.
    fn text(status: StatusCode, text: &'static str) -> Self {
        Self { status, content_type: "text/plain; charset=utf-8", body: text.into() }
    }
}

/// What is served: the page of each path, and the content security policy of all of them.
pub(super) struct Site<R> {
    pub(super) security_policy: HeaderValue,
    /// From a path to its page; `None` is a 404.
    pub(super) route: R,
}

impl<R: Fn(&str) -> Option<Page> + Send + Sync + 'static> Site<R> {
    /// Serves until `stop`, then closes idle connections at once and busy ones after their answer.
    ///
    /// On a loopback listener only loopback names are accepted as `Host`: otherwise a web page could point its own
    /// name at 127.0.0.1 (DNS rebinding) and read what is served here.
    pub(super) async fn serve(self, listener: TcpListener, stop: CancellationToken) {
        let loopback_only = listener.local_addr().is_ok_and(|address| address.ip().is_loopback());
        let site = Arc::new(self);
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                Some(_) = connections.join_next() => {}
                accepted = listener.accept(), if connections.len() < MAX_CONNECTIONS => match accepted {
                    Ok((stream, _)) => {
                        connections.spawn(connection(stream, site.clone(), loopback_only, stop.clone()));
                    }
                    Err(error) => {
                        tracing::warn!(%error, "cannot accept a connection");
                        sleep(ACCEPT_PAUSE).await;
                    }
                },
            }
        }
        drop(listener);
        while connections.join_next().await.is_some() {}
    }

    fn answer<B>(&self, request: &Request<B>, loopback_only: bool) -> Response<Body> {
        let page = if loopback_only && !authority(request).is_some_and(is_loopback) {
            Page::text(
                StatusCode::MISDIRECTED_REQUEST,
                "Only loopback names are served here: use localhost or 127.0.0.1 as the host.\n",
            )
        } else if !matches!(*request.method(), Method::GET | Method::HEAD) {
            Page::text(StatusCode::METHOD_NOT_ALLOWED, "Only GET and HEAD are served here.\n")
        } else {
            (self.route)(request.uri().path())
                .unwrap_or_else(|| Page::text(StatusCode::NOT_FOUND, "There is no such page here.\n"))
        };
        let mut response = Response::new(Body::full(page.body));
        *response.status_mut() = page.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(page.content_type));
        headers.insert(CONTENT_SECURITY_POLICY, self.security_policy.clone());
        for (name, value) in FIXED_HEADERS {
            headers.insert(name, HeaderValue::from_static(value));
        }
        if page.status == StatusCode::METHOD_NOT_ALLOWED {
            headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        }
        response
    }
}

const FIXED_HEADERS: [(HeaderName, &str); 5] = [
    (CACHE_CONTROL, "no-store"),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (X_FRAME_OPTIONS, "DENY"),
    (REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

async fn connection<R>(stream: TcpStream, site: Arc<Site<R>>, loopback_only: bool, stop: CancellationToken)
where
    R: Fn(&str) -> Option<Page> + Send + Sync + 'static,
{
    let service = service_fn(|request| ready(Ok::<_, Infallible>(site.answer(&request, loopback_only))));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        // the peer is gone, or was too slow: there is nobody left to tell
        _ = connection.as_mut() => return,
        () = stop.cancelled() => {}
        () = sleep(LIFETIME) => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = timeout(GRACE, connection).await;
}

/// The host that the request is for: of an absolute-form target, else of the one `Host` line (RFC 9112 §3.2).
fn authority<B>(request: &Request<B>) -> Option<Authority> {
    if let Some(authority) = request.uri().authority() {
        return Some(authority.clone());
    }
    let mut lines = request.headers().get_all(HOST).iter();
    let (Some(host), None) = (lines.next(), lines.next()) else { return None };
    Authority::try_from(host.as_bytes()).ok()
}

/// Whether the name can only mean this machine: an address of 127.0.0.0/8, ::1, or a name under `localhost` (RFC 6761 §6.3).
fn is_loopback(authority: Authority) -> bool {
    if authority.as_str().contains('@') {
        return false;
    }
    let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
    match host.parse::<IpAddr>() {
        Ok(address) => address.is_loopback(),
        Err(_) => host == "localhost" || host.ends_with(".localhost"),
    }
}
