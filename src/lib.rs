//! Tokenway
pub mod body;
pub mod cli;
pub mod config;
pub mod cors;
pub mod drain;
pub mod error;
pub mod metrics;
pub mod route;
