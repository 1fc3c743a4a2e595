//! The prompt of a request, for the router. Pure.

use crate::excerpt::Excerpt;

/// The input of the router: the last question, and its context.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Prompt {
    /// The text of the user's last message.
    pub text: Excerpt,
    /// The user's messages before it.
    pub earlier: u64,
    /// The estimated tokens of the whole prompt.
    pub tokens: u64,
    /// The most tokens that the answer may have; 0 if the request sets no bound.
    pub answer: u64,
    /// Whether the request offers tools.
    pub tools: bool,
    /// Whether a message holds more than text: an image, audio or a file.
    pub images: bool,
}
