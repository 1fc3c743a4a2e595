//! Stage 1: who calls, and whether the caller may send one more request. Nothing of the body has been read.

use super::Gateway;
use super::exchange::Exchange;
use super::process::Shared;
use super::refusal::draining;
use super::streams;
use crate::auth::authenticate::Authenticator;
use crate::auth::caller::Caller;
use crate::error::Reject;
use crate::media_type;

impl Exchange {
    /// The caller of a completion. What the head alone shows is checked; then one request and one concurrency permit are taken
    /// from the caller's limits.
    ///
    /// # Errors
    /// 401, 403 or 415: see [`Authenticator::authenticate`]. 503 while the gateway drains, 415 for a body that is not JSON,
    /// 400 for a wrong `tokenway-resumable`, 429 `rate_limited`.
    pub(super) async fn admit(&mut self) -> Result<Caller, Reject> {
        let caller = self.authenticate()?;
        if self.gateway.shared.drain.begun.is_cancelled() {
            return Err(draining());
        }
        media_type::require_json(&self.parts)?;
        self.resumable = streams::is_wanted(&self.parts.headers)?;
        let admission = self.gateway.shared.limiter.admit(&self.gateway.config.limits, &caller).await;
        let mut record = self.meter.record();
        record.limited(admission.fields);
        record.hold(admission.outcome?);
        drop(record);
        Ok(caller)
    }

    /// The caller, by the credentials in the request's head.
    ///
    /// # Errors
    /// 401, 403 or 415: see [`Authenticator::authenticate`].
    pub(super) fn authenticate(&self) -> Result<Caller, Reject> {
        let caller = self.gateway.authenticator().authenticate(&self.parts, &self.cors, self.address)?;
        self.meter.record().caller(caller.clone());
        Ok(caller)
    }
}

impl Gateway {
    pub(super) fn authenticator(&self) -> Authenticator<'_> {
        let Shared { revocations, metrics, .. } = &self.shared;
        Authenticator {
            rules: &self.config.access,
            signatures: &self.signatures,
            revocations: revocations.as_ref(),
            metrics,
        }
    }
}
