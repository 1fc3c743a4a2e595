//! Upstreams behind an HTTP proxy that makes tunnels.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::support::certs;
use crate::support::edge::{Edge, Setup, Version, expected, streaming};

/// A proxy that gives this status to each `CONNECT`, and a tunnel with a status of success.
struct Proxy {
    address: SocketAddr,
    heads: Arc<Mutex<Vec<String>>>,
    _task: JoinSet<()>,
}

impl Proxy {
    async fn start(status: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, heads) = (listener.local_addr().unwrap(), Arc::<Mutex<Vec<String>>>::default());
        let (mut task, seen) = (JoinSet::new(), Arc::clone(&heads));
        task.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                let seen = Arc::clone(&seen);
                connections.spawn(async move { drop(serve(socket, status, &seen).await) });
            }
        });
        Self { address, heads, _task: task }
    }

    fn line(&self) -> String {
        format!("proxy = \"http://{}\"", self.address)
    }
}

async fn serve(mut socket: TcpStream, status: &str, heads: &Mutex<Vec<String>>) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(socket.read_u8().await?);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let target = head.split(' ').nth(1).unwrap_or_default().to_owned();
    heads.lock().unwrap().push(head);
    socket.write_all(format!("HTTP/1.1 {status}\r\nx-proxy: 1\r\n\r\n").as_bytes()).await?;
    if status.starts_with("200") {
        let mut upstream = TcpStream::connect(target).await?;
        copy_bidirectional(&mut socket, &mut upstream).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_stream_comes_through_a_tunnel_with_and_without_tls() {
    for tls in [false, true] {
        let proxy = Proxy::start("200 Connection established").await;
        let first_tls = tls.then(|| {
            let certificate = certs::localhost();
            let roots = Arc::clone(&certificate.roots);
            (certificate, roots)
        });
        let edge = Edge::start(Setup { one: &proxy.line(), first_tls, ..Setup::default() }).await;
        let request = streaming("demo", json!({}));
        let answer = edge.client(Version::Http2).await.ask(&request).await;
        assert_eq!(answer.status(), 200, "tls: {tls}");
        assert_eq!(answer.rest().await, expected(&request).concat());
        let heads = proxy.heads.lock().unwrap().clone();
        let authority = edge.first.addr;
        assert_eq!(heads, [format!("CONNECT {authority} HTTP/1.1\r\nhost: {authority}\r\n\r\n")], "tls: {tls}");
    }
}

#[tokio::test]
async fn a_proxy_that_makes_no_tunnel_is_an_upstream_that_cannot_be_reached() {
    let proxy = Proxy::start("407 Proxy Authentication Required").await;
    let edge = Edge::start(Setup { one: &proxy.line(), ..Setup::default() }).await;
    let answer = edge.client(Version::Http1).await.ask(&streaming("demo", json!({}))).await;
    assert_eq!((answer.status(), &*answer.error_code().await), (502, "upstream_failure"));
    let log = crate::support::log::text();
    let place = format!("through the proxy http://{}: the proxy made no tunnel: it answered 407", proxy.address);
    assert!(log.contains(&place), "the operator learns why");
}
