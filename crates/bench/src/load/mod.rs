//! The load tester's engine: starts streams by a schedule, takes their times, and hands over one sample for each.

mod asker;
mod body;
pub mod page;
mod pool;
pub mod prompts;
pub mod run;
pub mod schedule;
pub mod self_test;
pub mod sse;
mod taking;
mod verdict;

pub use asker::Asker;
