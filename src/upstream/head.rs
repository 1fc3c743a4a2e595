//! The head of a response: from bytes to status and fields (RFC 9112 §4 and §5). Pure.
//!
//! `httparse` reads the grammar. The needed parts are copied once, when the head is complete: the read buffer is shared by
//! all connections of a worker.

use std::mem::{self, MaybeUninit};

use http::header::HeaderName;
use http::{StatusCode, Version};
use httparse::{ParserConfig, Response, Status};
use memchr::memchr_iter;

/// Most bytes of one head.
const MAX_HEAD: usize = 32 * 1024;
/// Most field lines of one head.
const MAX_FIELDS: usize = 100;

/// The head of a response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) status: StatusCode,
    /// HTTP/1.0 or HTTP/1.1.
    pub(super) version: Version,
    /// Name and value of each field line, one after the other.
    text: Vec<u8>,
    /// The offsets in `text` at which the name and the value of each field line end.
    ends: Vec<(usize, usize)>,
}

/// Most interim heads before a response: one each second for almost three hours. They bring a response no further, and an upstream
/// that sends nothing else would keep a core busy.
const MAX_INTERIM: u32 = 10_000;

/// The bytes are not a head, or a head that cannot be used: the start of the next message is unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BadHead;

/// Collects the bytes of a head that comes in pieces, and skips interim heads (RFC 9110 §15.2).
#[derive(Debug, Default)]
pub(super) struct HeadReader {
    /// The beginning of a head; empty, without a buffer, if each head comes in with one read.
    unfinished: Vec<u8>,
    /// Interim heads so far.
    interim: u32,
}

impl Head {
    /// Parses the head at the beginning of `bytes` and returns it with its length, or `None` if more bytes are needed.
    fn parse(bytes: &[u8]) -> Result<Option<(Self, usize)>, BadHead> {
        let mut lines = [const { MaybeUninit::uninit() }; MAX_FIELDS];
        let mut response = Response::new(&mut []);
        let mut config = ParserConfig::default();
        // a proxy removes white space between name and colon of a response (RFC 9112 §5.1)
        config.allow_spaces_after_header_name_in_responses(true);
        let parsed = config.parse_response_with_uninit_headers(&mut response, bytes, &mut lines);
        let length = match parsed.map_err(|_| BadHead)? {
            Status::Complete(length) if length <= MAX_HEAD => length,
            Status::Partial if bytes.len() < MAX_HEAD => return Ok(None),
            _ => return Err(BadHead),
        };
        let status = response.code.and_then(|code| StatusCode::from_u16(code).ok()).ok_or(BadHead)?;
        let version = if response.version == Some(1) { Version::HTTP_11 } else { Version::HTTP_10 };
        let mut text = Vec::with_capacity(length);
        let mut ends = Vec::with_capacity(response.headers.len());
        for line in response.headers.iter() {
            text.extend_from_slice(line.name.as_bytes());
            let end_of_name = text.len();
            text.extend_from_slice(line.value);
            ends.push((end_of_name, text.len()));
        }
        Ok(Some((Self { status, version, text, ends }, length)))
    }

    /// Whether a final head follows. 101 is final: what follows it is another protocol (RFC 9110 §15.2.2).
    fn is_interim(&self) -> bool {
        self.status.is_informational() && self.status != StatusCode::SWITCHING_PROTOCOLS
    }

    /// Returns the name and the value of each field line, in order.
    pub(super) fn fields(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let mut start = 0;
        self.ends.iter().map(move |&(end_of_name, end)| {
            let field = (&self.text[start..end_of_name], &self.text[end_of_name..end]);
            start = end;
            field
        })
    }

