//! What a request asks, as the router reads it. Pure.

use crate::excerpt::Excerpt;

/// What the router looks at: the last question, and what surrounds it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Prompt {
    /// The text of the user's last message.
    pub text: Excerpt,
    /// The user's messages before it.
    pub earlier: u64,
    /// Tokens of the whole prompt, estimated.
    pub tokens: u64,
    /// The most tokens that the answer may have; 0 where the request sets no bound.
    pub answer: u64,
    /// The request offers tools.
    pub tools: bool,
    /// Some message holds more than text: an image, audio or a file.
    pub images: bool,
}
