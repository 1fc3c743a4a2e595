//! A small plaintext HTTP/1.1 server for the playground and the admin listener, whose responses are ready at once.

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

/// The most connections: enough for a person with some tabs and a scraper or two; further connections wait in the backlog.
const MAX_CONNECTIONS: usize = 64;
/// The timeout of a request head.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// A connection of this age is closed after its current response.
const LIFETIME: Duration = Duration::from_secs(300);
/// The time in which a closing connection may read its last response.
const GRACE: Duration = Duration::from_secs(1);
/// The pause after a failed accept, for example without free descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The common style of all pages. Each page's own style follows it.
pub(super) const STYLE: &str = include_str!("../../web/base.css");

/// One response; all of it is in memory.
pub(super) struct Page {
    pub(super) status: StatusCode,
    pub(super) content_type: &'static str,
    pub(super) body: bytes::Bytes,
}

impl Page {
    /// Makes a 200 response with this body.
    pub(super) fn ok(content_type: &'static str, body: impl Into<bytes::Bytes>) -> Self {
        Self { status: StatusCode::OK, content_type, body: body.into() }
    }

    /// Makes a response with a sentence for a person.
    fn text(status: StatusCode, text: &'static str) -> Self {
        Self { status, content_type: "text/plain; charset=utf-8", body: text.into() }
    }
}

/// The page of each path, and the content security policy of all pages.
pub(super) struct Site<R> {
    pub(super) security_policy: HeaderValue,
    /// Returns the page of a path; `None` is a 404.
    pub(super) route: R,
}

impl<R: Fn(&str) -> Option<Page> + Send + Sync + 'static> Site<R> {
    /// Serves until `stop`, then closes idle connections at once and busy ones after their response.
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
        // the client has left, or was too slow
        _ = connection.as_mut() => return,
        () = stop.cancelled() => {}
        () = sleep(LIFETIME) => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = timeout(GRACE, connection).await;
}

/// Returns the host of the request: of an absolute-form target, else of the one `Host` line (RFC 9112 §3.2).
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

