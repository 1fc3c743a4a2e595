//! What the classifier has said: remembered in this process, and kept where instances share answers.

use std::sync::Arc;
use std::time::Duration;

use ring::digest::{SHA256, digest};
use serde_json::json;

use super::memory::Memory;
use crate::config::{self, Config};
use crate::redis::store::Store;
use crate::route::classifier::Question;
use crate::route::verdict::Verdict;

/// For whom a verdict is kept in the shared store, as a hash: whoever an answer is kept for.
pub type Scope = [u8; 32];

/// More bytes than a verdict has.
const LONGEST: usize = 16;

/// What it has said. It goes with the configuration that it was said under.
#[derive(Default)]
pub(super) struct Said {
    here: Memory,
    elsewhere: Option<Elsewhere>,
}

/// What all instances with this classifier have been told.
struct Elsewhere {
    store: Arc<Store>,
    /// The classifier as it is configured, so that another one's verdicts are not found.
    classifier: [String; 4],
    ttl: Duration,
    budget: Duration,
}

impl Said {
    /// In this process, and in the store for as long as an answer is kept there.
    pub(super) fn shared(store: Arc<Store>, config: &Config, rules: &config::Cache) -> Self {
        let classifier = config.auto.as_ref().and_then(|auto| auto.asks());
        let elsewhere = classifier.map(|classifier| {
            let model = config.models.get(classifier.model);
            let upstream = &config.upstreams[model.upstream.0];
            let names =
                [&model.name, &upstream.name, &upstream.base.to_string(), &model.upstream_model].map(String::clone);
            Elsewhere { store, classifier: names, ttl: rules.ttl, budget: rules.redis_budget }
        });
        Self { here: Memory::default(), elsewhere }
    }

    /// The verdict on a prompt, if it is remembered here, or kept for this scope and there within the budget.
    pub(super) async fn get(&self, question: &Question, scope: Option<Scope>) -> Option<Verdict> {
        let key = question.key();
        if let Some(verdict) = self.here.get(&key) {
            return Some(verdict);
        }
        let (elsewhere, scope) = (self.elsewhere.as_ref()?, scope?);
        let kept = elsewhere.store.get(&elsewhere.name(question, scope), LONGEST, elsewhere.budget).await?;
        let verdict = Verdict::BOTH.into_iter().find(|verdict| kept == verdict.as_str())?;
        self.here.keep(key, verdict);
        Some(verdict)
    }

    /// Remembers a verdict, and keeps it for this scope. Nobody waits for that.
    pub(super) fn keep(&self, question: &Question, scope: Option<Scope>, verdict: Verdict) {
        self.here.keep(question.key(), verdict);
        if let (Some(elsewhere), Some(scope)) = (&self.elsewhere, scope) {
            let name = elsewhere.name(question, scope);
            elsewhere.store.put(name, move || verdict.as_str().into(), elsewhere.ttl);
        }
    }
}

impl Elsewhere {
    /// By all that the classifier is told, its instructions as well: other releases may give it others.
    fn name(&self, question: &Question, scope: Scope) -> String {
        let all = json!([scope, self.classifier, question.body()]).to_string();
        let mut name = String::from("tokenway:verdict:");
        digest(&SHA256, all.as_bytes()).as_ref().iter().for_each(|byte| name.push_str(&format!("{byte:02x}")));
        name
    }
}
