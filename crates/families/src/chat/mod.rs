//! OpenAI's chat completions: requests, whole answers and streamed events. Pure.

pub mod answer;
mod completion;
mod delta;
pub mod event;
mod prompt;
mod quick;
pub mod request;
mod shape;
mod text;
