//! Leaves a classifier alone that has not answered several times in a row: whoever asks of `auto` need not wait for it again.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use crate::failover::health::{CoolDown, Health, Outcome, Permit};

/// How the classifier does as a classifier: one that takes too long to decide may be well enough to answer.
pub(super) struct ClassifierBreaker {
    health: Mutex<Health>,
    began: Instant,
    cool_down: CoolDown,
}

/// The right to ask it once. Dropped without a word, nobody has waited for what it says.
pub(super) struct ClassifierPermit<'a> {
    guard: &'a ClassifierBreaker,
    permit: Permit,
    outcome: Outcome,
}

impl ClassifierBreaker {
    /// Nothing is known yet.
    pub(super) fn new(cool_down: CoolDown) -> Self {
        Self { health: Mutex::default(), began: Instant::now(), cool_down }
    }

    /// Whether [`ClassifierBreaker::ask`] would be granted now.
    pub(super) fn is_usable(&self) -> bool {
        self.health().is_usable(self.began.elapsed())
    }

    /// Asks to ask it: `None` while it is to be left alone.
    pub(super) fn ask(&self) -> Option<ClassifierPermit<'_>> {
        let mut health = self.health();
        let (permit, then) = health.ask(self.began.elapsed())?;
        *health = then;
        Some(ClassifierPermit { guard: self, permit, outcome: Outcome::Abandoned })
    }

    fn health(&self) -> MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClassifierPermit<'_> {
    /// What came of it.
    pub(super) fn told(mut self, outcome: Outcome) {
        self.outcome = outcome;
    }
}

impl Drop for ClassifierPermit<'_> {
    fn drop(&mut self) {
        let ClassifierBreaker { began, cool_down, .. } = self.guard;
        let mut health = self.guard.health();
        *health = health.after(self.permit, self.outcome, began.elapsed(), *cool_down);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::advance;

    use super::*;

    const COOL_DOWN: CoolDown = CoolDown { first: Duration::from_secs(5), most: Duration::from_secs(60) };
    const FAILED: Outcome = Outcome::Failed { retry_after: None };

    #[tokio::test(start_paused = true)]
    async fn a_classifier_that_does_not_answer_is_left_alone_and_asked_once_when_it_has_cooled_down() {
        let guard = ClassifierBreaker::new(COOL_DOWN);
        (0..5).for_each(|_| guard.ask().expect("it is well, as far as is known").told(FAILED));
        assert!(!guard.is_usable() && guard.ask().is_none());
        advance(COOL_DOWN.first).await;
        let probe = guard.ask().expect("the cool-down is over");
        assert!(!guard.is_usable(), "one finds out");
        drop(probe);
        guard.ask().expect("nobody waited for the probe").told(Outcome::Good);
        assert!(guard.is_usable());
    }
}
