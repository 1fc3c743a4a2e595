//! One block of an event stream as it goes into a log: an event with data, without the fields that the log itself writes,
//! and with its end. Pure.

use std::borrow::Cow;

use memchr::{memchr, memchr2};

/// The block as it is kept; `None` where it has no data, and so no client dispatches it.
///
/// The upstream's bytes are kept as they are but for two things. Lines of the fields `id` and `retry` are left out: a
/// reader gets the log's own, and the upstream's would overrule them. A block that lacks its blank line, as the last one
/// of some servers does, gets it: without it no client dispatches the block (WHATWG HTML §9.2.6), nor learns its id.
pub fn keep(block: &[u8]) -> Option<Cow<'_, [u8]>> {
    let (mut has_data, mut has_own) = (false, false);
    for line in Lines(block) {
        match field(line) {
            b"data" => has_data = true,
            b"id" | b"retry" => has_own = true,
            _ => {}
        }
    }
    if !has_data {
        return None;
    }
    let kept = match has_own {
        false => Cow::Borrowed(block),
        true => Cow::Owned(
            Lines(block).filter(|line| !matches!(field(line), b"id" | b"retry")).flatten().copied().collect(),
        ),
    };
    Some(if is_ended(&kept) { kept } else { Cow::Owned([&kept, b"\n\n".as_slice()].concat()) })
}

/// The name of the line's field; empty for a comment and for an empty line.
fn field(line: &[u8]) -> &[u8] {
    let line = without_end(line);
    &line[..memchr(b':', line).unwrap_or(line.len())]
}

/// Whether the block's last line is an empty one.
fn is_ended(block: &[u8]) -> bool {
    let before = without_end(block);
    before.len() < block.len() && matches!(before.last(), None | Some(b'\r' | b'\n'))
}

/// The line without its end.
fn without_end(line: &[u8]) -> &[u8] {
    let without = line.strip_suffix(b"\n").unwrap_or(line);
    without.strip_suffix(b"\r").unwrap_or(without)
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

    fn kept(block: &str) -> Option<String> {
        keep(block.as_bytes()).map(|kept| String::from_utf8(kept.into_owned()).unwrap())
    }

    #[test]
    fn an_event_with_data_is_kept_byte_for_byte_and_without_a_copy() {
        for block in
            ["data: x\n\n", "event: a\r\ndata:x\r\ndata: y\r\n\r\n", ": hi\rdata\r\r", "idea: 1\ndata: id: 5\n\n"]
        {
            assert!(
                matches!(keep(block.as_bytes()), Some(Cow::Borrowed(same)) if same == block.as_bytes()),
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
    }

    proptest! {
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
            match kept(&block) {
                None => prop_assert!(data(&block).is_empty()),
                Some(kept) => {
                    prop_assert_eq!(data(&kept), data(&block));
                    prop_assert!(kept.split(['\r', '\n']).all(|line| !matches!(line.split(':').next(), Some("id" | "retry"))));
                    prop_assert!(is_ended(kept.as_bytes()), "{:?}", kept);
                }
            }
        }
    }
}
