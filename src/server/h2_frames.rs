//! Counts the HTTP/2 frames of a client that belong to no request, and bounds them by a budget. Pure.
//!
//! The h2 crate answers or ignores SETTINGS, PING, PRIORITY, WINDOW_UPDATE and unknown frames without limit (CVE-2019-9512 and
//! related ones). [`FrameScanner`] reads frame headers alone (RFC 9113 §4.1) and skips payloads, so that its work is linear in the
//! bytes; [`Budget`] is exceeded by a client that sends more of them than any ordinary client.

use std::time::Duration;

/// RFC 9113 §3.4
const PREFACE: u32 = 24;
/// RFC 9113 §4.1
const FRAME_HEADER: usize = 9;

// RFC 9113 §6
const DATA: u8 = 0x0;
const HEADERS: u8 = 0x1;
const CONTINUATION: u8 = 0x9;
const END_STREAM: u8 = 0x1;
const END_HEADERS: u8 = 0x4;

/// Scans the frames of one connection, client to server, from its first byte.
#[derive(Debug)]
pub(super) struct FrameScanner {
    /// Remaining bytes of the preface or of the current payload.
    skip: u32,
    header: [u8; FRAME_HEADER],
    /// Bytes of `header` that have come in.
    have: u8,
    /// The current frame's type, once its header is complete.
    kind: u8,
    /// Inside HEADERS … CONTINUATION, before END_HEADERS.
    in_block: bool,
    /// Completed units; see [`Within`].
    units: u64,
}

/// An unfinished unit: the preface with the first frame, one frame, or a header block with all its frames.
///
/// A server can go on only at its end, so that the deadline is for the unit, not for its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Within {
    /// Its number on this connection.
    pub(super) unit: u64,
    /// True for the payload of a DATA frame, which has the deadline of a request body.
    pub(super) data: bool,
}

impl Default for FrameScanner {
    fn default() -> Self {
        Self { skip: PREFACE, header: [0; FRAME_HEADER], have: 0, kind: DATA, in_block: false, units: 0 }
    }
}

impl FrameScanner {
    /// Scans the next bytes; returns the number of control frames that begin in them.
    pub(super) fn scan(&mut self, mut bytes: &[u8]) -> u32 {
        let mut control = 0;
        while !bytes.is_empty() {
            if self.skip > 0 {
                let skipped = bytes.len().min(self.skip as usize);
                bytes = &bytes[skipped..];
                self.skip -= skipped as u32;
            } else {
                let have = usize::from(self.have);
                let taken = bytes.len().min(FRAME_HEADER - have);
                self.header[have..have + taken].copy_from_slice(&bytes[..taken]);
                bytes = &bytes[taken..];
                self.have += taken as u8;
                if usize::from(self.have) < FRAME_HEADER {
                    break;
                }
                control += u32::from(self.begin_frame());
            }
            if self.skip == 0 && usize::from(self.have) == FRAME_HEADER {
                self.have = 0;
                self.units += u64::from(!self.in_block);
            }
        }
        control
    }

    /// The unit that has begun and not ended; `None` between units.
    pub(super) fn within(&self) -> Option<Within> {
        let begun = self.units == 0 || self.in_block || self.have > 0;
        let payload = usize::from(self.have) == FRAME_HEADER;
        begun.then_some(Within { unit: self.units, data: payload && self.kind == DATA })
    }

    /// Reads a complete frame header; true for a frame that counts.
    fn begin_frame(&mut self) -> bool {
        let [a, b, c, kind, flags, ..] = self.header;
        let length = u32::from_be_bytes([0, a, b, c]);
        self.skip = length;
        self.kind = kind;
        match kind {
            // an empty DATA frame moves nothing, unless it ends the stream
            DATA => length == 0 && flags & END_STREAM == 0,
            // requests have a bound as streams, and header blocks by their size
            HEADERS | CONTINUATION => {
                self.in_block = flags & END_HEADERS == 0;
                false
            }
            _ => true,
        }
    }
}

/// A token bucket of control frames. Time is the duration since any fixed moment.
#[derive(Debug)]
pub(super) struct Budget {
    left: u32,
    /// Sent bytes that have not earned a frame yet.
    unearned: u32,
    refilled: Duration,
}

impl Budget {
    /// The most frames at once.
    pub(super) const BURST: u32 = 8192;
    /// Frames that are earned per second.
    pub(super) const PER_SECOND: u32 = 64;
    /// The sent bytes that earn a frame: a client acknowledges data by WINDOW_UPDATE, at worst one for the stream and one for the
    /// connection after each event of some 150 bytes.
    pub(super) const BYTES_PER_FRAME: u32 = 64;

    /// A full bucket.
    pub(super) fn new(now: Duration) -> Self {
        Self { left: Self::BURST, unearned: 0, refilled: now }
    }

    /// Takes frames from the budget; false if there are not enough, and then nothing is taken.
    pub(super) fn spend(&mut self, frames: u32, now: Duration) -> bool {
        let earned = now.saturating_sub(self.refilled).as_millis() * u128::from(Self::PER_SECOND) / 1000;
        if earned > 0 {
            self.left = self.left.saturating_add(u32::try_from(earned).unwrap_or(u32::MAX)).min(Self::BURST);
            self.refilled = now;
        }
        match self.left.checked_sub(frames) {
            Some(left) => {
                self.left = left;
                true
            }
            None => false,
        }
    }

