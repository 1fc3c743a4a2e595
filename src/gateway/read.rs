//! Stage 2: reads the body of a completion request and checks it, within bounds of size and time.

use super::exchange::Exchange;
use super::refusal::{defect, draining};
use crate::error::{Code, Reject};
use crate::media_type;
use families::request::Request;

/// A larger body is parsed outside the worker threads: 4 MiB of many small values take up to 56 ms, in which this worker
/// forwards no event of any other stream.
const PARSED_IN_PLACE: usize = 256 * 1024;

impl Exchange {
    /// Reads and checks the body.
    ///
    /// # Errors
    /// 503 while the gateway drains, 415 for a body that is not JSON, 413 over `max_body`, 408 after `body_timeout`, 400 with
    /// the JSON path of the mistake.
    pub(super) async fn read(&mut self) -> Result<Request, Reject> {
        if self.gateway.shared.drain.begun.is_cancelled() {
            return Err(draining());
        }
        media_type::require_json(&self.parts)?;
        let server = &self.gateway.config.server;
        let slow = |_| {
            let message = "The request body did not arrive within server.body_timeout: send it at once.";
            Err(Reject::new(Code::RequestTimeout, message))
        };
        let collect = self.upload.collect(server.max_body);
        let body = tokio::time::timeout(server.body_timeout, collect).await.unwrap_or_else(slow)?;
        let (family, form) = (self.route.family(), self.route.form());
        if body.len() <= PARSED_IN_PLACE {
            return Ok(family.parse(body, form)?);
        }
        Ok(tokio::task::spawn_blocking(move || family.parse(body, form)).await.map_err(|_| defect())??)
    }
}
