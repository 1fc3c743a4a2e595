//! The cache of the classifier's verdicts: in this process and, if Redis is configured, in the shared store.

use std::sync::Arc;
use std::time::Duration;

use ring::digest::{SHA256, digest};
use serde_json::json;

use crate::models::Model;
use crate::recent_map::RecentMap;
use crate::redis::store::Store;
use crate::routing::classifier::Question;
use crate::routing::plan::Scope;
use crate::routing::verdict::Verdict;
use crate::upstream::settings::Upstream;

/// The most bytes that are read for a verdict; a verdict has fewer.
const LONGEST: usize = 16;

/// The most verdicts that are cached in this process: 33 bytes each, and the overhead of the map.
const MOST: usize = 32 * 1024;

/// The cached verdicts. They are discarded with their configuration.
pub(super) struct VerdictCache {
    local: RecentMap<[u8; 32], Verdict>,
    shared: Option<SharedVerdicts>,
}

/// How instances share verdicts.
pub struct Sharing {
    /// The shared store.
    pub store: Arc<Store>,
    /// How long a verdict is stored.
    pub ttl: Duration,
    /// How long a request waits for the store.
    pub timeout: Duration,
}

/// The shared part of the cache, for one classifier.
struct SharedVerdicts {
    sharing: Sharing,
    /// The configuration of the classifier: verdicts of another one are not found.
    classifier: [String; 4],
}

impl Default for VerdictCache {
    /// Makes a cache in this process only.
    fn default() -> Self {
        Self { local: RecentMap::new(MOST), shared: None }
    }
}

impl VerdictCache {
    /// Makes a cache in this process and in the store, for a classifier at this upstream.
    pub(super) fn shared(sharing: Sharing, classifier: &Model, upstream: &Upstream) -> Self {
        let names = [&classifier.name, &upstream.name, &upstream.base.to_string(), &classifier.upstream_model];
        let shared = SharedVerdicts { sharing, classifier: names.map(String::clone) };
        Self { shared: Some(shared), ..Self::default() }
    }

    /// Returns the cached verdict on a prompt: from this process, or from the store for this scope within the timeout.
    pub(super) async fn get(&self, question: &Question, scope: Option<Scope>) -> Option<Verdict> {
        let key = question.key();
        if let Some(verdict) = self.local.get(&key) {
            return Some(verdict);
        }
        let (shared, scope) = (self.shared.as_ref()?, scope?);
        let stored = shared.sharing.store.get(&shared.name(question, scope), LONGEST, shared.sharing.timeout).await?;
        let verdict = Verdict::BOTH.into_iter().find(|verdict| stored == verdict.as_str())?;
        self.local.insert(key, verdict);
        Some(verdict)
    }

    /// Caches a verdict in this process, and in the store for this scope. The write to the store runs in the background.
    pub(super) fn store(&self, question: &Question, scope: Option<Scope>, verdict: Verdict) {
        self.local.insert(question.key(), verdict);
        if let (Some(shared), Some(scope)) = (&self.shared, scope) {
            let name = shared.name(question, scope);
            shared.sharing.store.put(name, move || verdict.as_str().into(), shared.sharing.ttl);
        }
    }
}

impl SharedVerdicts {
    /// Returns the name in the store. It depends on all that the classifier sees, its instructions included, because other
    /// releases may have other instructions.
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
    use crate::config::Config;
    use crate::metrics::Metrics;
    use families::chat::Chat;
    use families::family::{Family, Form};

    fn shared_verdicts(classifier: &str, host: &str) -> SharedVerdicts {
        let text = format!(
            "[server]\nplaintext = true\n[[upstreams]]\nname = \"up\"\nbase_url = \"https://{host}/v1\"\n\
             [[models]]\nname = \"a\"\nupstream = \"up\"\n[[models]]\nname = \"b\"\nupstream = \"up\"\n\
             [routing.auto]\neasy = \"a\"\nhard = \"b\"\nclassifier = \"{classifier}\"\n[cache]\nenabled = true\n"
        );
        let config = Config::parse(&text, Path::new(""), &|_| None).unwrap();
        let store = Arc::new(Store::nowhere(Arc::new(Metrics::new().unwrap())));
        let sharing = Sharing { store, ttl: Duration::from_secs(3600), timeout: Duration::from_millis(10) };
        let model = config.auto.unwrap().asks().unwrap().model;
        VerdictCache::shared(sharing, config.models.get(model), &config.upstreams[0]).shared.unwrap()
    }

    fn question(text: &str) -> Question {
        let body = json!({ "messages": [{ "role": "user", "content": text }] }).to_string();
        Question::about(&Chat.parse(body.into(), Form::Full).unwrap().prompt())
    }

    #[test]
    fn a_verdict_is_found_by_the_same_classifier_about_the_same_prompt_for_the_same_owner_alone() {
        let name = |classifier, host, text, scope| shared_verdicts(classifier, host).name(&question(text), [scope; 32]);
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
    async fn a_verdict_is_cached_in_this_process_for_every_scope_and_store() {
        let cache = VerdictCache::default();
        cache.store(&question("one"), None, Verdict::Hard);
        assert_eq!(cache.get(&question("one"), Some([7; 32])).await, Some(Verdict::Hard));
        assert_eq!(cache.get(&question("two"), Some([7; 32])).await, None);
    }
}
