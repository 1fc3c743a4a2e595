//! Stage 1: who calls. No later stage runs without a caller.

use super::Gateway;
use super::exchange::Exchange;
use super::process::Shared;
use crate::auth::authenticate::Authenticator;
use crate::auth::caller::Caller;
use crate::error::Reject;

impl Exchange {
    /// The caller, by the credentials in the request's head.
    ///
    /// # Errors
    /// 401, 403 or 415: see [`Authenticator::authenticate`].
    pub(super) fn admit(&self) -> Result<Caller, Reject> {
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
