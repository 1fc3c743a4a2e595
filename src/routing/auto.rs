//! What the model name `auto` means. Pure.

use std::time::Duration;

use families::prompt::Prompt;

use super::rules::Rules;
use super::verdict::{By, Decision, Verdict};
use crate::models::names::AUTO;
use crate::models::{ModelId, Table};

/// How is decided which model answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// The easy model is asked at once, and what it says is held until the classifier has decided.
    Speculative,
    /// Nobody is asked before the classifier has decided.
    First,
    /// The rules decide.
    Rules,
}

/// `[routing.auto]`, checked.
#[derive(Debug, Clone)]
pub struct Auto {
    /// Answers what is easy.
    pub easy: ModelId,
    /// Answers what is hard.
    pub hard: ModelId,
    /// How is decided.
    pub mode: Mode,
    /// Who decides; there is one unless the mode is [`Mode::Rules`].
    pub classifier: Option<Classifier>,
    /// What is decided without a classifier.
    pub rules: Rules,
    /// A request that names no model means `auto`.
    pub is_default: bool,
}

/// The model that decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Classifier {
    /// Which one.
    pub model: ModelId,
    /// The rules decide if it has not by then.
    pub timeout: Duration,
}

/// Which models a caller may be routed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// Either.
    Both,
    /// Only this one: nothing is left to decide.
    One(Verdict),
}

impl Auto {
    /// Whether a request that names this model, or none, means `auto`.
    pub fn is_meant_by(&self, name: Option<&str>) -> bool {
        name.map_or(self.is_default, |name| name == AUTO)
    }

    /// The classifier that is to be asked, if one is.
    pub fn asks(&self) -> Option<Classifier> {
        self.classifier.filter(|_| self.mode != Mode::Rules)
    }

    /// The model of a verdict.
    pub fn model(&self, verdict: Verdict) -> ModelId {
        match verdict {
            Verdict::Easy => self.easy,
            Verdict::Hard => self.hard,
        }
    }

    /// What is left to choose for somebody who may use these models; `None` if neither.
    pub fn choice(&self, may_use: impl Fn(ModelId) -> bool) -> Option<Choice> {
        match (may_use(self.easy), may_use(self.hard)) {
            (true, true) => Some(Choice::Both),
            (true, false) => Some(Choice::One(Verdict::Easy)),
            (false, true) => Some(Choice::One(Verdict::Hard)),
            (false, false) => None,
        }
    }

    /// What needs no classifier: a prompt that, with the answer asked for, only one of the two contexts can hold.
    pub fn fitting(&self, models: &Table, prompt: &Prompt) -> Option<Verdict> {
        let tokens = prompt.tokens.saturating_add(prompt.answer);
        let fits = |id: ModelId| models.get(id).context.is_none_or(|context| tokens <= context);
        match (fits(self.easy), fits(self.hard)) {
            (true, false) => Some(Verdict::Easy),
            (false, true) => Some(Verdict::Hard),
            _ => None,
        }
    }

    /// The decision of the rules.
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
