//! One stream on its way to the browser: cut into events, relayed, metered, ended honestly.

pub mod attempt;
pub mod bill;
pub mod event;
pub mod feed;
pub mod framer;
pub mod meter;
pub mod open;
pub mod relay;
pub mod savings;
pub mod tally;

#[cfg(test)]
mod attempt_tests;
