//! Reads the events of one stream of chunks. Pure.

use super::contents::{self, Begin};
use super::quick::Quick;
use crate::api_error::ApiError;
use crate::error_object::ErrorObject;
use crate::event::{EventReader, Meaning};
use crate::fault::Fault;

/// Reads the events of one stream.
#[derive(Debug, Clone, Default)]
pub(super) struct Reader(Quick);

impl EventReader for Reader {
    fn read(&mut self, name: Option<&[u8]>, data: &[u8]) -> Meaning {
        // the SDKs read no further either
        if data.starts_with(b"[DONE]") {
            return Meaning { terminal: true, ..Meaning::default() };
        }
        if name == Some(b"error") {
            return Meaning::failed(ErrorObject::read(data).fault.unwrap_or(Fault::Other));
        }
        match self.0.read(data) {
            Some(meaning) => meaning,
            None => self.parse(data),
        }
    }

    fn failure(&self, error: &ApiError<'_>) -> Vec<u8> {
        [b"data: ", &error.openai()[..], b"\n\n"].concat()
    }
}

impl Reader {
    #[inline(never)] // usual chunks do not get here, and should not pay for it
    fn parse(&self, data: &[u8]) -> Meaning {
        match self.0.after_head(data) {
            Some(choices) => parse(choices, Begin::Choices),
            None => parse(data, Begin::Object),
        }
    }
}

