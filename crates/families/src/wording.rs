//! The wordings by which providers and servers report a failure that no code of theirs names. Pure.
//!
//! Each row is a part of a message in lower case, what it means, who writes it, and where that is reported: a repository and the
//! number of an issue, or a page of the provider. A row is only used where status, `code` and `type` leave the reason open.

use crate::fault::Fault;

/// One wording.
pub(crate) struct Wording {
    /// A part of the message, in lower case.
    part: &'static str,
    /// A second part that must follow it; empty for none.
    then: &'static str,
    fault: Fault,
    /// Who writes it and the source, and a whole message with this wording.
    #[cfg(test)]
    example: (&'static str, &'static str),
}

macro_rules! wordings {
    ($($fault:ident { $($part:literal $(.. $then:literal)? $who:literal $example:literal;)+ })+) => {
        &[$($(Wording {
            part: $part,
            then: concat!($($then)?),
            fault: Fault::$fault,
            #[cfg(test)]
            example: ($who, $example),
        },)+)+]
    };
}

/// All wordings.
static WORDINGS: &[Wording] = wordings! {
    ContextLengthExceeded {
        "maximum context length" "OpenAI, vLLM, OpenRouter: langchain-ai/langchain#11001, earendil-works/pi#5929, refly-ai/refly#1177"
            "This model's maximum context length is 8192 tokens. However, you requested 9000 tokens.";
        "context length exceeded" "several: the list of crewAI" "Context length exceeded for this model";
        "exceeds the context window" "OpenAI: earendil-works/pi#5929" "Your input exceeds the context window of this model. Please adjust your input and try again.";
        "context window exceeds limit" "MiniMax: the list of earendil-works/pi" "invalid params, context window exceeds limit (2013)";
        "context size" "llama.cpp: its server, run by scripts/real-llm" "the request exceeds the available context size, try increasing it";
        "prompt is too long" "Anthropic: entropy-research/Devon#88" "prompt is too long: 209353 tokens > 199999 maximum";
        "input length and" .. "try again" "Anthropic: public reports" "input length and `max_tokens` exceed context limit: 188240 + 21333 > 200000, decrease input length or `max_tokens` and try again";
        "input is too long" "Bedrock: aws-samples/bedrock-chat#95" "Input is too long for requested model.";
        "too many input tokens" "Bedrock: BerriAI/litellm#21647" "Too many input tokens. Max input tokens: 8192, request input token count: 9001";
        "input token count" .. "exceeds the maximum" "Gemini: google-gemini/gemini-cli#6678"
            "The input token count (1196265) exceeds the maximum number of tokens allowed (1048575).";
        "maximum prompt length is" "xAI: cline/cline#3120" "This model's maximum prompt length is 131072 but the request contains 537812 tokens.";
        "too large for model with" "Mistral: BerriAI/litellm#21647"
            "Prompt contains 34567 tokens and 0 draft tokens, too large for model with 32768 maximum context length";
        "longer than the model's context length" "SGLang: sgl-project/sglang#8096"
            "The input (12345 tokens) is longer than the model's context length (8192 tokens).";
        "longer than the maximum model length" "vLLM: its input processor"
            "The decoder prompt (length 10000) is longer than the maximum model length of 8192.";
        "range of input length should be" "Qwen: the error codes of Model Studio" "<400> InternalError.Algo.InvalidParameter: Range of input length should be [1, 30720]";
        "exceeded model token limit" "Moonshot: MoonshotAI/kimi-cli#2011" "Invalid request: Your request exceeded model token limit: 262144 (requested: 269030)";
        "prompt exceeds max length" "Zhipu: zeroclaw-labs/zeroclaw#4124" "Prompt exceeds max length";
        "too many tokens: " "Cohere: pydantic/pydantic-ai#4221" "too many tokens: size limit exceeded by 19296 tokens. Try using shorter or fewer inputs. The limit for this model is 132000 tokens.";
        "reduce the length of the messages" "Groq, Cerebras: letta-ai/letta#1963, cline/cline#5140" "Please reduce the length of the messages or completion.";
        "length of all messages is too long" "Perplexity: BerriAI/litellm#21647" "The total length of all messages is too long.";
        "loaded with context length of only" "LM Studio: cline/cline#3664"
            "Trying to keep the first 10136 tokens when context the overflows. However, the model is loaded with context length of only 7866 tokens, which is not enough.";
        "too long to fit into the model" "vLLM: vllm-project/vllm#12165"
            "The prompt (total length 25938) is too long to fit into the model (context length 4096).";
        "greater than the context length" "LM Studio: the list of earendil-works/pi"
            "The number of tokens to keep from the initial prompt is greater than the context length.";
        "input length exceeds the context length" "Ollama: public reports" "the input length exceeds the context length";
    }
    QuotaExhausted {
        "credit balance is too low" "Anthropic: anthropics/claude-quickstarts#229"
            "Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing to upgrade or purchase credits.";
        "insufficient balance" "DeepSeek, Moonshot: continuedev/continue#11443" "Insufficient Balance";
        "used all available credits" "xAI: continuedev/continue#10373"
            "Your team 16f2151a has either used all available credits or reached its monthly spending limit.";
        "run out of credits" "xAI: Wei-Shaw/sub2api#4069" "You have run out of credits or need a Grok subscription.";
        "exceeded current quota, please check your plan" "Moonshot: MoonshotAI/Kimi-K2#5"
            "Your account org-1 is not active, organization org-1 exceeded current quota, please check your plan and billing details";
        "account is in good standing" "Qwen: the error codes of Model Studio" "Access denied, please make sure your account is in good standing.";
        "余额不足" "Zhipu: continuedev/continue#10296" "余额不足或无可用资源包,请充值。";
        "insufficient credits" "OpenRouter: public reports" "Insufficient credits. Add more using https://openrouter.ai/settings/credits";
        "requires more credits" "OpenRouter: can1357/oh-my-pi#9569" "This request requires more credits, or fewer max_tokens.";
        "prepayment credits are depleted" "Gemini: public code that catches it" "Your prepayment credits are depleted.";
    }
    Credentials {
        "incorrect api key provided" "xAI, OpenAI: public reports" "Incorrect API key provided: xa***ey. You can obtain an API key from https://console.x.ai.";
        "api key not valid" "Gemini: google.rpc.ErrorInfo, API_KEY_INVALID" "API key not valid. Please pass a valid API key.";
    }
};

