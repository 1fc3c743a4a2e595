//! The running gateway, which a reload swaps whole: a request in flight keeps the one that it began with.

use std::future::Future;
use std::sync::Arc;

use arc_swap::ArcSwap;
use http::{Request, Response};
use hyper::body::Incoming;

use crate::body::Body;
use crate::gateway::Gateway;
use crate::handler::Handler;
use crate::head::Peer;

/// The gateway that answers now.
pub struct Live(ArcSwap<Gateway>);

impl Live {
    /// Begins with this one.
    pub fn new(gateway: Gateway) -> Self {
        Self(ArcSwap::from_pointee(gateway))
    }

    /// The one that answers now.
    pub fn current(&self) -> Arc<Gateway> {
        self.0.load_full()
    }

    /// From now on this one answers.
    pub fn swap(&self, gateway: Gateway) {
        self.0.store(Arc::new(gateway));
    }
}

impl Handler for Live {
    fn handle(&self, request: Request<Incoming>, peer: Peer) -> impl Future<Output = Response<Body>> + Send {
        let gateway = self.current();
        async move { gateway.handle(request, peer).await }
    }
}
