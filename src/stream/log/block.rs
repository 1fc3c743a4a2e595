//! Events of an event stream as they go into a log: those with data, without the fields that the log itself writes, and
//! each with its end. Pure.

use std::borrow::Cow;

use memchr::memchr2;

/// The blocks of whole events that are kept, in order. What has no data is not: no client dispatches it.
///
/// The upstream's bytes are kept as they are but for two things. Lines of the fields `id` and `retry` are left out: a
/// reader gets the log's own, and the upstream's would overrule them. A block that lacks its blank line, as the last one
/// of some servers does, gets it: without it no client dispatches the block (WHATWG HTML §9.2.6), nor learns its id.
pub fn blocks(events: &[u8]) -> Blocks<'_> {
    Blocks(events)
}

/// See [`blocks`]. No byte is looked at twice, unless there is something to leave out.
#[derive(Debug, Clone)]
pub struct Blocks<'a>(&'a [u8]);

impl<'a> Iterator for Blocks<'a> {
    type Item = Cow<'a, [u8]>;

    fn next(&mut self) -> Option<Cow<'a, [u8]>> {
        while !self.0.is_empty() {
            let (mut length, mut has_data, mut has_own, mut is_ended) = (0, false, false, false);
            for line in Lines(self.0) {
                length += line.len();
                if matches!(line, b"\n" | b"\r" | b"\r\n") {
                    is_ended = true;
                    break;
                }
                has_data |= is_field(line, b"data");
                has_own |= is_own(line);
            }
            let (block, rest) = self.0.split_at(length);
            self.0 = rest;
            match (has_data, has_own) {
                (false, _) => {}
                (true, false) if is_ended => return Some(Cow::Borrowed(block)),
                (true, false) => return Some(Cow::Owned(ended(block.to_vec()))),
                (true, true) => return Some(Cow::Owned(without_own(block))),
            }
        }
        None
    }
}

/// Whether the log writes this field itself.
fn is_own(line: &[u8]) -> bool {
    is_field(line, b"id") || is_field(line, b"retry")
}

fn without_own(block: &[u8]) -> Vec<u8> {
    let kept: Vec<u8> = Lines(block).filter(|line| !is_own(line)).flatten().copied().collect();
    // a CR and an LF between which a line has gone are one line end now
    let before = kept.strip_suffix(b"\n").unwrap_or(&kept);
    let before = before.strip_suffix(b"\r").unwrap_or(before);
    let is_ended = before.len() < kept.len() && matches!(before.last(), Some(b'\r' | b'\n'));
    if is_ended { kept } else { ended(kept) }
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

    use super::*;

    /// What is kept of one block.
    fn kept(block: &str) -> Option<String> {
        let mut kept = blocks(block.as_bytes()).map(|kept| String::from_utf8(kept.into_owned()).unwrap());
        let one = kept.next();
        assert_eq!(kept.next(), None, "{block:?}");
        one
    }

    #[test]
    fn an_event_with_data_is_kept_byte_for_byte_and_without_a_copy() {
        for block in
            ["data: x\n\n", "event: a\r\ndata:x\r\ndata: y\r\n\r\n", ": hi\rdata\r\r", "idea: 1\ndata: id: 5\n\n"]
        {
            assert!(
                matches!(blocks(block.as_bytes()).next(), Some(Cow::Borrowed(same)) if same == block.as_bytes()),
                "{block:?}"
            );
        }
    }

    #[test]
    fn what_has_no_data_is_not_kept() {
        for block in ["\n", "\r\n", ": comment\n\n", "id: 1\nretry: 5\n\n", "event: data\n\n", "datas: 1\n\n", ""] {
            assert_eq!(kept(block), None, "{block:?}");
        }
    }

    #[test]
    fn ids_and_times_of_the_upstream_would_overrule_the_log_s_own() {
        assert_eq!(kept("id: 7\ndata: x\nretry: 0\n\n").as_deref(), Some("data: x\n\n"));
        assert_eq!(kept("data: x\r\nid\r\n\r\n").as_deref(), Some("data: x\r\n\r\n"));
        assert_eq!(kept("id:7\rdata: x\r\r").as_deref(), Some("data: x\r\r"));
    }

    #[test]
    fn a_last_event_without_its_end_gets_one() {
        for block in ["data: [DONE]", "data: [DONE]\n", "data: [DONE]\r\n", "data: [DONE]\r"] {
            let kept = kept(block).unwrap();
            assert_eq!(kept, format!("{block}\n\n"));
        }
        assert_eq!(kept("id: 3\ndata: [DONE]").as_deref(), Some("data: [DONE]\n\n"));
        assert_eq!(kept("data: x\rid: 3\n\n").as_deref(), Some("data: x\r\n\n\n"), "CR and LF have met");
    }

    #[test]
    fn each_block_of_a_batch_is_one_of_its_own() {
        let batch = b"data: a\n\n: c\n\ndata: b\r\n\r\n\nid: 9\ndata: c\r\rdata: d\n\n";
        let kept: Vec<_> = blocks(batch).collect();
        let expected: [&[u8]; 4] = [b"data: a\n\n", b"data: b\r\n\r\n", b"data: c\r\r", b"data: d\n\n"];
        assert_eq!(kept, expected);
    }

    proptest! {
        #[test]
        fn blocks_are_cut_where_the_framer_cuts_them(batch in "(data: ?[a-z]?|id:1|event: x|:|)(\n|\r|\r\n){1,3}(data:y|:c|)(\n|\r|\r\n){2}") {
            use sse::framer::Framer;
            let mut framer = Framer::new(usize::MAX);
            framer.push(bytes::Bytes::copy_from_slice(batch.as_bytes()));
            let mut one_by_one = Vec::new();
            while let Ok(Some(event)) = framer.next_event() {
                one_by_one.extend(blocks(event.as_slice()).map(Cow::into_owned));
            }
            one_by_one.extend(blocks(framer.unfinished()).map(Cow::into_owned));
            prop_assert_eq!(blocks(batch.as_bytes()).map(Cow::into_owned).collect::<Vec<_>>(), one_by_one);
        }

        #[test]
        fn a_client_reads_the_same_data_and_no_other_id(
            lines in prop::collection::vec(("(data|id|retry|event|x|)", "(: ?)?", "[a-z:]{0,5}", "\n|\r|\r\n"), 0..6),
            end in "\n|\r|\r\n|",
        ) {
            let block: String = lines.iter().map(|(name, colon, value, end)| format!("{name}{colon}{value}{end}")).collect::<String>() + &end;
            let data = |block: &str| -> Vec<String> {
                let lines = block.split(['\r', '\n']).filter(|line| !line.is_empty());
                lines.filter(|line| line.split(':').next() == Some("data")).map(str::to_owned).collect()
            };
            let kept: Vec<String> =
                blocks(block.as_bytes()).map(|kept| String::from_utf8(kept.into_owned()).unwrap()).collect();
            prop_assert_eq!(data(&kept.concat()), data(&block));
            let ends = ["\n\n", "\r\r", "\r\n\r\n", "\n\r\n", "\r\r\n", "\n\r"];
            for kept in &kept {
                prop_assert!(kept.split(['\r', '\n']).all(|line| !matches!(line.split(':').next(), Some("id" | "retry"))));
                prop_assert!(ends.iter().any(|end| kept.ends_with(end)), "{:?}", kept);
                prop_assert_eq!(blocks(kept.as_bytes()).count(), 1);
            }
        }
    }
}
