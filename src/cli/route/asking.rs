//! Asks a real classifier about every labelled prompt.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use tokio::time::Instant;

use super::labelled::Labelled;
use super::report::{Effort, Judge};
use tokenway::auth::caller::Caller;
use tokenway::config::Config;
use tokenway::failover::health_registry::HealthRegistry;
use tokenway::gateway;
use tokenway::limits::limiter::Limiter;
use tokenway::metering::meter::Meter;
use tokenway::metrics::Metrics;
use tokenway::price::Cost;
use tokenway::request_id::RequestId;
use tokenway::routing::auto::Classifier;
use tokenway::routing::classifier::Question;
use tokenway::routing::plan::Plan;
use tokenway::routing::verdict::Verdict;
use tokenway::upstream::clients::Clients;

/// Concurrent questions: a small server of one's own takes no more.
const AT_ONCE: usize = 4;

/// The result of one question.
struct Asked {
    verdict: Option<Verdict>,
    took: Duration,
    cost: Option<Cost>,
}

/// Returns two judges: the classifier alone, and the classifier with the rules where it gives no verdict, as for requests.
pub(super) async fn judged(
    config: &Config,
    classifier: Classifier,
    prompts: &[Labelled],
) -> Result<[Judge; 2], String> {
    let auto = config.auto.as_ref().ok_or("there is no [routing.auto]")?;
    let metrics = Arc::new(Metrics::new().map_err(|error| error.to_string())?);
    let health_registry = Arc::new(HealthRegistry::new(Arc::clone(&metrics)));
    let router = Arc::new(gateway::router(config, Arc::clone(&metrics)));
    let limiter = Limiter::local(1, Arc::clone(&metrics));
    let completions = Arc::new(gateway::completions(config, router, (health_registry, &Clients::default()), limiter)?);
    let ask_about = async |prompt: &Labelled| -> Result<Asked, String> {
        let question = Question::about(&prompt.prompt);
        let (id, started) = (RequestId::random(), Instant::now());
        let address = std::net::Ipv4Addr::LOCALHOST.into();
        let meter = Meter::start(Arc::clone(&metrics), started, id.text(), "route_eval", None, address);
        let asked = Plan::of_question(&question, classifier.model, Caller::operator(), id.header())
            .ok_or("the question cannot be read")?;
        let verdict = completions.classify(asked, classifier.timeout, &meter).await.ok();
        let cost = meter.record().cost();
        Ok(Asked { verdict, took: started.elapsed(), cost })
    };
    let asked: Vec<Result<Asked, String>> = stream::iter(prompts).map(ask_about).buffered(AT_ONCE).collect().await;
    let asked = asked.into_iter().collect::<Result<Vec<_>, _>>()?;

    let verdicts: Vec<_> = asked.iter().map(|asked| asked.verdict).collect();
    let by_rules = |(prompt, said): (&Labelled, &Option<Verdict>)| said.or(Some(auto.rules.decide(&prompt.prompt)));
    let together = prompts.iter().zip(&verdicts).map(by_rules).collect();
    let mut took: Vec<Duration> = asked.iter().map(|asked| asked.took).collect();
    took.sort();
    let at = |share: usize| {
        took.get((took.len() * share / 100).min(took.len().saturating_sub(1))).copied().unwrap_or_default()
    };
    let cost: Option<Cost> = asked.iter().map(|asked| asked.cost).sum();
    let name = format!("classifier {}", config.models.get(classifier.model).name);
    let effort = Effort { median: at(50), p95: at(95), cost: cost.map(|cost| cost.to_string()) };
    let alone = Judge { name: name.clone(), verdicts, effort: Some(effort) };
    Ok([alone, Judge::new(format!("{name}, else rules"), together)])
}
