//! The listeners: connections in, requests to a [`Handler`](crate::server::handler::Handler), responses out.
//!
//! hyper has only a deadline for an HTTP/1.1 head, and no bound for the control frames of HTTP/2 clients. The rest is added here:
//! `guard_io` below TLS (write timeout, lingering close), `h1_guard` above it (clients that leave), `h2_guard` above it (unfinished
//! frames, floods), `h2_streams` (streams whose client takes nothing), `connection` (handshake, drain).

pub mod accept;
mod activity;
pub mod admin;
mod backoff;
mod connection;
mod connection_settings;
mod connections;
mod deadline;
pub mod descriptors;
pub mod expiry;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod guard_io;
mod h1_guard;
mod h2_frames;
mod h2_guard;
mod h2_streams;
pub mod handler;
pub mod hosts;
pub mod identity;
pub mod local_ca;
mod pages;
pub mod playground;
mod quiet;
pub mod settings;
pub mod signals;
pub mod tls;

pub use accept::{BindError, bind, serve};
pub use connection_settings::Settings;
pub use signals::{Signal, Signals};
