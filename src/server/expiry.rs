//! When the gateway's own certificate expires, as a metric.

use std::time::UNIX_EPOCH;

use super::identity::Identity;
use crate::metrics::Metrics;

/// Shows the expiry of the certificate that is served now, and of no other.
pub fn publish(metrics: &Metrics, identity: Option<&Identity>) {
    metrics.certificate_expiry.reset();
    if let Some((name, expiry)) = identity.and_then(|own| Some((own.first_name()?, own.expiry()?))) {
        let seconds = expiry.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        metrics.certificate_expiry.with_label_values(&[&name]).set(i64::try_from(seconds).unwrap_or(i64::MAX));
    }
}
