use eventsource_stream::EventStream;
use futures_util::{FutureExt, StreamExt, stream};
use proptest::prelude::*;

use super::*;
use crate::event::{Kind, Run};

/// Pushes each chunk and takes all events out of it. One list of events per chunk.
fn feed(framer: &mut Framer, chunks: &[&[u8]]) -> Result<Vec<Vec<Event>>, TooLong> {
    let mut out = Vec::new();
    for chunk in chunks {
        framer.push(Bytes::copy_from_slice(chunk));
        let mut events = Vec::new();
        while let Some(event) = framer.next_event()? {
            events.push(event);
        }
        out.push(events);
    }
    Ok(out)
}

fn texts(chunks: &[&str]) -> Vec<Vec<String>> {
    let chunks: Vec<&[u8]> = chunks.iter().map(|chunk| chunk.as_bytes()).collect();
    let text = |event: Event| String::from_utf8(event.as_slice().to_vec()).unwrap();
    let events = feed(&mut Framer::new(1 << 20), &chunks).unwrap();
    events.into_iter().map(|events| events.into_iter().map(text).collect()).collect()
}

/// Returns where events end, byte by byte by the grammar of §9.2.5: a line end at the beginning of a line. Offsets are those
/// of the byte that completes the event, plus one; an LF that belongs to that CR is not counted.
fn ends(input: &[u8]) -> Vec<usize> {
    let (mut ends, mut line_start) = (Vec::new(), true);
    for (at, byte) in input.iter().enumerate() {
        match byte {
            b'\n' if at > 0 && input[at - 1] == b'\r' => {}
            b'\n' | b'\r' if line_start => ends.push(at + 1),
            b'\n' | b'\r' => line_start = true,
            _ => line_start = false,
        }
    }
    ends
}

fn cut<'a>(input: &'a [u8], cuts: &[prop::sample::Index]) -> Vec<&'a [u8]> {
    let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(input.len() + 1)).collect();
    at.extend([0, input.len()]);
    at.sort_unstable();
    at.windows(2).map(|pair| &input[pair[0]..pair[1]]).collect()
}

fn cuts() -> impl Strategy<Value = Vec<prop::sample::Index>> {
    prop::collection::vec(any::<prop::sample::Index>(), 0..12)
}

/// Lines of streams: fields, comments and blank lines.
fn line() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "data: ?[a-zß€😀:]{0,8}",
        1 => "data",
        1 => ":[ a-z]{0,5}",
        1 => "event: ?[a-z]{0,5}",
        1 => "(id|retry|da|data ): ?[0-9]{0,3}",
        1 => "[a-z\u{0} :]{0,6}",
        3 => Just(String::new()),
    ]
}

/// Streams in the usual form, with every line end, also mixed.
fn stream_text() -> impl Strategy<Value = String> {
    let end = prop_oneof![3 => Just("\n"), 2 => Just("\r\n"), 1 => Just("\r")];
    prop::collection::vec((line(), end), 0..24).prop_map(|lines| lines.into_iter().map(|(l, e)| l + e).collect())
}

/// Streams in which every line ends alike, the first of which is not blank, and that line end.
fn uniform_text() -> impl Strategy<Value = (String, &'static str)> {
    let end = prop_oneof![Just("\n"), Just("\r\n"), Just("\r")];
    (prop::collection::vec(line(), 0..24), end)
        .prop_map(|(lines, end)| (lines.into_iter().fold(format!(":{end}"), |text, line| text + &line + end), end))
}

/// Returns what the reference reads. It waits for the byte after a CR, so one more comment line is added.
fn reference(text: &str) -> Vec<eventsource_stream::Event> {
    let text = format!("{text}:\n");
    let events = EventStream::new(stream::iter([Ok::<_, ()>(text)])).collect::<Vec<_>>().now_or_never().unwrap();
    events.into_iter().map(|event| event.unwrap()).collect()
}

