//! `[resume]`, as it is written and checked: how long and how much of resumable streams is stored. Pure.

use std::time::Duration;

use settings::{Mistake, Resolver, Size, format_size};

settings::section! {
    /// Resumable streams: POST /v1/streams, or the header `tokenway-resumable: true`. See docs/STREAMS.md.
    pub struct Written {
        /// A stream without a reader is stopped after this time. The upstream request is cancelled too. "0s": immediately.
        grace: Duration = "30s" in "0s" ..= "24h";
        /// How long a stream can be read after its end.
        retention: Duration = "5m" in "0s" ..= "24h";
        /// The memory of all streams together. If it is used up, ended streams are removed first. After that, a stream discards
        /// its own oldest events.
        max_bytes: Size = "64MiB" in "64KiB" ..= "1024GiB";
        /// The memory of one stream.
        max_stream_bytes: Size = "1MiB" in "16KiB" ..= "1GiB";
        /// The maximum number of streams, running or ended.
        max_streams: usize = 1000 in 1 ..= 100_000;
    }
}

/// How long and how much of resumable streams is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resume {
    /// A stream without a reader is stopped after this time.
    pub grace: Duration,
    /// How long a stream that has ended can be read.
    pub retention: Duration,
    /// Most bytes of memory of all streams together.
    pub max_bytes: usize,
    /// Most bytes of memory of one stream, or one event where that is larger.
    pub max_stream_bytes: usize,
    /// Most streams, running or ended.
    pub max_streams: usize,
}

impl Written {
    /// Returns the checked section.
    pub fn resolve(&self, resolver: &mut Resolver<'_>) -> Resume {
        let (all, one) = (self.max_bytes.value.0, self.max_stream_bytes.value.0);
        if one > all {
            // reported at the key that is written; if both are written, either one can be changed
            let place = [&self.max_bytes, &self.max_stream_bytes].map(|field| &field.place);
            let place = if self.max_bytes.is_written() { place[0] } else { place[1] };
            let (all, one) = (format_size(all), format_size(one));
            let reason =
                format!("contradicts its neighbour: resume.max_stream_bytes ({one}) is over resume.max_bytes ({all})");
            resolver.report(place, Mistake::new(reason, "raise max_bytes, or lower max_stream_bytes"));
        }
        Resume {
            grace: self.grace.value,
            retention: self.retention.value,
            max_bytes: all,
            max_stream_bytes: one,
            max_streams: self.max_streams.value,
        }
    }
}
