//! What several tests need: certificates, clients, frames, and a bound on how long anything may take.

pub mod certs;
pub mod client;
pub mod frames;
pub mod gateway;
pub mod process;

use std::future::Future;
use std::time::Duration;

/// Fails where a test would hang. Nothing waits this long on a good day.
pub async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), what).await.expect("nothing happened for 20 seconds")
}
