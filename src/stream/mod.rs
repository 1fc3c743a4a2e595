//! One stream on its way to the client. A [`source`](source::Source) yields events: a completion that an upstream streams
//! ([`upstream_source`]), a reader of a [`log`], or an answer from the cache. Its sink is a [`body`] or the
//! [writer](log::writer) of a log.

pub mod body;
mod classification;
pub mod completions;
mod conversion;
pub mod upstream_source;
pub mod deadlines;
pub mod event;
pub mod feed;
pub mod log;
pub mod model_clients;
pub mod open;
pub mod settings;
pub mod source;
pub mod timer;
