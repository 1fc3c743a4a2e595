//! The progress bar on stderr. Nothing is drawn if stderr is no terminal.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::load::run::RunEvent;
use crate::load::schedule::{Limit, Plan};
use crate::report::sample::Outcome;

/// The frames a second: enough to see movement, too few to disturb the measurement.
const FRAMES: u8 = 5;

const OF_MANY: &str = "{bar:32} streams: {pos} of {len}  {elapsed}{msg}";
const ENDLESS: &str = "{spinner} streams: {pos}  {elapsed}{msg}";

/// The progress of a run.
pub(super) struct Progress {
    bar: ProgressBar,
    open: u64,
    ended: u64,
    failed: u64,
}

impl Progress {
    /// The progress of a run by this plan.
    pub(super) fn of(plan: &Plan) -> Self {
        match plan.limit {
            Limit::Streams(streams) => Self::of_streams(Some(streams.saturating_mul(plan.targets as u64))),
            Limit::Duration(_) => Self::of_streams(None),
        }
    }

    /// The progress of this number of streams, if it is known.
    pub(super) fn of_streams(streams: Option<u64>) -> Self {
        let bar = ProgressBar::with_draw_target(streams, ProgressDrawTarget::stderr_with_hz(FRAMES));
        let template = if streams.is_some() { OF_MANY } else { ENDLESS };
        // a test checks both templates
        bar.set_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()));
        Self { bar, open: 0, ended: 0, failed: 0 }
    }

    /// Updates the bar with an event of the run.
    pub(super) fn update(&mut self, event: &RunEvent) {
        match event {
            RunEvent::Started => self.open += 1,
            RunEvent::Ended(sample) => {
                self.open -= 1;
                self.failed += u64::from(sample.outcome != Outcome::Whole);
                self.set_ended(self.ended + 1);
            }
        }
        let failed = if self.failed > 0 { format!(", {} not whole", self.failed) } else { String::new() };
        self.bar.set_message(format!("  {} open{failed}", self.open));
    }

    /// Sets the number of ended streams.
    pub(super) fn set_ended(&mut self, ended: u64) {
        self.ended = ended;
        self.bar.set_position(ended);
    }

    /// Removes the bar.
    pub(super) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_templates_are_valid() {
        for template in [OF_MANY, ENDLESS] {
            assert!(ProgressStyle::with_template(template).is_ok(), "{template}");
        }
    }
}
