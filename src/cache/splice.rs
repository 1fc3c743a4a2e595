//! Gives a reused answer an id of its own. All other bytes stay as they are. Pure.
//!
//! The id of a completion identifies one answer to one request: feedback refers to it, and clients store answers by it.

use std::ops::Range;

use bytes::{BufMut, Bytes};
use families::family::Family;

use sse::event::Fields;

/// Writes the events of one answer with another id.
#[derive(Debug)]
pub struct Splicer {
    family: &'static dyn Family,
    /// The new id as JSON.
    fresh: Box<[u8]>,
    /// The place of the id in the last event, and that event up to the end of the id.
    last: Option<(Range<usize>, Vec<u8>)>,
}

impl Splicer {
    /// Makes a splicer for an answer of this family, with an id of 128 random bits.
    pub fn new(family: &'static dyn Family, random: [u8; 16]) -> Self {
        let fresh = serde_json::Value::from(family.new_answer_id(random)).to_string();
        Self { family, fresh: fresh.into_bytes().into(), last: None }
    }

    /// Writes an event. An event without an id, or whose data is not a JSON object, stays as it is.
    pub fn event(&mut self, block: &[u8], out: &mut Vec<u8>) {
        match self.place(block) {
            Some(place) => self.put(block, &place, out),
            None => out.put_slice(block),
        }
    }

    /// Returns a whole completion with the new id.
    pub fn completion(&self, json: &Bytes) -> Bytes {
        let Some(place) = self.family.answer_id(json) else { return json.clone() };
        let mut out = Vec::new();
        self.put(json, &place, &mut out);
        out.into()
    }

    fn put(&self, text: &[u8], place: &Range<usize>, out: &mut Vec<u8>) {
        // allocated exactly, so that bytes without more to add need no second allocation
        if out.is_empty() {
            out.reserve_exact(text.len() - place.len() + self.fresh.len());
        }
        out.put_slice(&text[..place.start]);
        out.put_slice(&self.fresh);
        out.put_slice(&text[place.end..]);
    }

    fn place(&mut self, block: &[u8]) -> Option<Range<usize>> {
        // an event that begins as the last one did has its id in the same place, and need not be parsed
        if let Some((place, begin)) = &self.last
            && block.starts_with(begin)
        {
            return Some(place.clone());
        }
        let place = in_block(block, self.family.answer_id(&Fields::of(block).data?)?)?;
        self.last = Some((place.clone(), block[..place.end].to_vec()));
        Some(place)
    }
}

