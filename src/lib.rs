//! Tokenway
pub mod body;
pub mod chat;
pub mod config;
pub mod cors;
pub mod drain;
pub mod error;
pub mod metrics;
pub mod route;
pub mod stream;
