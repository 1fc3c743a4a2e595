//! Stage 3: which models can answer.

use super::answers;
use super::exchange::Exchange;
use crate::auth::caller::Caller;
use crate::error::Reject;
use crate::routing::plan::Plan;
use crate::spend::bill::Purpose;
use families::request::Request;

impl Exchange {
    /// Selects the model that the request goes to, and the candidates for fallback.
    ///
    /// # Errors
    /// 404 `model_not_found`, or 400 if the request names no model and there is no default.
    pub(super) async fn plan(&self, caller: Caller, request: Request) -> Result<Plan, Reject> {
        let (router, completions) = (&self.gateway.router, &self.gateway.completions);
        let scope = || self.scope(&caller);
        let Some(selection) = router.select(&caller, &request, scope).await else {
            return Err(answers::no_such_model(&request));
        };
        let candidates = completions.candidates(selection.model, &request, &caller);
        let idempotency_key = self.parts.headers.get("idempotency-key").cloned();
        let (request_id, purpose) = (self.id.header(), Purpose::Answer);
        Ok(Plan { caller, request, selection, candidates, request_id, idempotency_key, purpose })
    }
}
