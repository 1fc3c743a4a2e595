//! Reads the same bytes of an upstream here and with hyper's own client (`Connection` and `Incoming`): both see the same
//! response, or this reader is stricter for one of the reasons of [`Stricter`].

use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::Poll;

use bytes::Bytes;
use http::{Request, Version};
use http_body::Body;
use http_body_util::Full;
use hyper::client::conn::http1::Builder;
use hyper_util::rt::TokioIo;
use proptest::prelude::*;

use super::connection::Connection;
use super::script::{Script, Step, drive};

/// Why this reader accepts less than hyper.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stricter {
    /// A coding that was not requested, or chunked twice: no response. hyper returns the coded bytes (RFC 9112 §6.1 and §7).
    Coding,
    /// A length beside a coding: the connection is not used again (RFC 9112 §6.3).
    LengthAndCoding,
    /// A length or a coding of a response that has no body: the connection is not used again (RFC 9112 §6.1, RFC 9110 §8.6).
    LengthWithoutBody,
    /// HTTP/1.0: the connection is not used again, `keep-alive` or not (RFC 9112 §9.3).
    Http10,
    /// `close` in a line with non-ASCII bytes, which hyper ignores (RFC 9110 §7.6.1).
    CloseBesideOtherBytes,
    /// A byte of the trailer section that no field has at its place: the body is broken at once. hyper reads the section to its end
    /// before it looks at its lines.
    TrailerByte,
    /// A line of the trailer section that ends with LF only: the body is broken (RFC 9112 §7.1; §2.2 lets a reader accept
    /// it).
    TrailerLineEnd,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Response {
    status: u16,
    version: Version,
    fields: BTreeMap<String, Vec<Vec<u8>>>,
    content: Vec<u8>,
    end: End,
    reusable: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Proper,
    Broken,
    /// The connection is silent.
    Open,
}

impl Response {
    fn lines(&self, name: &str) -> &[Vec<u8>] {
        self.fields.get(name).map_or(&[], Vec::as_slice)
    }

    fn add(&mut self, name: &[u8], value: &[u8]) {
        let name = String::from_utf8(name.to_ascii_lowercase()).unwrap();
        self.fields.entry(name).or_default().push(value.to_vec());
    }

    fn new(status: u16, version: Version) -> Self {
        Self { status, version, fields: BTreeMap::new(), content: Vec::new(), end: End::Open, reusable: false }
    }
}

const HEAD: &[u8] = b"POST / HTTP/1.1\r\ncontent-length: 4\r\n\r\n";
const BODY: &[u8] = b"body";

/// Returns what this reader sees; `None` without a response, refused or pending.
fn read_here(steps: Vec<Step>) -> Option<Response> {
    let connection = Connection::new(Script::new(1, steps));
    let (head, mut body) = drive(pin!(connection.exchange(HEAD, BODY)))?.ok()?;
    let mut response = Response::new(head.status.as_u16(), head.version);
    head.fields().for_each(|(name, value)| response.add(name, value));
    loop {
        response.end = match drive(pin!(poll_fn(|cx| body.poll(cx)))) {
            Some(Some(Ok(content))) => {
                response.content.extend_from_slice(&content);
                continue;
            }
            Some(Some(Err(_))) => End::Broken,
            Some(None) => End::Proper,
            None => End::Open,
        };
        response.reusable = body.into_connection().is_some_and(|mut connection| connection.is_reusable());
        return Some(response);
    }
}

/// Returns what hyper sees.
fn read_by_hyper(steps: Vec<Step>) -> Option<Response> {
    let mut builder = Builder::new();
    builder.max_headers(100).allow_spaces_after_header_name_in_responses(true);
    let (mut sender, connection) =
        drive(pin!(builder.handshake(TokioIo::new(Script::new(1, steps))))).unwrap().unwrap();
    let mut connection = pin!(connection);
    let mut ended = false;
    let mut go_on = |cx: &mut std::task::Context<'_>| ended = ended || connection.as_mut().poll(cx).is_ready();
    let request = Request::post("/").body(Full::new(Bytes::from_static(BODY))).unwrap();
    let (head, mut incoming) = {
        let mut responding = pin!(sender.send_request(request));
        let both = poll_fn(|cx| {
            go_on(cx);
            responding.as_mut().poll(cx)
        });
        drive(pin!(both))?.ok()?.into_parts()
    };
    let mut response = Response::new(head.status.as_u16(), head.version);
    head.headers.iter().for_each(|(name, value)| response.add(name.as_ref(), value.as_bytes()));
    loop {
        let frame = drive(pin!(poll_fn(|cx| {
            go_on(cx);
            Pin::new(&mut incoming).poll_frame(cx)
        })));
        response.end = match frame {
            Some(Some(Ok(frame))) => {
                response.content.extend(frame.into_data().unwrap_or_default());
                continue;
            }
            Some(Some(Err(_))) => End::Broken,
            Some(None) => End::Proper,
            None => End::Open,
        };
        let settled = poll_fn(|cx| {
            go_on(cx);
            Poll::<()>::Pending
        });
        drive(pin!(settled));
        response.reusable = response.end == End::Proper && sender.is_ready();
        return Some(response);
    }
}