/// Returns what a message means, or `None` if it has no wording that is known.
///
/// Quoted text has no meaning: it may be the client's own, and a client must not make its mistake a fault of the upstream.
pub(crate) fn meaning(message: &str) -> Option<Fault> {
    let message = unquoted(message).to_lowercase();
    let is_in =
        |wording: &&Wording| message.split_once(wording.part).is_some_and(|(_, rest)| rest.contains(wording.then));
    WORDINGS.iter().find(is_in).map(|wording| wording.fault)
}

/// Returns the message without what is between the first and the last quotation mark of each kind. An apostrophe, which
/// follows a letter, opens no quotation.
fn unquoted(message: &str) -> String {
    let mut text = message.to_owned();
    for mark in ['"', '\'', '`', '“'] {
        let closing = if mark == '“' { '”' } else { mark };
        let opens = |at: &usize| !text[..*at].ends_with(char::is_alphanumeric);
        let first = text.match_indices(mark).map(|(at, _)| at).find(opens);
        let last = text.rfind(closing).map(|at| at + closing.len_utf8());
        if let (Some(first), Some(last)) = (first, last)
            && first + mark.len_utf8() < last
        {
            text.replace_range(first..last, "");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_wording_is_found_in_the_message_of_its_provider_and_no_earlier_row_takes_it() {
        for wording in WORDINGS {
            let (who, example) = wording.example;
            let message = example.to_lowercase();
            assert_eq!(wording.part, wording.part.to_lowercase(), "{who}");
            assert!(message.contains(wording.part) && message.contains(wording.then), "{who}: {example}");
            assert_eq!(meaning(example), Some(wording.fault), "{who}: {example}");
        }
    }

    #[test]
    fn text_of_the_client_in_quotation_marks_means_nothing() {
        for message in [
            "Invalid value: 'insufficient balance'. Supported values are: 'system', 'user'.",
            "Invalid value: 'x' insufficient balance'. Supported values are: 'system', 'user'.",
            "unknown role \"incorrect api key provided\"",
            "unknown role `prompt is too long` in messages[0]",
            "unknown role “prompt is too long”",
        ] {
            assert_eq!(meaning(message), None, "{message}");
        }
        assert_eq!(unquoted("the model's maximum isn't 'a' 'b' reached"), "the model's maximum isn't  reached");
        assert_eq!(unquoted("one ' mark"), "one ' mark");
    }

    proptest! {
        #[test]
        fn what_is_between_quotation_marks_never_counts(before in "[a-z .]{0,20} ", text in "[^\"'`“”]{0,80}", row in 0..WORDINGS.len()) {
            let (_, example) = WORDINGS[row].example;
            for (open, close) in [('"', '"'), ('\'', '\''), ('`', '`'), ('“', '”')] {
                let message = format!("{before}{open}{text}{example}{text}{close}");
                prop_assert!(unquoted(&message).len() <= before.len() + 2 * text.len() + example.len());
                if !example.contains(['"', '\'', '`']) {
                    prop_assert_eq!(unquoted(&message), before.as_str());
                }
            }
        }

        #[test]
        fn any_message_can_be_read(message: String) {
            meaning(&message);
        }
    }

    #[test]
    fn messages_about_other_things_mean_nothing() {
        for message in [
            "",
            "Rate limit reached for gpt-4o on tokens per min (TPM): Limit 30000, Used 29000, Requested 2000.",
            "You exceeded your current quota, please check your plan and billing details.",
            "max_tokens is too large: 100000. This model supports at most 16384 completion tokens.",
            "messages: text content blocks must be non-empty",
            "The input token count is fine",
            "Invalid value for 'temperature'",
        ] {
            assert_eq!(meaning(message), None, "{message}");
        }
    }
}
