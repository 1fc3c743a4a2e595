//! Cached answers, and answers that identical requests share while they are streamed. docs/CACHE.md documents the behaviour.
//!
//! [`canonical`] and [`key`] define which requests are identical, [`directives`] reads the `cache-control` of a request.
//! [`response_cache`] finds an [`entry`], in [`memory`] or in Redis ([`remote`]), or a coalesced answer, which a leader gets
//! ([`lead`]). [`source`] is the source of the answer to one client: a [`replay`] or a coalesced answer, with an id of its
//! own ([`splice`]). The family of the request joins the events of a stream to a complete answer, and the reverse.

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