/// Compares the results for `bytes`: `Ok(None)` if they are equal, `Err` if this reader accepts what hyper does not.
fn compare(bytes: &[u8], here: Option<&Response>, hyper: Option<&Response>) -> Result<Option<Stricter>, ()> {
    if here == hyper {
        return Ok(None);
    }
    let hyper = hyper.ok_or(())?;
    let (codings, lengths) = (hyper.lines("transfer-encoding"), hyper.lines("content-length"));
    let bodiless = [101, 204, 304].contains(&hyper.status);
    let Some(here) = here else {
        let chunked = codings.len() == 1 && codings[0].eq_ignore_ascii_case(b"chunked");
        return if codings.is_empty() || chunked { Err(()) } else { Ok(Some(Stricter::Coding)) };
    };
    let is_broken_here =
        *here == (Response { end: End::Broken, reusable: false, ..hyper.clone() }) && !codings.is_empty();
    let has_lone_lf = bytes.windows(2).any(|pair| pair[0] != b'\r' && pair[1] == b'\n');
    if is_broken_here && has_lone_lf {
        return Ok(Some(Stricter::TrailerLineEnd));
    }
    if is_broken_here && hyper.end == End::Open && bytes.windows(3).any(|bytes| bytes == b"0\r\n") {
        return Ok(Some(Stricter::TrailerByte));
    }
    if *here != (Response { reusable: false, ..hyper.clone() }) {
        return Err(());
    }
    let is_ascii = |line: &Vec<u8>| line.is_ascii();
    if hyper.version == Version::HTTP_10 {
        Ok(Some(Stricter::Http10))
    } else if bodiless && !(codings.is_empty() && lengths.is_empty()) {
        Ok(Some(Stricter::LengthWithoutBody))
    } else if !codings.is_empty() && !lengths.is_empty() {
        Ok(Some(Stricter::LengthAndCoding))
    } else if !hyper.lines("connection").iter().all(is_ascii) {
        Ok(Some(Stricter::CloseBesideOtherBytes))
    } else {
        Err(())
    }
}

/// Reads bytes in these pieces here, and in one piece with hyper, whose own result may depend on the cuts.
fn both(pieces: &[&[u8]], ends: bool) -> (Option<Response>, Option<Response>) {
    let end = ends.then_some(Step::End);
    let steps = |pieces: &[&[u8]]| {
        let pieces = pieces.iter().filter(|piece| !piece.is_empty()).map(|piece| Step::Bytes(piece.to_vec()));
        pieces.chain(end.clone()).collect()
    };
    (read_here(steps(pieces)), read_by_hyper(steps(&[&pieces.concat()])))
}

fn verdict(text: &str) -> Result<Option<Stricter>, ()> {
    let (here, hyper) = both(&[text.as_bytes()], false);
    compare(text.as_bytes(), here.as_ref(), hyper.as_ref())
}

#[test]
fn each_response_of_a_usual_upstream_is_read_as_hyper_reads_it_and_the_connection_used_again() {
    for text in [
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2;x=y\r\nok\r\n0\r\nt: 1\r\n\r\n",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 404 x\r\nconnection: keep-alive\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 204 No Content\r\n\r\n",
    ] {
        let (here, hyper) = both(&[text.as_bytes()], false);
        assert_eq!(here, hyper, "{text:?}");
        assert!(here.is_some_and(|response| response.end == End::Proper && response.reusable), "{text:?}");
    }
}

#[test]
fn this_reader_is_stricter_where_it_is_said_to_be() {
    for (text, expected) in [
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n", Stricter::Coding),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\nx", Stricter::Coding),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
            Stricter::Coding,
        ),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-length: 1\r\n\r\n0\r\n\r\n",
            Stricter::LengthAndCoding,
        ),
        ("HTTP/1.1 204 No Content\r\ncontent-length: 1\r\n\r\n", Stricter::LengthWithoutBody),
        ("HTTP/1.1 304 Not Modified\r\ntransfer-encoding: chunked\r\n\r\n", Stricter::LengthWithoutBody),
        ("HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 0\r\n\r\n", Stricter::Http10),
        ("HTTP/1.1 200 OK\r\nconnection: \u{e9}, close\r\ncontent-length: 0\r\n\r\n", Stricter::CloseBesideOtherBytes),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\nt: 1\n\r\n", Stricter::TrailerLineEnd),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n \r\nH", Stricter::TrailerByte),
    ] {
        assert_eq!(verdict(text), Ok(Some(expected)), "{text:?}");
    }
}

