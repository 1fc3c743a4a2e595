//! `[stream]`, as it is written and checked: the deadlines and bounds of one stream. Pure.

use std::time::Duration;

use settings::Size;

settings::section! {
    /// The deadlines and bounds of one stream. See docs/STREAMS.md.
    pub struct Written {
        /// Heartbeat: a comment line that keeps an idle connection open while the upstream sends nothing. "0s" = off.
        heartbeat: Duration = "10s" in "0s" ..= "24h";
        /// If the upstream sends nothing for this time before its first event, the attempt fails and the fallback is asked.
        first_event_timeout: Duration = "60s" in "1ms" ..= "24h";
        /// Without output by this time, Tokenway sends status 200 and the headers, and heartbeats start. A later failure is then
        /// reported in the stream.
        commit_after: Duration = "10s" in "0s" ..= "24h";
        /// Idle timeout: if the upstream sends nothing between two events for this time, the stream ends with an error event.
        idle_timeout: Duration = "120s" in "1ms" ..= "24h";
        /// If the upstream sends no response head for this time, to a request that is not streamed, the attempt fails. Such an answer
        /// is complete when its head is sent, which can take minutes.
        whole_timeout: Duration = "10m" in "1ms" ..= "24h";
        /// The maximum duration of a stream.
        max_duration: Duration = "30m" in "1ms" ..= "24h";
        /// The maximum size of a single event.
        max_event: Size = "8MiB" in "4KiB" ..= "64MiB";
    }
}

/// The deadlines and bounds of one stream.
#[derive(Debug, Clone)]
pub struct Stream {
    /// Silence after which a heartbeat is sent; `None` = off.
    pub heartbeat: Option<Duration>,
    /// The longest silence of the upstream before its first event.
    pub first_event_timeout: Duration,
    /// When the response head is sent without output.
    pub commit_after: Duration,
    /// The longest silence of the upstream between events.
    pub idle_timeout: Duration,
    /// The longest silence of the upstream before the head of an answer that is not streamed.
    pub whole_timeout: Duration,
    /// The longest duration of a stream.
    pub max_duration: Duration,
    /// Most bytes of one event, and of all that is held before the commit point.
    pub max_event: usize,
}

impl Written {
    /// Returns the checked section. No pair of these keys is a contradiction: the longer one of two has no effect. For
    /// example, `commit_after` beyond `first_event_timeout` delays the status until the upstream has answered or failed.
    pub fn resolve(&self) -> Stream {
        Stream {
            heartbeat: Some(self.heartbeat.value).filter(|heartbeat| !heartbeat.is_zero()),
            first_event_timeout: self.first_event_timeout.value,
            commit_after: self.commit_after.value,
            idle_timeout: self.idle_timeout.value,
            whole_timeout: self.whole_timeout.value,
            max_duration: self.max_duration.value,
            max_event: self.max_event.value.0,
        }
    }
}
