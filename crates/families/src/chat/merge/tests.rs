use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Part, chunks, completion};

fn merged(chunks: &[Value]) -> Value {
    let chunks: Vec<Vec<u8>> = chunks.iter().map(|chunk| chunk.to_string().into_bytes()).collect();
    serde_json::from_slice(&completion(chunks.iter().map(Vec::as_slice)).unwrap()).unwrap()
}

fn chunk(choice: Value) -> Value {
    json!({"id": "c", "object": "chat.completion.chunk", "created": 7, "model": "m", "choices": [choice], "usage": null})
}

#[test]
fn text_reasoning_and_usage_are_joined() {
    let whole = merged(&[
        chunk(json!({"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": null})),
        chunk(json!({"index": 0, "delta": {"reasoning_content": "h"}, "finish_reason": null})),
        chunk(json!({"index": 0, "delta": {"reasoning_content": "m"}, "finish_reason": null})),
        chunk(json!({"index": 0, "delta": {"content": "He", "role": "assistant"}, "finish_reason": null})),
        chunk(json!({"index": 0, "delta": {"content": "llo"}, "finish_reason": null, "obfuscation": "x"})),
        chunk(json!({"index": 0, "delta": {}, "finish_reason": "stop"})),
        json!({"id": "c", "object": "chat.completion.chunk", "choices": [], "usage": {"prompt_tokens": 2}, "obfuscation": "x"}),
    ]);
    assert_eq!(
        whole,
        json!({
            "id": "c", "object": "chat.completion", "created": 7, "model": "m", "usage": {"prompt_tokens": 2},
            "choices": [{
                "index": 0, "finish_reason": "stop", "obfuscation": "x",
                "message": {"role": "assistant", "content": "Hello", "reasoning_content": "hm", "refusal": null},
            }],
        })
    );
}

#[test]
fn tool_calls_are_joined_by_their_index_and_lose_it() {
    let calls = |calls: Value| chunk(json!({"index": 0, "delta": {"tool_calls": calls}}));
    let whole = merged(&[
        chunk(json!({"index": 0, "delta": {"role": "assistant", "content": ""}})),
        calls(json!([{"index": 0, "id": "a", "type": "function", "function": {"name": "f", "arguments": ""}}])),
        calls(json!([{"index": 0, "function": {"arguments": "{\"x\""}}])),
        calls(json!([{"index": 1, "id": "b", "type": "function", "function": {"name": "g", "arguments": "{}"}}])),
        calls(json!([{"index": 0, "id": "a", "type": "function", "function": {"name": "f", "arguments": ":1}"}}])),
        chunk(json!({"index": 0, "delta": {}, "finish_reason": "tool_calls"})),
    ]);
    assert_eq!(
        whole["choices"][0]["message"],
        json!({
            "role": "assistant", "content": null, "refusal": null,
            "tool_calls": [
                {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{\"x\":1}"}},
                {"id": "b", "type": "function", "function": {"name": "g", "arguments": "{}"}},
            ],
        })
    );
}

#[test]
fn choices_are_joined_separately_and_their_logprobs_are_appended() {
    let said = |index: u64, text: &str, logprob: f64| {
        chunk(
            json!({"index": index, "delta": {"content": text}, "logprobs": {"content": [{"token": text, "logprob": logprob}]}}),
        )
    };
    let end = |index: u64| chunk(json!({"index": index, "delta": {}, "logprobs": null, "finish_reason": "length"}));
    let whole = merged(&[said(1, "x", -0.317_253_05), said(0, "a", -1.5), said(0, "b", -2.25), end(1), end(0)]);
    let choice = |index: u64, text: &str, probs: Value| json!({"index": index, "message": {"role": "assistant", "content": text, "refusal": null}, "logprobs": {"content": probs}, "finish_reason": "length"});
    assert_eq!(
        whole["choices"],
        json!([
            choice(0, "ab", json!([{"token": "a", "logprob": -1.5}, {"token": "b", "logprob": -2.25}])),
            choice(1, "x", json!([{"token": "x", "logprob": -0.317_253_05}])),
        ])
    );
}

#[test]
fn events_without_a_completion_make_none() {
    assert_eq!(completion([]), None);
    assert_eq!(completion([&b"{\"choices\":[]}"[..]]), None);
    assert_eq!(completion([&b"[]"[..]]), None);
    assert_eq!(completion([&b"{"[..]]), None);
    assert_eq!(chunks(b"{}"), None);
    assert_eq!(chunks(b"{\"choices\":[7]}"), None);
    assert_eq!(chunks(b"{\"choices\":[{}]}"), None);
}

