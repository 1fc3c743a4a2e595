//! The load tester's engine: starts streams by a schedule, takes their times, and hands over one sample for each.

pub mod page;
mod pool;
pub mod prompts;
pub mod schedule;
pub mod sse;
