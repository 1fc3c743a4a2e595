//! What a fuzz target and the test of its corpus check. Pure.

use super::h2_frames::FrameScanner;

/// Checks that the count of control frames does not depend on how a connection is cut into reads. The first byte of `input` is
/// the size of the reads, the rest is what the client sends.
///
/// # Panics
/// It does.
pub fn h2_frames(input: &[u8]) {
    let Some((size, bytes)) = input.split_first() else { return };
    let scanned = |size: usize| {
        let mut scanner = FrameScanner::default();
        let control: u32 = bytes.chunks(size.max(1)).map(|piece| scanner.scan(piece)).sum();
        (control, scanner.within())
    };
    assert_eq!(scanned((*size).into()), scanned(bytes.len()));
}
