//! What is known of a model's health outlives a reload that leaves the model as it is, and `/readyz` tells of it.

use serde_json::{Value, json};

use crate::support::child::{Child, Plan, chat, post};
use crate::support::gateway::exchange;
use crate::support::soon;

const RELOADS: &str = "tokenway_config_reloads_total";

fn models(address: &str) -> String {
    format!(
        "[[upstreams]]\nname = \"dead\"\nbase_url = \"http://{address}/v1\"\n\
         [[models]]\nname = \"first\"\nupstream = \"dead\"\nfallback = [\"demo\"]\n"
    )
}

async fn told(child: &Child) -> Value {
    serde_json::from_str(&exchange(&child.admin, "GET /readyz", "").await).unwrap()
}

#[tokio::test]
async fn health_outlives_a_reload_of_what_stays_as_it_was() {
    let more = models("127.0.0.1:9");
    let child = Child::start(Plan { more: &more, ..Plan::default() }).await;
    assert_eq!(told(&child).await["upstreams"], "healthy");
    let mut request = chat(true, json!({ "tokens": 1 }));
    request["model"] = "first".into();
    for _ in 0..5 {
        let answer = soon(soon(child.target.h2()).await.send_request(post(&request))).await.unwrap();
        assert_eq!(answer.headers()["tokenway-attempts"], "2");
    }
    let detail = told(&child).await;
    assert_eq!((&detail["status"], &detail["upstreams"]), (&json!("ready"), &json!("degraded")));
    let first = json!({ "model": "first", "upstream": "dead", "health": "closed", "upstream_health": "open" });
    assert_eq!(detail["models"][1], first);

    let reload = async |plan: Plan<'_>, count: f64| {
        child.configure(plan);
        child.server.signal("HUP");
        child.until(|now| now.sum(RELOADS, &[("result", "ok")]) == count).await;
    };
    reload(Plan { more: &more, stream: "idle_timeout = \"99s\"", ..Plan::default() }, 1.0).await;
    assert_eq!(told(&child).await["models"][1], first);
    // another address is another upstream
    reload(Plan { more: &models("127.0.0.1:10"), ..Plan::default() }, 2.0).await;
    assert_eq!(told(&child).await["upstreams"], "healthy");
    // and one that is gone is no longer told of
    reload(Plan::default(), 3.0).await;
    let metrics = child.metrics().await;
    assert!(metrics.labels("tokenway_upstream_health").iter().all(|labels| labels["upstream"] == "demo"));
    assert!(metrics.labels("tokenway_model_health").iter().all(|labels| labels["model"] == "demo"));
}
