//! Pages for the playground and the admin listener, whose responses are ready at once. Connections are those of `connection`, in
//! plaintext and with bounds of their own.

use std::future::ready;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
    X_FRAME_OPTIONS,
};
use http::uri::Authority;
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use prometheus::IntCounterVec;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::accept::{Accept, Counts};
use super::connection_settings::Settings;
use super::handler::{Answering, Handler, Peer};
use crate::body::Body;
use crate::drain::Drain;
use crate::supervise::Failed;

/// The most connections: enough for a person with some tabs and a scraper or two. Beyond it, the oldest connection without a request
/// is closed, so that silent clients delay nobody.
const MAX_CONNECTIONS: usize = 64;
/// The timeout of a request head.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// The timeout of a connection without a request: more than the interval of scrapers.
const IDLE_TIMEOUT: Duration = Duration::from_secs(75);
/// The timeout of a client that takes no byte of its response.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

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
    ///
    /// # Errors
    /// The accept loop failed again and again.
    pub(super) async fn serve(
        self,
        task: &'static str,
        listener: TcpListener,
        restarts: IntCounterVec,
        stop: CancellationToken,
    ) -> Result<(), Failed> {
        let loopback_only = listener.local_addr().is_ok_and(|address| address.ip().is_loopback());
        let accept = Accept {
            task,
            settings: Arc::new(ArcSwap::from_pointee(settings())),
            handler: Arc::new(Served { site: self, loopback_only }),
            counts: Counts::unregistered(restarts),
            drain: Drain::at(stop),
        };
        accept.serve(listener).await
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

/// A site on its listener.
struct Served<R> {
    site: Site<R>,
    loopback_only: bool,
}

impl<R: Fn(&str) -> Option<Page> + Send + Sync + 'static> Handler for Served<R> {
    fn handle(&self, request: Request<Incoming>, _: Peer) -> Answering {
        Box::pin(ready(self.site.answer(&request, self.loopback_only)))
    }
}

fn settings() -> Settings {
    Settings {
        tls: None,
        max_connections: MAX_CONNECTIONS,
        max_connections_per_ip: 0,
        evict_idle: true,
        trusted_proxies: Vec::new(),
        handshake_timeout: HEADER_TIMEOUT,
        header_timeout: HEADER_TIMEOUT,
        idle_timeout: IDLE_TIMEOUT,
        body_timeout: HEADER_TIMEOUT,
        max_body: 0,
        write_timeout: WRITE_TIMEOUT,
    }
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
    use tokio::net::TcpStream;

    use super::testing::{body, exchange, get, header, listener, restarts, status};
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
        let served = site().serve("test", listener, restarts(), stop.clone());
        let server = tokio::spawn(async move { served.await.unwrap() });
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
    async fn beyond_the_cap_the_oldest_connection_without_a_request_is_closed() {
        let (address, _stop, _server) = running().await;
        let request = "GET / HTTP/1.1\r\nhost: localhost\r\n\r\n";
        let mut answer = [0; 4096];
        let mut silent = Vec::new();
        for sent in ["", "GET / HTTP/1.1\r\nhost: loc", request].iter().cycle().take(2 * MAX_CONNECTIONS) {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(sent.as_bytes()).await.unwrap();
            if *sent == request {
                assert!(stream.read(&mut answer).await.unwrap() > 0);
            }
            silent.push(stream);
        }
        // no header timeout of any of them has passed yet
        assert_eq!(status(&get(address, "/").await), 200);
        assert_eq!(silent[0].read(&mut answer).await.unwrap(), 0, "the oldest is closed");
        let last = silent.last_mut().unwrap();
        last.write_all(request.as_bytes()).await.unwrap();
        assert!(last.read(&mut answer).await.unwrap() > 0, "the last one is served");
    }

    #[tokio::test]
    async fn beyond_the_cap_busy_connections_stay() {
        let (address, _stop, _server) = running().await;
        let mut busy = Vec::new();
        for _ in 0..MAX_CONNECTIONS {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(b"GET /large HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await.unwrap();
            stream.read_exact(&mut [0; 1]).await.unwrap();
            busy.push(stream);
        }
        let mut refused = TcpStream::connect(address).await.unwrap();
        assert_eq!(refused.read(&mut [0; 1]).await.unwrap_or(0), 0);
        let mut whole = Vec::new();
        busy[0].read_to_end(&mut whole).await.unwrap();
        assert!(whole.len() > LARGE);
    }
}
