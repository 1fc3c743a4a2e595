#![doc = include_str!("../README.md")]

pub mod block;
pub mod check;
pub mod code;
pub mod cookie;
pub mod event_source;
pub mod fetch;
pub mod head;
pub mod mime;
pub mod origin;
pub mod preflight;
pub mod quirks;
pub mod redirect;
pub mod request;
pub mod response;
pub mod safelist;

#[cfg(test)]
mod tests;
