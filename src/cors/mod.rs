//! Cross-origin resource sharing by hand. Pure: a request head and a checked policy in, a decision out.

pub mod decision;
pub mod origin;
pub mod policy;
