//! Any schedule of appends, reads, cuts, reconnects and evictions: each reader has exactly the writer's events, once and in
//! order, or got a gap for the missing ones.

use std::future::poll_fn;

use proptest::prelude::*;
use tokio::task::JoinHandle;
use tokio::time::{Instant, advance};

use super::*;

#[derive(Debug, Clone)]
enum Step {
    /// The writer appends an event of about so many bytes.
    Append(usize),
    /// A reader takes about so many bytes.
    Read(usize, usize),
    /// A new reader, from the beginning.
    Join,
    /// A reader's connection is cut.
    Cut(usize),
    /// A reader comes back.
    Return(usize),
    /// Other streams come and go, and take this much memory.
    Neighbour(usize),
    /// Time passes, and the registry is swept.
    Wait(u64),
    /// The tasks of the live readers have their turn.
    Yield,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => prop_oneof![0..60usize, 200..400usize, 4000..6000usize].prop_map(Step::Append),
        5 => (0..5usize, prop_oneof![0..1usize, 100..20_000usize]).prop_map(|(reader, limit)| Step::Read(reader, limit)),
        1 => Just(Step::Join),
        2 => (0..5usize).prop_map(Step::Cut),
        2 => (0..5usize).prop_map(Step::Return),
        1 => (1000..50_000usize).prop_map(Step::Neighbour),
        1 => (0..20_000u64).prop_map(Step::Wait),
        2 => Just(Step::Yield),
    ]
}

/// What one page has read of a stream, over all its connections.
#[derive(Debug, Default)]
struct Page {
    /// The number up to which it has every event or a gap.
    place: u64,
    events: Vec<(u64, Vec<u8>)>,
    gaps: Vec<(u64, u64)>,
}

impl Page {
    fn see(&mut self, read: &Read, seen: Vec<(u64, Vec<u8>)>) {
        for (number, block) in seen {
            assert_eq!(number, self.place + 1, "in order, once, without a hole");
            self.place = number;
            self.events.push((number, block));
        }
        if let Read::Gap { from, to } = *read {
            assert_eq!(from, self.place + 1, "exactly what is missing");
            assert!(from <= to);
            self.place = to;
            self.gaps.push((from, to));
        }
    }

    /// Checks that all events are there and are what was written.
    fn check(&self, written: &[Vec<u8>]) {
        for (number, block) in &self.events {
            assert_eq!(*block, written[*number as usize - 1]);
        }
        let missing: u64 = self.gaps.iter().map(|(from, to)| to - from + 1).sum();
        assert_eq!(self.events.len() as u64 + missing, self.place);
    }
}

/// Starts a reader that follows the stream in its own task. Only the registry wakes it.
fn follow_live(mut reader: Reader) -> JoinHandle<Page> {
    tokio::spawn(async move {
        let mut page = Page::default();
        loop {
            let mut seen = Vec::new();
            let read =
                poll_fn(|cx| reader.poll_read(cx, 5000, |event| seen.push((event.number, event.bytes.to_vec())))).await;
            page.see(&read, std::mem::take(&mut seen));
            if matches!(read, Read::Ended | Read::Lost | Read::Events(Then::End)) {
                return page;
            }
        }
    })
}

async fn run(steps: Vec<Step>, whole: bool) -> (usize, usize) {
    let (registry, metrics, _) =
        registry(Rules { max_bytes: 60_000, max_stream_bytes: 25_000, max_streams: 3, ..rules() });
    let (id, writer) = create(&registry);
    let mut writer = Some(writer);
    let mut written: Vec<Vec<u8>> = Vec::new();
    let mut pages: Vec<(Page, Option<Reader>)> = vec![(Page::default(), Some(open(&registry, id, 0)))];
    let live = follow_live(open(&registry, id, 0));
    for step in steps {
        match step {
            Step::Append(bytes) => {
                let block = event(written.len() as u64 + 1, bytes);
                if let Some(writer) = &mut writer {
                    append(writer, &block).expect("the live reader keeps it running");
                    written.push(block);
                }
            }
            Step::Read(reader, limit) => {
                let count = pages.len();
                let (page, reader) = &mut pages[reader % count];
                if let Some(reader) = reader
                    && let (Poll::Ready(read), seen) = look(reader, limit)
                {
                    page.see(&read, seen);
                }
            }
            Step::Join if pages.len() < 5 => {
                pages.push((Page::default(), Some(open(&registry, id, 0))));
            }
            Step::Join => {}
            Step::Cut(reader) => {
                let count = pages.len();
                pages[reader % count].1 = None;
            }
            Step::Return(reader) => {
                let count = pages.len();
                let (page, reader) = &mut pages[reader % count];
                *reader = Some(open(&registry, id, page.place));
            }
            Step::Neighbour(bytes) => {
                let (_, mut neighbour) = registry.create(owner("https://other.example"), "r".into()).unwrap();
                append(&mut neighbour, event(1, bytes)).unwrap();
                append(&mut neighbour, event(2, 10)).unwrap();
                end(neighbour);
            }
            Step::Wait(millis) => {
                advance(Duration::from_millis(millis)).await;
                registry.sweep(Instant::now());
            }
            Step::Yield => tokio::task::yield_now().await,
        }
        // within the budget, except for the latest segment of the running stream
        assert!(metrics.resumable_bytes.get() < 60_000 + 8192);
    }
    let writer = writer.take().unwrap();
    if whole {
        end(writer);
    } else {
        drop(writer);
    }
    let live = tokio::time::timeout(GRACE, live).await.expect("the live reader is woken by the end").unwrap();
    assert_eq!(live.place, written.len() as u64);
    live.check(&written);
    let mut gaps = live.gaps.len();
    for (mut page, reader) in pages {
        let mut reader = match reader {
            Some(reader) => reader,
            None => match registry.open(id, &super::page(), page.place) {
                Ok(Opened::Reader(reader)) => reader,
                // it has all events, or nothing was ever written
                Ok(Opened::AtEnd) | Err(Unopened::Unknown) => {
                    assert_eq!(page.place, written.len() as u64);
                    continue;
                }
                Err(other) => panic!("{other:?}"),
            },
        };
        loop {
            let (read, seen) = look(&mut reader, 3000);
            let Poll::Ready(read) = read else { panic!("a stream that has ended does not let wait") };
            page.see(&read, seen);
            match read {
                Read::Ended => break assert!(whole),
                Read::Lost => break assert!(!whole),
                Read::Events(_) | Read::Gap { .. } => {}
                Read::Failed(_) | Read::Broken(_) => panic!("{read:?}"),
            }
        }
        assert_eq!(page.place, written.len() as u64);
        page.check(&written);
        gaps += page.gaps.len();
    }
    (written.len(), gaps)
}

fn with_paused_time<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap().block_on(test)
}

proptest! {
    #[test]
    fn each_reader_has_every_event_once_and_in_order_or_knows_what_it_has_not(
        steps in prop::collection::vec(step(), 0..150),
        whole: bool,
    ) {
        with_paused_time(run(steps, whole));
    }
}

#[test]
fn the_schedules_come_to_gaps() {
    let steps = (0..40).map(|_| Step::Append(5000)).chain([Step::Read(0, 1), Step::Read(0, 1)]);
    let (written, gaps) = with_paused_time(run(steps.collect(), true));
    assert_eq!(written, 40);
    assert!(gaps > 0, "a test without a gap shows nothing of gaps");
}
