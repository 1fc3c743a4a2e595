//! The model name `auto`: its settings and decisions. Pure.

use std::time::Duration;

use families::prompt::Prompt;

use super::rules::Rules;
use super::verdict::{By, Decision, Verdict};
use crate::models::names::AUTO;
use crate::models::{ModelId, Table};

/// How the model is selected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// The easy model is asked at once, and its output is held until the classifier has decided.
    Speculative,
    /// No model is asked before the classifier has decided.
    First,
    /// The rules decide.
    Rules,
}

/// The checked `[routing.auto]`.
#[derive(Debug, Clone)]
pub struct Auto {
    /// The model for easy requests.
    pub easy: ModelId,
    /// The model for hard requests.
    pub hard: ModelId,
    /// How the model is selected.
    pub mode: Mode,
    /// The classifier; present unless the mode is [`Mode::Rules`].
    pub classifier: Option<Classifier>,
    /// The rules that decide without a classifier.
    pub rules: Rules,
    /// Whether a request that names no model is for `auto`.
    pub is_default: bool,
}

/// The model that classifies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Classifier {
    /// The model's id.
    pub model: ModelId,
    /// The time after which the rules decide instead.
    pub timeout: Duration,
}

/// The models that a request can be routed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// Both models.
    Both,
    /// Only one model, so there is nothing to decide.
    One(Verdict),
}

impl Auto {
    /// Whether a request that names this model, or none, is for `auto`.
    pub fn is_meant_by(&self, name: Option<&str>) -> bool {
        name.map_or(self.is_default, |name| name == AUTO)
    }

    /// Returns the classifier, if the mode uses one.
    pub fn asks(&self) -> Option<Classifier> {
        self.classifier.filter(|_| self.mode != Mode::Rules)
    }

    /// Returns the model of a verdict.
    pub fn model(&self, verdict: Verdict) -> ModelId {
        match verdict {
            Verdict::Easy => self.easy,
            Verdict::Hard => self.hard,
        }
    }

    /// Returns the choice for a caller that may use these models, or `None` if it may use neither.
    pub fn choice(&self, may_use: impl Fn(ModelId) -> bool) -> Option<Choice> {
        match (may_use(self.easy), may_use(self.hard)) {
            (true, true) => Some(Choice::Both),
            (true, false) => Some(Choice::One(Verdict::Easy)),
            (false, true) => Some(Choice::One(Verdict::Hard)),
            (false, false) => None,
        }
    }

    /// Returns the verdict without a classifier if only one of the two contexts can hold the prompt and the requested
    /// answer.
    pub fn fitting(&self, models: &Table, prompt: &Prompt) -> Option<Verdict> {
        let tokens = prompt.tokens.saturating_add(prompt.answer);
        let fits = |id: ModelId| models.get(id).context.is_none_or(|context| tokens <= context);
        match (fits(self.easy), fits(self.hard)) {
            (true, false) => Some(Verdict::Easy),
            (false, true) => Some(Verdict::Hard),
            _ => None,
        }
    }

    /// Returns the decision of the rules.
    pub fn by_rules(&self, models: &Table, prompt: &Prompt) -> Decision {
        let verdict = self.fitting(models, prompt).unwrap_or_else(|| self.rules.decide(prompt));
        Decision { verdict, by: By::Rules }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::{Fallback, Model, UpstreamId};
    use families::excerpt::Excerpt;

    fn auto() -> Auto {
        Auto {
            easy: ModelId(0),
            hard: ModelId(1),
            mode: Mode::Rules,
            classifier: None,
            rules: Rules::default(),
            is_default: false,
        }
    }

    fn table(contexts: [Option<u64>; 2]) -> Table {
        let model = |context| Model {
            name: "m".into(),
            upstream: UpstreamId(0),
            upstream_model: "m".into(),
            input_price: None,
            output_price: None,
            cached_input_price: None,
            cache_write_price: None,
            reasoning_price: None,
            context,
            fallback: Fallback::List(Vec::new()),
        };
        Table::new(contexts.map(model).into(), None)
    }

    #[test]
    fn a_caller_gets_what_it_may_use() {
        let choice = |easy, hard| auto().choice(|id| if id == ModelId(0) { easy } else { hard });
        assert_eq!(choice(true, true), Some(Choice::Both));
        assert_eq!(choice(true, false), Some(Choice::One(Verdict::Easy)));
        assert_eq!(choice(false, true), Some(Choice::One(Verdict::Hard)));
        assert_eq!(choice(false, false), None);
    }

    #[test]
    fn a_prompt_goes_where_it_fits_whatever_it_says() {
        let prompt = |tokens| Prompt { tokens, text: Excerpt::of("Hi", 9, 9), ..Prompt::default() };
        let decided = |contexts, tokens| auto().by_rules(&table(contexts), &prompt(tokens)).verdict;
        assert_eq!(decided([Some(100), Some(1000)], 101), Verdict::Hard);
        assert_eq!(decided([Some(100), None], 101), Verdict::Hard);
        assert_eq!(decided([Some(100), Some(1000)], 100), Verdict::Easy);
        assert_eq!(decided([Some(100), Some(100)], 101), Verdict::Easy, "neither fits: the rules decide");
        let answer = |answer| Prompt { answer, ..prompt(90) };
        let decided = |answer: Prompt| auto().by_rules(&table([Some(100), Some(1000)]), &answer).verdict;
        assert_eq!((decided(answer(10)), decided(answer(11))), (Verdict::Easy, Verdict::Hard));
        assert_eq!(decided(answer(u64::MAX)), Verdict::Easy, "neither can hold it");
        let proof = Prompt { tokens: 150, text: Excerpt::of("Prove the theorem.", 99, 9), ..Prompt::default() };
        assert_eq!(auto().by_rules(&table([None, Some(100)]), &proof).verdict, Verdict::Easy);
    }

    #[test]
    fn the_name_means_it_and_no_name_does_where_it_is_the_default() {
        assert!(auto().is_meant_by(Some("auto")) && !auto().is_meant_by(Some("Auto")) && !auto().is_meant_by(None));
        assert!(Auto { is_default: true, ..auto() }.is_meant_by(None));
    }
}
