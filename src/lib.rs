//! Tokenway
pub mod body;
pub mod config;
pub mod cors;
pub mod drain;
pub mod error;
pub mod metrics;
pub mod route;
pub mod server;
