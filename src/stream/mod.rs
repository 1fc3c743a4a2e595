//! One stream on its way to the browser: read from the upstream, relayed, ended honestly.

pub mod alarm;
mod classification;
pub mod completions;
pub mod feed;
pub mod log;
pub mod model_clients;
pub mod open;
pub mod relay;
