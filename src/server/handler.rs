//! What the server calls for each request: the seam between the listener and the gateway.

use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;

use http::{Request, Response};
use hyper::body::Incoming;

use crate::body::Body;

/// Most header lines of a request. hyper bounds HTTP/1.1 to the same number; nothing bounds HTTP/2 but this.
pub const MAX_HEADERS: usize = 100;
/// Most bytes of a request head.
pub const MAX_HEAD_BYTES: usize = 32 * 1024;

/// What a request knows of the connection it came on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// The other end of the TCP connection; an IPv4 address is never written as IPv6.
    pub address: IpAddr,
    /// True where this process terminated TLS.
    pub tls: bool,
}

/// An answer under way. It is boxed where it is made: a request's state is some kilobytes, which else were copied from one
/// caller's future to the next, and kept through the stream that follows the answer.
pub type Answering = Pin<Box<dyn Future<Output = Response<Body>> + Send>>;

/// Answers requests. One value serves every connection.
pub trait Handler: Send + Sync + 'static {
    /// Answers one request. Every failure is a response too.
    ///
    /// The future is dropped when the client leaves before it is done. Over HTTP/1.1 a response that comes before the
    /// request's body was read to its end closes the connection after it; such a response should say `connection: close`
    /// (RFC 9112 §9.6), which hyper does not do by itself.
    fn handle(&self, request: Request<Incoming>, peer: Peer) -> Answering;
}
