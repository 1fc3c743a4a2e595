//! Reads a body and records when each chunk arrived.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::time::{Instant, timeout_at};

/// The most bytes that are read and stored.
const MAX_BYTES: usize = 256 * 1024;
/// The time after the first chunk that is enough to see a pattern.
const PATTERN: Duration = Duration::from_secs(3);

/// The chunks of a body, with their times.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ObservedBody {
    /// The chunks in order.
    pub chunks: Vec<Chunk>,
    /// How the body ended.
    pub end: End,
}

/// Bytes that arrived together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// The time since the head of the response.
    pub at: Duration,
    /// The bytes.
    pub bytes: Bytes,
}

/// How a body ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum End {
    /// The end was not reached: enough was read, or the time was over.
    #[default]
    NotReached,
    /// The body is complete.
    Complete,
    /// The connection broke.
    Broken,
}

impl ObservedBody {
    /// Reads a body to its end, or until enough is read. Then the body is dropped, which stops a stream.
    pub async fn read(mut body: Incoming, limit: Duration) -> Self {
        let begin = Instant::now();
        let mut until = begin + limit;
        let mut observed = ObservedBody::default();
        let mut read = 0;
        while read < MAX_BYTES {
            match timeout_at(until, body.frame()).await {
                Err(_) => return observed,
                Ok(None) => {
                    observed.end = End::Complete;
                    return observed;
                }
                Ok(Some(Err(_))) => {
                    observed.end = End::Broken;
                    return observed;
                }
                Ok(Some(Ok(frame))) => {
                    let Ok(bytes) = frame.into_data() else { continue };
                    let at = begin.elapsed();
                    if read == 0 {
                        until = until.min(Instant::now() + PATTERN);
                    }
                    read += bytes.len();
                    observed.chunks.push(Chunk { at, bytes });
                }
            }
        }
        observed
    }

    /// All bytes.
    pub fn bytes(&self) -> Vec<u8> {
        self.chunks.iter().flat_map(|chunk| chunk.bytes.iter().copied()).collect()
    }
}
