//! One request and all that belongs to it, from its head to its response.

use std::net::IpAddr;
use std::sync::Arc;

use http::request::Parts;
use http::{Request, header};
use hyper::body::Incoming;
use tokio::time::Instant;

use super::Gateway;
use super::head;
use super::routes::Route;
use super::upload::Upload;
use crate::metering::meter::Meter;
use crate::request_id::RequestId;
use crate::server::handler::Peer;
use cors::decision::{Decision, decide};

/// One request. Each stage of its path is a method, in the file of that stage.
pub(super) struct Exchange {
    /// The gateway as it was configured when the request came in: a reload does not change it.
    pub(super) gateway: Arc<Gateway>,
    pub(super) route: Route,
    /// The request's head.
    pub(super) parts: Parts,
    /// The request's body.
    pub(super) upload: Upload,
    /// The connection that the request came on.
    pub(super) peer: Peer,
    /// The client's address: the peer's, or the one that trusted proxies report.
    pub(super) address: IpAddr,
    /// Made from the head alone, applied to the response whatever it is.
    pub(super) cors: Decision,
    pub(super) id: RequestId,
    pub(super) meter: Meter,
    /// The client asks for a stream that can be resumed; known once the request is admitted.
    pub(super) resumable: bool,
}

impl Exchange {
    /// Begins when the request's head has been read.
    pub(super) fn new(gateway: Arc<Gateway>, request: Request<Incoming>, peer: Peer) -> Self {
        let started = Instant::now();
        let (parts, body) = request.into_parts();
        let route = Route::of(parts.uri.path(), gateway.shared.families);
        let id = RequestId::of(&parts.headers);
        let metrics = &gateway.shared.metrics;
        let cors = decide(&gateway.config.cors, route.methods(), &parts.method, &parts.headers);
        if let Some(labels) = cors.labels() {
            metrics.cors.with_label_values(&[labels.kind, labels.verdict]).inc();
        }
        let origin = parts.headers.get(header::ORIGIN);
        let address = head::client_address(peer.address, &parts.headers, &gateway.config.server.trusted_proxies);
        let meter = Meter::start(Arc::clone(metrics), started, id.text(), route.as_str(), origin, address);
        if let Some(entry) = cors.entry() {
            meter.record().origin_entry(entry);
        }
        Self { gateway, route, parts, upload: Upload::new(body), peer, address, cors, id, meter, resumable: false }
    }
}
