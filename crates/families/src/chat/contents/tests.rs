//! Compares the reader with a simple reader of the same JSON, which uses `serde_json::Value`.

use proptest::prelude::*;
use serde_json::Value;

use super::*;

/// The contents of a chunk, by the simplest possible code. Of duplicate names, the last one counts.
fn plain(json: &str) -> Option<(bool, u64, bool, u64, Option<Usage>, bool)> {
    let top: Value = serde_json::from_str(json).ok()?;
    let top = top.as_object()?;
    let truthy = |value: &Value| !matches!(value.to_string().as_str(), "null" | "false" | "0" | "\"\"");
    let (mut output, mut text_bytes, mut finished) = (false, 0, false);
    let choices = top.get("choices").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    for choice in choices {
        finished |= choice.get("finish_reason").is_some_and(truthy);
        for delta in ["delta", "message"].into_iter().filter_map(|name| choice.get(name)?.as_object()) {
            for (name, value) in delta {
                const OUTPUT: [&str; 8] = [
                    "content",
                    "reasoning_content",
                    "reasoning",
                    "reasoning_details",
                    "refusal",
                    "tool_calls",
                    "function_call",
                    "audio",
                ];
                if OUTPUT.contains(&name.as_str()) {
                    output |= match value {
                        Value::String(text) => !text.is_empty(),
                        Value::Array(elements) => !elements.is_empty(),
                        Value::Object(members) => !members.is_empty(),
                        _ => false,
                    };
                    text_bytes += text_len(value);
                }
            }
        }
    }
    let mut usage = None;
    if let Some(counts) = top.get("usage").and_then(Value::as_object) {
        let count = |value: Option<&Value>| {
            let number = value?.as_number()?;
            number.as_u64().or_else(|| number.to_string().strip_suffix(".0")?.parse().ok())
        };
        let detail = |of: &str, name: &str| count(counts.get(of)?.get(name));
        let mut set = |number: Option<u64>, place: fn(&mut Usage) -> &mut u64| {
            number.into_iter().for_each(|number| *place(usage.get_or_insert_default()) = number);
        };
        set(count(counts.get("prompt_tokens")), |usage| &mut usage.prompt);
        set(count(counts.get("completion_tokens")), |usage| &mut usage.completion);
        set(count(counts.get("prompt_cache_hit_tokens")), |usage| &mut usage.cached);
        set(detail("prompt_tokens_details", "cached_tokens"), |usage| &mut usage.cached);
        set(detail("completion_tokens_details", "reasoning_tokens"), |usage| &mut usage.reasoning);
    }
    Some((output, text_bytes, finished, choices.len() as u64, usage, top.get("error").is_some_and(truthy)))
}

fn text_len(value: &Value) -> u64 {
    const TEXT: [&str; 11] = [
        "text",
        "content",
        "name",
        "arguments",
        "function",
        "refusal",
        "reasoning",
        "reasoning_content",
        "summary",
        "thinking",
        "transcript",
    ];
    match value {
        Value::String(text) => text.len() as u64,
        Value::Array(elements) => elements.iter().map(text_len).sum(),
        Value::Object(members) => {
            members.iter().filter(|(name, _)| TEXT.contains(&name.as_str())).map(|(_, value)| text_len(value)).sum()
        }
        _ => 0,
    }
}

fn read_here(json: &str) -> Option<(bool, u64, bool, u64, Option<Usage>, bool)> {
    read(json.as_bytes(), Begin::Object, |contents| {
        let Contents { output, text_bytes, finished, choices, usage, error } = contents?;
        Some((output, text_bytes, finished, choices, usage, error.is_some()))
    })
}

/// Values whose objects have, mostly, the names that are read.
fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (0..99_u64).prop_map(Value::from),
        (0..9_u8).prop_map(|number| Value::from(f64::from(number))),
        any::<f64>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "|stop|[a-z\\\\\"é\u{1}]{1,5}".prop_map(Value::from),
    ];
    let name = "delta|message|finish_reason|content|reasoning|tool_calls|audio|text|arguments|function|prompt_tokens|\
                completion_tokens|prompt_cache_hit_tokens|cached_tokens|reasoning_tokens|.{0,4}";
    leaf.prop_recursive(5, 40, 5, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::hash_map(name, inner, 0..5)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// Objects with some of the members that are read at the top.
fn chunk() -> impl Strategy<Value = Value> {
    let usage = (value(), value(), value(), value()).prop_map(|(prompt, completion, prompt_details, details)| {
        serde_json::json!({
            "prompt_tokens": prompt, "completion_tokens": completion,
            "prompt_tokens_details": prompt_details, "completion_tokens_details": details,
        })
    });
    let choices = prop::collection::vec(value(), 0..3).prop_map(Value::from);
    let member = prop_oneof![
        3 => (Just("choices".to_owned()), choices),
        1 => (Just("choices".to_owned()), value()),
        2 => (Just("usage".to_owned()), usage),
        1 => (Just("usage".to_owned()), value()),
        1 => (Just("error".to_owned()), value()),
        2 => (".{0,5}".prop_map(String::from), value()),
    ];
    prop::collection::vec(member, 0..5).prop_map(|members| Value::Object(members.into_iter().collect()))
}

/// Returns the same text with some ASCII characters of names and strings written as escapes.
fn escaped(json: &str, every: usize) -> String {
    let (mut out, mut inside, mut after_escape, mut count) = (String::new(), false, false, 0);
    for character in json.chars() {
        let is_plain = inside && !after_escape && !matches!(character, '"' | '\\');
        after_escape = inside && !after_escape && character == '\\';
        inside ^= character == '"' && !out.ends_with('\\');
        count += 1;
        if is_plain && character.is_ascii_alphabetic() && count % every == 0 {
            out.push_str(&format!("\\u{:04X}", u32::from(character)));
        } else {
            out.push(character);
        }
    }
    out
}

proptest! {
    #[test]
    fn a_chunk_is_read_as_serde_json_reads_it(chunk in chunk(), pretty: bool, other in value()) {
        for value in [chunk, other] {
            let json = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) }.unwrap();
            prop_assert_eq!(read_here(&json), plain(&json), "{}", json);
        }
    }

    #[test]
    fn names_and_text_mean_the_same_in_every_spelling(chunk in chunk(), every in 1..7_usize) {
        let json = escaped(&chunk.to_string(), every);
        if serde_json::from_str::<Value>(&json).is_ok_and(|same| same == chunk) {
            prop_assert_eq!(read_here(&json), plain(&json), "{}", json);
        }
    }

    #[test]
    fn what_is_cut_off_is_no_chunk(chunk in chunk(), at: prop::sample::Index) {
        let json = chunk.to_string();
        let cut = &json[..json.floor_char_boundary(at.index(json.len()))];
        prop_assert_eq!(read_here(cut), None);
    }
}
