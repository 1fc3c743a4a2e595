//! Cached answers, and answers that identical requests share while they come in. docs/CACHE.md says what is promised.
//!
//! [`canonical`] and [`key`] say which requests are the same, [`directives`] what a request wants of the cache. [`response_cache`]
//! finds an [`entry`], in [`memory`] or in Redis ([`remote`]), or a coalesced answer, which a leader gets ([`lead`]). [`source`] is
//! the source of the answer to one client, a [`replay`] or a coalesced answer, with an id of its own ([`splice`]). The
//! family of the request joins the events of a stream to a complete answer, and the reverse.

pub mod canonical;
pub mod directives;
pub mod entry;
pub mod events;
pub mod key;
pub mod lead;
pub mod memory;
pub mod remote;
pub mod replay;
pub mod response_cache;
pub mod settings;
pub mod source;
pub mod splice;
