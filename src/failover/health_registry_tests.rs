//! One breaker per model, one per upstream, and what a reload keeps.

use std::path::Path;
use std::time::Duration;

use tokio::time::advance;

use super::*;
use crate::config::Config;
use crate::failover::circuit::CoolDown;
use crate::failover::health::AttemptPermit;
use crate::upstream::failure::Failure;

const COOL_DOWN: CoolDown = CoolDown { first: Duration::from_secs(5), most: Duration::from_secs(60) };
const SLOW: Duration = Duration::from_secs(30);

/// Returns a registry of the models `a` and `b` at one upstream, and their health.
fn registry() -> (HealthRegistry, Vec<Arc<ModelHealth>>) {
    let registry = HealthRegistry::new(Arc::new(Metrics::new().unwrap()));
    let of_models = adopt(&registry, "up.example");
    (registry, of_models)
}

/// Returns the health of both when the upstream is at `host`.
fn adopt(registry: &HealthRegistry, host: &str) -> Vec<Arc<ModelHealth>> {
    let text = format!(
        "[server]\nplaintext = true\n[[upstreams]]\nname = \"up\"\nbase_url = \"https://{host}/v1\"\n\
         [[models]]\nname = \"a\"\nupstream = \"up\"\n[[models]]\nname = \"b\"\nupstream = \"up\"\n"
    );
    let config = Config::parse(&text, Path::new(""), &|_| None).unwrap();
    registry.adopt(&config.upstreams, &config.models)
}

fn acquire(health: &Arc<ModelHealth>) -> Option<AttemptPermit> {
    health.acquire(Instant::now(), COOL_DOWN)
}

fn fail(health: &Arc<ModelHealth>, times: usize, failure: &Failure) {
    (0..times).for_each(|_| health.acquire_anyway(Instant::now(), COOL_DOWN).failed(failure));
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_cannot_be_reached_is_so_for_all_its_models_and_a_model_s_failure_is_its_own() {
    let (registry, of) = registry();
    fail(&of[0], 5, &Failure::Empty);
    assert_eq!((of[0].is_available(Instant::now()), of[1].is_available(Instant::now())), (false, true));
    let states =
        |shown: Vec<HealthStatus>| shown.iter().map(|shown| (shown.of_model, shown.of_upstream)).collect::<Vec<_>>();
    assert_eq!(states(registry.shown()), [(State::Open, State::Closed), (State::Closed, State::Closed)]);
    fail(&of[1], 5, &Failure::no_connection());
    assert_eq!(states(registry.shown()), [(State::Open, State::Open), (State::Closed, State::Open)]);
    assert!(acquire(&of[1]).is_none());
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_probe_is_repeated_by_the_next_request() {
    let (_, of) = registry();
    fail(&of[0], 5, &Failure::Broken);
    advance(COOL_DOWN.first).await;
    let probe = acquire(&of[0]).expect("the cool-down is over");
    assert!(acquire(&of[0]).is_none());
    drop(probe);
    acquire(&of[0]).expect("the next probe").succeeded();
    assert!(of[0].is_available(Instant::now()));
}

#[tokio::test(start_paused = true)]
async fn a_model_s_probe_is_given_back_where_the_upstream_is_to_be_left_alone() {
    let (_, of) = registry();
    fail(&of[0], 5, &Failure::Broken);
    advance(COOL_DOWN.first).await;
    fail(&of[1], 5, &Failure::no_connection());
    assert!(acquire(&of[0]).is_none(), "the upstream is open");
    advance(COOL_DOWN.first).await;
    assert!(acquire(&of[0]).is_some(), "model and upstream are probed by one request");
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_was_overtaken_counts_as_late_as_it_was_waited_for() {
    let (_, of) = registry();
    for _ in 0..40 {
        acquire(&of[0]).unwrap().first_output();
    }
    assert!(of[0].p95().unwrap() < SLOW);
    for _ in 0..10 {
        let permit = acquire(&of[0]).unwrap();
        advance(SLOW).await;
        permit.overtaken();
    }
    assert!(of[0].p95().unwrap() >= SLOW);
}
#[tokio::test(start_paused = true)]
async fn what_an_attempt_from_before_a_reload_meets_is_not_shown_of_another_upstream_of_the_same_name() {
    let (registry, before) = registry();
    let late = acquire(&before[0]).unwrap();
    let after = adopt(&registry, "other.example");
    fail(&before[0], 5, &Failure::Empty);
    fail(&before[0], 5, &Failure::no_connection());
    drop(late);
    assert!(after[0].is_available(Instant::now()));
    let (model, upstream) = (&registry.metrics.model_health, &registry.metrics.upstream_health);
    let shown = [model.with_label_values(&["a", "up"]).get(), upstream.with_label_values(&["up"]).get()];
    assert_eq!(shown, [State::Closed.level(); 2]);
}