/// Field lines in addition to the one that announces the body. `LENGTH` is the length of the content.
const HARMLESS: [&str; 6] =
    ["content-type: text/event-stream", "vary: a\r\nvary: b", "connection: keep-alive", "x: \u{e9}", "x\t: a", "x:"];
const ODD: [&str; 18] = [
    "content-length: LENGTH",
    "content-length: LENGTH, LENGTH",
    "content-length: 3",
    "content-length: 3,4",
    "content-length: +3",
    "content-length: 18446744073709551616",
    "content-length:",
    "transfer-encoding: chunked",
    "transfer-encoding : chunked",
    "transfer-encoding: gzip, chunked",
    "transfer-encoding: gzip",
    "connection: close",
    "connection: x, Close",
    "connection: \u{e9}, close",
    "x: a\r\n b",
    " x: a",
    "x",
    "x: \0",
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Framing {
    Length,
    Chunked,
    Close,
}

/// Selects one of these, nearly always the first.
fn mostly<T: Clone + std::fmt::Debug + 'static>(first: T, others: impl Into<Vec<T>>) -> impl Strategy<Value = T> {
    prop_oneof![8 => Just(first), 1 => prop::sample::select(others.into())]
}

fn response() -> impl Strategy<Value = Vec<u8>> {
    let head = (
        mostly("", ["\r\n", "\n"]),
        prop::collection::vec(100_u16..104, 0..2),
        mostly("1.1", ["1.0", "1.2", "2"]),
        mostly(200_u16, [204, 304, 404, 500, 101, 99]),
        prop::collection::vec(prop::sample::select(HARMLESS.to_vec()), 0..3),
        prop::option::weighted(0.2, prop::sample::select(ODD.to_vec())),
        mostly("\r\n", ["\n"]),
    );
    let chunk = (prop::collection::vec(any::<u8>(), 1..30), mostly("", [";a=b", " ;c", " ", "\t; d", " x"]));
    let trailer = mostly("", ["x-a: b\r\n", "x:\r\ny: \u{e9}\r\n", "z\r\n", " y: 1\r\n", "a : b\r\n"]);
    let body = (
        prop::sample::select(vec![Framing::Length, Framing::Chunked, Framing::Close]),
        prop::collection::vec(chunk, 0..4),
        prop::option::weighted(0.9, trailer),
        mostly(vec![], [vec![b'H'], b"\r\n".to_vec()]),
    );
    (head, body).prop_map(
        |((empty, interim, version, status, harmless, odd, end), (framing, chunks, trailer, surplus))| {
            let content = chunks.iter().map(|(content, _)| content.as_slice()).collect::<Vec<_>>().concat();
            let mut head = empty.to_owned();
            interim.iter().for_each(|status| head.push_str(&format!("HTTP/1.1 {status} x{end}a: b{end}{end}")));
            head.push_str(&format!("HTTP/{version} {status} OK{end}"));
            let announced = match framing {
                Framing::Length => Some("Content-Length:LENGTH "),
                Framing::Chunked => Some("Transfer-Encoding:Chunked"),
                Framing::Close => None,
            };
            for line in announced.into_iter().chain(harmless).chain(odd) {
                head.push_str(&format!("{}{end}", line.replace("LENGTH", &content.len().to_string())));
            }
            head.push_str(end);
            let mut bytes = head.into_bytes();
            if framing != Framing::Chunked {
                return [bytes, content, surplus].concat();
            }
            for (content, extension) in &chunks {
                bytes.extend_from_slice(format!("{:x}{extension}\r\n", content.len()).as_bytes());
                bytes.extend_from_slice(content);
                bytes.extend_from_slice(b"\r\n");
            }
            // some end in the middle
            trailer.iter().for_each(|trailer| bytes.extend_from_slice(format!("0\r\n{trailer}\r\n").as_bytes()));
            [bytes, surplus].concat()
        },
    )
}

/// One byte replaced, inserted or removed.
fn edit() -> impl Strategy<Value = (prop::sample::Index, u8, u8)> {
    (any::<prop::sample::Index>(), prop::sample::select(b"\r\n :;,0a\xe9\0".to_vec()), 0..3_u8)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn any_response_cut_anywhere_is_read_as_hyper_reads_it_or_more_strictly(
        mut bytes in response(),
        edits in mostly(0, [1, 2, 3]).prop_flat_map(|count| prop::collection::vec(edit(), count)),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
        ends in prop::bool::weighted(0.3),
    ) {
        for (at, byte, edit) in edits {
            let at = at.index(bytes.len());
            match edit {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                _ => drop(bytes.remove(at)),
            }
        }
        let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        at.extend([0, bytes.len()]);
        at.sort_unstable();
        let pieces: Vec<&[u8]> = at.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
        let (here, hyper) = both(&pieces, ends);
        prop_assert!(compare(&bytes, here.as_ref(), hyper.as_ref()).is_ok(), "here {here:?}\nhyper {hyper:?}\n{}", bytes.escape_ascii());
    }
}
