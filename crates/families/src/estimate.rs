//! Estimates of token counts, for texts that the upstream has not counted. Pure.
//!
//! Both rules use bytes, not characters: a tokenizer spends more tokens on a character of a non-Latin script, and UTF-8
//! spends more bytes on it. Metrics and limits use the estimates, and label them; the upstream's usage takes precedence.

/// OpenAI, "What are tokens and how to count them?": a token is about four characters of English text.
const BYTES_PER_TOKEN: u64 = 4;

/// OpenAI Cookbook, "How to count tokens with tiktoken" §6: the tokens around each message, and at the beginning of the
/// answer.
const TOKENS_PER_MESSAGE: u64 = 3;
const TOKENS_OF_PRIMING: u64 = 3;

/// Returns the tokens of a prompt of `messages` messages with `bytes` bytes of text in all. Images, audio and files
/// come on top: see [`crate::media`].
pub fn prompt_tokens(bytes: u64, messages: u64) -> u64 {
    let around = messages.saturating_mul(TOKENS_PER_MESSAGE).saturating_add(TOKENS_OF_PRIMING);
    bytes.div_ceil(BYTES_PER_TOKEN).saturating_add(around)
}

/// Returns the tokens of an answer that came in `events` output events with `bytes` bytes of text in all.
///
/// An engine sends an event only when it has at least one new token, so there are at least as many tokens as events.
pub fn output_tokens(bytes: u64, events: u64) -> u64 {
    bytes.div_ceil(BYTES_PER_TOKEN).max(events)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_begun_token_is_a_token() {
        assert_eq!(prompt_tokens(1, 1), 1 + 3 + 3);
        assert_eq!(prompt_tokens(8, 2), 2 + 6 + 3);
        assert_eq!(output_tokens(5, 1), 2);
        assert_eq!(output_tokens(0, 0), 0);
    }

    proptest! {
        #[test]
        fn more_text_is_never_fewer_tokens(bytes: u64, more: u64, n: u64) {
            let more = bytes.saturating_add(more);
            prop_assert!(prompt_tokens(more, n) >= prompt_tokens(bytes, n));
            prop_assert!(output_tokens(more, n) >= output_tokens(bytes, n));
            prop_assert!(output_tokens(bytes, n) >= n);
        }
    }
}
