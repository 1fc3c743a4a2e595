//! Compares the reader with a simple reader of the same JSON, which uses `serde_json::Value`.

use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::usage::Usage;

/// What the reader reads, in a form that can be compared.
#[derive(Debug, PartialEq, Default)]
struct Plain {
    output: bool,
    text_bytes: u64,
    finished: bool,
    failure: Option<Fault>,
    choices: u64,
    usage: Option<Usage>,
    progress: bool,
    more: bool,
    error: bool,
}

/// The contents of a chunk, by the simplest possible code. Of duplicate names, the last one counts.
fn plain(json: &str) -> Option<Plain> {
    let top: Value = serde_json::from_str(json).ok()?;
    let top = top.as_object()?;
    let truthy = |value: &Value| !matches!(value.to_string().as_str(), "null" | "false" | "0" | "\"\"");
    let mut plain = Plain::default();
    let choices = top.get("choices").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    for choice in choices {
        let reason = choice.get("finish_reason").unwrap_or(&Value::Null);
        plain.finished |= truthy(reason);
        let failed = match reason.as_str() {
            Some("error" | "abort" | "network_error") => Some(Fault::Other),
            Some("insufficient_system_resource") => Some(Fault::Overloaded),
            _ => None,
        };
        let named = choice.get("error").and_then(|error| ErrorObject::read(error.to_string().as_bytes()).fault);
        plain.failure = failed.map(|failed| named.unwrap_or(failed)).or(plain.failure);
        for delta in ["delta", "message"].into_iter().filter_map(|name| choice.get(name)?.as_object()) {
            for (name, value) in delta.iter().filter(|(name, _)| *name != "role") {
                plain.output |= match value {
                    Value::String(text) => !text.is_empty(),
                    Value::Array(elements) => !elements.is_empty(),
                    Value::Object(members) => !members.is_empty(),
                    _ => false,
                };
                plain.text_bytes += if TEXT.contains(&name.as_str()) { text_len(value) } else { 0 };
            }
        }
    }
    let usages = choices.iter().chain(top.get("x_groq")).map(|object| object.get("usage")).chain([top.get("usage")]);
    let usages: Vec<&Value> = usages.flatten().collect();
    let count = |value: &Value| {
        let number = value.as_number()?;
        number.as_u64().or_else(|| number.to_string().strip_suffix(".0")?.parse().ok())
    };
    let largest = |paths: &[&str]| {
        let found = paths.iter().flat_map(|path| usages.iter().filter_map(|usage| usage.pointer(path)));
        found.filter_map(count).max()
    };
    let prompt = largest(&["/prompt_tokens", "/input_tokens"]);
    let completion = largest(&["/completion_tokens", "/output_tokens"]);
    let details = ["/prompt_tokens_details", "/completion_tokens_details"];
    let detailed = |name: &str, others: &[&str]| {
        let inside = details.map(|object| format!("{object}/{name}"));
        largest(&[&[inside[0].as_str(), inside[1].as_str()], others].concat())
    };
    let cached = detailed("cached_tokens", &["/prompt_cache_hit_tokens", "/cached_tokens", "/cache_read_input_tokens"]);
    let cached = cached.max(top.get("cached_tokens").and_then(count));
    let cache_write = detailed("cache_write_tokens", &["/cache_write_tokens", "/cache_creation_input_tokens"]);
    let reasoning = detailed("reasoning_tokens", &["/reasoning_tokens"]);
    let total = largest(&["/total_tokens"]);
    let timing = |name: &str| top.get("timings")?.get(name).and_then(count);
    plain.usage = if [prompt, completion, cached, cache_write, reasoning].iter().any(Option::is_some) {
        let mut completion = completion.unwrap_or(0);
        if let (Some(prompt), Some(total)) = (prompt, total)
            && total.saturating_sub(prompt) > completion
        {
            completion = total - prompt;
        }
        Some(Usage {
            prompt: prompt.unwrap_or(0),
            completion,
            cached: cached.unwrap_or(0),
            cache_write: cache_write.unwrap_or(0),
            reasoning: reasoning.unwrap_or(0),
        })
    } else if let (Some(new), Some(cached), Some(said)) = (timing("prompt_n"), timing("cache_n"), timing("predicted_n"))
    {
        Some(Usage { prompt: u64::saturating_add(new, cached), completion: said, ..Usage::default() })
    } else {
        None
    };
    plain.choices = choices.len() as u64;
    plain.error = top.get("error").is_some_and(truthy);
    plain.progress = top.get("prompt_progress").is_some_and(Value::is_object);
    const READ: [&str; 5] = ["choices", "usage", "cached_tokens", "x_groq", "error"];
    const USUAL: [&str; 7] = ["id", "object", "created", "model", "service_tier", "system_fingerprint", "obfuscation"];
    let more = |(name, value): (&String, &Value)| {
        !READ.contains(&name.as_str()) && !USUAL.contains(&name.as_str()) && !value.is_null()
    };
    plain.more = top.iter().any(more);
    Some(plain)
}

const TEXT: [&str; 15] = [
    "text",
    "content",
    "name",
    "arguments",
    "function",
    "function_call",
    "tool_calls",
    "refusal",
    "reasoning",
    "reasoning_content",
    "reasoning_details",
    "summary",
    "thinking",
    "audio",
    "transcript",
];

fn text_len(value: &Value) -> u64 {
    match value {
        Value::String(text) => text.len() as u64,
        Value::Array(elements) => elements.iter().map(text_len).sum(),
        Value::Object(members) => {
            members.iter().filter(|(name, _)| TEXT.contains(&name.as_str())).map(|(_, value)| text_len(value)).sum()
        }
        _ => 0,
    }
}

fn read_here(json: &str) -> Option<Plain> {
    read(json.as_bytes(), Begin::Object, |contents| {
        let Contents { output, text_bytes, finished, failure, choices, counts, progress, more, error } = contents?;
        let (usage, error) = (counts.usage(), error.is_some());
        Some(Plain { output, text_bytes, finished, failure, choices, usage, progress, more, error })
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
        "|stop|error|abort|insufficient_system_resource|[a-z\\\\\"é\u{1}]{1,5}".prop_map(Value::from),
    ];
    let name = "delta|message|finish_reason|content|reasoning|tool_calls|audio|text|arguments|function|prompt_tokens|\
                completion_tokens|prompt_cache_hit_tokens|cached_tokens|reasoning_tokens|usage|error|role|images|input_tokens|\
                cache_write_tokens|total_tokens|prompt_n|cache_n|predicted_n|code|.{0,4}";
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
    let usage =
        (value(), value(), value(), value(), value()).prop_map(|(prompt, completion, total, of_prompt, rest)| {
            serde_json::json!({
                "prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": total,
                "prompt_tokens_details": of_prompt, "completion_tokens_details": rest,
            })
        });
    let choices = prop::collection::vec(value(), 0..3).prop_map(Value::from);
    let member = prop_oneof![
        3 => (Just("choices".to_owned()), choices),
        1 => (Just("choices".to_owned()), value()),
        2 => (Just("usage".to_owned()), usage),
        1 => (Just("usage".to_owned()), value()),
        1 => (Just("error".to_owned()), value()),
        2 => ("x_groq|timings|cached_tokens|prompt_progress|created|provider", value()),
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
