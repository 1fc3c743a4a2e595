//! `[routing]`, as it is written and checked: the models exist, and there is a classifier if one is needed. Pure.

use std::time::Duration;

use settings::{Field, Mistake, Resolver, Strings};

use super::auto::{Auto, Classifier, Mode};
use super::rules::Rules;
use crate::models::ModelId;
use crate::models::names::{AUTO, Names};

/// The most keywords. More would make the search in every prompt too slow.
const MOST_KEYWORDS: usize = 200;

settings::section! {
    /// Which model answers.
    pub struct Written {
        /// The model for requests that name no model. Without this line, such a request is refused. "auto" is allowed here.
        default: Option<String>, example "deepseek-v4-flash";
        [auto]: Option<WrittenAuto>;
    }
}

settings::section! {
    /// The model name "auto": easy requests go to a cheap model, hard requests go to a strong model. Without this section, the
    /// name "auto" does not exist. See docs/ROUTING.md.
    pub struct WrittenAuto {
        /// The model for easy requests.
        easy: String, required "write the name of the model that answers what is easy", example "glm-4-plus";
        /// The model for hard requests.
        hard: String, required "write the name of the model that answers what is hard", example "gpt-4o";
        /// The model that decides: a cheap and fast one that does not reason at length. Not needed with the mode "rules".
        classifier: Option<String>, example "glm-4-plus";
        /// How Tokenway decides:
        ///   "speculative": the easy model is asked at once, and its output is held back until the decision. No delay, but hard
        ///     requests also pay for the easy model's prompt.
        ///   "first": no model is asked before the decision.
        ///   "rules": no classifier. Rules decide by length, code, formulas, words, tools and images.
        mode: Mode = "speculative";
        /// If the classifier has not decided by this time, the rules decide.
        timeout: Duration = "1500ms" in "1ms" ..= "1m";
        /// Words and phrases that decide "easy" for the rules, whatever other signs they find.
        keywords_easy: Strings = [];
        /// Words and phrases that decide "hard". If both lists match, hard wins.
        keywords_hard: Strings = [];
    }
}

settings::words!(
    Mode { Speculative = "speculative", First = "first", Rules = "rules" },
    "write \"speculative\" for the least delay, \"first\" for the least cost, \"rules\" for no classifier"
);

impl Written {
    /// Returns the model for requests that name none, unless that is `auto`.
    pub fn default(&self, models: &Names<'_>, resolver: &mut Resolver<'_>) -> Option<ModelId> {
        match &self.default.value {
            Some(name) if name == AUTO && self.auto.is_some() => None,
            Some(name) => models.find(name, &self.default, resolver).map(ModelId),
            None => None,
        }
    }

    /// Returns the checked `[routing.auto]`, or `None` if there is no model `auto`.
    pub fn auto(&self, models: &Names<'_>, resolver: &mut Resolver<'_>) -> Option<Auto> {
        let auto = self.auto.as_ref()?;
        let [easy, hard] = [&auto.easy, &auto.hard]
            .map(|name| if name.is_readable() { models.find(name, name, resolver).map(ModelId) } else { None });
        if easy.is_some() && easy == hard {
            let mistake = Mistake::new(
                "is the same model as routing.auto.easy",
                "name a stronger one; or remove [routing.auto] and let clients name the model",
            );
            resolver.report(&auto.hard.place, mistake);
        }
        let classifier = auto.classifier(models, resolver);
        let keywords = [&auto.keywords_easy, &auto.keywords_hard].map(|list| keywords(list, resolver));
        Some(Auto {
            easy: easy?,
            hard: hard?,
            mode: auto.mode.value,
            classifier,
            rules: Rules::new(&keywords[0], &keywords[1]),
            is_default: self.default.as_deref() == Some(AUTO),
        })
    }
}

impl WrittenAuto {
    fn classifier(&self, models: &Names<'_>, resolver: &mut Resolver<'_>) -> Option<Classifier> {
        let Some(name) = &self.classifier.value else {
            if self.mode.value == Mode::Rules || !self.mode.is_readable() {
                return None;
            }
            let mistake = Mistake::new(
                "is missing",
                "write the name of the model that decides, a cheap and fast one that does not reason at length; or write \
                 mode = \"rules\"",
            );
            resolver.report(&self.classifier.place, mistake);
            return None;
        };
        let model = ModelId(models.find(name, &self.classifier, resolver)?);
        Some(Classifier { model, timeout: self.timeout.value })
    }
}

fn keywords(list: &Field<Strings>, resolver: &mut Resolver<'_>) -> Vec<String> {
    if list.len() > MOST_KEYWORDS {
        let reason = format!("has more than {MOST_KEYWORDS} words");
        resolver.report(&list.place, Mistake::new(reason, "keep those that matter, or ask a classifier"));
    }
    for word in list.iter().filter(|word| word.is_readable() && word.trim().is_empty()) {
        resolver.report(&word.place, Mistake::new("is empty", "write a word or a phrase, or remove it"));
    }
    list.iter().map(|word| word.value.clone()).collect()
}
