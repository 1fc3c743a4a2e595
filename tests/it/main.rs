//! Every test that needs sockets, in one binary.

// clippy knows only functions marked as tests; nothing outside reaches into a test binary
#![allow(clippy::unwrap_used, unreachable_pub)]

mod server;
mod support;