#[cfg(test)]
#[path = "pages_testing.rs"]
pub(super) mod testing;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::testing::{body, exchange, get, header, listener, status};
    use super::*;

    /// More than socket buffers hold.
    const LARGE: usize = 16 << 20;

    fn site() -> Site<impl Fn(&str) -> Option<Page> + Send + Sync + 'static> {
        Site {
            security_policy: HeaderValue::from_static("default-src 'none'"),
            route: |path: &str| match path {
                "/" => Some(Page::ok("text/html", "hello")),
                "/large" => Some(Page::ok("text/plain", vec![b'x'; LARGE])),
                _ => None,
            },
        }
    }

    async fn running() -> (std::net::SocketAddr, CancellationToken, tokio::task::JoinHandle<()>) {
        let (listener, address) = listener().await;
        let stop = CancellationToken::new();
        let server = tokio::spawn(site().serve(listener, stop.clone()));
        (address, stop, server)
    }

    fn named(host: &str) -> bool {
        Authority::try_from(host).is_ok_and(is_loopback)
    }

    #[test]
    fn only_names_of_this_machine_are_loopback() {
        for host in ["localhost", "LOCALHOST:80", "a.localhost:1", "127.0.0.1", "127.9.9.9:8", "[::1]", "[::1]:8443"] {
            assert!(named(host), "{host}");
        }
        for host in
            ["example.com", "localhost.example.com", "notlocalhost", "128.0.0.1", "[::2]", "a@localhost", "0.0.0.0"]
        {
            assert!(!named(host), "{host}");
        }
    }

    proptest! {
        #[test]
        fn a_name_that_can_be_registered_is_never_loopback(name in "[a-z0-9.-]{0,20}\\.(com|dev|local|test)(:[0-9]{1,5})?") {
            prop_assert!(!named(&name));
        }

        #[test]
        fn any_host_line_is_judged_without_a_panic(host in ".{0,40}") {
            named(&host);
        }
    }

    #[tokio::test]
    async fn a_page_whose_name_was_pointed_at_loopback_reads_nothing() {
        let (address, _stop, _server) = running().await;
        for head in [
            "GET / HTTP/1.1\r\nhost: attacker.example\r\nconnection: close\r\n\r\n",
            "GET / HTTP/1.1\r\nhost: localhost\r\nhost: attacker.example\r\nconnection: close\r\n\r\n",
            "GET / HTTP/1.1\r\nconnection: close\r\n\r\n",
            "GET http://attacker.example/ HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n",
        ] {
            let answer = exchange(address, head).await;
            assert_eq!(status(&answer), 421, "{head}");
            assert!(!answer.contains("hello"));
        }
    }

    #[test]
    fn off_loopback_any_host_is_served() {
        let request = Request::get("/").header(HOST, "metrics.internal").body(()).unwrap();
        assert_eq!(site().answer(&request, false).status(), StatusCode::OK);
        assert_eq!(site().answer(&request, true).status(), StatusCode::MISDIRECTED_REQUEST);
    }

    #[tokio::test]
    async fn every_answer_forbids_sniffing_framing_and_storing() {
        let (address, _stop, _server) = running().await;
        for (path, code) in [("/", 200), ("/none", 404)] {
            let answer = get(address, path).await;
            assert_eq!(status(&answer), code);
            assert_eq!(header(&answer, "x-content-type-options"), "nosniff");
            assert_eq!(header(&answer, "x-frame-options"), "DENY");
            assert_eq!(header(&answer, "cache-control"), "no-store");
            assert_eq!(header(&answer, "content-security-policy"), "default-src 'none'");
        }
    }

    #[tokio::test]
    async fn a_head_response_has_the_length_without_the_body() {
        let (address, _stop, _server) = running().await;
        let answer = exchange(address, "HEAD / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await;
        assert_eq!((status(&answer), header(&answer, "content-length"), body(&answer)), (200, "5", ""));
    }

    #[tokio::test]
    async fn other_methods_get_the_list_of_allowed_methods() {
        let (address, _stop, _server) = running().await;
        let answer =
            exchange(address, "POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
                .await;
        assert_eq!((status(&answer), header(&answer, "allow")), (405, "GET, HEAD"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_client_is_cut_off() {
        let (address, _stop, _server) = running().await;
        let begun = tokio::time::Instant::now();
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nhost: loc").await.unwrap();
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest).await;
        assert!(begun.elapsed() >= HEADER_TIMEOUT && begun.elapsed() < 2 * HEADER_TIMEOUT, "{:?}", begun.elapsed());
    }

    #[tokio::test]
    async fn stopping_closes_idle_connections_and_returns() {
        let (address, stop, server) = running().await;
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
        let mut answer = vec![0; 4096];
        let read = stream.read(&mut answer).await.unwrap();
        assert_eq!(status(&String::from_utf8_lossy(&answer[..read])), 200);

        stop.cancel();
        server.await.unwrap();
        assert_eq!(stream.read(&mut answer).await.unwrap(), 0);
        assert!(TcpStream::connect(address).await.is_err());
    }

    #[tokio::test]
    async fn stopping_lets_an_answer_that_is_under_way_end() {
        let (address, stop, server) = running().await;
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET /large HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
        let mut answer = vec![0; 4096];
        let begun = stream.read(&mut answer).await.unwrap();
        answer.truncate(begun);
        stop.cancel();
        stream.read_to_end(&mut answer).await.unwrap();
        server.await.unwrap();
        assert_eq!(body(std::str::from_utf8(&answer).unwrap()).len(), LARGE);
    }

    #[tokio::test]
    async fn beyond_the_cap_a_connection_waits_for_its_turn() {
        let (address, _stop, _server) = running().await;
        let mut open = Vec::new();
        for _ in 0..MAX_CONNECTIONS {
            open.push(TcpStream::connect(address).await.unwrap());
        }
        let waiting = get(address, "/");
        tokio::pin!(waiting);
        // a full exchange on each of the others: the server runs, but the last one is not served
        for stream in &mut open {
            stream.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
            let mut answer = [0; 4096];
            tokio::select! {
                _ = &mut waiting => panic!("served beyond the cap"),
                read = stream.read(&mut answer) => assert!(read.unwrap() > 0),
            }
        }
        open.pop();
        assert_eq!(status(&waiting.await), 200);
    }
}
