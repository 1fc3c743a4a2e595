//! Cross-origin resource sharing by hand. Pure: a request head and a checked policy in, a decision out.
//!
//! "Fetch" in these files is the WHATWG Fetch standard, <https://fetch.spec.whatwg.org>, read at its commit 586cd2a.

pub mod decision;
mod flaw;
pub mod names;
pub mod origin;
pub mod pattern;
pub mod policy;
mod vary;

#[cfg(test)]
mod tests;
