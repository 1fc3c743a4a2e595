#![doc = include_str!("../README.md")]
//!
//! # Modules
//!
//! [`family`] is the interface, [`ALL`] is where a family is registered. Each family is one directory; so far there is [`chat`],
//! OpenAI's chat completions. The other modules are shared by all families.

pub mod answer;
pub mod api_error;
pub mod chat;
pub mod estimate;
pub mod event;
pub mod excerpt;
pub mod family;
pub mod fault;
mod json;
pub mod prompt;
pub mod refusal;
pub mod request;
pub mod usage;

use family::Family;

/// Every family. A new one is registered here, and nowhere else.
pub static ALL: &[&dyn Family] = &[&chat::Chat];
