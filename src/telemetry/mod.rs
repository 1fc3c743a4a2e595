//! The log of the process.

pub mod log;
