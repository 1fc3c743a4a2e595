//! A stream of events on its way from an upstream to a client.

pub mod event;
pub mod framer;
