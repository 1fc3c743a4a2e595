//! The running gateway, which a reload swaps whole: a request in flight keeps the one that it began with.

use std::sync::Arc;

use arc_swap::ArcSwap;
use http::Request;
use hyper::body::Incoming;

use crate::gateway::Gateway;
use crate::server::handler::Peer;
use crate::server::handler::{Answering, Handler};

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
    fn handle(&self, request: Request<Incoming>, peer: Peer) -> Answering {
        Box::pin(self.current().handle(request, peer))
    }
}
