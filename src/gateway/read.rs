//! From a request's body to a checked chat request, within bounds of size and time.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{self, HeaderMap};
use http::request::Parts;
use http_body::Body as _;
use http_body_util::BodyExt;
use hyper::body::Incoming;

use crate::config::Server;
use crate::error::{Code, Reject};
use crate::gateway::routes::Route;
use crate::media_type;
use families::chat::request::Request;

/// Most that is read of a body whose request is answered already, and for how long.
const SKIMMED: usize = 64 * 1024;
const SKIM_TIME: Duration = Duration::from_secs(1);

/// A larger body is parsed beside the worker threads: 4 MiB of many small things take up to 56 ms, in which no event of
/// another stream would move.
const PARSED_IN_PLACE: usize = 256 * 1024;

/// Reads and checks the body of a completion request.
///
/// # Errors
/// 415 for what is not JSON, 413 over `max_body`, 408 after `body_timeout`, 400 with the JSON path of what is wrong.
pub async fn read(route: Route, parts: &Parts, upload: &mut Upload, server: &Server) -> Result<Request, Reject> {
    media_type::require_json(parts)?;
    let slow = |_| {
        let message = "The request body did not arrive within server.body_timeout: send it at once.";
        Err(Reject::new(Code::RequestTimeout, message))
    };
    let body = tokio::time::timeout(server.body_timeout, upload.collect(server.max_body)).await.unwrap_or_else(slow)?;
    let parse = match route {
        Route::Chat => Request::parse_short,
        Route::Streams => Request::parse_streaming,
        _ => Request::parse,
    };
    if body.len() <= PARSED_IN_PLACE {
        return Ok(parse(body)?);
    }
    let defect = |_| Reject::new(Code::InternalError, "The gateway failed: this is a defect of it.");
    Ok(tokio::task::spawn_blocking(move || parse(body)).await.map_err(defect)??)
}

/// The body of a request as it is sent.
pub struct Upload {
    body: Incoming,
    ended: bool,
}

impl Upload {
    /// Nothing is read yet.
    pub fn new(body: Incoming) -> Self {
        Self { ended: body.is_end_stream(), body }
    }

    /// Whether all of it has been read: if not, no other request can follow it on an HTTP/1.1 connection.
    pub fn is_ended(&self) -> bool {
        self.ended
    }

    /// Lets the rest of a short body go by, within a bound of time: nobody needs it, but for the client, which is still sending it.
    ///
    /// Over HTTP/2 an answer that ends before its request is followed by RST_STREAM (RFC 9113 §8.1), for which some clients
    /// forget the answer: curl 7.88 reports an error of the framing layer. Over HTTP/1.1 the connection can be kept. A client that
    /// waits for 100 (Continue) sends nothing: to read would ask it to.
    pub async fn skim(&mut self, headers: &HeaderMap) {
        if self.ended || headers.contains_key(header::EXPECT) || self.body.size_hint().lower() > SKIMMED as u64 {
            return;
        }
        let rest = async {
            let mut left = SKIMMED;
            while let Some(frame) = self.body.frame().await {
                let length = frame.ok()?.data_ref().map_or(0, Bytes::len);
                left = left.checked_sub(length)?;
            }
            Some(())
        };
        self.ended = tokio::time::timeout(SKIM_TIME, rest).await.is_ok_and(|end| end.is_some());
    }

    async fn collect(&mut self, max: usize) -> Result<Bytes, Reject> {
        let too_large = || {
            let message = format!("The request body is larger than {max} bytes: shorten it, or raise server.max_body.");
            Err(Reject::new(Code::BodyTooLarge, message))
        };
        if self.body.size_hint().lower() > max as u64 {
            return too_large();
        }
        let mut whole = BytesMut::new();
        while let Some(frame) = self.body.frame().await {
            let broken = |_| Reject::new(Code::InvalidRequest, "The request body broke off before its end.");
            if let Ok(data) = frame.map_err(broken)?.into_data() {
                if whole.len() + data.len() > max {
                    return too_large();
                }
                whole.extend_from_slice(&data);
            }
        }
        self.ended = true;
        Ok(whole.freeze())
    }
}
