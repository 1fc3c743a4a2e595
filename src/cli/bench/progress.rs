//! The progress bar on stderr.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use bench::load::run::Told;
use bench::load::schedule::{Limit, Plan};
use bench::report::sample::Outcome;

/// How often it is drawn, a second: often enough to be seen to move, and too seldom to disturb the measurement.
const FRAMES: u8 = 5;

const OF_MANY: &str = "{bar:32} streams: {pos} of {len}  {elapsed}{msg}";
const ENDLESS: &str = "{spinner} streams: {pos}  {elapsed}{msg}";

/// How far a run has come. On a stderr that is no terminal nothing is drawn.
pub(super) struct Progress {
    bar: ProgressBar,
    under_way: u64,
    ended: u64,
    failed: u64,
}

impl Progress {
    /// Of a run by this plan.
    pub(super) fn of(plan: &Plan) -> Self {
        match plan.limit {
            Limit::Streams(streams) => Self::of_streams(Some(streams.saturating_mul(plan.targets as u64))),
            Limit::Duration(_) => Self::of_streams(None),
        }
    }

    /// Of so many streams, if their number is known.
    pub(super) fn of_streams(streams: Option<u64>) -> Self {
        let bar = ProgressBar::with_draw_target(streams, ProgressDrawTarget::stderr_with_hz(FRAMES));
        let template = if streams.is_some() { OF_MANY } else { ENDLESS };
        // both templates are good: a test says so
        bar.set_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()));
        Self { bar, under_way: 0, ended: 0, failed: 0 }
    }

    /// Takes in what a run tells.
    pub(super) fn told(&mut self, told: &Told) {
        match told {
            Told::Started => self.under_way += 1,
            Told::Ended(sample) => {
                self.under_way -= 1;
                self.failed += u64::from(sample.outcome != Outcome::Whole);
                self.streams(self.ended + 1);
            }
        }
        let failed = if self.failed > 0 { format!(", {} not whole", self.failed) } else { String::new() };
        self.bar.set_message(format!("  {} under way{failed}", self.under_way));
    }

    /// So many streams have ended.
    pub(super) fn streams(&mut self, ended: u64) {
        self.ended = ended;
        self.bar.set_position(ended);
    }

    /// Takes the bar away.
    pub(super) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_templates_are_good() {
        for template in [OF_MANY, ENDLESS] {
            assert!(ProgressStyle::with_template(template).is_ok(), "{template}");
        }
    }
}
