//! Everything that is known of a completion request before its source: the caller, the request, and its candidates.

use std::sync::Arc;

use http::HeaderValue;

use crate::auth::caller::Caller;
use crate::models::ModelId;
use crate::routing::auto::{Auto, Classifier};
use crate::routing::classifier::Question;
use crate::routing::verdict::Decision;
use crate::spend::bill::Purpose;
use crate::upstream::idempotency::IdempotencyKey;
use families::chat::Chat;
use families::family::{Family, Form};
use families::prompt::Prompt;
use families::request::Request;

/// A completion request, ready for its source.
#[derive(Clone)]
pub struct Plan {
    /// The caller, who pays. No upstream is asked without a caller, or for a model that the caller may not use.
    pub caller: Caller,
    /// The request, parsed and checked.
    pub request: Request,
    /// The model that the request goes to first.
    pub selection: Selection,
    /// The models to ask, in this order, until one of them answers. While a classification is pending, these are the
    /// candidates of the easy model.
    pub candidates: Vec<ModelId>,
    /// Sent to the upstream as `x-request-id`.
    pub request_id: HeaderValue,
    /// The caller's `idempotency-key`; each model gets one that is derived from it.
    pub idempotency_key: Option<IdempotencyKey>,
    /// The purpose of the answer.
    pub purpose: Purpose,
}

/// Which model a request goes to.
#[derive(Clone)]
pub struct Selection {
    /// The model that the request names, or that `auto` selects; the easy model while the classification is pending.
    pub model: ModelId,
    /// How `auto` decided; `None` if the request names its model, or while the classification is pending.
    pub decision: Option<Decision>,
    /// The classification that has to be made before a model answers.
    pub pending: Option<Arc<Pending>>,
}

/// A classification that the classifier has not made yet.
pub struct Pending {
    /// The settings of `auto`, with both models.
    pub auto: Arc<Auto>,
    /// The classifier.
    pub classifier: Classifier,
    /// The question to the classifier.
    pub question: Question,
    /// The prompt, for the rules if the classifier gives no verdict.
    pub(super) prompt: Prompt,
    /// The owner under which the shared store caches the verdict; `None` if it must not be cached there.
    pub(super) scope: Option<Scope>,
}

/// The owner of a cached verdict, as a hash: the owner of the cached response.
pub type Scope = [u8; 32];

impl Plan {
    /// Makes a request to this model only, without fallback.
    pub fn to_model(model: ModelId, caller: Caller, request: Request, request_id: HeaderValue) -> Self {
        Self {
            caller,
            request,
            selection: Selection::of(model, None),
            candidates: vec![model],
            request_id,
            idempotency_key: None,
            purpose: Purpose::Answer,
        }
    }

    /// Makes a question to the classifier. Returns `None` if its body cannot be parsed, which does not happen.
    pub fn of_question(
        question: &Question,
        classifier: ModelId,
        caller: Caller,
        request_id: HeaderValue,
    ) -> Option<Self> {
        let request = Chat.parse(question.body().into(), Form::Full).ok()?;
        Some(Self { purpose: Purpose::Decide, ..Self::to_model(classifier, caller, request, request_id) })
    }

    /// Whether only one model can answer.
    pub fn has_one_candidate(&self) -> bool {
        self.candidates.len() == 1 && self.selection.pending.is_none()
    }
}

impl Selection {
    /// Selects this model: named by the request, or decided.
    pub fn of(model: ModelId, decision: Option<Decision>) -> Self {
        Self { model, decision, pending: None }
    }

    /// Whether the request is for `auto`.
    pub fn is_auto(&self) -> bool {
        self.decision.is_some() || self.pending.is_some()
    }

    /// Whether the classification is still to be made.
    pub fn is_pending(&self) -> bool {
        self.pending.is_some()
    }
}
