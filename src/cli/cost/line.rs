//! One line of the request log, in either format: the fields about cost. Pure.

use std::collections::HashMap;

use serde_json::Value;

use tokenway::auth::key_file;
use tokenway::price::{Cost, Count};

/// The tracing target of a request's line.
const TARGET: &str = "tokenway::request";

/// A request that was answered, or whose attempts cost something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    /// The time of the line, in seconds since the epoch.
    pub(super) time: Option<u64>,
    /// The model that answered, or was asked last; `None` if only other attempts were made.
    pub(super) model: Option<String>,
    /// The tokens of its attempt; `None` if it is not charged.
    pub(super) count: Option<Count>,
    /// The client got the answer, or a part of it.
    pub(super) answered: bool,
    /// The tokens are an estimate.
    pub(super) estimated: bool,
    /// The answer was cached or coalesced.
    pub(super) reused: bool,
    /// The cost of the whole request; `None` if it is not known.
    pub(super) cost: Option<Cost>,
    /// The charges of other attempts.
    pub(super) also: Vec<Other>,
}

/// A charge in addition to that of the answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Other {
    pub(super) model: String,
    pub(super) input: u64,
    pub(super) output: u64,
    pub(super) cost: Option<Cost>,
}

/// The kind of a line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A request with a cost, or with a saved cost.
    Paid(Line),
    /// A request of Tokenway without a model: a list of models, a refusal, a health check.
    Free,
    /// Any other line.
    Foreign,
}

/// Reads a line of `log.format = "json"` or `"text"`.
pub(super) fn read(line: &str) -> Kind {
    let Some(fields) = json_fields(line).or_else(|| text_fields(line)) else { return Kind::Foreign };
    if !["model", "also"].iter().any(|name| fields.contains_key(*name)) {
        return Kind::Free;
    }
    let number = |name: &str| fields.get(name).and_then(|value| value.parse::<u64>().ok());
    let count = number("input_tokens").zip(number("output_tokens")).map(|(input, output)| Count {
        input,
        output,
        cached: number("cached_tokens").unwrap_or_default(),
        cache_write: number("cache_write_tokens").unwrap_or_default(),
        reasoning: number("reasoning_tokens").unwrap_or_default(),
    });
    Kind::Paid(Line {
        time: fields.get("timestamp").and_then(|time| key_file::parse_time(time)),
        model: fields.get("model").cloned(),
        count,
        answered: match fields.get("outcome").map(String::as_str) {
            Some("upstream_failure" | "rejected") => false,
            Some("client_gone" | "truncated") => count.is_some_and(|count| count.output > 0),
            _ => true,
        },
        estimated: fields.get("tokens_from").is_some_and(|source| source == "estimate"),
        reused: number("attempts") == Some(0),
        cost: fields.get("cost").and_then(|cost| Cost::parse_exact(cost)),
        also: fields.get("also").map(|also| also.split(", ").filter_map(Other::read).collect()).unwrap_or_default(),
    })
}

impl Other {
    /// Reads `MODEL INPUT/OUTPUT COST`, as `stream::bill` writes it.
    fn read(text: &str) -> Option<Self> {
        let (rest, cost) = text.rsplit_once(' ')?;
        let (model, tokens) = rest.rsplit_once(' ')?;
        let (input, output) = tokens.split_once('/')?;
        let (input, output) = (input.parse().ok()?, output.parse().ok()?);
        Some(Self { model: model.to_owned(), input, output, cost: Cost::parse_exact(cost) })
    }
}

type Fields = HashMap<String, String>;

fn json_fields(line: &str) -> Option<Fields> {
    // a collector may have added a prefix
    let Value::Object(object) = serde_json::from_str(&line[line.find('{')?..]).ok()? else { return None };
    if object.get("target")?.as_str()? != TARGET {
        return None;
    }
    let plain = |value: Value| match value {
        Value::String(text) => text,
        other => other.to_string(),
    };
    Some(object.into_iter().map(|(name, value)| (name, plain(value))).collect())
}

/// Reads `TIME INFO tokenway::request: name=value name="value"`.
fn text_fields(line: &str) -> Option<Fields> {
    let line = without_colours(line);
    let (before, mut rest) = line.split_once(&format!("{TARGET}: "))?;
    let mut fields = Fields::new();
    // a collector may have added its own time before ours; the level follows ours
    let time = before.split_whitespace().rev().nth(1);
    fields.extend(time.map(|time| ("timestamp".to_owned(), time.to_owned())));
    while let Some((name, after)) = rest.trim_start().split_once('=') {
        let (value, after) = match after.strip_prefix('"') {
            Some(quoted) => unquoted(quoted)?,
            None => {
                let end = after.find(' ').unwrap_or(after.len());
                (after[..end].to_owned(), &after[end..])
            }
        };
        fields.insert(name.to_owned(), value);
        rest = after;
    }
    Some(fields)
}

