//! The token counts that an upstream reports. Pure.

/// The token counts of one completion, as the upstream reports them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// `prompt_tokens`, cached ones included.
    pub prompt: u64,
    /// `completion_tokens`, reasoning included.
    pub completion: u64,
    /// `prompt_tokens_details.cached_tokens`, or DeepSeek's `prompt_cache_hit_tokens`: part of `prompt`.
    pub cached: u64,
    /// `prompt_tokens_details.cache_write_tokens`: part of `prompt`.
    pub cache_write: u64,
    /// `completion_tokens_details.reasoning_tokens`: part of `completion`.
    pub reasoning: u64,
}
