//! `[routing.auto]`: models that there are, and a classifier where one is asked.

use super::Resolver;
use super::models::Names;
use crate::config::problem::{Field, Mistake};
use crate::config::raw;
use crate::config::raw_auto::{self, Routing};
use crate::models::ModelId;
use crate::routing::auto::{AUTO, Auto, Classifier, Mode};
use crate::routing::rules::Rules;

/// More would be looked for in every prompt.
const MOST_KEYWORDS: usize = 200;

impl Resolver<'_> {
    pub(super) fn auto(&mut self, routing: &Routing, models: &Field<Vec<raw::Model>>) -> Option<Auto> {
        let auto = routing.auto.as_ref()?;
        let names = Names::new("model", models, |model| &model.name);
        let [easy, hard] = [&auto.easy, &auto.hard]
            .map(|name| if name.is_readable() { self.find(&names, name, name).map(ModelId) } else { None });
        if easy.is_some() && easy == hard {
            let mistake = Mistake::new(
                "is the same model as routing.auto.easy",
                "name a stronger one; or remove [routing.auto] and let clients name the model",
            );
            self.problems.report(&auto.hard.place, mistake);
        }
        let classifier = self.classifier(auto, &names);
        let keywords = [&auto.keywords_easy, &auto.keywords_hard].map(|list| self.keywords(list));
        Some(Auto {
            easy: easy?,
            hard: hard?,
            mode: auto.mode.value,
            classifier,
            rules: Rules::new(&keywords[0], &keywords[1]),
            is_default: routing.default.as_deref() == Some(AUTO),
        })
    }

    fn classifier(&mut self, auto: &raw_auto::Auto, names: &Names<'_>) -> Option<Classifier> {
        let Some(name) = &auto.classifier.value else {
            if auto.mode.value == Mode::Rules || !auto.mode.is_readable() {
                return None;
            }
            let mistake = Mistake::new(
                "is missing",
                "write the name of the model that decides, a cheap and fast one that does not reason at length; or write \
                 mode = \"rules\"",
            );
            self.problems.report(&auto.classifier.place, mistake);
            return None;
        };
        let model = ModelId(self.find(names, name, &auto.classifier)?);
        Some(Classifier { model, timeout: auto.timeout.value })
    }

    fn keywords(&mut self, list: &Field<Vec<Field<String>>>) -> Vec<String> {
        if list.len() > MOST_KEYWORDS {
            let reason = format!("has more than {MOST_KEYWORDS} words");
            self.problems.report(&list.place, Mistake::new(reason, "keep those that matter, or ask a classifier"));
        }
        for word in list.iter().filter(|word| word.is_readable() && word.trim().is_empty()) {
            self.problems.report(&word.place, Mistake::new("is empty", "write a word or a phrase, or remove it"));
        }
        super::strings(list)
    }
}
