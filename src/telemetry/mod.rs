//! What the process reports about itself while it runs: the log.

pub mod log;
