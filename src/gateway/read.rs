//! Stage 2: reads the body of a completion request and checks it, within bounds of size and time.

use std::sync::Arc;

use super::exchange::Exchange;
use crate::error::{Code, Reject};
use crate::offload;
use families::request::{Invalid, Request};

impl Exchange {
    /// Reads and checks the body.
    ///
    /// # Errors
    /// 413 over `max_body`, 503 while all bodies together take `max_body_memory`, 408 after `body_timeout`, 400 with the JSON
    /// path of the mistake.
    pub(super) async fn read(&mut self) -> Result<Request, Reject> {
        let server = &self.gateway.config.server;
        let slow = |_| {
            let message = "The request body did not arrive within server.body_timeout: send it at once.";
            Err(Reject::new(Code::RequestTimeout, message))
        };
        let body = self.gateway.shared.body_memory.begin(server.max_body_memory);
        let collect = self.upload.collect(server.max_body, body);
        let body = tokio::time::timeout(server.body_timeout, collect).await.unwrap_or_else(slow)?;
        let (family, form, length) = (self.route.family(), self.route.form(), body.len());
        let tokens_per_image = self.gateway.config.costs.tokens_per_image;
        let refusable = Arc::clone(&self.gateway.refusable);
        let parse = move || {
            let mut request = family.parse(body, form)?;
            request.mark_members(&refusable);
            request.set_tokens_per_image(tokens_per_image);
            Ok::<_, Invalid>(request)
        };
        let request = offload::run(length, parse).await.map_err(|_| Reject::defect())??;
        if self.resumable && !request.stream() {
            let message = "`tokenway-resumable`: only a stream can be resumed: set `stream` to true";
            return Err(Reject::new(Code::InvalidRequest, message));
        }
        Ok(request)
    }
}
