//! The progress bar on stderr.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// How often it is drawn anew, a second: each time costs the measuring thread nothing, another one some microseconds.
const FRAMES: u8 = 5;

/// A progress bar, of streams or of time. On a stderr that is no terminal there is none.
pub(super) struct Progress(ProgressBar);

impl Progress {
    /// Counts streams; without a number, only so far.
    pub(super) fn of_streams(streams: Option<u64>) -> Self {
        let bar = ProgressBar::with_draw_target(streams, ProgressDrawTarget::stderr_with_hz(FRAMES));
        let template = match streams {
            Some(_) => "{bar:32} {pos}/{len} streams  {elapsed}  {msg}",
            None => "{spinner} {pos} streams  {elapsed}  {msg}",
        };
        // the templates are constant, and good
        bar.set_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()));
        Self(bar)
    }

    /// So many streams have ended.
    pub(super) fn streams(&self, streams: u64) {
        self.0.set_position(streams);
    }

    /// A few words beside the bar.
    pub(super) fn say(&self, words: String) {
        self.0.set_message(words);
    }

    /// Takes the bar away.
    pub(super) fn finish(&self) {
        self.0.finish_and_clear();
    }
}
