//! One provider: connect, one request out, one checked answer in.

pub mod client;
mod connect;
pub mod failure;
mod gate;
pub mod idempotency;
mod refusal;

mod transfer;
mod wire;
