//! Every test that needs sockets, in one binary.

#![allow(unreachable_pub)] // nothing outside reaches into a test binary

mod server;
mod support;
