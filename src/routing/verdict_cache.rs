//! Cached verdicts of the classifier: in this process, and in the store that instances share.

use std::sync::Arc;
use std::time::Duration;

use ring::digest::{SHA256, digest};
use serde_json::json;

use crate::config::{self, Config};
use crate::recent_map::RecentMap;
use crate::redis::store::Store;
use crate::routing::classifier::Question;
use crate::routing::plan::Scope;
use crate::routing::verdict::Verdict;

/// The most bytes of a stored verdict.
const LONGEST: usize = 16;

/// The most verdicts in this process: 33 bytes each, and the overhead of the map.
const MOST: usize = 32 * 1024;

/// The verdicts under one configuration.
pub(super) struct VerdictCache {
    here: RecentMap<[u8; 32], Verdict>,
    elsewhere: Option<Elsewhere>,
}

/// The verdicts of all instances with this classifier.
struct Elsewhere {
    store: Arc<Store>,
    /// The configuration of the classifier, so that the verdicts of another one are not found.
    classifier: [String; 4],
    ttl: Duration,
    budget: Duration,
}

impl Default for VerdictCache {
    /// In this process alone.
    fn default() -> Self {
        Self { here: RecentMap::new(MOST), elsewhere: None }
    }
}

impl VerdictCache {
    /// In this process and in the store, with the time to live of cached answers.
    pub(super) fn shared(store: Arc<Store>, config: &Config, rules: &config::Cache) -> Self {
        let classifier = config.auto.as_ref().and_then(|auto| auto.asks());
        let elsewhere = classifier.map(|classifier| {
            let model = config.models.get(classifier.model);
            let upstream = &config.upstreams[model.upstream.0];
            let names =
                [&model.name, &upstream.name, &upstream.base.to_string(), &model.upstream_model].map(String::clone);
            Elsewhere { store, classifier: names, ttl: rules.ttl, budget: rules.redis_timeout }
        });
        Self { elsewhere, ..Self::default() }
    }

    /// The cached verdict on a prompt: from this process, or from the store for this scope, within the timeout.
    pub(super) async fn get(&self, question: &Question, scope: Option<Scope>) -> Option<Verdict> {
        let key = question.key();
        if let Some(verdict) = self.here.get(&key) {
            return Some(verdict);
        }
        let (elsewhere, scope) = (self.elsewhere.as_ref()?, scope?);
        let kept = elsewhere.store.get(&elsewhere.name(question, scope), LONGEST, elsewhere.budget).await?;
        let verdict = Verdict::BOTH.into_iter().find(|verdict| kept == verdict.as_str())?;
        self.here.insert(key, verdict);
        Some(verdict)
    }

    /// Caches a verdict, and writes it to the store for this scope in the background.
    pub(super) fn keep(&self, question: &Question, scope: Option<Scope>, verdict: Verdict) {
        self.here.insert(question.key(), verdict);
        if let (Some(elsewhere), Some(scope)) = (&self.elsewhere, scope) {
            let name = elsewhere.name(question, scope);
            elsewhere.store.put(name, move || verdict.as_str().into(), elsewhere.ttl);
        }
    }
}

impl Elsewhere {
    /// The name of an entry: a hash of all that the classifier sees, with its instructions, which other releases may change.
    fn name(&self, question: &Question, scope: Scope) -> String {
        let all = json!([scope, self.classifier, question.body()]).to_string();
        let mut name = String::from("tokenway:verdict:");
        digest(&SHA256, all.as_bytes()).as_ref().iter().for_each(|byte| name.push_str(&format!("{byte:02x}")));
        name
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::path::Path;

    use super::*;
    use crate::metrics::Metrics;
    use families::chat::request::Request;

    fn elsewhere(classifier: &str, host: &str) -> Elsewhere {
        let text = format!(
            "[server]\nplaintext = true\n[[upstreams]]\nname = \"up\"\nbase_url = \"https://{host}/v1\"\n\
             [[models]]\nname = \"a\"\nupstream = \"up\"\n[[models]]\nname = \"b\"\nupstream = \"up\"\n\
             [routing.auto]\neasy = \"a\"\nhard = \"b\"\nclassifier = \"{classifier}\"\n[cache]\nenabled = true\n"
        );
        let config = Config::parse(&text, Path::new(""), &|_| None).unwrap();
        let store = Arc::new(Store::nowhere(Arc::new(Metrics::new().unwrap())));
        VerdictCache::shared(store, &config, config.cache.as_ref().unwrap()).elsewhere.unwrap()
    }

    fn question(text: &str) -> Question {
        let body = json!({ "messages": [{ "role": "user", "content": text }] }).to_string();
        Question::about(&Request::parse(body.into()).unwrap().prompt())
    }

    #[test]
    fn a_verdict_is_found_by_the_same_classifier_about_the_same_prompt_for_the_same_owner_alone() {
        let name = |classifier, host, text, scope| elsewhere(classifier, host).name(&question(text), [scope; 32]);
        let first = name("a", "up.example", "one", 1);
        assert_eq!(first, name("a", "up.example", "one", 1));
        let others = [
            name("b", "up.example", "one", 1),
            name("a", "other.example", "one", 1),
            name("a", "up.example", "two", 1),
            name("a", "up.example", "one", 2),
        ];
        let all: HashSet<&String> = others.iter().chain([&first]).collect();
        assert_eq!(all.len(), 5);
        assert!(all.iter().all(|name| name.strip_prefix("tokenway:verdict:").is_some_and(|hash| hash.len() == 64)));
    }

    #[tokio::test]
    async fn what_was_said_is_remembered_here_whoever_asks_and_wherever_the_store_is() {
        let said = VerdictCache::default();
        said.keep(&question("one"), None, Verdict::Hard);
        assert_eq!(said.get(&question("one"), Some([7; 32])).await, Some(Verdict::Hard));
        assert_eq!(said.get(&question("two"), Some([7; 32])).await, None);
    }
}
