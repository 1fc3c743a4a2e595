//! Stage 3: which models can answer.

use super::exchange::Exchange;
use crate::auth::caller::Caller;
use crate::error::{Code, Reject};
use crate::routing::plan::Plan;
use crate::spend::bill::Purpose;
use crate::upstream::idempotency::IdempotencyKey;
use families::request::Request;

impl Exchange {
    /// Selects the model that the request goes to, and the candidates for fallback.
    ///
    /// # Errors
    /// 404 `model_not_found`, or 400 if the request names no model and there is no default, or has a member that the model's
    /// upstream refuses (`refuse_members`).
    pub(super) async fn plan(&self, caller: Caller, request: Request) -> Result<Plan, Reject> {
        let (router, completions) = (&self.gateway.router, &self.gateway.completions);
        let scope = || self.scope(&caller);
        let Some(selection) = router.select(&caller, &request, scope).await else {
            return Err(no_such_model(&request));
        };
        for model in router.possible(&selection) {
            if let Some(member) = completions.refused_member(model, &request) {
                return Err(refused_member(&member));
            }
        }
        let candidates = completions.candidates(selection.model, &request, &caller);
        let headers = &self.parts.headers;
        let idempotency_key = headers.get("idempotency-key").map(|key| IdempotencyKey::of(caller.id(), key));
        let (request_id, purpose) = (self.id.header(), Purpose::Answer);
        Ok(Plan { caller, request, selection, candidates, request_id, idempotency_key, purpose })
    }
}

/// The upstream of the model does not take this member.
fn refused_member(member: &str) -> Reject {
    let message = format!("{member}: this model takes no such member: leave it out");
    Reject::new(Code::InvalidRequest, message)
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
