//! What one event of an upstream's stream means to the gateway.

pub use super::delta::Delta;

use super::completion;
use super::quick::Quick;
use crate::fault::{Fault, Said};

/// The meaning of an event that has data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chunk {
    /// `[DONE]`: the stream is whole.
    Done,
    /// The upstream says that it failed. Of what it says only the class is kept.
    Error(Fault),
    /// Not a JSON object.
    Malformed,
    /// A chunk of the completion.
    Delta(Delta),
}

/// Reads the events of one stream.
#[derive(Debug, Clone, Default)]
pub struct Inspector(Quick);

impl Inspector {
    /// Reads an event: the value of its `event` field, if it has one, and its data.
    pub fn inspect(&mut self, name: Option<&[u8]>, data: &[u8]) -> Chunk {
        // the SDKs look no further either
        if data.starts_with(b"[DONE]") {
            return Chunk::Done;
        }
        if name == Some(b"error") {
            return Chunk::Error(Said::read(data).fault.unwrap_or(Fault::Other));
        }
        self.0.read(data).map_or_else(|| parse(data), Chunk::Delta)
    }
}

/// Reads data that is not `[DONE]`.
pub(super) fn parse(data: &[u8]) -> Chunk {
    completion::read(data, |seen| match seen {
        None => Chunk::Malformed,
        Some(seen) => match seen.error {
            Some(error) => Chunk::Error(Said::read(error.get().as_bytes()).fault.unwrap_or(Fault::Other)),
            None => Chunk::Delta(Delta {
                output: seen.output,
                text_bytes: seen.text_bytes,
                finished: seen.finished,
                usage: seen.usage,
                usage_only: seen.choices == 0 && seen.usage.is_some(),
            }),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::usage::Usage;
    use proptest::prelude::*;
    use serde_json::json;

    fn inspect(name: Option<&[u8]>, data: &[u8]) -> Chunk {
        Inspector::default().inspect(name, data)
    }

    fn delta(json: &str) -> Delta {
        match inspect(None, json.as_bytes()) {
            Chunk::Delta(delta) => delta,
            other => panic!("{other:?}: {json}"),
        }
    }

    fn with_delta(inner: &str) -> Delta {
        delta(&format!(
            r#"{{"id":"c","object":"chat.completion.chunk","choices":[{{"index":0,"delta":{inner},"finish_reason":null}}]}}"#
        ))
    }

    #[test]
    fn whatever_a_choice_says_is_output() {
        let output = [
            (r#"{"content":"hi"}"#, 2),
            (r#"{"content":"\n\u4f60"}"#, 4),
            (r#"{"content":[{"type":"text","text":"abc"}]}"#, 3),
            (r#"{"content":null,"reasoning_content":"hm"}"#, 2),
            (r#"{"reasoning":"hm"}"#, 2),
            (r#"{"reasoning_details":[{"type":"reasoning.text","text":"hm"}]}"#, 2),
            (r#"{"refusal":"no"}"#, 2),
            (r#"{"tool_calls":[{"index":0,"function":{"arguments":""}}]}"#, 0),
            (r#"{"function_call":{"name":"f"}}"#, 1),
            (r#"{"audio":{"transcript":"la"}}"#, 2),
        ];
        for (inner, text_bytes) in output {
            assert_eq!(with_delta(inner), Delta { output: true, text_bytes, ..Delta::default() }, "{inner}");
        }
    }

    #[test]
    fn a_role_null_and_empty_values_are_not_output() {
        for inner in [
            "{}",
            "null",
            "7",
            "[]",
            r#""text""#,
            r#"{"role":"assistant"}"#,
            r#"{"role":"assistant","content":null}"#,
            r#"{"role":"assistant","content":"","refusal":null,"tool_calls":[],"function_call":{},"audio":null}"#,
            r#"{"content":0,"reasoning":false}"#,
        ] {
            assert_eq!(with_delta(inner), Delta::default(), "{inner}");
        }
    }

    #[test]
    fn any_choice_counts() {
        let two = r#"{"choices":[{"delta":{"content":""}},{"delta":{"content":"b"},"finish_reason":"stop"}]}"#;
        assert_eq!(delta(two), Delta { output: true, text_bytes: 1, finished: true, ..Delta::default() });
    }

    #[test]
    fn usage_is_read_in_each_provider_s_spelling() {
        let openai = r#"{"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":5,"total_tokens":14,
            "prompt_tokens_details":{"cached_tokens":4,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":3}}}"#;
        let usage = Usage { prompt: 9, completion: 5, cached: 4, reasoning: 3 };
        assert_eq!(delta(openai), Delta { usage: Some(usage), usage_only: true, ..Delta::default() });
        let deepseek = r#"{"choices":[{"delta":{"content":""},"finish_reason":"stop"}],
            "usage":{"prompt_tokens":9,"completion_tokens":5,"prompt_cache_hit_tokens":8}}"#;
        let usage = Usage { prompt: 9, completion: 5, cached: 8, reasoning: 0 };
        assert_eq!(delta(deepseek), Delta { usage: Some(usage), finished: true, ..Delta::default() });
        let floats = r#"{"choices":[],"usage":{"prompt_tokens":9.0,"completion_tokens":50.0}}"#;
        let usage = Usage { prompt: 9, completion: 50, ..Usage::default() };
        assert_eq!(delta(floats), Delta { usage: Some(usage), usage_only: true, ..Delta::default() });
    }

    #[test]
    fn only_usage_without_choices_is_usage_only() {
        for (json, usage_only) in [
            (r#"{"usage":{"prompt_tokens":1}}"#, true),
            (r#"{"choices":null,"usage":{"prompt_tokens":1}}"#, true),
            (r#"{"choices":[{}],"usage":{"prompt_tokens":1}}"#, false),
            (r#"{"choices":[],"usage":null}"#, false),
            (r#"{"choices":[],"usage":{}}"#, false),
            (r#"{"choices":[],"usage":"many"}"#, false),
            (r#"{"choices":[],"usage":{"prompt_tokens":-1,"completion_tokens":null}}"#, false),
            (r#"{"choices":[],"prompt_filter_results":[{"prompt_index":0}]}"#, false),
        ] {
            assert_eq!(delta(json).usage_only, usage_only, "{json}");
        }
    }

    #[test]
    fn an_error_is_told_from_its_absence_as_the_sdks_do() {
        for (json, fault) in [
            (r#"{"error":{"message":"secret","type":"rate_limit_error"}}"#, Fault::RateLimited),
            (r#"{"error":{"code":502,"message":"x"},"choices":[{"delta":{"content":"late"}}]}"#, Fault::Other),
            (r#"{"error":"overloaded"}"#, Fault::Other),
            (r#"{"error":{}}"#, Fault::Other),
        ] {
            assert_eq!(inspect(None, json.as_bytes()), Chunk::Error(fault), "{json}");
        }
        for json in [
            r#"{"error":null}"#,
            r#"{"error":""}"#,
            r#"{"error":false}"#,
            r#"{"error":0}"#,
            r#"{"choices":[{"error":"x"}]}"#,
        ] {
            assert_eq!(delta(json), Delta::default(), "{json}");
        }
    }

    #[test]
    fn an_event_named_error_is_one_whatever_its_data() {
        let anthropic = br#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#;
        assert_eq!(inspect(Some(b"error"), anthropic), Chunk::Error(Fault::Overloaded));
        assert_eq!(inspect(Some(b"error"), b"out of cheese"), Chunk::Error(Fault::Other));
        assert_eq!(inspect(Some(b"message"), b"[DONE]"), Chunk::Done);
    }

    #[test]
    fn what_is_no_json_object_is_malformed() {
        for data in ["", "DONE", "null", "[]", "7", "\"a\"", "{", "{\"a\":1} x", "{\"choices\":[{]}", "{a:1}"] {
            assert_eq!(inspect(None, data.as_bytes()), Chunk::Malformed, "{data}");
        }
    }

    #[test]
    fn broken_text_is_read_as_a_client_reads_it() {
        let invalid = b"{\"choices\":[{\"delta\":{\"content\":\"a\xff\"}}]}";
        assert_eq!(inspect(None, invalid), Chunk::Delta(Delta { output: true, text_bytes: 4, ..Delta::default() }));
        assert_eq!(with_delta(r#"{"content":"\ud83d"}"#).text_bytes, 2, "half a surrogate pair");
    }

    #[test]
    fn members_of_any_type_and_doubled_ones_are_tolerated() {
        for json in [
            r#"{"choices":{"delta":{"content":"x"}}}"#,
            r#"{"choices":[null,7,"x",[{"delta":{"content":"x"}}]]}"#,
            r#"{"choices":[{"delta":{"role":"a"}}],"choices":[{"finish_reason":null}],"created":1e400}"#,
        ] {
            assert_eq!(delta(json), Delta::default(), "{json}");
        }
    }

    #[test]
    fn absurd_depth_does_no_harm() {
        for json in ["[".repeat(1 << 20), format!("{{\"a\":{}", "[".repeat(1 << 20)), "{\"choices\":".repeat(1 << 16)] {
            assert_eq!(inspect(None, json.as_bytes()), Chunk::Malformed);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_can_be_inspected(bytes: Vec<u8>) {
            inspect(None, &bytes);
        }

        #[test]
        fn text_is_counted_wherever_it_stands(content: String, reasoning: String, noise: String, finish: Option<String>) {
            let json = json!({ &noise: [{ "content": noise }], "choices": [{
                "logprobs": { "content": [{ "token": noise }] },
                "delta": { "content": content, "reasoning_content": reasoning, "role": noise },
                "finish_reason": finish,
            }]});
            prop_assume!(!["choices", "error", "usage"].contains(&&*noise));
            let delta = delta(&json.to_string());
            prop_assert_eq!(delta.text_bytes as usize, content.len() + reasoning.len());
            prop_assert_eq!(delta.output, !content.is_empty() || !reasoning.is_empty());
            prop_assert_eq!(delta.finished, finish.is_some_and(|reason| !reason.is_empty()));
        }
    }
}
