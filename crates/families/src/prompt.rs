//! What a request asks, as a router reads it. Pure.

use crate::excerpt::Excerpt;

/// What the router looks at: the last question, and what stands around it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Prompt {
    /// The text of the user's last message.
    pub text: Excerpt,
    /// The user's messages before it.
    pub earlier: u64,
    /// Tokens of the whole prompt, estimated.
    pub tokens: u64,
    /// Tokens that its answer may have, where the request says so.
    pub answer: u64,
    /// Tools are offered.
    pub tools: bool,
    /// Some message holds more than text.
    pub images: bool,
}
