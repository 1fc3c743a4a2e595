//! The form in which a resumable log stores an event. Pure.
//!
//! The bytes are the upstream's, with two exceptions. Lines of the fields `id` and `retry` are removed: a reader gets the
//! log's own, and the upstream's would overrule them. The last event of some servers has no blank line, so it is added:
//! without it no client dispatches the event or learns its id (WHATWG HTML §9.2.6).

use std::borrow::Cow;

use memchr::memchr2;

/// Returns an event in its stored form. `has_own`: it has fields that the log writes itself. `is_ended`: it has its blank
/// line. The bytes are copied only if they change.
pub fn stored(event: &[u8], has_own: bool, is_ended: bool) -> Cow<'_, [u8]> {
    match (has_own, is_ended) {
        (false, true) => Cow::Borrowed(event),
        (false, false) => Cow::Owned(ended(event.to_vec())),
        (true, _) => Cow::Owned(without_own(event)),
    }
}

/// Whether the log writes this field itself.
fn is_own(line: &[u8]) -> bool {
    is_field(line, b"id") || is_field(line, b"retry")
}

fn without_own(block: &[u8]) -> Vec<u8> {
    let block: Vec<u8> = Lines(block).filter(|line| !is_own(line)).flatten().copied().collect();
    // a CR and an LF between which a line was removed now form one line end
    let before = block.strip_suffix(b"\n").unwrap_or(&block);
    let before = before.strip_suffix(b"\r").unwrap_or(before);
    let is_ended = before.len() < block.len() && matches!(before.last(), Some(b'\r' | b'\n'));
    if is_ended { block } else { ended(block) }
}

fn ended(mut block: Vec<u8>) -> Vec<u8> {
    block.extend_from_slice(b"\n\n");
    block
}

fn is_field(line: &[u8], name: &[u8]) -> bool {
    line.strip_prefix(name).is_some_and(|rest| matches!(rest.first(), None | Some(b':' | b'\r' | b'\n')))
}

/// The lines of a block, each with its end: LF, CR or CRLF.
struct Lines<'a>(&'a [u8]);

impl<'a> Iterator for Lines<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let bytes = self.0;
        if bytes.is_empty() {
            return None;
        }
        let end = match memchr2(b'\r', b'\n', bytes) {
            None => bytes.len(),
            Some(at) if bytes[at..].starts_with(b"\r\n") => at + 2,
            Some(at) => at + 1,
        };
        let (line, rest) = bytes.split_at(end);
        self.0 = rest;
        Some(line)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use sse::event::{Fields, Kind};
    use sse::framer::Framer;

    use super::*;

    /// Returns the stored form of an event, or `None` if it has no data.
    fn stored_form(event: &str) -> Option<String> {
        let fields = Fields::of(event.as_bytes());
        let mut framer = Framer::new(usize::MAX);
        framer.push(bytes::Bytes::copy_from_slice(event.as_bytes()));
        let is_ended = matches!(framer.next_event(), Ok(Some(first)) if first.as_slice() == event.as_bytes());
        let stored = stored(event.as_bytes(), fields.id_or_retry, is_ended).into_owned();
        (fields.kind == Kind::Data).then(|| String::from_utf8(stored).unwrap())
    }

    #[test]
    fn an_event_with_data_is_stored_byte_for_byte_and_without_a_copy() {
        for block in
            ["data: x\n\n", "event: a\r\ndata:x\r\ndata: y\r\n\r\n", ": hi\rdata\r\r", "idea: 1\ndata: id: 5\n\n"]
        {
            assert!(!Fields::of(block.as_bytes()).id_or_retry, "{block:?}");
            assert!(
                matches!(stored(block.as_bytes(), false, true), Cow::Borrowed(same) if same == block.as_bytes()),
                "{block:?}"
            );
            assert_eq!(stored_form(block).as_deref(), Some(block));
        }
    }

    #[test]
    fn an_event_without_data_is_not_stored() {
        for block in ["\n", "\r\n", ": comment\n\n", "id: 1\nretry: 5\n\n", "event: data\n\n", "datas: 1\n\n", ""] {
            assert_eq!(stored_form(block), None, "{block:?}");
        }
    }

    #[test]
    fn ids_and_times_of_the_upstream_would_overrule_the_log_s_own() {
        assert_eq!(stored_form("id: 7\ndata: x\nretry: 0\n\n").as_deref(), Some("data: x\n\n"));
        assert_eq!(stored_form("data: x\r\nid\r\n\r\n").as_deref(), Some("data: x\r\n\r\n"));
        assert_eq!(stored_form("id:7\rdata: x\r\r").as_deref(), Some("data: x\r\r"));
    }

    #[test]
    fn a_last_event_without_its_end_gets_one() {
        for block in ["data: [DONE]", "data: [DONE]\n", "data: [DONE]\r\n", "data: [DONE]\r"] {
            let stored = stored_form(block).unwrap();
            assert_eq!(stored, format!("{block}\n\n"));
        }
        assert_eq!(stored_form("id: 3\ndata: [DONE]").as_deref(), Some("data: [DONE]\n\n"));
        assert_eq!(stored_form("data: x\rid: 3\n\n").as_deref(), Some("data: x\r\n\n\n"), "CR and LF have met");
    }

    proptest! {
        #[test]
        fn a_client_reads_the_same_data_and_no_other_id(
            lines in prop::collection::vec(("(data|id|retry|event|x|)", "(: ?)?", "[a-z:]{0,5}", "\n|\r|\r\n"), 0..6),
            end in "\n|\r|\r\n|",
        ) {
            let text: String = lines.iter().map(|(name, colon, value, end)| format!("{name}{colon}{value}{end}")).collect::<String>() + &end;
            let data = |block: &str| -> Vec<String> {
                let lines = block.split(['\r', '\n']).filter(|line| !line.is_empty());
                lines.filter(|line| line.split(':').next() == Some("data")).map(str::to_owned).collect()
            };
            // a blank line within the text begins another event
            let mut framer = Framer::new(usize::MAX);
            framer.push(bytes::Bytes::copy_from_slice(text.as_bytes()));
            let mut events = Vec::new();
            while let Ok(Some(event)) = framer.next_event() {
                events.push(String::from_utf8(event.as_slice().to_vec()).unwrap());
            }
            events.push(String::from_utf8(framer.unfinished().to_vec()).unwrap());
            let stored: Vec<String> = events.iter().filter_map(|event| stored_form(event)).collect();
            prop_assert_eq!(data(&stored.concat()), data(&text));
            let ends = ["\n\n", "\r\r", "\r\n\r\n", "\n\r\n", "\r\r\n", "\n\r"];
            for event in &stored {
                prop_assert!(event.split(['\r', '\n']).all(|line| !matches!(line.split(':').next(), Some("id" | "retry"))));
                prop_assert!(ends.iter().any(|end| event.ends_with(end)), "{:?}", event);
            }
        }
    }
}
