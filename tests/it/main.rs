//! The integration tests, one binary.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod browser;
mod sdk;
mod support;