    /// Returns the values of all lines of a field (RFC 9110 §5.3).
    pub(super) fn all(&self, name: &HeaderName) -> impl Iterator<Item = &[u8]> {
        let name = name.as_str().as_bytes();
        self.fields().filter(move |(line, _)| line.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// Returns the value of a field's first line, or `None` if there is none or it is not ASCII.
    pub(super) fn first(&self, name: &HeaderName) -> Option<&str> {
        let value = self.all(name).next()?;
        str::from_utf8(value).ok().filter(|value| value.is_ascii())
    }

    /// Whether the field is present.
    pub(super) fn has(&self, name: &HeaderName) -> bool {
        self.all(name).next().is_some()
    }
}

impl HeadReader {
    /// Reads further bytes. Returns the first head that is not interim, and how many of `bytes` belong to heads, or `None`
    /// if more bytes are needed.
    pub(super) fn read(&mut self, bytes: &[u8]) -> Result<Option<(Head, usize)>, BadHead> {
        let before = self.unfinished.len();
        if before > 0 {
            self.unfinished.extend_from_slice(bytes);
            // the parser starts again each time, so it is called only for a possible end
            let new = &self.unfinished[before.saturating_sub(2)..];
            if self.unfinished.len() < MAX_HEAD && !has_empty_line(new) {
                return Ok(None);
            }
        }
        let unfinished = mem::take(&mut self.unfinished);
        let all = if before > 0 { &unfinished } else { bytes };
        let mut at = 0;
        while let Some((head, length)) = Head::parse(&all[at..])? {
            at += length;
            if !head.is_interim() {
                return Ok(Some((head, at - before)));
            }
            self.interim += 1;
            if self.interim > MAX_INTERIM {
                return Err(BadHead);
            }
        }
        self.unfinished = all[at..].to_vec();
        Ok(None)
    }
}

/// Whether `bytes` contain a line end that is followed by an empty line.
fn has_empty_line(bytes: &[u8]) -> bool {
    memchr_iter(b'\n', bytes).any(|at| matches!(bytes[at + 1..], [b'\n', ..] | [b'\r', b'\n', ..]))
}

#[cfg(test)]
mod tests {
    use http::header;
    use proptest::prelude::*;

    use super::*;

    /// Returns the head in these pieces, and the bytes behind it.
    fn read(pieces: &[&[u8]]) -> Result<Option<(Head, Vec<u8>)>, BadHead> {
        let mut reader = HeadReader::default();
        for (number, piece) in pieces.iter().enumerate() {
            if let Some((head, end)) = reader.read(piece)? {
                assert!(reader.unfinished.is_empty());
                return Ok(Some((head, [&[&piece[end..]], &pieces[number + 1..]].concat().concat())));
            }
        }
        Ok(None)
    }

    fn whole(head: &str) -> Result<Option<(Head, Vec<u8>)>, BadHead> {
        read(&[head.as_bytes()])
    }

    fn fields(head: &Head) -> Vec<(&str, &str)> {
        head.fields().map(|(name, value)| (str::from_utf8(name).unwrap(), str::from_utf8(value).unwrap())).collect()
    }

    #[test]
    fn status_version_and_fields_are_read_and_the_rest_is_left() {
        let (head, rest) = whole("HTTP/1.1 200 OK\r\nVary: a\r\nx:\r\nvary:  b c \t\r\n\r\nrest").unwrap().unwrap();
        assert_eq!((head.status, head.version, &rest[..]), (StatusCode::OK, Version::HTTP_11, &b"rest"[..]));
        assert_eq!(fields(&head), [("Vary", "a"), ("x", ""), ("vary", "b c")]);
        assert_eq!(head.all(&header::VARY).collect::<Vec<_>>(), [&b"a"[..], b"b c"]);
        assert_eq!((head.first(&header::VARY), head.first(&header::DATE)), (Some("a"), None));
        assert!(head.has(&header::VARY) && !head.has(&header::DATE));
        assert_eq!(whole("HTTP/1.0 404\n\n").unwrap().unwrap().0.version, Version::HTTP_10);
    }

    #[test]
    fn white_space_before_a_colon_is_removed() {
        let (head, _) = whole("HTTP/1.1 200 OK\r\nvary \t: a\r\n\r\n").unwrap().unwrap();
        assert_eq!(fields(&head), [("vary", "a")]);
    }

    #[test]
    fn a_value_that_is_no_ascii_is_a_value_but_no_text() {
        let (head, _) = read(&["HTTP/1.1 200 OK\r\nvary: \u{e9}\r\n\r\n".as_bytes()]).unwrap().unwrap();
        assert_eq!((head.all(&header::VARY).next(), head.first(&header::VARY)), (Some("\u{e9}".as_bytes()), None));
    }

    #[test]
    fn interim_heads_and_empty_lines_are_skipped_and_101_is_final() {
        let (head, rest) =
            whole("\r\n\nHTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 x\r\na: b\r\n\r\nHTTP/1.1 204 x\r\n\r\n1")
                .unwrap()
                .unwrap();
        assert_eq!((head.status.as_u16(), fields(&head), &rest[..]), (204, vec![], &b"1"[..]));
        let (head, rest) = whole("HTTP/1.1 101 x\r\n\r\nHTTP/1.1 200 OK\r\n\r\n").unwrap().unwrap();
        assert_eq!((head.status.as_u16(), &rest[..]), (101, &b"HTTP/1.1 200 OK\r\n\r\n"[..]));
        assert_eq!(whole("HTTP/1.1 100 Continue\r\n\r\n"), Ok(None));
    }

    #[test]
    fn what_is_no_head_is_refused() {
        for bad in [
            "SSH-2.0-OpenSSH_9.9\r\n\r\n",
            "HTTP/2 200 OK\r\n\r\n",
            "HTTP/1.2 200 OK\r\n\r\n",
            "http/1.1 200 OK\r\n\r\n",
            "HTTP/1.1 20 OK\r\n\r\n",
            "HTTP/1.1 099 OK\r\n\r\n",
            "HTTP/1.1 2000 OK\r\n\r\n",
            "HTTP/1.1  200 OK\r\n\r\n",
            "HTTP/1.1 200 O\0K\r\n\r\n",
            "HTTP/1.1 200 OK\rx\r\n\r\n",
            "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
            "HTTP/1.1 200 OK\r\n: a\r\n\r\n",
            "HTTP/1.1 200 OK\r\na: \0\r\n\r\n",
            "HTTP/1.1 200 OK\r\na: b\rc\r\n\r\n",
            "HTTP/1.1 200 OK\r\na: b\x7f\r\n\r\n",
            // obs-fold (RFC 9112 §5.2), and white space before the first field (§2.2)
            "HTTP/1.1 200 OK\r\na: b\r\n c\r\n\r\n",
            "HTTP/1.1 200 OK\r\n a: b\r\n\r\n",
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        ] {
            assert_eq!(whole(bad), Err(BadHead), "{bad:?}");
        }
    }

    #[test]
    fn a_head_of_32_kib_is_read_and_one_byte_more_is_not_however_it_comes() {
        for (more, fits) in [(0, true), (1, false)] {
            let start = "HTTP/1.1 200 OK\r\na: ";
            let head = format!("{start}{}\r\n\r\n", "b".repeat(32_768 - start.len() - 4 + more));
            let bytes = format!("{head}{}", "c".repeat(1000));
            for size in [1, 1000, 32_767, 32_768, 32_769, bytes.len()] {
                let pieces: Vec<_> = bytes.as_bytes().chunks(size).collect();
                match read(&pieces) {
                    Ok(Some((_, rest))) => assert!(fits && rest.len() == 1000, "{size}"),
                    other => assert!(!fits && other == Err(BadHead), "{size}"),
                }
            }
        }
    }

    #[test]
    fn a_head_that_never_ends_is_refused_at_32_kib() {
        for line in ["a: b\r\n", "b"] {
            let mut reader = HeadReader::default();
            assert_eq!(reader.read(b"HTTP/1.1 200 OK\r\na: "), Ok(None));
            let taken = (0..40_000).map_while(|_| reader.read(line.as_bytes()).ok()).count();
            assert!(taken * line.len() < 32_768);
        }
    }

    #[test]
    fn interim_heads_do_not_count_towards_the_size_of_the_final_one() {
        let interim = "HTTP/1.1 102 Processing\r\n\r\n".repeat(3000);
        let bytes = format!("{interim}HTTP/1.1 200 OK\r\n\r\n");
        for size in [1000, bytes.len()] {
            let pieces: Vec<_> = bytes.as_bytes().chunks(size).collect();
            assert_eq!(read(&pieces).unwrap().unwrap().0.status, StatusCode::OK);
        }
    }

    #[test]
    fn interim_heads_without_end_are_no_head() {
        let interim = "HTTP/1.1 102 Processing\r\n\r\n".repeat(MAX_INTERIM as usize + 1);
        for size in [1000, interim.len()] {
            let pieces: Vec<_> = interim.as_bytes().chunks(size).collect();
            assert_eq!(read(&pieces), Err(BadHead));
        }
    }

    #[test]
    fn a_hundred_fields_are_read_and_one_more_is_not() {
        let of = |count| whole(&format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(count)));
        assert_eq!(of(100).unwrap().unwrap().0.fields().count(), 100);
        assert_eq!(of(101), Err(BadHead));
    }

    proptest! {
        #[test]
        fn cut_anywhere_a_head_is_read_the_same_and_not_a_byte_of_what_follows(
            empty in prop::sample::select(vec!["", "\r\n", "\n"]),
            interim in prop::collection::vec(102_u16..200, 0..3),
            status in 200_u16..600,
            fields_sent in prop::collection::vec(("[a-zA-Z-]{1,12}", "([!-~]([ -~]{0,20}[!-~])?)?"), 0..5),
            end in prop::sample::select(vec!["\r\n", "\n"]),
            body in prop::collection::vec(prop::sample::select(b"\r\nHTTP/1.1 100a".to_vec()), 0..40),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
        ) {
            let mut head = empty.to_owned();
            for status in interim.iter().chain([&status]) {
                head.push_str(&format!("HTTP/1.1 {status} x{end}"));
                fields_sent.iter().for_each(|(name, value)| head.push_str(&format!("{name}: {value}{end}")));
                head.push_str(end);
            }
            let all = [head.as_bytes(), &body].concat();
            let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(all.len() + 1)).collect();
            at.extend([0, all.len()]);
            at.sort_unstable();
            let pieces: Vec<&[u8]> = at.windows(2).map(|pair| &all[pair[0]..pair[1]]).collect();
            let (read_head, rest) = read(&pieces).unwrap().unwrap();
            prop_assert_eq!((read_head.status.as_u16(), rest), (status, body));
            let expected: Vec<_> = fields_sent.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            prop_assert_eq!(fields(&read_head), expected);
        }

        #[test]
        fn any_bytes_cut_anywhere_are_read_the_same(
            bytes in prop::collection::vec(prop::sample::select(b"\r\r\n\n: \tHTTP/1.1 200a\0\xe9".to_vec()), 0..60),
            begins in prop::bool::weighted(0.8),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
        ) {
            let all = [if begins { &b"HTTP/1.1 200 OK\r\n"[..] } else { b"" }, &bytes].concat();
            let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(all.len() + 1)).collect();
            at.extend([0, all.len()]);
            at.sort_unstable();
            let pieces: Vec<&[u8]> = at.windows(2).map(|pair| &all[pair[0]..pair[1]]).collect();
            let (at_once, in_pieces) = (read(&[&all]), read(&pieces));
            // bytes that cannot become a head may be detected later when they come in pieces
            if at_once != Err(BadHead) || in_pieces != Ok(None) {
                prop_assert_eq!(at_once, in_pieces);
            }
        }
    }
}
