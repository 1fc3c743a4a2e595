//! What the classifier has said: remembered in this process, and kept where instances share answers.

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

/// More bytes than a verdict has.
const LONGEST: usize = 16;

/// Most verdicts that are cached in this process: 33 bytes each, and what the map needs.
const MOST: usize = 32 * 1024;

/// What it has said. It goes with the configuration that it was said under.
pub(super) struct VerdictCache {
    here: RecentMap<[u8; 32], Verdict>,
    elsewhere: Option<Elsewhere>,
}

/// Where instances share verdicts.
pub struct Sharing {
    /// The shared store.
    pub store: Arc<Store>,
    /// How long a verdict is stored.
    pub ttl: Duration,
    /// How long a request waits for the store.
    pub timeout: Duration,
}

/// What all instances with this classifier have been told.
struct Elsewhere {
    sharing: Sharing,
    /// The classifier as it is configured, so that another one's verdicts are not found.
    classifier: [String; 4],
}

impl Default for VerdictCache {
    /// In this process alone.
    fn default() -> Self {
        Self { here: RecentMap::new(MOST), elsewhere: None }
    }
}

impl VerdictCache {
    /// In this process and in the store, for a classifier at this upstream.
    pub(super) fn shared(sharing: Sharing, classifier: &Model, upstream: &Upstream) -> Self {
        let names = [&classifier.name, &upstream.name, &upstream.base.to_string(), &classifier.upstream_model];
        let elsewhere = Elsewhere { sharing, classifier: names.map(String::clone) };
        Self { elsewhere: Some(elsewhere), ..Self::default() }
    }

    /// The verdict on a prompt, if it is remembered here, or kept for this scope and there within the budget.
    pub(super) async fn get(&self, question: &Question, scope: Option<Scope>) -> Option<Verdict> {
        let key = question.key();
        if let Some(verdict) = self.here.get(&key) {
            return Some(verdict);
        }
        let (elsewhere, scope) = (self.elsewhere.as_ref()?, scope?);
        let kept =
            elsewhere.sharing.store.get(&elsewhere.name(question, scope), LONGEST, elsewhere.sharing.timeout).await?;
        let verdict = Verdict::BOTH.into_iter().find(|verdict| kept == verdict.as_str())?;
        self.here.insert(key, verdict);
        Some(verdict)
    }

    /// Remembers a verdict, and keeps it for this scope. Nobody waits for that.
    pub(super) fn keep(&self, question: &Question, scope: Option<Scope>, verdict: Verdict) {
        self.here.insert(question.key(), verdict);
        if let (Some(elsewhere), Some(scope)) = (&self.elsewhere, scope) {
            let name = elsewhere.name(question, scope);
            elsewhere.sharing.store.put(name, move || verdict.as_str().into(), elsewhere.sharing.ttl);
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

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::path::Path;

    use super::*;
    use crate::config::Config;
    use crate::metrics::Metrics;
    use families::chat::Chat;
    use families::family::{Family, Form};

    fn elsewhere(classifier: &str, host: &str) -> Elsewhere {
        let text = format!(
            "[server]\nplaintext = true\n[[upstreams]]\nname = \"up\"\nbase_url = \"https://{host}/v1\"\n\
             [[models]]\nname = \"a\"\nupstream = \"up\"\n[[models]]\nname = \"b\"\nupstream = \"up\"\n\
             [routing.auto]\neasy = \"a\"\nhard = \"b\"\nclassifier = \"{classifier}\"\n[cache]\nenabled = true\n"
        );
        let config = Config::parse(&text, Path::new(""), &|_| None).unwrap();
        let store = Arc::new(Store::nowhere(Arc::new(Metrics::new().unwrap())));
        let sharing = Sharing { store, ttl: Duration::from_secs(3600), timeout: Duration::from_millis(10) };
        let model = config.auto.unwrap().asks().unwrap().model;
        VerdictCache::shared(sharing, config.models.get(model), &config.upstreams[0]).elsewhere.unwrap()
    }

    fn question(text: &str) -> Question {
        let body = json!({ "messages": [{ "role": "user", "content": text }] }).to_string();
        Question::about(&Chat.parse(body.into(), Form::Full).unwrap().prompt())
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
