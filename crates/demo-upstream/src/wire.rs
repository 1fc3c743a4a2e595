//! The wire format: response heads, body framing, and a gzip that stores. Pure.

use bytes::Bytes;

/// A response head that is being written.
pub(super) struct Head(String);

impl Head {
    pub(super) fn new(version: &str, status: u16) -> Head {
        let reason = http::StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason());
        Head(format!("{version} {status} {}\r\n", reason.unwrap_or("Unknown")))
    }

    pub(super) fn header(mut self, name: &str, value: &str) -> Head {
        for part in [name, ": ", value, "\r\n"] {
            self.0.push_str(part);
        }
        self
    }

    pub(super) fn headers(self, headers: &[(&str, &str)]) -> Head {
        headers.iter().fold(self, |head, (name, value)| head.header(name, value))
    }

    pub(super) fn end(mut self) -> Bytes {
        self.0.push_str("\r\n");
        self.0.into()
    }
}

/// The framing of a body (RFC 9112 section 6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    Chunked,
    /// Chunked, each chunk with an extension.
    ChunkedExtended,
    Length(u64),
    UntilClose,
}

impl Framing {
    /// The header that announces it.
    pub(super) fn announce(self, head: Head) -> Head {
        match self {
            Framing::Chunked | Framing::ChunkedExtended => head.header("transfer-encoding", "chunked"),
            Framing::Length(length) => head.header("content-length", &length.to_string()),
            Framing::UntilClose => head.header("connection", "close"),
        }
    }

    /// A piece of the body, ready for one write.
    pub(super) fn frame(self, piece: Bytes) -> Bytes {
        let extension = match self {
            Framing::Length(_) | Framing::UntilClose => return piece,
            Framing::Chunked => "",
            Framing::ChunkedExtended => ";demo=\"a;b\\\"c\"",
        };
        // a chunk of no bytes would end the body
        if piece.is_empty() {
            return piece;
        }
        let size = format!("{:x}{extension}\r\n", piece.len());
        [size.as_bytes(), &piece, b"\r\n"].concat().into()
    }

    /// The bytes that end the body, if the framing has any.
    pub(super) fn end(self) -> Option<Bytes> {
        matches!(self, Framing::Chunked | Framing::ChunkedExtended).then(|| Bytes::from_static(b"0\r\n\r\n"))
    }
}

/// A gzip member (RFC 1952) of stored blocks (RFC 1951 section 3.2.4): valid gzip without a compression library.
#[derive(Debug)]
pub(super) struct Gzip {
    /// Empty after it is written.
    header: &'static [u8],
    crc: u32,
    length: u32,
}

impl Gzip {
    pub(super) fn new() -> Gzip {
        // deflate, no name, no time, unknown system
        Gzip { header: &[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff], crc: !0, length: 0 }
    }

    /// Writes one stored block for each 65,535 bytes.
    pub(super) fn piece(&mut self, piece: &[u8]) -> Bytes {
        let mut out = Vec::with_capacity(piece.len() + 15);
        out.extend_from_slice(std::mem::take(&mut self.header));
        for block in piece.chunks(usize::from(u16::MAX)) {
            let length = block.len() as u16;
            out.push(0);
            out.extend_from_slice(&length.to_le_bytes());
            out.extend_from_slice(&(!length).to_le_bytes());
            out.extend_from_slice(block);
        }
        self.crc = piece.iter().fold(self.crc, |crc, byte| crc32(crc ^ u32::from(*byte)));
        self.length = self.length.wrapping_add(piece.len() as u32);
        out.into()
    }

    /// Writes an empty last block and the trailer.
    pub(super) fn end(&self) -> Bytes {
        [&[1, 0, 0, 0xff, 0xff][..], &(!self.crc).to_le_bytes(), &self.length.to_le_bytes()].concat().into()
    }
}

/// Eight steps of the CRC of RFC 1952 section 8.
fn crc32(crc: u32) -> u32 {
    (0..8).fold(crc, |crc, _| (crc >> 1) ^ (0xedb8_8320 * (crc & 1)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_gzip_of_known_text_has_the_known_checksum() {
        let mut gzip = Gzip::new();
        gzip.piece(b"1234");
        gzip.piece(b"56789");
        // the check value of CRC-32/ISO-HDLC
        assert_eq!(
            gzip.end(),
            [&[1, 0, 0, 0xff, 0xff][..], &0xcbf4_3926_u32.to_le_bytes(), &9_u32.to_le_bytes()].concat()
        );
    }

    #[test]
    fn an_unregistered_status_still_has_a_reason() {
        assert_eq!(Head::new("HTTP/1.1", 529).end(), "HTTP/1.1 529 Unknown\r\n\r\n");
    }

    proptest! {
        #[test]
        fn stored_blocks_hold_the_pieces(pieces: Vec<Vec<u8>>) {
            let mut gzip = Gzip::new();
            for piece in pieces {
                let header = if gzip.header.is_empty() { 0 } else { 10 };
                let blocks = gzip.piece(&piece);
                let held = blocks[header..].get(5..).unwrap_or_default();
                prop_assert_eq!(held, &piece);
            }
        }
    }
}
