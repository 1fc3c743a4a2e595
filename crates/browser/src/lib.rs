//! The browser's half of cross-origin requests: what the Fetch standard makes a browser do, and what browsers do instead.
//! Pure: a page's request in, requests to send out; answers in, verdicts out.
//!
//! [`fetch::Fetch`] is the whole course of one request, for a caller that does the I/O. The other modules are its steps, in
//! the order in which they happen: [`request`], [`safelist`], [`preflight`], [`check`], [`redirect`], [`response`],
//! [`cookie`], [`event_source`]. Where browsers differ from the standard, [`quirks`] says so.
//!
//! "Fetch" in these files is the WHATWG Fetch standard, <https://fetch.spec.whatwg.org>, read at its commit 586cd2a.

pub mod answer;
pub mod block;
pub mod check;
pub mod code;
pub mod cookie;
pub mod event_source;
pub mod fetch;
pub mod mime;
pub mod origin;
pub mod preflight;
pub mod quirks;
pub mod redirect;
pub mod request;
pub mod response;
pub mod safelist;
pub mod step;

#[cfg(test)]
mod tests;
