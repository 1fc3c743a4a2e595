//! Metering of one request: its attempts, times, tokens and cost, settled once.

pub mod attempt;
pub mod meter;

#[cfg(test)]
mod attempt_tests;
