//! Reads usual chunks without parsing them: one choice with some text or a finish reason, and no other relevant member.
//! Pure.
//!
//! Nearly every event of a stream is such a chunk, and parsing it would cost more than everything else that the gateway does
//! with it. Unusual chunks are passed to the parser: [`Quick::read`] may return nothing, but if it returns a meaning, and
//! the chunk is a JSON object, the parser returns the same.

use std::sync::LazyLock;

use memchr::memchr2;
use memchr::memmem::Finder;

use crate::event::Meaning;

static CHOICES: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(r#""choices":[{"#));
static CHOICES_AGAIN: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(r#""choices""#));
static ERROR: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(r#""error""#));
static USAGE: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(r#""usage""#));

/// The most bytes of members that are stored, before and after the choices each.
const MOST_STORED: usize = 1024;

/// Reads the chunks of one stream.
///
/// The members around the choices are the same in nearly every chunk of a stream: they are scanned once, and only compared
/// from then on.
#[derive(Debug, Clone, Default)]
pub(super) struct Quick {
    /// The text from the first brace up to the value of `choices`; it has no relevant member.
    head: Box<[u8]>,
    /// The text after the choices; it has no relevant member.
    tail: Box<[u8]>,
}

impl Quick {
    /// Returns the meaning of the chunk, if it is a usual one.
    pub(super) fn read(&mut self, data: &[u8]) -> Option<Meaning> {
        let choice = data[self.choices(data)?..].strip_prefix(b"[{")?;
        // llama.cpp writes the finish reason first, all others write it last
        let (finishes, choice) = match choice.strip_prefix(br#""finish_reason":"#) {
            None => (false, choice),
            Some(reason) => {
                let (finishes, after) = read_finish_reason(reason)?;
                (finishes, after.strip_prefix(b",")?)
            }
        };
        let delta = choice.strip_prefix(br#""index":0,"delta":{"#)?;
        let (length, after) = read_delta(delta)?;
        let after = skip(after, br#","logprobs":null"#);
        let (finished, after) = match after.strip_prefix(br#","finish_reason":"#) {
            None => (false, after),
            Some(reason) => read_finish_reason(reason)?,
        };
        let tail = after.strip_prefix(b"}]")?;
        if tail != &*self.tail {
            holds_nothing(tail).then(|| store(&mut self.tail, tail))?;
        }
        let finished = finishes | finished;
        Some(Meaning { output: length > 0, text_bytes: length as u64, finished, ..Meaning::default() })
    }

    /// Returns the chunk from the value of `choices` on, if the text before it is known. As with [`Quick::read`], the chunk
    /// must be a JSON object: the text before the choices was not checked to be JSON.
    pub(super) fn after_head<'a>(&self, data: &'a [u8]) -> Option<&'a [u8]> {
        data.strip_prefix(&*self.head).filter(|_| !self.head.is_empty())
    }

    /// Returns the position of the value of `choices`, if no relevant member is before it.
    fn choices(&mut self, data: &[u8]) -> Option<usize> {
        if self.after_head(data).is_some() {
            return Some(self.head.len());
        }
        let name = CHOICES.find(data)?;
        let begin = name + CHOICES_AGAIN.needle().len() + 1;
        holds_nothing(data[..name].strip_prefix(b"{")?).then(|| store(&mut self.head, &data[..begin]))?;
        Some(begin)
    }
}

fn store(place: &mut Box<[u8]>, members: &[u8]) {
    if members.len() <= MOST_STORED {
        *place = members.into();
    }
}

/// Returns the length of a delta's text, and the rest after the delta.
fn read_delta(delta: &[u8]) -> Option<(usize, &[u8])> {
    const REFUSAL: &[u8] = br#","refusal":null"#;
    if let Some(after) = delta.strip_prefix(b"}") {
        return Some((0, after));
    }
    let delta = skip(delta, br#""role":"assistant","#);
    let nothing = delta.strip_prefix(br#""content":null"#).and_then(|after| skip(after, REFUSAL).strip_prefix(b"}"));
    if let Some(after) = nothing {
        return Some((0, after));
    }
    // models that reason first write both members, or the reasoning only
    let delta = skip(delta, br#""content":null,"#);
    let text =
        [&br#""content":""#[..], br#""reasoning_content":""#].iter().find_map(|name| delta.strip_prefix(*name))?;
    let length = memchr2(b'"', b'\\', text)?;
    let after = text[length..].strip_prefix(b"\"")?;
    Some((length, skip(after, REFUSAL).strip_prefix(b"}")?))
}

/// Returns whether there is a finish reason, and the rest after it. Reasons that may report a failure are passed to the parser.
fn read_finish_reason(reason: &[u8]) -> Option<(bool, &[u8])> {
    if let Some(after) = reason.strip_prefix(b"null") {
        return Some((false, after));
    }
    let text = reason.strip_prefix(b"\"")?;
    let length = memchr2(b'"', b'\\', text)?;
    let is_usual = matches!(&text[..length], b"" | b"stop" | b"length" | b"tool_calls" | b"content_filter");
    is_usual.then_some((length > 0, text[length..].strip_prefix(b"\"")?))
}

fn skip<'a>(bytes: &'a [u8], prefix: &[u8]) -> &'a [u8] {
    bytes.strip_prefix(prefix).unwrap_or(bytes)
}

/// Whether these members beside the choices are irrelevant: they have no object, no escape that could spell a name in
/// another way, no error, no usage.
fn holds_nothing(members: &[u8]) -> bool {
    memchr2(b'\\', b'{', members).is_none()
        && ERROR.find(members).is_none()
        && match USAGE.find(members) {
            None => true,
            Some(at) => {
                let value = &members[at + USAGE.needle().len()..];
                value.starts_with(b":null") && USAGE.find(value).is_none()
            }
        }
        && CHOICES_AGAIN.find(members).is_none()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::contents::Begin;
    use super::super::reader::parse;
    use super::*;

    /// Chunks as OpenAI, vLLM and llama.cpp write them.
    const USUAL: [&str; 3] = [
        r#"{"id":"c-1","object":"chat.completion.chunk","created":1,"model":"gpt-4o","service_tier":"default","system_fingerprint":"fp","choices":[{"index":0,"delta":{"content":" day"},"logprobs":null,"finish_reason":null}],"usage":null,"obfuscation":"x1"}"#,
        r#"{"id":"c-1","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"content":" day"},"logprobs":null,"finish_reason":null}]}"#,
        r#"{"choices":[{"finish_reason":null,"index":0,"delta":{"content":" day"}}],"created":1,"id":"c-1","model":"m","system_fingerprint":"b1","object":"chat.completion.chunk"}"#,
    ];

    fn read(chunk: &str) -> Option<Meaning> {
        Quick::default().read(chunk.as_bytes())
    }

    #[test]
    fn usual_chunks_are_read_without_parsing() {
        for chunk in USUAL {
            assert_eq!(read(chunk), Some(Meaning { output: true, text_bytes: 4, ..Meaning::default() }), "{chunk}");
        }
    }

    #[test]
    fn the_usual_first_chunk_is_read_without_parsing_and_is_no_output() {
        for delta in [
            r#""role":"assistant","content":"","refusal":null"#,
            r#""role":"assistant","content":null"#,
            r#""role":"assistant","content":"""#,
            r#""content":null"#,
        ] {
            let chunk = USUAL[1].replace(r#""content":" day""#, delta);
            assert_eq!(read(&chunk), Some(Meaning::default()), "{chunk}");
        }
        let reasoning = USUAL[1].replace(r#""content":" day""#, r#""content":null,"reasoning_content":"hm""#);
        assert_eq!(read(&reasoning), Some(Meaning { output: true, text_bytes: 2, ..Meaning::default() }));
    }

    #[test]
    fn the_usual_last_chunk_is_read_without_parsing() {
        for (delta, reason, finished) in [
            ("{}", r#""stop""#, true),
            ("{}", r#""""#, false),
            ("{}", "null", false),
            (r#"{"content":""}"#, r#""length""#, true),
        ] {
            for usual in USUAL {
                let chunk = usual.replace(r#"{"content":" day"}"#, delta);
                let chunk = chunk.replace(r#""finish_reason":null"#, &format!(r#""finish_reason":{reason}"#));
                assert_eq!(read(&chunk), Some(Meaning { finished, ..Meaning::default() }), "{chunk}");
            }
        }
    }

    #[test]
    fn what_changes_around_the_choices_is_looked_at_anew() {
        let mut quick = Quick::default();
        for chunk in [USUAL[0], USUAL[0], USUAL[1], USUAL[2], USUAL[2]] {
            assert!(quick.read(chunk.as_bytes()).is_some(), "{chunk}");
        }
        let odd = USUAL[2].replace(r#""object""#, r#""error""#);
        assert_eq!(quick.read(odd.as_bytes()), None);
        assert_eq!(quick.read(odd.as_bytes()), None, "members that are read are not stored");
        assert_eq!(quick.read(USUAL[0].replace(r#""id""#, r#""error""#).as_bytes()), None);
    }

    #[test]
    fn what_is_not_usual_is_left_to_the_parser() {
        let changes = [
            (r#""content":" day""#, r#""content":"a\\"b""#),
            (r#""content":" day""#, r#""content":" day","reasoning":"r""#),
            (r#""content":" day""#, r#""content":null,"reasoning":"r""#),
            (r#""content":" day""#, r#""role":"assistant""#),
            (r#""finish_reason":null"#, r#""finish_reason":7"#),
            (r#""finish_reason":null"#, r#""finish_reason":"st\\u006fp""#),
            (r#""usage":null"#, r#""usage":{"prompt_tokens":1}"#),
            (r#""usage":null"#, r#""usage":null,"usage":7"#),
            (r#""usage":null"#, r#""error":"x""#),
            (r#""usage":null"#, r#""\\u0065rror":"x""#),
            (r#""usage":null"#, r#""choices":[]"#),
            (r#""id":"c-1""#, r#""error":{"message":"x"}"#),
            (r#"}],"usage""#, r#"},{"index":1,"delta":{"content":"b"}}],"usage""#),
        ];
        for (from, to) in changes {
            let chunk = USUAL[0].replace(from, &to.replace("\\\\", "\\"));
            assert_ne!(chunk, USUAL[0]);
            assert_eq!(read(&chunk), None, "{chunk}");
        }
    }

    /// A member at some place of a chunk: usual or odd.
    fn member() -> impl Strategy<Value = String> {
        let odd = "[a-z_]{1,6}|error|usage|choices|delta|finish_reason|content|us\\\\u0061ge";
        let value = prop_oneof![
            Just("null".to_owned()),
            "[1-9][0-9]{0,2}",
            any::<String>().prop_map(|text| serde_json::to_string(&text).unwrap()),
            Just(r#"{"prompt_tokens":3}"#.to_owned()),
            Just(r#"[{"index":0,"delta":{"content":"z"}}]"#.to_owned()),
        ];
        (odd, value).prop_map(|(name, value)| format!("\"{name}\":{value}"))
    }

    proptest! {
        #[test]
        fn where_it_answers_the_parser_answers_the_same(
            before in prop::collection::vec(member(), 0..3),
            after in prop::collection::vec(member(), 0..3),
            within in prop::option::weighted(0.2, member()),
            content in any::<String>(),
            first in "|\"finish_reason\":(null|\"\"|\"stop\"),",
            said in "|\"role\":\"assistant\",|\"content\":null,",
            name in "content|reasoning_content|refusal",
            rest in "|,\"refusal\":null|,\"content\":\"x\"",
            last in "|,\"finish_reason\":(null|7|\"\"|\"stop\"|\"st\\\\u006fp\")",
            is_empty in prop::bool::weighted(0.2),
            earlier in 0..3_usize,
        ) {
            let content = serde_json::to_string(&content).unwrap();
            let within = within.map(|member| format!(",{member}")).unwrap_or_default();
            let delta = if is_empty { String::new() } else { format!("{said}\"{name}\":{content}{rest}") };
            let choices = format!(r#""choices":[{{{first}"index":0,"delta":{{{delta}}}{last}{within}}}]"#);
            let members: Vec<String> = before.into_iter().chain([choices]).chain(after).collect();
            let chunk = format!("{{{}}}", members.join(","));
            let mut quick = Quick::default();
            quick.read(USUAL[earlier].as_bytes());
            quick.read(chunk.as_bytes());
            let parsed = parse(chunk.as_bytes(), Begin::Object);
            if let Some(meaning) = quick.read(chunk.as_bytes()) {
                prop_assert_eq!(parsed, meaning, "{}", chunk);
            }
            if let Some(choices) = quick.after_head(chunk.as_bytes()) {
                prop_assert_eq!(parsed, parse(choices, Begin::Choices), "{}", chunk);
            }
        }
    }
}
