//! Stage 3: which models can answer.

use super::exchange::Exchange;
use crate::auth::caller::Caller;
use crate::error::{Code, Reject};
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
            return Err(no_such_model(&request));
        };
        let candidates = completions.candidates(selection.model, &request, &caller);
        let idempotency_key = self.parts.headers.get("idempotency-key").cloned();
        let (request_id, purpose) = (self.id.header(), Purpose::Answer);
        Ok(Plan { caller, request, selection, candidates, request_id, idempotency_key, purpose })
    }
}

/// The model is not configured, or not the caller's to use; or none was named and there is no default for it.
fn no_such_model(request: &Request) -> Reject {
    let message = match request.model() {
        Some(_) => "`model`: no such model here; GET /v1/models lists those that there are.",
        None => "`model`: missing, and this gateway has no routing.default for you; GET /v1/models lists the models.",
    };
    match request.model() {
        Some(_) => Reject::new(Code::ModelNotFound, message),
        None => Reject::new(Code::InvalidRequest, message),
    }
}
