//! The public listener with a handler of the tests' own.

mod drain;
mod http1;
mod http2;
mod limits;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use futures_util::stream::{self, StreamExt};
use http::{Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Incoming;
use tokenway::body::Body;
use tokenway::drain::Drain;
use tokenway::metrics::Metrics;
use tokenway::server::handler::Peer;
use tokenway::server::handler::{Answering, Handler};
use tokenway::server::{self, Settings, tls};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use crate::support::certs;
use crate::support::client::Target;

/// A running server.
struct Server {
    target: Target,
    settings: Arc<ArcSwap<Settings>>,
    metrics: Arc<Metrics>,
    drain: Drain,
    routes: Arc<Routes>,
    /// A path for each request or response body that was dropped before its end.
    broken: mpsc::UnboundedReceiver<String>,
    done: JoinHandle<()>,
}

impl Server {
    /// With generous deadlines.
    fn start() -> Self {
        Self::with(|_| {})
    }

    /// With some settings changed.
    fn with(change: impl FnOnce(&mut Settings)) -> Self {
        let certificate = certs::localhost();
        let long = Duration::from_secs(60);
        let mut settings = Settings {
            tls: Some(tls::server_config(&certificate.identity).unwrap()),
            max_connections: 1000,
            max_connections_per_ip: 0,
            evict_idle: false,
            trusted_proxies: Vec::new(),
            handshake_timeout: long,
            header_timeout: long,
            idle_timeout: long,
            body_timeout: long,
            max_body: 4 << 20,
            write_timeout: long,
        };
        change(&mut settings);
        let settings = Arc::new(ArcSwap::from_pointee(settings));
        let metrics = Arc::new(Metrics::new().unwrap());
        let drain = Drain::default();
        let (breaks, broken) = mpsc::unbounded_channel();
        let routes = Arc::new(Routes { calls: AtomicUsize::new(0), release: watch::channel(false).0, breaks });
        let listener = server::bind("server.listen", "127.0.0.1:0".parse().unwrap(), false).unwrap();
        let target = Target { address: listener.local_addr().unwrap(), roots: certificate.roots };
        let served = server::serve(listener, settings.clone(), routes.clone(), metrics.clone(), drain.clone());
        let done = tokio::spawn(async move { served.await.unwrap() });
        Self { target, settings, metrics, drain, routes, broken, done }
    }

    fn refused(&self, reason: &str) -> u64 {
        self.metrics.connections_refused.with_label_values(&[reason]).get()
    }

    fn calls(&self) -> usize {
        self.routes.calls.load(Ordering::SeqCst)
    }
}

/// `/ok`, `/length` (of the request's body), `/refuse` (without reading it), `/hold` (`begin`, then `end` once released),
/// `/endless`, `/bytes/N`, `/stuck`, `/panic`.
struct Routes {
    calls: AtomicUsize,
    release: watch::Sender<bool>,
    breaks: mpsc::UnboundedSender<String>,
}

/// Tells where something was dropped before its end.
struct Whole {
    path: String,
    breaks: Option<mpsc::UnboundedSender<String>>,
}

impl Whole {
    fn done(mut self) {
        self.breaks = None;
    }
}

impl Drop for Whole {
    fn drop(&mut self) {
        if let Some(breaks) = self.breaks.take() {
            let _ = breaks.send(std::mem::take(&mut self.path));
        }
    }
}

impl Handler for Routes {
    fn handle(&self, request: Request<Incoming>, peer: Peer) -> Answering {
        assert!(peer.address.is_loopback());
        self.calls.fetch_add(1, Ordering::SeqCst);
        let path = request.uri().path().to_owned();
        let whole = Whole { path: path.clone(), breaks: Some(self.breaks.clone()) };
        Box::pin(answer(request, path, whole, self.release.subscribe()))
    }
}

async fn answer(
    request: Request<Incoming>,
    path: String,
    whole: Whole,
    mut released: watch::Receiver<bool>,
) -> Response<Body> {
    if let Some(length) = path.strip_prefix("/bytes/") {
        whole.done();
        return Response::new(Body::full(vec![b'x'; length.parse().unwrap()]));
    }
    let response = match path.as_str() {
        "/length" => match request.into_body().collect().await {
            Ok(body) => Response::new(Body::full(body.to_bytes().len().to_string())),
            Err(_) => status(StatusCode::BAD_REQUEST),
        },
        "/refuse" => status(StatusCode::PAYLOAD_TOO_LARGE),
        "/hold" => {
            let begin = stream::once(async { Bytes::from_static(b"begin\n") });
            let end = stream::once(async move {
                released.wait_for(|released| *released).await.unwrap();
                whole.done();
                Bytes::from_static(b"end\n")
            });
            return Response::new(streamed(begin.chain(end)));
        }
        "/endless" => {
            let frames = stream::repeat_with(move || {
                let _alive = &whole;
                Bytes::from_static(&[b'x'; 1024])
            });
            return Response::new(streamed(frames));
        }
        "/stuck" => std::future::pending().await,
        "/panic" => panic!("a handler panics"),
        _ => Response::new(Body::full("ok")),
    };
    whole.done();
    response
}

fn status(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::full("refused"));
    *response.status_mut() = status;
    response
}

fn streamed(data: impl stream::Stream<Item = Bytes> + Send + 'static) -> Body {
    Body::Stream(Box::pin(StreamBody::new(data.map(|data| Ok(Frame::data(data))))), None)
}
