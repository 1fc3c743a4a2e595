//! What is wrong with a configuration: where, why, and the mend. Pure.

use std::fmt;
use std::path::Path;

use crate::field::{Place, State};

/// Longest piece of the operator's own text that a message repeats, in characters.
const QUOTE_LIMIT: usize = 60;

/// What is wrong with one value, without its place. Never holds a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// What is wrong, as a clause that follows the key path.
    pub reason: String,
    /// What to write or do instead, as an imperative clause.
    pub mend: String,
}

impl Mistake {
    /// A mistake with this reason and mend.
    pub fn new(reason: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { reason: reason.into(), mend: mend.into() }
    }
}

/// One thing that is wrong with a configuration. `Display` is one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The key path, such as `models[2].upstream`; empty where the problem is with the file itself.
    pub key: String,
    /// The line in the file, from 1; `None` where nothing is written yet.
    pub line: Option<usize>,
    /// What is wrong.
    pub reason: String,
    /// What to write or do instead.
    pub mend: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}: ")?;
        }
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        write!(f, "{}; {}", self.reason, self.mend)
    }
}

/// Everything that is wrong with a configuration, in the order of the file. `Display` is one line a problem.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Problems(pub Vec<Problem>);

impl Problems {
    /// A problem with the file as a whole.
    pub fn of_file(mistake: Mistake) -> Self {
        let Mistake { reason, mend } = mistake;
        Self(vec![Problem { key: String::new(), line: None, reason, mend }])
    }

    /// Records a mistake at its place, unless the value there could not be read, which is reported already.
    pub fn report(&mut self, place: &Place, mistake: Mistake) {
        if place.state != State::Unreadable {
            let Mistake { reason, mend } = mistake;
            self.0.push(Problem { key: place.key.clone(), line: place.line, reason, mend });
        }
    }

    /// Reports what cannot be read; the place that is returned takes no further reports.
    pub(crate) fn unreadable(&mut self, place: Place, mistake: Mistake) -> Place {
        self.report(&place, mistake);
        Place { state: State::Unreadable, ..place }
    }

    /// A line a problem, each of which names the file.
    pub fn in_file(&self, file: &Path) -> String {
        let lines = self.0.iter().map(|problem| format!("{}: {problem}", file.display()));
        lines.collect::<Vec<_>>().join("\n")
    }

    /// Puts the problems into the order of the file; those without a line come last.
    pub fn sort(&mut self) {
        self.0.sort_by_key(|problem| problem.line.unwrap_or(usize::MAX));
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, problem) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// The operator's own text as a message may show it: in backticks, on one line, cut where it is long.
pub fn quoted(text: &str) -> String {
    let mut shown: String = text.escape_debug().take(QUOTE_LIMIT).collect();
    if text.escape_debug().nth(QUOTE_LIMIT).is_some() {
        shown.push('…');
    }
    format!("`{shown}`")
}

/// The candidate that `written` was probably meant to be.
pub fn nearest<'a>(written: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Further than a third of the word is no typing slip.
    let tolerance = written.chars().count().div_ceil(3);
    candidates
        .into_iter()
        .map(|candidate| (edit_distance(written, candidate), candidate))
        .filter(|(distance, _)| *distance <= tolerance)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Levenshtein distance in characters.
fn edit_distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, left) in a.chars().enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, right) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(left != *right);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_problem_is_one_line_with_place_reason_and_mend() {
        let problem =
            Problem { key: "a[1].b".into(), line: Some(7), reason: "is wrong".into(), mend: "mend it".into() };
        assert_eq!(problem.to_string(), "line 7: a[1].b: is wrong; mend it");
        let file = Problems::of_file(Mistake::new("cannot be read", "look"));
        assert_eq!(file.to_string(), "cannot be read; look");
        let both = Problems(vec![problem, file.0[0].clone()]).in_file(Path::new("conf/x.toml"));
        assert_eq!(both, "conf/x.toml: line 7: a[1].b: is wrong; mend it\nconf/x.toml: cannot be read; look");
    }

    #[test]
    fn a_slip_is_recognised_and_another_word_is_not() {
        let keys = ["listen", "admin", "drain", "heartbeat"];
        assert_eq!(nearest("lisen", keys), Some("listen"));
        assert_eq!(nearest("hearbeat", keys), Some("heartbeat"));
        assert_eq!(nearest("drian", keys), Some("drain"));
        assert_eq!(nearest("timeout", keys), None);
        assert_eq!(nearest("", keys), None);
    }

    #[test]
    fn quoted_text_stays_on_one_line_and_short() {
        assert_eq!(quoted("a\nb"), "`a\\nb`");
        assert!(quoted(&"x".repeat(1000)).chars().count() <= QUOTE_LIMIT + 3);
    }

    proptest! {
        #[test]
        fn edit_distance_is_a_metric(a in "[ab]{0,6}", b in "[ab]{0,6}", c in "[ab]{0,6}") {
            prop_assert_eq!(edit_distance(&a, &b), edit_distance(&b, &a));
            prop_assert_eq!(edit_distance(&a, &b) == 0, a == b);
            prop_assert!(edit_distance(&a, &c) <= edit_distance(&a, &b) + edit_distance(&b, &c));
        }
    }
}