/// Returns the complete events, and the same with a heartbeat after each chunk where one is allowed.
fn with_heartbeats(text: &str, cuts: &[prop::sample::Index]) -> (String, String) {
    let (mut framer, mut plain, mut beating) = (Framer::new(1 << 20), Vec::new(), Vec::new());
    for chunk in cut(text.as_bytes(), cuts) {
        for event in feed(&mut framer, &[chunk]).unwrap().concat() {
            plain.extend_from_slice(event.as_slice());
            beating.extend_from_slice(event.as_slice());
        }
        if !framer.awaits_lf() {
            beating.extend_from_slice(b": hb\n");
        }
    }
    (String::from_utf8(plain).unwrap(), String::from_utf8(beating).unwrap())
}

/// Bytes with many line ends and byte order marks.
fn raw_bytes() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![4 => Just(b'\n'), 4 => Just(b'\r'), 2 => Just(b'a'), 1 => Just(b':'), 1 => any::<u8>()];
    let mark = prop_oneof![2 => Just(vec![]), 1 => Just(BOM.to_vec()), 1 => Just(BOM[..2].to_vec())];
    (mark, prop::collection::vec(byte, 0..40)).prop_map(|(mark, bytes)| [mark, bytes].concat())
}

#[test]
fn an_event_comes_out_with_the_chunk_that_completes_it() {
    assert_eq!(texts(&["data: a\n", "\n", "data: b\n\ndata"]), [vec![], vec!["data: a\n\n"], vec!["data: b\n\n"]]);
}

#[test]
fn an_event_that_ends_in_cr_does_not_wait_for_an_lf() {
    assert_eq!(texts(&["data: a\r\r", "data: b\n\r"]), [["data: a\r\r"], ["data: b\n\r"]]);
    assert_eq!(texts(&["data: a\r\n\r", "\n", "data: b\r\n\r\n"]), [["data: a\r\n\r"], ["\n"], ["data: b\r\n\r\n"]]);
}

#[test]
fn an_lf_that_is_there_stays_with_its_cr() {
    assert_eq!(texts(&["data: a\r\n\r\ndata: b\r\n\r\n"]), [["data: a\r\n\r\n", "data: b\r\n\r\n"]]);
}

#[test]
fn an_lf_is_awaited_only_right_after_an_event_that_ended_in_cr_where_lines_end_with_crlf() {
    let crlf = [("a\r\n\r", true), ("\n", false), ("b\r", false), ("\n\r", true), ("c", false), ("\r\n\r\n", false)];
    let lf_comes_late = [("a\r", false), ("\n", false), ("\r", true)];
    let cr = [("a\r\r", false), ("b\r", false), ("\r", false), ("\r", false)];
    let lf = [("a\n\n", false), ("b\n", false), ("\n", false)];
    // the first CR may be either, and what follows it decides about the next one
    let mixed = [("a\n\r", true), ("\n", false), ("b\n\r", true), ("c\n\r", false)];
    let blank = [("\r", true), ("\r", false), ("\n", false), ("\r", true)];
    for chunks in [&crlf[..], &lf_comes_late, &cr, &lf, &mixed, &blank] {
        let mut framer = Framer::new(100);
        for (chunk, awaited) in chunks {
            feed(&mut framer, &[chunk.as_bytes()]).unwrap();
            assert_eq!(framer.awaits_lf(), *awaited, "after {chunk:?} of {chunks:?}");
        }
    }
}

#[test]
fn consecutive_events_of_a_chunk_are_one_slice_of_it() {
    let chunk = Bytes::from_static(b"data: a\n\ndata: b\r\n\r\ndata: c\r\rdata: d");
    let mut framer = Framer::new(100);
    framer.push(chunk.clone());
    let mut run = Run::from(framer.next_event().unwrap().unwrap());
    while let Some(event) = framer.next_event().unwrap() {
        run.append(event).unwrap();
    }
    let bytes = run.into_bytes();
    assert_eq!((bytes.as_ptr(), bytes.len()), (chunk.as_ptr(), chunk.len() - "data: d".len()));
    assert_eq!(framer.unfinished(), b"data: d");
}

#[test]
fn a_byte_order_mark_is_dropped_once_and_only_at_the_beginning() {
    let marked = "\u{feff}\u{feff}data: a\n\n".as_bytes();
    for split in 0..=marked.len() {
        let mut framer = Framer::new(100);
        let (head, tail) = marked.split_at(split);
        let events: Vec<Event> = feed(&mut framer, &[head, tail]).unwrap().into_iter().flatten().collect();
        assert_eq!(events[0].as_slice(), &marked[3..], "split at {split}");
    }
    assert_eq!(texts(&["a\n\n\u{feff}b\n\n"]), [["a\n\n", "\u{feff}b\n\n"]]);
}

