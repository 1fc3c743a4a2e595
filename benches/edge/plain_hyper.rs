//! Orientation: hyper's server and hyper-util's pooled client with nothing in between. No deadline, no cap, no CORS, no
//! metric. What Tokenway adds to this is Tokenway's own cost. One thread.

use std::net::SocketAddr;
use std::sync::Arc;

use http::uri::{Authority, Scheme};
use http::{HeaderName, Request, Response, Uri, header};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::{BoxError, Outcome};

/// Serves until the process is ended.
pub(crate) async fn serve(tls: ServerConfig, upstream: SocketAddr) -> Outcome {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    eprintln!("listening on https://{}", listener.local_addr()?);
    let tls = TlsAcceptor::from(Arc::new(tls));
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let client = Client::builder(TokioExecutor::new()).build(connector);
    let upstream: Authority = upstream.to_string().parse()?;
    loop {
        let (stream, _) = listener.accept().await?;
        let (tls, client, upstream) = (tls.clone(), client.clone(), upstream.clone());
        // An error ends one connection; the load client notices.
        tokio::spawn(async move { connection(stream, tls, client, upstream).await });
    }
}

async fn connection(
    stream: TcpStream,
    tls: TlsAcceptor,
    client: Client<HttpConnector, Incoming>,
    upstream: Authority,
) -> Outcome {
    stream.set_nodelay(true)?;
    let stream = Box::pin(tls.accept(stream)).await?;
    let is_h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    let service = service_fn(move |request| forward(request, client.clone(), upstream.clone()));
    let stream = TokioIo::new(stream);
    if is_h2 {
        hyper::server::conn::http2::Builder::new(TokioExecutor::new()).serve_connection(stream, service).await?;
    } else {
        hyper::server::conn::http1::Builder::new().serve_connection(stream, service).await?;
    }
    Ok(())
}

async fn forward(
    mut request: Request<Incoming>,
    client: Client<HttpConnector, Incoming>,
    upstream: Authority,
) -> Result<Response<Incoming>, BoxError> {
    const CONNECTION: [HeaderName; 3] = [header::CONNECTION, header::TRANSFER_ENCODING, header::HOST];
    let mut uri = std::mem::take(request.uri_mut()).into_parts();
    uri.scheme = Some(Scheme::HTTP);
    uri.authority = Some(upstream);
    *request.uri_mut() = Uri::from_parts(uri)?;
    *request.version_mut() = http::Version::HTTP_11;
    CONNECTION.iter().for_each(|name| drop(request.headers_mut().remove(name)));
    let mut response = client.request(request).await?;
    CONNECTION.iter().for_each(|name| drop(response.headers_mut().remove(name)));
    *response.version_mut() = http::Version::default();
    Ok(response)
}
