//! The integration tests, one binary: everything that needs sockets, processes or a browser.

#![allow(unreachable_pub)] // nothing outside reaches into a test binary
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod access;
mod auto;
mod bench;
mod browser;
mod cache;
mod check_live;
mod cors_table;
mod cost;
mod dial;
mod differential;
mod doctor;
mod drain_streams;
mod examples;
mod fallback;
mod families;
mod faults;
mod json;
mod layers;
mod limits;
mod load;
mod meter;
mod regressions;
mod reload;
mod robust;
mod routes;
mod sdk;
mod serve;
mod server;
mod streams;
mod support;
