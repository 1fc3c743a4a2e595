//! `[resume]`, as it is written and checked: how long and how much of resumable streams is stored. Pure.

use std::time::Duration;

use settings::{Mistake, Resolver, Size, format_size};

use crate::percent::Percent;

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
        /// The part of max_streams and of max_bytes that one caller may use. A caller above it gets 429.
        max_share: Percent = 0.25;
        /// The maximum number of connections that read one stream at the same time. Further ones get 503.
        max_readers: usize = 16 in 1 ..= 10_000;
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
    /// The part of both that one caller may use.
    pub max_share: Percent,
    /// Most readers of one stream at the same time.
    pub max_readers: usize,
}

impl Resume {
    /// Returns the most streams of one caller; at least one.
    pub(super) fn streams_of_caller(&self) -> usize {
        self.of_caller(self.max_streams)
    }

    /// Returns the most bytes of memory of all streams of one caller.
    pub(super) fn bytes_of_caller(&self) -> usize {
        self.of_caller(self.max_bytes)
    }

    fn of_caller(&self, all: usize) -> usize {
        usize::try_from(self.max_share.of(all as u64)).unwrap_or(all)
    }
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
            max_share: self.max_share.value,
            max_readers: self.max_readers.value,
        }
    }
}