/// Returns the text up to the closing quote, as Rust's `Debug` writes it, and the rest; `None` if there is no closing quote.
fn unquoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, char)) = chars.next() {
        match char {
            '"' => return Some((value, &text[at + 1..])),
            // all other escapes are in no field that is read here
            '\\' => value.extend(chars.next().map(|(_, char)| char)),
            char => value.push(char),
        }
    }
    None
}

/// Removes the escape sequences for terminal colours (ECMA-48 §5.4, SGR).
fn without_colours(line: &str) -> String {
    let mut plain = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(at) = rest.find("\u{1b}[") {
        plain.push_str(&rest[..at]);
        rest = rest[at..].split_once('m').map_or("", |(_, after)| after);
    }
    plain.push_str(rest);
    plain
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TEXT: &str = "2026-03-01T12:00:00.123456Z  INFO tokenway::request: request_id=\"a \\\" b\" client=\"127.0.0.1\" \
        route=\"chat_completions\" model=\"gpt-4o\" upstream=\"global\" status=200 outcome=\"ok\" attempts=2 ttft_ms=12.5 \
        input_tokens=10 output_tokens=5 tokens_from=\"usage\" cost=\"0.000078000000\" also=\"glm-4-plus 15/0 0.000003000000\" \
        duration_ms=20.1";

    fn expected() -> Line {
        Line {
            time: key_file::parse_time("2026-03-01T12:00:00Z"),
            model: Some("gpt-4o".into()),
            answered: true,
            count: Some(Count { input: 10, output: 5, ..Count::default() }),
            estimated: false,
            reused: false,
            cost: Cost::parse_exact("0.000078"),
            also: vec![Other { model: "glm-4-plus".into(), input: 15, output: 0, cost: Cost::parse_exact("0.000003") }],
        }
    }

    #[test]
    fn both_formats_say_the_same_also_behind_a_collectors_own_words() {
        let json = r#"{"timestamp":"2026-03-01T12:00:00.123456Z","level":"INFO","target":"tokenway::request","model":"gpt-4o",
            "attempts":2,"input_tokens":10,"output_tokens":5,"tokens_from":"usage","cost":"0.000078000000",
            "also":"glm-4-plus 15/0 0.000003000000"}"#;
        let coloured = TEXT
            .replace("INFO", "\u{1b}[32mINFO\u{1b}[0m")
            .replace("model=", "\u{1b}[3mmodel\u{1b}[0m\u{1b}[2m=\u{1b}[0m");
        for line in [TEXT, json, &format!("Mar 01 host tokenway[7]: {TEXT}"), &format!("pod-7 {json}"), &coloured] {
            assert_eq!(read(line), Kind::Paid(expected()), "{line}");
        }
    }

    #[test]
    fn charges_without_an_answer_are_distinguished_from_answers() {
        let answered = |rest: &str| match read(&format!("x tokenway::request: model=\"m\" {rest}")) {
            Kind::Paid(line) => line.answered,
            _ => panic!("{rest}"),
        };
        for (rest, is) in [
            ("outcome=\"ok\" input_tokens=5 output_tokens=0", true),
            ("outcome=\"upstream_failure\" input_tokens=5 output_tokens=0", false),
            ("outcome=\"truncated\" input_tokens=5 output_tokens=0", false),
            ("outcome=\"client_gone\" input_tokens=5 output_tokens=3", true),
            ("outcome=\"rejected\"", false),
        ] {
            assert_eq!(answered(rest), is, "{rest}");
        }
        let decided =
            read("x tokenway::request: outcome=\"client_gone\" cost=\"0.5\" also=\"judge 9/0 0.500000000000\"");
        let Kind::Paid(decided) = decided else { panic!("{decided:?}") };
        assert_eq!((decided.model, decided.count, decided.also.len(), decided.answered), (None, None, 1, false));
    }

    #[test]
    fn other_lines_and_free_requests_are_distinguished() {
        for line in ["", "GET / 200", "{}", "{\"target\":\"tokenway\"}", "[1]", "INFO tokenway::server: model=\"x\""] {
            assert_eq!(read(line), Kind::Foreign, "{line}");
        }
        assert_eq!(read("2026-03-01T12:00:00Z INFO tokenway::request: route=\"models\" status=200"), Kind::Free);
    }

    proptest! {
        #[test]
        fn any_line_can_be_read(line in "\\PC{0,80}", cut in 0usize..400) {
            let _ = read(&line);
            let _ = read(&format!("x tokenway::request: {line}"));
            let _ = read(TEXT.get(..cut).unwrap_or(TEXT));
        }
    }
}
