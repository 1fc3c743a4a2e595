//! Finds the end of a response body, and its content (RFC 9112 §6.3 and §7.1). Pure.
//!
//! A body is decoded in place, in its read buffer: chunks of one read are returned as one piece, and a silent stream holds
//! no buffer.

use std::ops::Range;

/// Most bytes of all chunk extensions and all trailers of one body. They are discarded.
const MAX_IGNORED: u32 = 16 * 1024;
/// Most digits of a chunk's size: those of the largest one. Zeros before it bring the body no further, and an upstream that sends
/// nothing else would keep a core busy.
const MAX_DIGITS: u8 = 16;

/// Extracts the content from a body's bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Decoder {
    /// `content-length`: this many bytes are still to come.
    Length(u64),
    /// `transfer-encoding: chunked`.
    Chunked(Chunked),
    /// Neither: the end of the connection is the end of the body.
    UntilClose,
}

/// The progress of reading a chunked body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Chunked {
    at: At,
    ignored: u32,
}

/// What the next byte belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    /// The size of a chunk, of which these digits are read.
    Size {
        value: u64,
        digits: u8,
    },
    /// White space behind the size.
    SizeSpace {
        size: u64,
    },
    /// An extension behind the size.
    Extension {
        size: u64,
    },
    /// The LF behind the size.
    SizeLf {
        size: u64,
    },
    /// The content of a chunk, of which this many bytes are still to come; never 0.
    Data(u64),
    DataCr,
    DataLf,
    /// The beginning of a trailer line, or of the last line.
    Trailer,
    TrailerName,
    TrailerValue,
    TrailerLf,
    LastLf,
    End,
    /// The bytes are not a chunked body: its end cannot be known.
    Malformed,
}

/// The byte is not allowed at its place.
struct Malformed;

/// The content in some bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Content {
    /// The range of the content, whose pieces were moved together.
    pub(super) place: Range<usize>,
    /// How many of the bytes belong to the body. Bytes behind the end were not requested.
    pub(super) read: usize,
}

impl Decoder {
    /// Makes a decoder at the beginning of a chunked body.
    pub(super) fn chunked() -> Self {
        Decoder::Chunked(Chunked { at: At::Size { value: 0, digits: 0 }, ignored: 0 })
    }

    /// Whether the whole body has been read. Always false if the end of the connection is the end of the body.
    pub(super) fn is_ended(&self) -> bool {
        match self {
            Decoder::Length(left) => *left == 0,
            Decoder::Chunked(chunked) => chunked.at == At::End,
            Decoder::UntilClose => false,
        }
    }

    /// Whether the bytes are malformed. Content before the error is still valid.
    pub(super) fn is_malformed(&self) -> bool {
        matches!(self, Decoder::Chunked(chunked) if chunked.at == At::Malformed)
    }

    /// Reads the next bytes. Several pieces of content are moved together, within `bytes`.
    pub(super) fn decode(&mut self, bytes: &mut [u8]) -> Content {
        match self {
            Decoder::Length(left) => {
                let read = usize::try_from(*left).map_or(bytes.len(), |left| left.min(bytes.len()));
                *left -= read as u64;
                Content { place: 0..read, read }
            }
            Decoder::Chunked(chunked) => chunked.decode(bytes),
            Decoder::UntilClose => Content { place: 0..bytes.len(), read: bytes.len() },
        }
    }
}

impl Chunked {
    fn decode(&mut self, bytes: &mut [u8]) -> Content {
        let mut place = 0..0;
        let mut read = 0;
        while read < bytes.len() && !matches!(self.at, At::End | At::Malformed) {
            let At::Data(left) = self.at else {
                read += match plain_line(self.at, &bytes[read..]) {
                    Some((at, length)) => {
                        self.at = at;
                        length
                    }
                    None => {
                        self.at = self.step(bytes[read]).unwrap_or(At::Malformed);
                        1
                    }
                };
                continue;
            };
            let here = usize::try_from(left).map_or(bytes.len() - read, |left| left.min(bytes.len() - read));
            if place.is_empty() {
                place = read..read + here;
            } else {
                bytes.copy_within(read..read + here, place.end);
                place.end += here;
            }
            read += here;
            let left = left - here as u64;
            self.at = if left == 0 { At::DataCr } else { At::Data(left) };
        }
        Content { place, read }
    }

