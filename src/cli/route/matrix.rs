//! A confusion matrix. Pure.

use tokenway::routing::verdict::Verdict;

/// How often each label got each verdict.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Matrix {
    /// By label (easy, hard), then by verdict (easy, hard, none).
    counts: [[u64; 3]; 2],
}

impl Matrix {
    /// Counts pairs of label and verdict.
    pub(super) fn of(pairs: impl Iterator<Item = (Verdict, Option<Verdict>)>) -> Self {
        let mut matrix = Self::default();
        for (label, said) in pairs {
            matrix.counts[label as usize][said.map_or(2, |said| said as usize)] += 1;
        }
        matrix
    }

    /// Returns how many prompts of this label got this verdict, or none.
    pub(super) fn count(&self, label: Verdict, said: Option<Verdict>) -> u64 {
        self.counts[label as usize][said.map_or(2, |said| said as usize)]
    }

    /// Returns how many verdicts were right.
    pub(super) fn right(&self) -> u64 {
        Verdict::BOTH.into_iter().map(|verdict| self.count(verdict, Some(verdict))).sum()
    }

    /// Returns the number of prompts.
    pub(super) fn all(&self) -> u64 {
        self.counts.iter().flatten().sum()
    }

    /// Returns the share of right verdicts. A missing verdict is wrong.
    pub(super) fn share_right(&self) -> f64 {
        self.right() as f64 / self.all().max(1) as f64
    }

    /// Returns the share of the prompts with this label that got it as verdict.
    pub(super) fn recall(&self, label: Verdict) -> f64 {
        let all: u64 = self.counts[label as usize].iter().sum();
        self.count(label, Some(label)) as f64 / all.max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::Verdict::{Easy, Hard};
    use super::*;

    #[test]
    fn what_is_said_is_counted_by_what_is_true() {
        let said = [(Easy, Some(Easy)), (Easy, Some(Hard)), (Hard, Some(Hard)), (Hard, None), (Hard, Some(Easy))];
        let matrix = Matrix::of(said.into_iter());
        assert_eq!((matrix.all(), matrix.right()), (5, 2));
        assert_eq!((matrix.count(Easy, Some(Hard)), matrix.count(Hard, None)), (1, 1));
        assert_eq!((matrix.share_right(), matrix.recall(Easy)), (0.4, 0.5));
        assert_eq!(Matrix::default().share_right(), 0.0);
    }
}