#[test]
fn an_unfinished_event_at_the_end_of_the_stream_is_returned() {
    for (input, unfinished) in [("", ""), ("a\n\n", ""), ("a\r\n\r", ""), ("a\n\nb\n", "b\n"), ("a", "a")] {
        let mut framer = Framer::new(100);
        feed(&mut framer, &[input.as_bytes()]).unwrap();
        assert_eq!(framer.unfinished(), unfinished.as_bytes(), "{input:?}");
    }
}

#[test]
fn an_event_of_exactly_the_most_bytes_passes_and_one_more_fails_for_good() {
    // the LF of the CR that ends an event does not count
    for chunks in
        [&["1234\n\n"][..], &["1234", "\n\n"], &["1234\n", "\n"], &["123\r\n\r\n"], &["1234\r\r", "\n"], &["123456"]]
    {
        let chunks: Vec<&[u8]> = chunks.iter().map(|chunk| chunk.as_bytes()).collect();
        assert!(feed(&mut Framer::new(6), &chunks).is_ok(), "{chunks:?}");
        let mut framer = Framer::new(5);
        assert!(feed(&mut framer, &chunks).is_err(), "{chunks:?}");
        assert_eq!(feed(&mut framer, &[b"a\n\n"]).unwrap_err(), TooLong { max_event: 5 });
    }
}

/// A mebibyte of `pattern`, byte by byte: each byte is scanned once, and what is held stays within the cap.
fn drip(pattern: &str, max_event: usize) -> (usize, Option<usize>) {
    let mut framer = Framer::new(max_event);
    let mut events = 0;
    for (at, byte) in pattern.bytes().cycle().take(1 << 20).enumerate() {
        framer.push(Bytes::copy_from_slice(&[byte]));
        match framer.next_event() {
            Ok(event) => events += usize::from(event.is_some()),
            Err(_) => return (events, Some(at)),
        }
        assert!(framer.held.capacity() <= 2 * max_event);
        assert!(framer.scanner.shown <= at + 1);
    }
    (events, None)
}

#[test]
fn hostile_drips_cost_one_look_a_byte_and_no_more_memory_than_the_cap() {
    assert_eq!(drip("\r", 1024), (1 << 20, None));
    assert_eq!(drip(":\n", 1024), (0, Some(1024)));
    assert_eq!(drip("data:", 1024), (0, Some(1024)));
    assert_eq!(drip(":\n", 1 << 20), (0, None));
    assert_eq!(drip("data:", 1 << 20), (0, None));
}

