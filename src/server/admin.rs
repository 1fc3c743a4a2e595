//! The admin listener: metrics, liveness, readiness and the dashboard. Nothing of it is reachable on the public listener.

use std::sync::Arc;

use http::{HeaderValue, StatusCode};
use tokio::net::TcpListener;

use super::pages::{Page, STYLE, Site};
use crate::drain::Drain;
use crate::metrics::Metrics;

const JSON: &str = "application/json";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Serves until the drain is over: while streams finish, `/readyz` tells the load balancer and `/metrics` the rest.
pub async fn serve(listener: TcpListener, metrics: Arc<Metrics>, drain: Drain) {
    let over = drain.over.clone();
    let route = move |path: &str| {
        Some(match path {
            "/metrics" => Page::ok("text/plain; version=0.0.4; charset=utf-8", metrics.text()),
            "/healthz" => Page::ok(JSON, "{\"status\":\"ok\"}\n"),
            "/readyz" => readiness(&metrics, &drain),
            "/" => Page::ok("text/html; charset=utf-8", include_str!("../../web/dashboard.html")),
            "/dashboard.css" => {
                Page::ok("text/css; charset=utf-8", [STYLE, include_str!("../../web/dashboard.css")].concat())
            }
            "/dashboard.mjs" => Page::ok(SCRIPT, include_str!("../../web/dashboard.mjs")),
            "/exposition.mjs" => Page::ok(SCRIPT, include_str!("../../web/exposition.mjs")),
            _ => return None,
        })
    };
    Site { security_policy: HeaderValue::from_static(POLICY), route }.serve(listener, over).await;
}

/// Ready while new requests are taken; a refused configuration is told of, but the old one still serves.
fn readiness(metrics: &Metrics, drain: &Drain) -> Page {
    let draining = drain.begun.is_cancelled();
    let detail = serde_json::json!({
        "status": if draining { "draining" } else { "ready" },
        "streams_active": metrics.streams_active.get(),
        "connections_active": metrics.connections_active.get(),
        "config_stale": metrics.config_stale.get() != 0,
    });
    let page = Page::ok(JSON, format!("{detail}\n"));
    if draining { Page { status: StatusCode::SERVICE_UNAVAILABLE, ..page } } else { page }
}
