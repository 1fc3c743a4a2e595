//! Every test that needs sockets, in one binary.

mod server;
mod support;
