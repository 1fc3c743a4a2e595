//! Events do not depend on how a stream is cut into reads, and no byte is lost or doubled.

#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use sse::framer::Framer;

const MAX_EVENT: usize = 256;

/// The events of a stream that is read in these pieces; `None` behind an event that is too large.
fn events<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<Bytes>, Option<Vec<u8>>) {
    let (mut framer, mut events) = (Framer::new(MAX_EVENT), Vec::new());
    for piece in pieces {
        framer.push(Bytes::copy_from_slice(piece));
        loop {
            match framer.next_event() {
                Ok(Some(event)) => events.push(event.into_bytes()),
                Ok(None) => break,
                Err(_) => return (events, None),
            }
        }
    }
    (events, Some(framer.unfinished().to_vec()))
}

fuzz_target!(|input: &[u8]| {
    let Some((size, stream)) = input.split_first() else { return };
    let (whole, left) = events(std::iter::once(stream));
    let (pieces, left_of_pieces) = events(stream.chunks(usize::from(*size).max(1)));
    // a byte order mark at the beginning is no part of the stream (WHATWG HTML §9.2.5)
    let stream = stream.strip_prefix(b"\xef\xbb\xbf").unwrap_or(stream);
    if let (Some(left), Some(left_of_pieces)) = (&left, &left_of_pieces) {
        assert_eq!(([&whole.concat()[..], left].concat()), stream);
        assert_eq!(([&pieces.concat()[..], left_of_pieces].concat()), stream);
    }
});
