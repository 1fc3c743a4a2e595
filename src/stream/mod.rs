//! One stream on its way to the browser: read from the upstream, relayed, ended honestly.

pub mod alarm;
pub mod feed;
pub mod log;
pub mod open;
pub mod relay;
pub mod upstreams;