    /// Reads one byte that is not content.
    fn step(&mut self, byte: u8) -> Result<At, Malformed> {
        Ok(match (self.at, byte) {
            (At::Size { digits: MAX_DIGITS, .. }, _) if byte.is_ascii_hexdigit() => return Err(Malformed),
            (At::Size { value, digits }, _) if byte.is_ascii_hexdigit() => {
                let digit = (byte as char).to_digit(16).ok_or(Malformed)?;
                At::Size { value: value << 4 | u64::from(digit), digits: digits + 1 }
            }
            (At::Size { digits: 0, .. }, _) => return Err(Malformed),
            (At::Size { value, .. }, b'\r') => At::SizeLf { size: value },
            (At::Size { value: size, .. } | At::SizeSpace { size }, b' ' | b'\t') => {
                self.ignore()?;
                At::SizeSpace { size }
            }
            (At::Size { value: size, .. } | At::SizeSpace { size }, b';') => At::Extension { size },
            (At::SizeSpace { size } | At::Extension { size }, b'\r') => At::SizeLf { size },
            (At::Extension { .. }, b'\n') => return Err(Malformed),
            (At::Extension { .. }, _) => self.ignore()?,
            (At::SizeLf { size: 0 }, b'\n') => At::Trailer,
            (At::SizeLf { size }, b'\n') => At::Data(size),
            (At::DataCr, b'\r') => At::DataLf,
            (At::DataLf, b'\n') => At::Size { value: 0, digits: 0 },
            (At::Trailer, b'\r') => At::LastLf,
            (At::Trailer | At::TrailerName, _) if is_token(byte) => {
                self.ignore()?;
                At::TrailerName
            }
            (At::TrailerName, b':') => {
                self.ignore()?;
                At::TrailerValue
            }
            (At::TrailerValue, b'\r') => At::TrailerLf,
            (At::TrailerValue, b'\t' | b' '..=b'~' | 0x80..) => self.ignore()?,
            (At::TrailerLf, b'\n') => At::Trailer,
            (At::LastLf, b'\n') => At::End,
            _ => return Err(Malformed),
        })
    }

    /// Counts a byte that is discarded; the next byte is of the same kind.
    fn ignore(&mut self) -> Result<At, Malformed> {
        self.ignored += 1;
        if self.ignored > MAX_IGNORED { Err(Malformed) } else { Ok(self.at) }
    }
}

/// Reads several bytes at once: the end of a chunk, or the whole size line of the next one, in the usual form. Returns
/// `None` if the bytes must be read one by one.
fn plain_line(at: At, bytes: &[u8]) -> Option<(At, usize)> {
    match at {
        At::DataCr if bytes.starts_with(b"\r\n") => Some((At::Size { value: 0, digits: 0 }, 2)),
        At::Size { digits: 0, .. } => {
            let digit = |byte: &u8| (*byte as char).to_digit(16);
            let digits = bytes.iter().take(8).map_while(digit).count();
            let size = bytes.iter().take(digits).filter_map(digit).fold(0, |size, digit| size << 4 | u64::from(digit));
            let whole = size > 0 && bytes[digits..].starts_with(b"\r\n");
            whole.then_some((At::Data(size), digits + 2))
        }
        _ => None,
    }
}

