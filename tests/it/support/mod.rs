//! What several tests need: certificates, clients, frames, and a bound on how long anything may take.

pub mod answer;
pub mod certs;
pub mod child;
pub mod client;
pub mod cutting;
pub mod edge;
pub mod frames;
pub mod gateway;
pub mod keys;
pub mod log;
pub mod metrics;
pub mod nginx;
pub mod patient;
pub mod ports;
pub mod process;
pub mod redis;
pub mod scripted;
pub mod sse;

use std::future::Future;
use std::time::Duration;

/// Nothing waits this long on a good day.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Fails where a test would hang.
pub async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, what).await.unwrap_or_else(|_| panic!("nothing happened for {PATIENCE:?}"))
}
