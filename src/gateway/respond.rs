//! Stage 6: the response to a completion, in the form that the request asks for.

use std::sync::Arc;

use http::Response;

use super::answers;
use super::begun::Begun;
use super::exchange::Exchange;
use super::sharing::Sharing;
use super::streams;
use crate::body::Body;
use crate::cache::response_cache::Reuse;
use crate::error::Reject;
use crate::routing::plan::Plan;

impl Exchange {
    /// A stream, a resumable stream or a whole answer.
    ///
    /// # Errors
    /// The failure of the last candidate, or a wrong `tokenway-resumable`.
    pub(super) async fn respond(&self, plan: Plan, reuse: Option<Reuse>) -> Result<Response<Body>, Reject> {
        let streaming = plan.request.stream();
        if streams::is_wanted(&self.parts.headers, streaming)? {
            return Box::pin(self.complete_resumably(plan, reuse)).await;
        }
        let plan = match self.share(plan, reuse).await? {
            Sharing::Alone(plan) => *plan,
            Sharing::Shared(shared) => return self.tell(*shared, streaming).await,
        };
        if !streaming {
            let whole = Box::pin(Arc::clone(&self.gateway.router).whole(plan, self.meter.clone())).await;
            let whole = whole.map_err(|failure| answers::failed(&failure, &self.meter))?;
            return answers::whole(self.route, whole, &self.meter);
        }
        let Begun { source: relay, head } = self.begin(plan, self.gateway.upstreams.rules()).await?;
        Ok(head.answer(Box::pin(relay), &self.meter))
    }
}