/// Reads data that is not `[DONE]`, from this position on.
pub(super) fn parse(data: &[u8], begin: Begin) -> Meaning {
    contents::read(data, begin, |contents| match contents {
        None => Meaning { malformed: true, ..Meaning::default() },
        Some(contents) => {
            let usage = contents.counts.usage();
            let named = |error: &str| ErrorObject::read(error.as_bytes()).fault.unwrap_or(Fault::Other);
            match contents.error.map(named).or(contents.failure) {
                Some(fault) => Meaning { usage, ..Meaning::failed(fault) },
                None => Meaning {
                    output: contents.output,
                    text_bytes: contents.text_bytes,
                    finished: contents.finished,
                    usage,
                    usage_only: usage.is_some() && contents.choices == 0 && !contents.more,
                    progress: contents.progress,
                    ..Meaning::default()
                },
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::usage::Usage;
    use proptest::prelude::*;
    use serde_json::json;

    const MALFORMED: Meaning = Meaning {
        malformed: true,
        output: false,
        text_bytes: 0,
        usage: None,
        usage_only: false,
        progress: false,
        finished: false,
        terminal: false,
        fault: None,
    };

    fn read(name: Option<&[u8]>, data: &[u8]) -> Meaning {
        Reader::default().read(name, data)
    }

    /// Returns the meaning of a chunk.
    fn chunk(json: &str) -> Meaning {
        let meaning = read(None, json.as_bytes());
        assert!(!meaning.malformed && !meaning.terminal && meaning.fault.is_none(), "{meaning:?}: {json}");
        meaning
    }

    fn with_delta(inner: &str) -> Meaning {
        chunk(&format!(
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
            (r#"{"images":[{"type":"image_url","image_url":{"url":"data:image/png;base64,AAAA"}}]}"#, 0),
            (r#"{"annotations":[{"type":"url_citation","url_citation":{"url":"https://a.example"}}]}"#, 0),
            (r#"{"role":"assistant","new_modality":"AAAA"}"#, 0),
        ];
        for (inner, text_bytes) in output {
            assert_eq!(with_delta(inner), Meaning { output: true, text_bytes, ..Meaning::default() }, "{inner}");
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
            assert_eq!(with_delta(inner), Meaning::default(), "{inner}");
        }
    }

    #[test]
    fn any_choice_counts() {
        let two = r#"{"choices":[{"delta":{"content":""}},{"delta":{"content":"b"},"finish_reason":"stop"}]}"#;
        assert_eq!(chunk(two), Meaning { output: true, text_bytes: 1, finished: true, ..Meaning::default() });
    }

    #[test]
    fn usage_is_read_in_each_provider_s_spelling() {
        let openai = r#"{"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":5,"total_tokens":14,
            "prompt_tokens_details":{"cached_tokens":4,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":3}}}"#;
        let usage = Usage { prompt: 9, completion: 5, cached: 4, reasoning: 3, ..Usage::default() };
        assert_eq!(chunk(openai), Meaning { usage: Some(usage), usage_only: true, ..Meaning::default() });
        let deepseek = r#"{"choices":[{"delta":{"content":""},"finish_reason":"stop"}],
            "usage":{"prompt_tokens":9,"completion_tokens":5,"prompt_cache_hit_tokens":8}}"#;
        let usage = Usage { prompt: 9, completion: 5, cached: 8, ..Usage::default() };
        assert_eq!(chunk(deepseek), Meaning { usage: Some(usage), finished: true, ..Meaning::default() });
        let floats = r#"{"choices":[],"usage":{"prompt_tokens":9.0,"completion_tokens":50.0}}"#;
        let usage = Usage { prompt: 9, completion: 50, ..Usage::default() };
        assert_eq!(chunk(floats), Meaning { usage: Some(usage), usage_only: true, ..Meaning::default() });
    }

    #[test]
    fn usage_is_read_wherever_an_upstream_writes_it() {
        let usage = |prompt, completion| Usage { prompt, completion, ..Usage::default() };
        for (what, json, expected) in [
            (
                "Moonshot, in the choice",
                r#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop","usage":{"prompt_tokens":9,"completion_tokens":5,"total_tokens":14,"cached_tokens":4}}]}"#,
                Usage { cached: 4, ..usage(9, 5) },
            ),
            (
                "Groq",
                r#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"x_groq":{"id":"req_1","usage":{"prompt_tokens":9,"completion_tokens":5}}}"#,
                usage(9, 5),
            ),
            (
                "OpenRouter, which writes into a prompt cache",
                r#"{"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":5,"prompt_tokens_details":{"cached_tokens":1,"cache_write_tokens":6}}}"#,
                Usage { cached: 1, cache_write: 6, ..usage(9, 5) },
            ),
            (
                "a count of cached tokens at the top",
                r#"{"choices":[],"cached_tokens":4,"usage":{"prompt_tokens":9,"completion_tokens":5}}"#,
                Usage { cached: 4, ..usage(9, 5) },
            ),
            (
                "Anthropic's names",
                r#"{"choices":[],"usage":{"input_tokens":9,"output_tokens":5,"cache_read_input_tokens":2,"cache_creation_input_tokens":3}}"#,
                Usage { cached: 2, cache_write: 3, ..usage(9, 5) },
            ),
            (
                "llama.cpp without usage",
                r#"{"choices":[{"finish_reason":"stop","index":0,"delta":{}}],"timings":{"cache_n":236,"prompt_n":1,"prompt_ms":30.9,"predicted_n":35,"predicted_ms":661.0}}"#,
                usage(237, 35),
            ),
            (
                "zeros at the usual place",
                r#"{"usage":{"prompt_tokens":0,"completion_tokens":0},"choices":[{"usage":{"prompt_tokens":9,"completion_tokens":5}}]}"#,
                usage(9, 5),
            ),
        ] {
            assert_eq!(chunk(json).usage, Some(expected), "{what}");
        }
        let without_cache = r#"{"choices":[{"delta":{}}],"timings":{"prompt_n":1,"predicted_n":35}}"#;
        assert_eq!(chunk(without_cache).usage, None, "the prompt is not known");
    }

    #[test]
    fn reasoning_beside_the_completion_is_output_and_reasoning_inside_it_is_not_counted_twice() {
        let beside = r#"{"choices":[],"usage":{"prompt_tokens":10120,"completion_tokens":1499,"total_tokens":14428,"completion_tokens_details":{"reasoning_tokens":2809}}}"#;
        let usage = Usage { prompt: 10120, completion: 4308, reasoning: 2809, ..Usage::default() };
        assert_eq!(chunk(beside).usage, Some(usage), "xAI and Gemini");
        let inside = r#"{"choices":[],"usage":{"prompt_tokens":10120,"completion_tokens":4308,"total_tokens":14428,"completion_tokens_details":{"reasoning_tokens":2809}}}"#;
        assert_eq!(chunk(inside).usage, Some(usage), "OpenAI");
        let unsummed = r#"{"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":5,"total_tokens":0}}"#;
        assert_eq!(chunk(unsummed).usage, Some(Usage { prompt: 9, completion: 5, ..Usage::default() }));
    }

    #[test]
    fn a_count_that_is_no_whole_number_is_not_read() {
        for count in ["18446744073709551616", "-1", "1.5", "\"9\"", "1e3"] {
            let json = format!(r#"{{"choices":[],"usage":{{"prompt_tokens":{count},"completion_tokens":5}}}}"#);
            assert_eq!(chunk(&json).usage, Some(Usage { completion: 5, ..Usage::default() }), "{count}");
        }
    }

    #[test]
    fn a_chunk_with_usage_and_more_is_not_usage_only() {
        for more in [
            r#""timings":{"prompt_n":1}"#,
            r#""citations":["https://a.example"]"#,
            r#""provider":"Google""#,
            r#""x_other":0"#,
        ] {
            let json = format!(r#"{{"id":"c","choices":[],"usage":{{"prompt_tokens":1}},{more}}}"#);
            assert!(!chunk(&json).usage_only, "{more}");
        }
        let usual = r#"{"id":"c","object":"chat.completion.chunk","created":1,"model":"m","service_tier":"default","system_fingerprint":null,
            "choices":[],"usage":{"prompt_tokens":1},"obfuscation":"x","x_groq":{"id":"req"},"provider":null}"#;
        assert!(chunk(usual).usage_only);
    }

    #[test]
    fn a_finish_reason_of_failure_is_a_failure() {
        for (choice, fault) in [
            (r#"{"index":0,"delta":{"content":""},"finish_reason":"error"}"#, Fault::Other),
            (r#"{"finish_reason":"error","index":0,"delta":{}}"#, Fault::Other),
            (r#"{"index":0,"delta":{},"finish_reason":"err\u006fr"}"#, Fault::Other),
            (r#"{"index":0,"delta":{},"finish_reason":"error","error":{"code":502,"message":"x"}}"#, Fault::Other),
            (r#"{"index":0,"delta":{},"finish_reason":"error","error":{"code":429}}"#, Fault::RateLimited),
            (r#"{"index":0,"delta":{},"finish_reason":"insufficient_system_resource"}"#, Fault::Overloaded),
            (r#"{"index":0,"delta":{},"finish_reason":"network_error"}"#, Fault::Other),
            (r#"{"index":0,"delta":{},"finish_reason":"abort"}"#, Fault::Other),
        ] {
            let json = format!(r#"{{"choices":[{choice}],"usage":{{"prompt_tokens":1}}}}"#);
            let meaning = read(None, json.as_bytes());
            let usage = Some(Usage { prompt: 1, ..Usage::default() });
            assert_eq!(meaning, Meaning { usage, ..Meaning::failed(fault) }, "{choice}");
        }
        for reason in ["content_filter", "stop", "length", "tool_calls", "sensitive", "eos", "model_length", "unknown"]
        {
            let json = format!(r#"{{"choices":[{{"index":0,"delta":{{}},"finish_reason":"{reason}"}}]}}"#);
            assert_eq!(chunk(&json), Meaning { finished: true, ..Meaning::default() }, "{reason}");
        }
    }

    #[test]
    fn progress_of_the_prompt_is_no_output() {
        let json = r#"{"choices":[{"finish_reason":null,"index":0,"delta":{"role":"assistant","content":null}}],
            "prompt_progress":{"total":2000,"cache":0,"processed":512,"time_ms":80}}"#;
        assert_eq!(chunk(json), Meaning { progress: true, ..Meaning::default() });
    }

    #[test]
    fn numbers_that_only_python_writes_are_read() {
        let json = r#"{"choices":[{"index":0,"delta":{"content":"hi"},"logprobs":{"content":[{"token":"hi","logprob":-Infinity},NaN,Infinity]}}]}"#;
        assert_eq!(chunk(json), Meaning { output: true, text_bytes: 2, ..Meaning::default() });
        for broken in ["NaNs", "-NaN", "Inf", "infinity", "-"] {
            assert_eq!(read(None, format!(r#"{{"a":{broken}}}"#).as_bytes()), MALFORMED, "{broken}");
        }
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
            assert_eq!(chunk(json).usage_only, usage_only, "{json}");
        }
    }

    #[test]
    fn an_error_is_recognized_as_the_sdks_do() {
        for (json, fault) in [
            (r#"{"error":{"message":"secret","type":"rate_limit_error"}}"#, Fault::RateLimited),
            (r#"{"error":{"code":502,"message":"x"},"choices":[{"delta":{"content":"late"}}]}"#, Fault::Other),
            (r#"{"error":"overloaded"}"#, Fault::Other),
            (r#"{"error":{}}"#, Fault::Other),
        ] {
            assert_eq!(read(None, json.as_bytes()), Meaning::failed(fault), "{json}");
        }
        for json in [
            r#"{"error":null}"#,
            r#"{"error":""}"#,
            r#"{"error":false}"#,
            r#"{"error":0}"#,
            r#"{"choices":[{"error":"x"}]}"#,
        ] {
            assert_eq!(chunk(json), Meaning::default(), "{json}");
        }
    }

    #[test]
    fn an_event_named_error_is_one_whatever_its_data() {
        let anthropic = br#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#;
        assert_eq!(read(Some(b"error"), anthropic), Meaning::failed(Fault::Overloaded));
        assert_eq!(read(Some(b"error"), b"out of cheese"), Meaning::failed(Fault::Other));
        assert_eq!(read(Some(b"message"), b"[DONE]"), Meaning { terminal: true, ..Meaning::default() });
    }

    #[test]
    fn what_is_no_json_object_is_malformed() {
        for data in ["", "DONE", "null", "[]", "7", "\"a\"", "{", "{\"a\":1} x", "{\"choices\":[{]}", "{a:1}"] {
            assert_eq!(read(None, data.as_bytes()), MALFORMED, "{data}");
        }
    }

    #[test]
    fn broken_text_is_read_as_a_client_reads_it() {
        let invalid = b"{\"choices\":[{\"delta\":{\"content\":\"a\xff\"}}]}";
        assert_eq!(read(None, invalid), Meaning { output: true, text_bytes: 4, ..Meaning::default() });
        assert_eq!(with_delta(r#"{"content":"\ud83d"}"#).text_bytes, 2, "half a surrogate pair");
    }

    #[test]
    fn members_of_any_type_and_doubled_ones_are_tolerated() {
        for json in [
            r#"{"choices":{"delta":{"content":"x"}}}"#,
            r#"{"choices":[null,7,"x",[{"delta":{"content":"x"}}]]}"#,
            r#"{"choices":[{"delta":{"role":"a"}}],"choices":[{"finish_reason":null}],"created":1e400}"#,
        ] {
            assert_eq!(chunk(json), Meaning::default(), "{json}");
        }
    }

    #[test]
    fn absurd_depth_does_no_harm() {
        for json in ["[".repeat(1 << 20), format!("{{\"a\":{}", "[".repeat(1 << 20)), "{\"choices\":".repeat(1 << 16)] {
            assert_eq!(read(None, json.as_bytes()), MALFORMED);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_can_be_read(bytes: Vec<u8>) {
            read(None, &bytes);
        }

        #[test]
        fn text_is_counted_in_every_place(content: String, reasoning: String, noise: String, finish: Option<String>) {
            let json = json!({ &noise: [{ "content": noise }], "choices": [{
                "logprobs": { "content": [{ "token": noise }] },
                "delta": { "content": content, "reasoning_content": reasoning, "role": noise },
                "finish_reason": finish,
            }]});
            prop_assume!(!["choices", "error", "usage"].contains(&&*noise));
            let meaning = chunk(&json.to_string());
            prop_assert_eq!(meaning.text_bytes as usize, content.len() + reasoning.len());
            prop_assert_eq!(meaning.output, !content.is_empty() || !reasoning.is_empty());
            prop_assert_eq!(meaning.finished, finish.is_some_and(|reason| !reason.is_empty()));
        }
    }
}
