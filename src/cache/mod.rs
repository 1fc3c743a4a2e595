//! Answers that are kept, and answers that are shared while they come in. docs/CACHE.md says what is promised.
//!
//! [`canonical`] and [`key`] say which requests are the same, [`directive`] what a request wants of the cache. [`keeper`]
//! finds an [`entry`], in [`memory`] or in Redis ([`remote`]), or a [`flight`], which [`fly`] writes. [`told`] is the answer
//! to one client, with an id of its own ([`splice`]), streamed or whole ([`merge`]).

pub mod canonical;
pub mod directive;
pub mod entry;
pub mod flight;
pub mod fly;
pub mod keeper;
pub mod key;
pub mod memory;
pub mod merge;
pub mod remote;
pub mod replay;
pub mod splice;
pub mod told;
