//! Starts streams by a schedule, measures them, and gives one sample for each.

mod body;
mod client;
mod failure;
mod measurement;
pub mod page;
mod pool;
pub mod prompts;
pub mod run;
pub mod schedule;
pub mod self_test;
pub mod sse;

pub use client::StreamClient;
