//! Watches a body arrive: when each piece came, and the first part of what it says.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::time::{Instant, timeout_at};

/// The most bytes that are kept and read.
const MAX_BYTES: usize = 256 * 1024;
/// After the first piece, this long is enough to see a rhythm.
const RHYTHM: Duration = Duration::from_secs(3);

/// A body as it arrived.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Watched {
    /// Each piece, from the head of the answer on.
    pub pieces: Vec<Piece>,
    /// How it ended.
    pub end: End,
}

/// Bytes that came at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// From the head of the answer on.
    pub at: Duration,
    /// What came.
    pub bytes: Bytes,
}

/// How a body ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum End {
    /// It was not watched to its end: enough was seen, or the time was over.
    #[default]
    Left,
    /// As it should.
    Whole,
    /// It broke off.
    Broken,
}

impl Watched {
    /// Reads a body to its end, or until enough is seen; then it is dropped, which stops a stream.
    pub async fn body(mut body: Incoming, patience: Duration) -> Self {
        let begun = Instant::now();
        let mut until = begun + patience;
        let mut watched = Watched::default();
        let mut read = 0;
        while read < MAX_BYTES {
            match timeout_at(until, body.frame()).await {
                Err(_) => return watched,
                Ok(None) => {
                    watched.end = End::Whole;
                    return watched;
                }
                Ok(Some(Err(_))) => {
                    watched.end = End::Broken;
                    return watched;
                }
                Ok(Some(Ok(frame))) => {
                    let Ok(bytes) = frame.into_data() else { continue };
                    let at = begun.elapsed();
                    if read == 0 {
                        until = until.min(Instant::now() + RHYTHM);
                    }
                    read += bytes.len();
                    watched.pieces.push(Piece { at, bytes });
                }
            }
        }
        watched
    }

    /// All that came.
    pub fn bytes(&self) -> Vec<u8> {
        self.pieces.iter().flat_map(|piece| piece.bytes.iter().copied()).collect()
    }
}
