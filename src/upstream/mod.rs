//! Upstreams: connections, requests, and checked answers.

mod announcement;
pub mod base_url;
mod body;
pub mod client;
pub mod clients;
mod connect;
mod connection;
mod exchange;
pub mod failure;
mod framing;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod head;
pub mod idempotency;
mod pool;
mod refusal;
mod request;
pub mod settings;
mod transfer;

#[cfg(test)]
mod differential_tests;
#[cfg(test)]
mod exchange_tests;
#[cfg(test)]
mod script;
