#![doc = include_str!("../README.md")]
//!
//! # Modules
//!
//! [`framer`] finds where each event of a `text/event-stream` ends; [`event`] reads the fields of one event. "§9.2" in these
//! files is the section "Server-sent events" of the WHATWG HTML standard.

pub mod event;
pub mod framer;
