//! How much a caller may use: the decisions, apart from where the counts are kept. Pure.
//!
//! [`rules`] says what holds for whom, [`gcra`] whether it passes, [`claim`] decides about all that one request takes,
//! and [`fields`] tells the caller. [`crate::limiter`] keeps the counts, in this process or in Redis.

pub mod budget;
pub mod claim;
pub mod fields;
pub mod gcra;
pub mod rules;
