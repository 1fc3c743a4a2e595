//! Answers that are kept, and answers that are shared while they come in. docs/CACHE.md says what is promised.
//!
//! [`canonical`] and [`key`] say which requests are the same, [`directives`] what a request wants of the cache. [`response_cache`]
//! finds an [`entry`], in [`memory`] or in Redis ([`remote`]), or a [`flight`], which [`fly`] writes. [`cached_body`] is the answer
//! to one client, with an id of its own ([`splice`]), streamed or whole ([`merge`]).

pub mod canonical;
pub mod directives;
pub mod entry;
pub mod flight;
pub mod fly;
pub mod response_cache;
pub mod key;
pub mod memory;
pub mod merge;
pub mod remote;
pub mod replay;
pub mod splice;
pub mod cached_body;
