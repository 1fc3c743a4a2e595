//! OpenAI's chat completion format: what a request asks, what an answer or an event of it says, what an error means. Pure.

pub mod answer;
mod completion;
mod delta;
pub mod estimate;
pub mod event;
pub mod fault;
mod json;
mod prompt;
mod quick;
pub mod request;
mod shape;
mod text;
pub mod upstream_error;
pub mod usage;
