//! The usual chunk, read without parsing it: one choice that says some text, and nothing else.
//!
//! Nearly every event of a stream is such a chunk, and parsing it would cost more than all else that happens to it. What
//! is not quite usual is left to the parser: [`Quick::read`] may give up, but where it does not, and the chunk is a JSON object,
//! it says what the parser would.

use std::sync::LazyLock;

use memchr::memchr2;
use memchr::memmem::Finder;

use super::delta::Delta;

static CHOICES: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(r#""choices":[{"#));
static CHOICES_AGAIN: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(r#""choices""#));
static ERROR: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(r#""error""#));
static USAGE: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(r#""usage""#));

/// Most bytes of members that are remembered, before and behind the choices each.
const REMEMBERED: usize = 1024;

/// Reads the chunks of one stream.
///
/// What stands around the choices is the same in nearly every chunk of a stream: what was looked through once is only
/// compared from then on.
#[derive(Debug, Clone, Default)]
pub(super) struct Quick {
    /// From the first brace up to and with the beginning of the first choice; says nothing.
    head: Box<[u8]>,
    /// From the last choice's end; says nothing.
    tail: Box<[u8]>,
}

impl Quick {
    /// The chunk, if it is a usual one.
    pub(super) fn read(&mut self, data: &[u8]) -> Option<Delta> {
        let choice = &data[self.choices(data)?..];
        // the order in which llama.cpp writes, then that of all others
        let choice = skip(choice, br#""finish_reason":null,"#);
        let delta = choice.strip_prefix(br#""index":0,"delta":{"#)?;
        let (length, after) = read_delta(skip(delta, br#""role":"assistant","#))?;
        let after = skip(skip(after, br#","logprobs":null"#), br#","finish_reason":null"#);
        let tail = after.strip_prefix(b"}]")?;
        if tail != &*self.tail {
            says_nothing(tail).then(|| remember(&mut self.tail, tail))?;
        }
        Some(Delta { output: length > 0, text_bytes: length as u64, ..Delta::default() })
    }

    /// Where the members of the first choice begin, if nothing is said before.
    fn choices(&mut self, data: &[u8]) -> Option<usize> {
        if !self.head.is_empty() && data.starts_with(&self.head) {
            return Some(self.head.len());
        }
        let choices = CHOICES.find(data)?;
        let begin = choices + CHOICES.needle().len();
        says_nothing(data[..choices].strip_prefix(b"{")?).then(|| remember(&mut self.head, &data[..begin]))?;
        Some(begin)
    }
}

fn remember(place: &mut Box<[u8]>, members: &[u8]) {
    if members.len() <= REMEMBERED {
        *place = members.into();
    }
}

/// How long the text of a delta is, and what follows the delta.
fn read_delta(delta: &[u8]) -> Option<(usize, &[u8])> {
    const REFUSAL: &[u8] = br#","refusal":null"#;
    let nothing = delta.strip_prefix(br#""content":null"#).and_then(|after| skip(after, REFUSAL).strip_prefix(b"}"));
    if let Some(after) = nothing {
        return Some((0, after));
    }
    // the models that reason first write both, or the reasoning alone
    let delta = skip(delta, br#""content":null,"#);
    let text =
        [&br#""content":""#[..], br#""reasoning_content":""#].iter().find_map(|name| delta.strip_prefix(*name))?;
    let length = memchr2(b'"', b'\\', text)?;
    let after = text[length..].strip_prefix(b"\"")?;
    Some((length, skip(after, REFUSAL).strip_prefix(b"}")?))
}

fn skip<'a>(bytes: &'a [u8], prefix: &[u8]) -> &'a [u8] {
    bytes.strip_prefix(prefix).unwrap_or(bytes)
}

/// Members beside the choices: no object among them, no escape that could spell a name in another way, no error, no usage.
fn says_nothing(members: &[u8]) -> bool {
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

    use super::super::event::{Chunk, parse};
    use super::*;

    /// As OpenAI, vLLM and llama.cpp write them.
    const USUAL: [&str; 3] = [
        r#"{"id":"c-1","object":"chat.completion.chunk","created":1,"model":"gpt-4o","service_tier":"default","system_fingerprint":"fp","choices":[{"index":0,"delta":{"content":" day"},"logprobs":null,"finish_reason":null}],"usage":null,"obfuscation":"x1"}"#,
        r#"{"id":"c-1","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"content":" day"},"logprobs":null,"finish_reason":null}]}"#,
        r#"{"choices":[{"finish_reason":null,"index":0,"delta":{"content":" day"}}],"created":1,"id":"c-1","model":"m","system_fingerprint":"b1","object":"chat.completion.chunk"}"#,
    ];

    fn read(chunk: &str) -> Option<Delta> {
        Quick::default().read(chunk.as_bytes())
    }

    #[test]
    fn usual_chunks_are_read_without_parsing() {
        for chunk in USUAL {
            assert_eq!(read(chunk), Some(Delta { output: true, text_bytes: 4, ..Delta::default() }), "{chunk}");
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
            assert_eq!(read(&chunk), Some(Delta::default()), "{chunk}");
        }
        let reasoning = USUAL[1].replace(r#""content":" day""#, r#""content":null,"reasoning_content":"hm""#);
        assert_eq!(read(&reasoning), Some(Delta { output: true, text_bytes: 2, ..Delta::default() }));
    }

    #[test]
    fn what_changes_around_the_choices_is_looked_at_anew() {
        let mut quick = Quick::default();
        for chunk in [USUAL[0], USUAL[0], USUAL[1], USUAL[2], USUAL[2]] {
            assert!(quick.read(chunk.as_bytes()).is_some(), "{chunk}");
        }
        let odd = USUAL[2].replace(r#""object""#, r#""error""#);
        assert_eq!(quick.read(odd.as_bytes()), None);
        assert_eq!(quick.read(odd.as_bytes()), None, "what says something is not remembered");
        assert_eq!(quick.read(USUAL[0].replace(r#""id""#, r#""error""#).as_bytes()), None);
    }

    #[test]
    fn what_is_not_usual_is_left_to_the_parser() {
        let changes = [
            (r#""content":" day""#, r#""content":"a\\"b""#),
            (r#""content":" day""#, r#""content":" day","reasoning":"r""#),
            (r#""content":" day""#, r#""content":null,"reasoning":"r""#),
            (r#""content":" day""#, r#""role":"assistant""#),
            (r#""finish_reason":null"#, r#""finish_reason":"stop""#),
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
        let odd = "[a-z_]{1,6}|error|usage|choices|delta|finish_reason|content";
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
            llama in any::<bool>(),
            said in "|\"role\":\"assistant\",|\"content\":null,",
            name in "content|reasoning_content|refusal",
            rest in "|,\"refusal\":null|,\"content\":\"x\"",
            earlier in 0..3_usize,
        ) {
            let content = serde_json::to_string(&content).unwrap();
            let within = within.map(|member| format!(",{member}")).unwrap_or_default();
            let first = if llama { r#""finish_reason":null,"# } else { "" };
            let choices = format!(r#""choices":[{{{first}"index":0,"delta":{{{said}"{name}":{content}{rest}}}{within}}}]"#);
            let members: Vec<String> = before.into_iter().chain([choices]).chain(after).collect();
            let chunk = format!("{{{}}}", members.join(","));
            let mut quick = Quick::default();
            quick.read(USUAL[earlier].as_bytes());
            quick.read(chunk.as_bytes());
            if let Some(delta) = quick.read(chunk.as_bytes()) {
                prop_assert_eq!(parse(chunk.as_bytes()), Chunk::Delta(delta), "{}", chunk);
            }
        }
    }
}
