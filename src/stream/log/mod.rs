//! Logs: one writer appends the events of an answer, and any number of readers follow it, each from its own place.
//!
//! A [log](core) packs its events in a [`ring`]. The [`registry`] has the resumable streams: a completion continues without
//! readers, and its owner can read it from any event, many times (docs/STREAMS.md). The [`coalescer`] has the answers that
//! identical requests share (docs/CACHE.md). [`writer`] is the sink that writes a source into a log; [`render`] makes a
//! source from a [`reader`] of a resumable stream.

pub mod block;
pub mod coalescer;
pub mod core;
pub mod cursor;
pub mod id;
pub mod marked;
pub mod owner;
pub mod reader;
pub mod registry;
pub mod render;
pub mod ring;
pub mod settings;
mod streams;
pub mod writer;

#[cfg(test)]
mod tests;
