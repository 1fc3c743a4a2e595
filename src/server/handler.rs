//! The interface between the listener and the gateway: the server calls it for each request.

use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;

use http::{Request, Response};
use hyper::body::Incoming;

use crate::body::Body;

/// The most header lines of a request. hyper has the same bound for HTTP/1.1, and none for HTTP/2.
pub const MAX_HEADERS: usize = 100;
/// The most bytes of a request head.
pub const MAX_HEAD_BYTES: usize = 32 * 1024;

/// The most bytes of a request target: RFC 9112 §3 recommends that at least 8,000 work.
pub const MAX_TARGET_BYTES: usize = 8 * 1024;

/// The connection of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// The remote address of the TCP connection; an IPv4 address is never mapped to IPv6.
    pub address: IpAddr,
    /// Whether this process terminates TLS.
    pub tls: bool,
}

/// The future of a response. It is boxed where it is made: a request's state is some kilobytes, which would otherwise be moved from
/// one future to the next, and stay allocated during the stream that follows.
pub type Answering = Pin<Box<dyn Future<Output = Response<Body>> + Send>>;

/// Answers requests. One value serves all connections.
pub trait Handler: Send + Sync + 'static {
    /// Answers one request. Every failure is a response too.
    ///
    /// The future is dropped when the client leaves before it is done. Over HTTP/1.1 a response that comes before the
    /// request's body was read to its end closes the connection after it; such a response should say `connection: close`
    /// (RFC 9112 §9.6), which hyper does not do by itself.
    fn handle(&self, request: Request<Incoming>, peer: Peer) -> Answering;
}
