//! What the server calls for each request: the seam between the listener and the gateway.

use std::future::Future;

use http::{Request, Response};
use hyper::body::Incoming;

use crate::body::Body;
use crate::head::Peer;

/// Answers requests. One value serves every connection.
pub trait Handler: Send + Sync + 'static {
    /// Answers one request. Every failure is a response too.
    ///
    /// The future is dropped when the client leaves before it is done. Over HTTP/1.1 a response that comes before the
    /// request's body was read to its end closes the connection after it; such a response should say `connection: close`
    /// (RFC 9112 §9.6), which hyper does not do by itself.
    fn handle(&self, request: Request<Incoming>, peer: Peer) -> impl Future<Output = Response<Body>> + Send;
}
