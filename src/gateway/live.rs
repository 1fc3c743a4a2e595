//! The running gateway, which a reload replaces as a whole: a request keeps the gateway that it began with.

use std::sync::Arc;

use arc_swap::ArcSwap;
use http::Request;
use hyper::body::Incoming;

use crate::gateway::Gateway;
use crate::server::handler::Peer;
use crate::server::handler::{Answering, Handler};

/// The current gateway.
pub struct Live(ArcSwap<Gateway>);

impl Live {
    /// Begins with this gateway.
    pub fn new(gateway: Gateway) -> Self {
        Self(ArcSwap::from_pointee(gateway))
    }

    /// The current gateway.
    pub fn current(&self) -> Arc<Gateway> {
        self.0.load_full()
    }

    /// Replaces the gateway for all later requests.
    pub fn swap(&self, gateway: Gateway) {
        self.0.store(Arc::new(gateway));
    }
}

impl Handler for Live {
    fn handle(&self, request: Request<Incoming>, peer: Peer) -> Answering {
        Box::pin(self.current().handle(request, peer))
    }
}
