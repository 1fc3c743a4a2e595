//! Rate limits: requests and tokens per minute and concurrent completions, per caller and per model.
//!
//! [`policy`] has the quotas of a caller, [`gcra`] and [`claim`] decide, given the counts. [`limiter`] counts in this process
//! ([`local`]) or in Redis ([`shared`]). [`fields`] writes the `ratelimit` response headers.

pub mod claim;
pub mod fields;
pub mod gcra;
pub mod limiter;
pub mod local;
pub mod policy;
pub mod settings;
mod shared;
