//! The verdict easy or hard, and what decided it. Pure.

use std::fmt;

/// The model of `auto` that answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// The cheap model.
    Easy,
    /// The strong model.
    Hard,
}

/// What made the decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum By {
    /// The classifier, now or earlier for the same prompt.
    Classifier,
    /// The rules.
    Rules,
}

/// A verdict and its origin; displayed in the form of the header `tokenway-route`: `easy;by=rules`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Decision {
    /// Easy or hard.
    pub verdict: Verdict,
    /// What decided.
    pub by: By,
}

impl Verdict {
    /// Both verdicts.
    pub const BOTH: [Self; 2] = [Self::Easy, Self::Hard];

    /// The word of the verdict, in headers, labels and the classifier's answer.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Easy => "easy",
            Self::Hard => "hard",
        }
    }

    /// Reads the answer of a classifier: one of the two words, in any case, alone or with punctuation, blanks or line ends
    /// around it. Returns `None` for any other text, also with both words.
    pub fn read(answer: &str) -> Option<Self> {
        // one token was requested, so a longer text is not a verdict
        const LONGEST: usize = 32;
        if answer.len() > LONGEST {
            return None;
        }
        let word = answer.trim_matches(|c: char| c.is_whitespace() || c.is_ascii_punctuation());
        Self::BOTH.into_iter().find(|verdict| word.eq_ignore_ascii_case(verdict.as_str()))
    }
}

impl By {
    /// The value of the label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Classifier => "classifier",
            Self::Rules => "rules",
        }
    }
}

impl Decision {
    /// The form of the header.
    pub fn as_str(self) -> &'static str {
        match (self.verdict, self.by) {
            (Verdict::Easy, By::Classifier) => "easy;by=classifier",
            (Verdict::Easy, By::Rules) => "easy;by=rules",
            (Verdict::Hard, By::Classifier) => "hard;by=classifier",
            (Verdict::Hard, By::Rules) => "hard;by=rules",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str((*self).as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn one_of_the_two_words_is_read_through_marks_and_case() {
        for answer in ["easy", "Easy", " EASY\n", "**easy**", "\"easy\".", "\tEasy!", "(easy)"] {
            assert_eq!(Verdict::read(answer), Some(Verdict::Easy), "{answer:?}");
        }
        assert_eq!(Verdict::read("'Hard'\r\n"), Some(Verdict::Hard));
    }

    #[test]
    fn anything_else_is_no_verdict() {
        let long = format!("easy{}", " ".repeat(100));
        for answer in
            ["", " ", "e", "eas", "easier", "easy hard", "easy, hard", "hard to say", "not hard", "еasy", &long]
        {
            assert_eq!(Verdict::read(answer), None, "{answer:?}");
        }
    }

    #[test]
    fn a_decision_is_written_like_its_parts() {
        for verdict in Verdict::BOTH {
            for by in [By::Classifier, By::Rules] {
                let parts = format!("{verdict};by={}", by.as_str());
                assert_eq!(Decision { verdict, by }.to_string(), parts);
            }
        }
    }

    proptest! {
        #[test]
        fn any_answer_can_be_read_and_only_the_words_decide(answer in "(\\PC|easy|hard|EASY|[ \n*\"']){0,12}") {
            if let Some(verdict) = Verdict::read(&answer) {
                let letters: String = answer.chars().filter(char::is_ascii_alphabetic).collect();
                prop_assert!(letters.eq_ignore_ascii_case(verdict.as_str()), "{}", answer);
            }
        }
    }
}
