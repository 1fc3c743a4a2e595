//! LLM API families: what a request asks, what an event of an answer means, what an error means. Pure.
//!
//! Each family is one directory; so far there is [`chat`], OpenAI's chat completions. The other modules are shared by all
//! families.

pub mod chat;
pub mod estimate;
pub mod excerpt;
pub mod fault;
pub mod invalid;
mod json;
pub mod prompt;
pub mod refusal;
pub mod usage;
