//! The public listener: connections in, requests to a [`Handler`](crate::server::handler::Handler), responses out.
//!
//! hyper has no deadline but the one for an HTTP/1.1 head, and no bound on what HTTP/2 clients send besides requests. What
//! is missing stands here, around it: `guard_io` under TLS (writes, lingering close), `h1_guard` over it (clients that
//! leave unread), `h2_guard` over it (unfinished frames, floods), `h2_streams` beside it (streams whose client takes
//! nothing), `connection` above it (handshake, drain).

pub mod accept;
pub mod admin;
mod backoff;
mod connection;
mod connection_settings;
mod connections;
mod deadline;
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