proptest! {
    #[test]
    fn it_reads_what_a_client_reads(text in stream_text(), cuts in cuts()) {
        let reference: Vec<_> = reference(&text).into_iter().map(|event| (event.event, event.data)).collect();

        let events = feed(&mut Framer::new(1 << 20), &cut(text.as_bytes(), &cuts)).unwrap();
        let mut read = Vec::new();
        for event in events.iter().flatten() {
            let fields = event.fields();
            prop_assert_eq!(fields.kind == Kind::Data, fields.data.is_some());
            if let Some(data) = fields.data {
                let name = fields.name.filter(|name| !name.is_empty()).unwrap_or(b"message");
                read.push((String::from_utf8(name.to_vec()).unwrap(), String::from_utf8(data.to_vec()).unwrap()));
            }
        }
        prop_assert_eq!(read, reference);
    }

    #[test]
    fn heartbeats_change_nothing_that_a_client_reads(text in stream_text(), cuts in cuts()) {
        let (plain, beating) = with_heartbeats(&text, &cuts);
        prop_assert_eq!(reference(&beating), reference(&plain));
    }

    /// A blank line more dispatches nothing, but openai-python does not know that once it has seen an `id`.
    #[test]
    fn heartbeats_make_no_blank_line_where_lines_end_alike((text, end) in uniform_text(), cuts in cuts()) {
        let (plain, beating) = with_heartbeats(&text, &cuts);
        prop_assert_eq!(ends(beating.as_bytes()).len(), ends(plain.as_bytes()).len());
        // and only half of a CRLF delays one
        let mut framer = Framer::new(1 << 20);
        for chunk in cut(text.as_bytes(), &cuts) {
            let events = feed(&mut framer, &[chunk]).unwrap().concat();
            let half = end == "\r\n" && events.last().is_some_and(|event| event.as_slice().ends_with(b"\r"));
            prop_assert!(!framer.awaits_lf() || half || chunk.is_empty());
        }
    }

    #[test]
    fn every_byte_comes_out_once_and_in_order(input in raw_bytes(), cuts in cuts()) {
        let mut framer = Framer::new(1 << 20);
        let events = feed(&mut framer, &cut(&input, &cuts)).unwrap();
        let mut out: Vec<u8> = events.iter().flatten().flat_map(Event::as_slice).copied().collect();
        out.extend_from_slice(framer.unfinished());
        prop_assert_eq!(&out[..], input.strip_prefix(BOM).unwrap_or(&input));
    }

    #[test]
    fn each_event_leaves_with_its_last_byte_however_the_stream_is_cut(input in raw_bytes(), cuts in cuts()) {
        let marked = if input.starts_with(BOM) { BOM.len() } else { 0 };
        let ends = ends(&input[marked..]);
        let mut framer = Framer::new(1 << 20);
        let (mut arrived, mut complete) = (0, 0);
        for chunk in cut(&input, &cuts) {
            arrived += chunk.len();
            for event in feed(&mut framer, &[chunk]).unwrap().concat() {
                // an LF on its own is the rest of a CRLF, unless a blank line is expected there
                complete += event.as_slice().len();
            }
            let last = ends.iter().copied().filter(|end| end + marked <= arrived).max().unwrap_or(0);
            let rest_of_crlf = input[marked..].get(last) == Some(&b'\n') && last > 0
                && input[marked + last - 1] == b'\r' && marked + last < arrived;
            prop_assert_eq!(complete, last + usize::from(rest_of_crlf));
        }
    }

    #[test]
    fn events_are_the_same_however_the_stream_is_cut(input in raw_bytes(), cuts in cuts()) {
        let whole = feed(&mut Framer::new(1 << 20), &[&input]).unwrap().concat();
        let cut = feed(&mut Framer::new(1 << 20), &cut(&input, &cuts)).unwrap().concat();
        // except for an LF that came later than its CR
        let said = |events: &[Event]| -> Vec<_> {
            let spoken = events.iter().filter(|event| event.fields().kind != Kind::Blank);
            spoken.map(|event| event.as_slice().strip_suffix(b"\r\n").map_or(event.as_slice().to_vec(), |e| [e, b"\r"].concat())).collect()
        };
        prop_assert_eq!(said(&whole), said(&cut));
    }

    #[test]
    fn the_cap_holds_however_the_stream_is_cut(input in raw_bytes(), cuts in cuts(), max in 3usize..12) {
        let events = input.strip_prefix(BOM).unwrap_or(&input);
        let mut from = 0;
        let mut too_long = false;
        for end in ends(events).into_iter().chain([events.len()]) {
            // the LF of the CR before is not this event's
            from += usize::from(from > 0 && events[from - 1] == b'\r' && events.get(from) == Some(&b'\n'));
            too_long |= end.saturating_sub(from) > max;
            from = end;
        }
        prop_assert_eq!(feed(&mut Framer::new(max), &cut(&input, &cuts)).is_err(), too_long);
    }

    #[test]
    fn chunks_that_pile_up_lose_nothing(input in raw_bytes(), cuts in cuts()) {
        let mut framer = Framer::new(1 << 20);
        for chunk in cut(&input, &cuts) {
            framer.push(Bytes::copy_from_slice(chunk));
        }
        let mut out = Vec::new();
        while let Some(event) = framer.next_event().unwrap() {
            out.extend_from_slice(event.as_slice());
        }
        out.extend_from_slice(framer.unfinished());
        prop_assert_eq!(&out[..], input.strip_prefix(BOM).unwrap_or(&input));
    }
}