/// Returns the place in an event of a part of its data that is within one line. The data's lines are joined by LF (WHATWG
/// HTML §9.2.6).
fn in_block(block: &[u8], part: Range<usize>) -> Option<Range<usize>> {
    let mut begin = 0;
    for line in block.split(|byte| matches!(byte, b'\r' | b'\n')) {
        let value = match line.strip_prefix(b"data") {
            Some([b':', b' ', value @ ..] | [b':', value @ ..] | value @ []) => value,
            _ => continue,
        };
        let end = begin + value.len();
        if part.start < end {
            let offset = value.as_ptr() as usize - block.as_ptr() as usize;
            let within = part.start >= begin && part.end <= end;
            return within.then(|| offset + part.start - begin..offset + part.end - begin);
        }
        begin = end + 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    const FRESH: &str = "chatcmpl-000102030405060708090a0b0c0d0e0f";

    fn splicer() -> Splicer {
        Splicer::new(families::DEFAULT, std::array::from_fn(|i| i as u8))
    }

    fn spliced(blocks: &[&str]) -> Vec<String> {
        let mut splicer = splicer();
        let written = |block: &&str| {
            let mut out = Vec::new();
            splicer.event(block.as_bytes(), &mut out);
            String::from_utf8(out).unwrap()
        };
        blocks.iter().map(written).collect()
    }

    #[test]
    fn only_the_top_level_id_is_another_one() {
        let blocks = [
            "data: {\"id\":\"chatcmpl-1\",\"choices\":[{\"delta\":{\"content\":\"chatcmpl-1\"}}]}\n\n",
            "data: {\"id\":\"chatcmpl-1\",\"choices\":[{\"delta\":{\"tool_calls\":[{\"id\":\"call_1\"}]}}]}\r\n\r\n",
            "event: x\ndata:{\"choices\":[{\"id\":\"c\"}], \"id\" : \"y\" }\n\n",
        ];
        let fresh = |old: &str| format!("\"{FRESH}\"{}", &old[old.len()..]);
        assert_eq!(
            spliced(&blocks),
            [
                blocks[0].replacen("\"chatcmpl-1\"", &fresh(""), 1),
                blocks[1].replacen("\"chatcmpl-1\"", &fresh(""), 1),
                blocks[2].replacen("\"y\"", &fresh(""), 1),
            ]
        );
    }

    #[test]
    fn what_has_no_id_stays_as_it_is() {
        let blocks = [
            "data: [DONE]\n\n",
            ": hb\n\n",
            "\n",
            "data: {\"choices\":[]}\n\n",
            "data: {\"id\":7}\n\n",
            "data: {\"id\":null}\n\n",
            "data: {\"id\":\"a\",\n\n",
            "data: {\"x\":\ndata: {\"id\":\"a\"}}\n\n",
            "data: {\"id\":\"a\ndata: b\"}\n\n",
            "data: [\"id\",\"a\"]\n\n",
        ];
        assert_eq!(spliced(&blocks), blocks);
    }

    #[test]
    fn data_of_several_lines_is_one_object() {
        let blocks = [
            "data: {\"id\":\ndata: \"a\"}\n\n",
            "data:{\r\ndata\r\nevent: x\r\n: data: \"a\"\r\ndata:  \"x\":\"a\",\"id\":\"a\"\r\ndata:}\r\n\r\n",
            "data: {\rdata: \"id\" : \"a\",\rdata: \"x\":{\"id\":\"a\"}}\r\r",
        ];
        let fresh = format!("\"{FRESH}\"");
        let last = |block: &str| {
            let at = block.rfind("\"a\"").unwrap();
            format!("{}{fresh}{}", &block[..at], &block[at + 3..])
        };
        assert_eq!(spliced(&blocks), [last(blocks[0]), last(blocks[1]), blocks[2].replacen("\"a\"", &fresh, 1)]);
    }

    #[test]
    fn a_completion_gets_it_as_well() {
        let json = Bytes::from_static(b"{ \"id\": \"a\", \"choices\": [] }");
        assert_eq!(splicer().completion(&json), format!("{{ \"id\": \"{FRESH}\", \"choices\": [] }}"));
        assert_eq!(splicer().completion(&Bytes::from_static(b"{}")), "{}");
    }

    proptest! {
        #[test]
        fn the_rest_of_every_event_is_untouched(
            ids in prop::collection::vec("[a-z\"\\\\é]{0,6}", 1..5),
            nested in any::<String>(),
            first: bool,
        ) {
            let mut splicer = splicer();
            for id in ids {
                let (id, nested) = (Value::from(id), Value::from(nested.clone()));
                let block = match first {
                    true => format!("data: {{\"id\":{id},\"x\":{{\"id\":{nested}}}}}\n\n"),
                    false => format!("data: {{\"x\":{{\"id\":{nested}}},\"id\":{id}}}\n\n"),
                };
                let mut out = Vec::new();
                splicer.event(block.as_bytes(), &mut out);
                let json: Value = serde_json::from_slice(out.strip_prefix(b"data: ").unwrap()).unwrap();
                prop_assert_eq!(json, json!({"id": FRESH, "x": {"id": nested}}));
                prop_assert_eq!(out.len() + id.to_string().len(), block.len() + FRESH.len() + 2);
            }
        }
    }
}
