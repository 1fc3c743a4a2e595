//! Streams that outlive their readers: a completion goes into a bounded log, and whoever owns it reads from any place of
//! it, as often as the network makes necessary.
//!
//! [`writer`] drives the relay of one completion into a log of the [`store`]; [`reader`] is the body of an answer that
//! replays from it and then follows it. [`registry`] is the store of this process. The semantics stand in docs/STREAMS.md.

pub mod block;
pub mod cursor;
mod entry;
pub mod id;
pub mod reader;
pub mod registry;
pub mod ring;
pub mod store;
pub mod writer;

#[cfg(test)]
mod tests;
