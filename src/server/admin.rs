//! The admin listener: metrics, liveness, readiness and the dashboard. The public listener serves none of them.

use std::sync::Arc;

use http::{HeaderValue, StatusCode};
use tokio::net::TcpListener;

use super::pages::{Page, STYLE, Site};
use crate::drain::Drain;
use crate::failover::circuit::State;
use crate::failover::health_registry::{HealthRegistry, HealthStatus};
use crate::metrics::Metrics;
use crate::supervise::Failed;

const JSON: &str = "application/json";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Serves until the drain is over: while streams finish, `/readyz` informs the load balancer.
///
/// # Errors
/// The accept loop failed again and again.
pub async fn serve(
    listener: TcpListener,
    metrics: Arc<Metrics>,
    health_registry: Arc<HealthRegistry>,
    drain: Drain,
) -> Result<(), Failed> {
    let (over, restarts) = (drain.over.clone(), metrics.task_restarts.clone());
    let route = move |path: &str| {
        Some(match path {
            "/metrics" => Page::ok("text/plain; version=0.0.4; charset=utf-8", metrics.text()),
            "/healthz" => Page::ok(JSON, "{\"status\":\"ok\"}\n"),
            "/readyz" => readiness(&metrics, &health_registry.shown(), &drain),
            "/" => Page::ok("text/html; charset=utf-8", include_str!("../../web/dashboard.html")),
            "/dashboard.css" => {
                Page::ok("text/css; charset=utf-8", [STYLE, include_str!("../../web/dashboard.css")].concat())
            }
            "/dashboard.mjs" => Page::ok(SCRIPT, include_str!("../../web/dashboard.mjs")),
            "/exposition.mjs" => Page::ok(SCRIPT, include_str!("../../web/exposition.mjs")),
            "/ledger.mjs" => Page::ok(SCRIPT, include_str!("../../web/ledger.mjs")),
            _ => return None,
        })
    };
    Site { security_policy: HeaderValue::from_static(POLICY), route }.serve("admin", listener, restarts, over).await
}

/// Ready while the public listener accepts connections and new requests are served; a refused configuration is reported, but the old one still serves.
///
/// Open circuits are reported, too, but do not make the gateway unready, even if all are open: another instance has the same
/// upstreams, and only requests find out when they are available again.
fn readiness(metrics: &Metrics, health_registry: &[HealthStatus], drain: &Drain) -> Page {
    let status = match (drain.announced.is_cancelled(), metrics.accepting.get()) {
        (true, _) => "draining",
        (false, 0) => "not_accepting",
        (false, _) => "ready",
    };
    let detail = serde_json::json!({
        "status": status,
        "streams_active": metrics.streams_active.get(),
        "connections_active": metrics.connections_active.get(),
        "config_stale": metrics.config_stale.get() != 0,
        "upstreams": health(health_registry),
        "models": health_registry.iter().map(|shown| serde_json::json!({
            "model": shown.model,
            "upstream": shown.upstream,
            "health": shown.of_model.as_str(),
            "upstream_health": shown.of_upstream.as_str(),
        })).collect::<Vec<_>>(),
    });
    let page = Page::ok(JSON, format!("{detail}\n"));
    if status != "ready" { Page { status: StatusCode::SERVICE_UNAVAILABLE, ..page } } else { page }
}

/// The health of all models in one word.
fn health(health_registry: &[HealthStatus]) -> &'static str {
    let open = |shown: &&HealthStatus| shown.of_model.max(shown.of_upstream) != State::Closed;
    match health_registry.iter().filter(open).count() {
        0 => "healthy",
        all if all == health_registry.len() => "all_open",
        _ => "degraded",
    }
}

#[cfg(test)]
mod tests {
    use super::super::pages::testing::{assert_whole, body, get, header, listener, status};
    use super::*;

    struct Running {
        address: std::net::SocketAddr,
        metrics: Arc<Metrics>,
        drain: Drain,
        server: tokio::task::JoinHandle<()>,
    }

    async fn running() -> Running {
        let (listener, address) = listener().await;
        let (metrics, drain) = (Arc::new(Metrics::new().unwrap()), Drain::default());
        let health_registry = Arc::new(HealthRegistry::new(metrics.clone()));
        metrics.accepting.set(1);
        let served = serve(listener, metrics.clone(), health_registry, drain.clone());
        let server = tokio::spawn(async move { served.await.unwrap() });
        Running { address, metrics, drain, server }
    }

    async fn json(address: std::net::SocketAddr, path: &str) -> (u16, serde_json::Value) {
        let answer = get(address, path).await;
        (status(&answer), serde_json::from_str(body(&answer)).unwrap())
    }

    #[tokio::test]
    async fn metrics_are_prometheus_text() {
        let it = running().await;
        it.metrics.streams_active.set(3);
        let answer = get(it.address, "/metrics").await;
        assert_eq!(status(&answer), 200);
        assert!(header(&answer, "content-type").starts_with("text/plain; version=0.0.4"));
        assert!(body(&answer).contains("\ntokenway_streams_active 3\n"));
    }

    #[tokio::test]
    async fn the_dashboard_and_all_that_it_names_are_served() {
        let it = running().await;
        assert_whole(it.address).await;
        assert_eq!(status(&get(it.address, "/v1/models").await), 404);
    }

    #[tokio::test]
    async fn while_draining_it_lives_but_is_not_ready() {
        let it = running().await;
        it.metrics.streams_active.set(2);
        let ready = serde_json::json!({
            "status": "ready", "streams_active": 2, "connections_active": 0, "config_stale": false,
            "upstreams": "healthy", "models": [],
        });
        assert_eq!(json(it.address, "/readyz").await, (200, ready));

        it.drain.begun.cancel();
        let (status, detail) = json(it.address, "/readyz").await;
        assert_eq!((status, &detail["status"], &detail["streams_active"]), (503, &"draining".into(), &2.into()));
        assert_eq!(json(it.address, "/healthz").await, (200, serde_json::json!({ "status": "ok" })));

        it.drain.over.cancel();
        it.server.await.unwrap();
    }

    #[tokio::test]
    async fn without_an_accept_loop_it_is_not_ready() {
        let it = running().await;
        it.metrics.accepting.set(0);
        let (status, detail) = json(it.address, "/readyz").await;
        assert_eq!((status, &detail["status"]), (503, &"not_accepting".into()));
        it.metrics.accepting.set(1);
        assert_eq!(json(it.address, "/readyz").await.0, 200);
    }

    #[test]
    fn the_health_of_all_models_is_reported_in_one_word() {
        let shown =
            |of_model, of_upstream| HealthStatus { model: "m".into(), upstream: "u".into(), of_model, of_upstream };
        let good = shown(State::Closed, State::Closed);
        let (bad, unreachable) = (shown(State::Open, State::Closed), shown(State::Closed, State::Probing));
        assert_eq!(health(&[good.clone(), good.clone()]), "healthy");
        assert_eq!(health(&[good.clone(), bad.clone()]), "degraded");
        assert_eq!(health(&[bad, unreachable]), "all_open");
    }

    #[tokio::test]
    async fn a_refused_configuration_is_reported_but_does_not_make_the_gateway_unready() {
        let it = running().await;
        it.metrics.config_stale.set(1);
        let (status, detail) = json(it.address, "/readyz").await;
        assert_eq!((status, &detail["config_stale"]), (200, &true.into()));
    }
}