/// Whether a field name may have this byte (RFC 9110 §5.6.2).
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Feeds a body in these pieces. Returns its content, how it ended, and how many bytes were left.
    fn feed(mut decoder: Decoder, pieces: &[&[u8]]) -> Result<(Vec<u8>, bool, usize), Vec<u8>> {
        let (mut content, mut left) = (Vec::new(), 0);
        for piece in pieces {
            let mut bytes = piece.to_vec();
            let found = decoder.decode(&mut bytes);
            content.extend_from_slice(&bytes[found.place]);
            assert!(found.read <= piece.len());
            assert!(found.read == piece.len() || decoder.is_ended() || decoder.is_malformed());
            left += piece.len() - found.read;
        }
        if decoder.is_malformed() { Err(content) } else { Ok((content, decoder.is_ended(), left)) }
    }

    fn whole(body: &str) -> Result<(String, bool, usize), String> {
        let text = |content| String::from_utf8(content).unwrap();
        let fed = feed(Decoder::chunked(), &[body.as_bytes()]);
        fed.map(|(content, ended, left)| (text(content), ended, left)).map_err(text)
    }

    #[test]
    fn chunks_of_one_read_leave_as_one_piece() {
        let mut bytes = *b"3\r\nabc\r\n1;x=\"y\"\r\nd\r\n00\r\nt: 1\r\n\r\nHTTP";
        let mut decoder = Decoder::chunked();
        let found = decoder.decode(&mut bytes);
        assert_eq!((&bytes[found.place], found.read), (&b"abcd"[..], bytes.len() - 4));
        assert!(decoder.is_ended());
    }

    #[test]
    fn what_is_no_chunked_body_is_refused() {
        let long = format!("1;{}\r\n", "x".repeat(MAX_IGNORED as usize + 1));
        let zeros = "0".repeat(100_000);
        let trailers = format!("0\r\n{}", "t: 1\r\n".repeat(MAX_IGNORED as usize / 4 + 1));
        let bad = [
            "\r\n",
            "x\r\n",
            "-1\r\n",
            "+1\r\n",
            "0x1\r\n",
            " 1\r\n",
            "1\n",
            "1\rx",
            "1;\n",
            "1\r\nab",
            "1\r\na\n",
            "1\r\na\rx",
            "10000000000000000\r\n",
            "00000000000000001\r\na\r\n0\r\n\r\n",
            &zeros,
            "0\r\n\n",
            "1 x\r\na\r\n0\r\n\r\n",
            "0\r\nt\n",
            "0\r\nt\r\n",
            "0\r\n: t\r\n",
            "0\r\nt : t\r\n",
            "0\r\nt: \0\r\n",
            "0\r\nt: t\r\n t\r\n",
            "0\r\nt\rx",
            "0\r\n\rx",
            &long,
            &trailers,
        ];
        for body in bad {
            assert!(whole(body).is_err(), "{:?}", &body[..body.len().min(40)]);
        }
    }

    #[test]
    fn content_before_what_is_malformed_is_content() {
        assert_eq!(whole("2\r\nab\r\nxyz\r\ncd"), Err("ab".into()));
    }

    #[test]
    fn the_largest_size_and_white_space_behind_a_size_are_taken() {
        assert_eq!(whole("ffffffffffffffff\r\nab"), Ok(("ab".into(), false, 0)));
        assert_eq!(whole("1 \r\na\r\n0 ; x\r\n\r\n"), Ok(("a".into(), true, 0)));
        assert_eq!(whole("0000000000000001\r\na\r\n0000000000000000\r\n\r\n"), Ok(("a".into(), true, 0)));
    }

    #[test]
    fn a_length_ends_the_body_and_the_connection_ends_the_rest() {
        assert_eq!(feed(Decoder::Length(3), &[b"ab", b"cd"]), Ok((b"abc".to_vec(), true, 1)));
        assert_eq!(feed(Decoder::UntilClose, &[b"ab", b"cd"]), Ok((b"abcd".to_vec(), false, 0)));
    }

    proptest! {
        #[test]
        fn any_chunking_cut_anywhere_gives_back_the_content(
            chunks in prop::collection::vec((prop::collection::vec(any::<u8>(), 1..40), "|;a=b| ;c|;d=\"e f\""), 0..8),
            trailer in "|x-a: b\r\n|x: 1\r\ny: 2\r\n",
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
            rest in prop::collection::vec(any::<u8>(), 0..4),
            upper in any::<bool>(),
        ) {
            let mut body = Vec::new();
            let mut content = Vec::new();
            for (chunk, extension) in &chunks {
                let size = if upper { format!("{:X}", chunk.len()) } else { format!("0{:x}", chunk.len()) };
                body.extend_from_slice(format!("{size}{extension}\r\n").as_bytes());
                body.extend_from_slice(chunk);
                body.extend_from_slice(b"\r\n");
                content.extend_from_slice(chunk);
            }
            body.extend_from_slice(format!("0\r\n{trailer}\r\n").as_bytes());
            let end = body.len();
            body.extend_from_slice(&rest);

            let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(body.len() + 1)).collect();
            at.extend([0, body.len()]);
            at.sort_unstable();
            let pieces: Vec<&[u8]> = at.windows(2).map(|pair| &body[pair[0]..pair[1]]).collect();
            prop_assert_eq!(feed(Decoder::chunked(), &pieces), Ok((content.clone(), true, body.len() - end)));
            // a truncated body has not ended
            let cut = at[at.len() / 2].min(end - 1);
            let (begun, ended, _) = feed(Decoder::chunked(), &[&body[..cut]]).unwrap();
            prop_assert!(!ended && content.starts_with(&begun));
        }

        #[test]
        fn no_bytes_break_it(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = feed(Decoder::chunked(), &[&bytes]);
        }
    }
}