#[test]
fn a_completion_is_split_in_order() {
    let whole = json!({
        "id": "c", "object": "chat.completion", "created": 7, "model": "m",
        "choices": [{"index": 0, "finish_reason": "stop", "logprobs": null,
            "message": {"role": "assistant", "content": "Hi", "reasoning_content": "hm", "refusal": null}}],
        "usage": {"total_tokens": 3},
    });
    let streamed = chunks(whole.to_string().as_bytes()).unwrap();
    let parts: Vec<Part> = streamed.iter().map(|(_, part)| *part).collect();
    assert_eq!(parts, [Part::Role, Part::Output, Part::Output, Part::Role, Part::Usage]);
    let streamed: Vec<Value> = streamed.iter().map(|(chunk, _)| serde_json::from_slice(chunk).unwrap()).collect();
    assert!(streamed.iter().all(|chunk| chunk["id"] == "c" && chunk["object"] == "chat.completion.chunk"));
    let deltas: Vec<&Value> = streamed.iter().map(|chunk| &chunk["choices"][0]["delta"]).collect();
    assert_eq!(
        deltas,
        [
            &json!({"role": "assistant", "content": ""}),
            &json!({"reasoning_content": "hm"}),
            &json!({"content": "Hi"}),
            &json!({}),
            &Value::Null,
        ]
    );
    assert_eq!(streamed[3]["choices"][0]["finish_reason"], "stop");
    assert_eq!((&streamed[4]["choices"], &streamed[4]["usage"]), (&json!([]), &json!({"total_tokens": 3})));
}

fn message() -> impl Strategy<Value = Value> {
    let text = || prop::option::of("[a-z\"é]{1,6}");
    let call = ("[a-z]{1,4}", "[a-z]{1,4}", any::<String>())
        .prop_map(|(id, name, arguments)| json!({"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}));
    (text(), text(), text(), prop::collection::vec(call, 0..3)).prop_map(|(content, reasoning, refusal, calls)| {
        let mut message = json!({"role": "assistant", "content": content, "refusal": refusal});
        if let Some(reasoning) = reasoning {
            message["reasoning_content"] = reasoning.into();
        }
        if !calls.is_empty() {
            message["tool_calls"] = calls.into();
        } else if message["content"].is_null() {
            message["content"] = "".into();
        }
        message
    })
}

proptest! {
    #[test]
    fn the_chunks_of_a_completion_join_to_that_completion(messages in prop::collection::vec(message(), 1..4), total: u64, logprob: f64) {
        let choices: Vec<Value> = messages.into_iter().enumerate().map(|(index, message)| {
            json!({"index": index, "message": message, "logprobs": {"content": [{"logprob": logprob}]}, "finish_reason": "stop"})
        }).collect();
        let whole = json!({
            "id": "c", "object": "chat.completion", "created": 7, "model": "m", "system_fingerprint": "f", "choices": choices,
            "usage": {"total_tokens": total},
        });
        let streamed = chunks(whole.to_string().as_bytes()).unwrap();
        let again = completion(streamed.iter().map(|(chunk, _)| chunk.as_slice())).unwrap();
        prop_assert_eq!(serde_json::from_slice::<Value>(&again).unwrap(), whole);
    }
}

#[test]
fn calls_that_all_have_index_0_are_told_apart_by_their_ids() {
    let calls = |calls: Value| chunk(json!({"index": 0, "delta": {"tool_calls": calls}}));
    let whole = merged(&[
        calls(json!([{"index": 0, "id": "a", "type": "function", "function": {"name": "f", "arguments": "{\"x\""}}])),
        calls(json!([{"index": 0, "function": {"arguments": ":1}"}}])),
        calls(json!([{"index": 0, "id": "b", "type": "function", "function": {"name": "f", "arguments": "{"}}])),
        calls(json!([{"index": 0, "id": "", "function": {"arguments": "}"}}])),
    ]);
    assert_eq!(
        whole["choices"][0]["message"]["tool_calls"],
        json!([
            {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{\"x\":1}"}},
            {"id": "b", "type": "function", "function": {"name": "f", "arguments": "{}"}},
        ])
    );
}

#[test]
fn parts_of_a_call_that_cannot_be_assigned_make_no_completion() {
    let calls = |calls: Value| chunk(json!({"index": 0, "delta": {"tool_calls": calls}})).to_string();
    let named = calls(json!([{"id": "a", "type": "function", "function": {"name": "f", "arguments": ""}}]));
    assert!(completion([named.as_bytes()]).is_some(), "a whole call needs no index");
    let part = calls(json!([{"function": {"arguments": "{}"}}]));
    assert_eq!(completion([named.as_bytes(), part.as_bytes()]), None, "which call it belongs to is not certain");
    let custom = calls(json!([{"index": 0, "id": "a", "type": "custom", "custom": {"name": "f", "input": "x"}}]));
    assert!(completion([custom.as_bytes()]).is_some());
}
