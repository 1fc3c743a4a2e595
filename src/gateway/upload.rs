//! The body of a request while it comes in.

use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderMap};
use http_body::Body as _;
use http_body_util::BodyExt;
use hyper::body::Incoming;

use crate::body_memory::{Full, GrowingBody};
use crate::error::{Code, Reject};

/// The most bytes that are read of a body whose request is answered already.
const DRAIN_BYTES: usize = 64 * 1024;
/// The most time for those bytes.
const DRAIN_TIME: Duration = Duration::from_secs(1);
/// Bodies are in memory for as long as they come in and upstreams begin to answer: seconds.
const RETRY_WITHOUT_MEMORY: Duration = Duration::from_secs(2);

/// The body of a request, while it comes in.
pub(super) struct Upload {
    body: Incoming,
    ended: bool,
}

impl Upload {
    /// Nothing is read yet.
    pub(super) fn new(body: Incoming) -> Self {
        Self { ended: body.is_end_stream(), body }
    }

    /// Whether all of it has been read: if not, no other request can follow it on an HTTP/1.1 connection.
    pub(super) fn is_ended(&self) -> bool {
        self.ended
    }

    /// Reads and discards the rest of a short body, within a bound of time.
    ///
    /// Over HTTP/2 a response that ends before its request is followed by RST_STREAM (RFC 9113 §8.1), at which some clients
    /// discard the response: curl 7.88 reports an error of the framing layer. Over HTTP/1.1 the connection can be reused. A
    /// client that waits for 100 (Continue) sends nothing: reading would ask it to.
    pub(super) async fn drain(&mut self, headers: &HeaderMap) {
        if self.ended || headers.contains_key(header::EXPECT) || self.body.size_hint().lower() > DRAIN_BYTES as u64 {
            return;
        }
        let rest = async {
            let mut left = DRAIN_BYTES;
            while let Some(frame) = self.body.frame().await {
                let length = frame.ok()?.data_ref().map_or(0, Bytes::len);
                left = left.checked_sub(length)?;
            }
            Some(())
        };
        self.ended = tokio::time::timeout(DRAIN_TIME, rest).await.is_ok_and(|end| end.is_some());
    }

    /// Reads the body to its end, within `max` bytes and the memory that `body` may take.
    ///
    /// # Errors
    /// 413 over `max`, 503 without memory, 400 for a body that breaks off.
    pub(super) async fn collect(&mut self, max: usize, mut body: GrowingBody) -> Result<Bytes, Reject> {
        let too_large = || {
            let message = format!("The request body is larger than {max} bytes: shorten it, or raise server.max_body.");
            Err(Reject::new(Code::BodyTooLarge, message))
        };
        if self.body.size_hint().lower() > max as u64 {
            return too_large();
        }
        while let Some(frame) = self.body.frame().await {
            let broken = |_| Reject::new(Code::InvalidRequest, "The request body broke off before its end.");
            if let Ok(data) = frame.map_err(broken)?.into_data() {
                if body.len() + data.len() > max {
                    return too_large();
                }
                body.extend(&data, max).map_err(|Full| no_memory())?;
            }
        }
        self.ended = true;
        Ok(body.finish())
    }
}

/// 503: all request bodies together take `server.max_body_memory`.
fn no_memory() -> Reject {
    let message = "The gateway has no memory for this body now (server.max_body_memory): send it again later.";
    Reject::new(Code::Overloaded, message).retry_after(RETRY_WITHOUT_MEMORY)
}