    /// Adds what bytes to the client earn.
    pub(super) fn earn(&mut self, sent: usize) {
        let bytes = self.unearned.saturating_add(u32::try_from(sent).unwrap_or(u32::MAX));
        self.left = self.left.saturating_add(bytes / Self::BYTES_PER_FRAME).min(Self::BURST);
        self.unearned = bytes % Self::BYTES_PER_FRAME;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PING: u8 = 0x6;

    fn frame(kind: u8, flags: u8, length: usize) -> Vec<u8> {
        let mut frame = (length as u32).to_be_bytes()[1..].to_vec();
        frame.extend([kind, flags, 0, 0, 0, 1]);
        frame.resize(FRAME_HEADER + length, 0xff);
        frame
    }

    fn opened() -> FrameScanner {
        let mut scanner = FrameScanner::default();
        scanner.scan(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        scanner.scan(&frame(0x4, 0, 18));
        scanner
    }

    #[test]
    fn the_preface_with_the_first_frame_is_one_unit() {
        let mut scanner = FrameScanner::default();
        assert_eq!(scanner.within(), Some(Within { unit: 0, data: false }));
        scanner.scan(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        assert_eq!(scanner.within(), Some(Within { unit: 0, data: false }));
        assert_eq!(scanner.scan(&frame(0x4, 0, 0)), 1);
        assert_eq!(scanner.within(), None);
    }

    #[test]
    fn every_kind_but_requests_and_their_bodies_costs() {
        for kind in 0..=255 {
            let costs = !matches!(kind, DATA | HEADERS | CONTINUATION);
            assert_eq!(opened().scan(&frame(kind, END_HEADERS, 3)), u32::from(costs), "type {kind}");
        }
        assert_eq!(opened().scan(&frame(DATA, 0, 0)), 1);
        assert_eq!(opened().scan(&frame(DATA, END_STREAM, 0)), 0);
    }

    #[test]
    fn a_header_block_is_one_unit_whatever_its_frames() {
        let mut scanner = opened();
        scanner.scan(&frame(HEADERS, 0, 5));
        let within = scanner.within().unwrap();
        scanner.scan(&frame(CONTINUATION, 0, 5));
        assert_eq!(scanner.within(), Some(within));
        scanner.scan(&frame(CONTINUATION, END_HEADERS, 5));
        assert_eq!(scanner.within(), None);
    }

    #[test]
    fn half_a_frame_is_within_and_only_a_data_payload_is_data() {
        let mut scanner = opened();
        let ping = frame(PING, 0, 8);
        scanner.scan(&ping[..12]);
        assert!(!scanner.within().unwrap().data);
        scanner.scan(&ping[12..]);
        let data = frame(DATA, 0, 8);
        scanner.scan(&data[..8]);
        assert!(!scanner.within().unwrap().data);
        scanner.scan(&data[8..9]);
        assert!(scanner.within().unwrap().data);
    }

    #[test]
    fn a_flood_is_refused_within_the_burst_and_a_second() {
        let mut budget = Budget::new(Duration::ZERO);
        let sent = (0..300_000).take_while(|frame| budget.spend(1, Duration::from_micros(*frame))).count();
        assert!(sent as u32 <= Budget::BURST + Budget::PER_SECOND, "{sent}");
    }

    #[test]
    fn waiting_and_receiving_refill_up_to_the_burst() {
        let mut budget = Budget::new(Duration::ZERO);
        assert!(budget.spend(Budget::BURST, Duration::ZERO));
        assert!(!budget.spend(1, Duration::ZERO));
        assert!(budget.spend(Budget::PER_SECOND, Duration::from_secs(1)));
        assert!(!budget.spend(1, Duration::from_secs(1)));
        budget.earn(63);
        assert!(!budget.spend(1, Duration::from_secs(1)));
        budget.earn(1);
        assert!(budget.spend(1, Duration::from_secs(1)));
        budget.earn(usize::MAX);
        assert!(!budget.spend(Budget::BURST + 1, Duration::from_secs(1)));
        assert!(budget.spend(Budget::BURST, Duration::from_secs(1)));
    }

    proptest! {
        #[test]
        fn splits_change_nothing(
            frames in prop::collection::vec((0u8..12, any::<u8>(), 0usize..40), 0..12),
            cuts in prop::collection::vec(1usize..30, 1..40),
        ) {
            let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
            bytes.extend(frames.iter().flat_map(|(kind, flags, length)| frame(*kind, *flags, *length)));
            let mut whole = FrameScanner::default();
            let expected = whole.scan(&bytes);
            let mut split = FrameScanner::default();
            let (mut counted, mut rest, mut cuts) = (0, &bytes[..], cuts.iter().cycle());
            while !rest.is_empty() {
                let (head, tail) = rest.split_at((*cuts.next().unwrap()).min(rest.len()));
                counted += split.scan(head);
                rest = tail;
            }
            prop_assert_eq!(counted, expected);
            prop_assert_eq!(split.within(), whole.within());
            let naive = frames.iter().filter(|(kind, flags, length)| match *kind {
                HEADERS | CONTINUATION => false,
                DATA => *length == 0 && flags & END_STREAM == 0,
                _ => true,
            }).count();
            prop_assert_eq!(expected as usize, naive);
        }

        #[test]
        fn a_client_that_acknowledges_every_event_twice_is_never_refused(
            events in prop::collection::vec((150usize..4000, 0u64..50), 1..2000),
        ) {
            let (mut budget, mut now) = (Budget::new(Duration::ZERO), Duration::ZERO);
            for (bytes, wait) in events {
                now += Duration::from_micros(wait);
                budget.earn(bytes);
                prop_assert!(budget.spend(2, now));
            }
        }
    }
}
