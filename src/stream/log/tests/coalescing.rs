//! Coalesced answers: who joins, what is cached, and what happens to a slow subscriber.

use std::future::Future;
use std::pin::pin;

use proptest::prelude::*;
use tokio::time::Instant;

use super::*;
use crate::stream::log::coalescer::{Coalescer, CoalescingKey, Entered, Head, Leader, Subscriber};
use crate::stream::log::core::{Bounds, WINDOW};
use crate::stream::log::reader::Taken;
use crate::upstream::failure::Failure;

const KEY: CoalescingKey = CoalescingKey([7; 32]);
const WIDE: Bounds = Bounds { one: 1 << 20, all: 1 << 30 };

fn publish(leader: &mut Leader, text: &str) {
    let event = Batch::new(Bytes::copy_from_slice(text.as_bytes()), Instant::now(), Flags::DATA | Flags::OUTPUT);
    leader.publish(event, Tally::default).expect("it has a subscriber");
    leader.wake();
}

fn lead(coalescer: &Arc<Coalescer>, bounds: Bounds) -> (Leader, Subscriber) {
    match coalescer.enter(KEY, bounds, || None::<()>) {
        Entered::Leads(leader, subscriber) => (leader, subscriber),
        _ => panic!("another request leads"),
    }
}

fn is_recorded(leader: &Leader) -> bool {
    leader.recorded(|_| {})
}

/// Returns what the subscriber gets without waiting, and how it ends, if it does.
fn read(subscriber: &mut Subscriber) -> (String, Option<&'static str>) {
    let (mut text, mut cx) = (String::new(), Context::from_waker(Waker::noop()));
    loop {
        let read = subscriber.poll_read(&mut cx, 500, |event| text += std::str::from_utf8(event.bytes).unwrap());
        match read {
            Poll::Ready(Read::Events(_)) => {}
            Poll::Ready(Read::Ended) => return (text, Some("ended")),
            Poll::Ready(Read::Failed(_)) => return (text, Some("failed")),
            Poll::Ready(Read::Broken(_)) => return (text, Some("broken")),
            Poll::Ready(Read::Lost) => return (text, Some("lost")),
            Poll::Ready(Read::Gap { .. }) => return (text, Some("detached")),
            Poll::Pending => return (text, None),
        }
    }
}

fn has_room(leader: &mut Leader) -> bool {
    leader.poll_room(&mut Context::from_waker(Waker::noop())).is_ready()
}

fn is_abandoned(leader: &mut Leader) -> bool {
    pin!(leader.abandoned()).poll(&mut Context::from_waker(Waker::noop())).is_ready()
}

#[test]
fn who_joins_gets_everything_from_the_beginning() {
    let coalescer = Arc::new(Coalescer::default());
    let (mut leader, mut first) = lead(&coalescer, WIDE);
    publish(&mut leader, "a");
    assert_eq!(read(&mut first), ("a".into(), None));
    let mut second = coalescer.join(KEY).unwrap();
    publish(&mut leader, "b");
    assert_eq!(read(&mut second), ("ab".into(), None));
    leader.end(Tally::default());
    assert_eq!(read(&mut first), ("b".into(), Some("ended")));
    assert_eq!(read(&mut second), (String::new(), Some("ended")));
    assert!(coalescer.join(KEY).is_none(), "it has ended");
}

#[test]
fn the_leader_is_woken_when_the_last_subscriber_leaves_and_no_request_joins_any_more() {
    let coalescer = Arc::new(Coalescer::default());
    let (mut leader, first) = lead(&coalescer, WIDE);
    let second = coalescer.join(KEY).unwrap();
    drop(first);
    assert!(!is_abandoned(&mut leader));
    drop(second);
    assert!(is_abandoned(&mut leader) && coalescer.join(KEY).is_none());
    // the next one begins anew, and the end of the old one does not end it
    let (_other, _subscriber) = lead(&coalescer, WIDE);
    drop(leader);
    assert!(coalescer.join(KEY).is_some());
}

#[test]
fn subscribers_get_an_error_when_the_leader_is_dropped_before_the_end() {
    let coalescer = Arc::new(Coalescer::default());
    let (mut leader, mut subscriber) = lead(&coalescer, WIDE);
    publish(&mut leader, "a");
    drop(leader);
    assert_eq!(read(&mut subscriber), ("a".into(), Some("lost")));
    let (leader, mut subscriber) = lead(&coalescer, WIDE);
    leader.fail_before_output(Failure::no_connection());
    assert_eq!(read(&mut subscriber), (String::new(), Some("failed")));
}

#[test]
fn a_log_beyond_its_bound_cannot_be_joined_or_cached_and_detaches_the_slowest() {
    let coalescer = Arc::new(Coalescer::default());
    let (mut leader, mut slow) = lead(&coalescer, Bounds { one: 4096, ..WIDE });
    let mut quick = coalescer.join(KEY).unwrap();
    let block = "x".repeat(2000);
    publish(&mut leader, &block);
    assert!(is_recorded(&leader));
    publish(&mut leader, &block);
    publish(&mut leader, &block);
    assert!(!is_recorded(&leader) && coalescer.join(KEY).is_none());
    for _ in 0..100 {
        assert!(has_room(&mut leader), "the slow one does not throttle the leader");
        publish(&mut leader, &block);
        assert_eq!(read(&mut quick).1, None);
    }
    assert!(coalescer.held() < WINDOW as usize + 8192, "what only the slow one lacks is discarded");
    assert_eq!(read(&mut slow), (String::new(), Some("detached")));
    drop(slow);
    // the leader waits for a single reader, as for the client of a direct answer
    let mut published = 0;
    while has_room(&mut leader) {
        publish(&mut leader, &block);
        published += 1;
        assert!(published < 100, "the only reader is not waited for");
    }
    assert!(published * 2000 > WINDOW as usize - 4000);
    assert_eq!(read(&mut quick), (block.repeat(published), None), "nothing is lost");
    assert!(has_room(&mut leader));
    leader.end(Tally::default());
    assert_eq!(read(&mut quick).1, Some("ended"));
}

#[test]
fn readers_that_are_slow_together_are_waited_for_and_lose_nothing() {
    let coalescer = Arc::new(Coalescer::default());
    let (mut leader, mut first) = lead(&coalescer, Bounds { one: 4096, ..WIDE });
    let mut second = coalescer.join(KEY).unwrap();
    let block = "x".repeat(2000);
    let mut published = 0;
    while has_room(&mut leader) {
        publish(&mut leader, &block);
        published += 1;
    }
    assert_eq!(read(&mut first), (block.repeat(published), None));
    assert_eq!(read(&mut second), (block.repeat(published), None));
}

#[test]
fn a_detached_reader_alone_keeps_no_upstream_at_work() {
    let coalescer = Arc::new(Coalescer::default());
    let (mut leader, slow) = lead(&coalescer, Bounds { one: 4096, ..WIDE });
    let mut quick = coalescer.join(KEY).unwrap();
    for _ in 0..100 {
        publish(&mut leader, &"x".repeat(2000));
        read(&mut quick);
    }
    assert!(!is_abandoned(&mut leader));
    drop(quick);
    assert!(is_abandoned(&mut leader));
    drop(slow);
}

#[test]
fn all_logs_together_have_a_bound_and_give_back_what_they_held() {
    let coalescer = Arc::new(Coalescer::default());
    let bounds = Bounds { one: 1 << 20, all: 3000 };
    let (mut leader, subscriber) = lead(&coalescer, bounds);
    publish(&mut leader, &"x".repeat(2000));
    assert!(is_recorded(&leader));
    let (mut other, reader) = coalescer.lead(CoalescingKey([8; 32]), bounds);
    publish(&mut other, &"x".repeat(2000));
    assert!(!is_recorded(&other) && is_recorded(&leader));
    drop((leader, subscriber, other, reader));
    assert_eq!(coalescer.held(), 0);
}

#[test]
fn an_answer_is_led_only_where_there_is_nothing_better() {
    let coalescer = Arc::new(Coalescer::default());
    assert!(matches!(coalescer.enter(KEY, WIDE, || Some(())), Entered::Instead(())));
    let (_leader, _subscriber) = lead(&coalescer, WIDE);
    assert!(matches!(coalescer.enter(KEY, WIDE, || Some(())), Entered::Joined(_)));
    let (anew, _reader) = coalescer.lead(KEY, WIDE);
    anew.end(Tally::default());
    assert!(coalescer.join(KEY).is_some(), "it has not taken the other one's place");
}

#[derive(Debug, Clone)]
enum Act {
    Push(usize),
    Join,
    Leave(usize),
    Read(usize),
}

fn act(longest: usize) -> impl Strategy<Value = Act> {
    prop_oneof![
        3 => (1..longest).prop_map(Act::Push),
        1 => Just(Act::Join),
        1 => any::<usize>().prop_map(Act::Leave),
        3 => any::<usize>().prop_map(Act::Read),
    ]
}

/// A subscriber, what it has read, and whether it was detached.
struct Page {
    subscriber: Subscriber,
    has: String,
    end: Option<&'static str>,
}

impl Page {
    fn new(subscriber: Subscriber) -> Self {
        Self { subscriber, has: String::new(), end: None }
    }

    fn read(&mut self) {
        if self.end.is_none() {
            let (text, end) = read(&mut self.subscriber);
            self.has += &text;
            self.end = end;
        }
    }
}

/// Runs any order of events, joins, leaves and reads. Each reader has a prefix of what was published, or all of it, unless
/// it was detached. Returns how many were detached.
fn run(acts: Vec<Act>, one: usize) -> usize {
    let coalescer = Arc::new(Coalescer::default());
    let (mut leader, first) = lead(&coalescer, Bounds { one, ..WIDE });
    let (mut pages, mut published) = (vec![Page::new(first)], String::new());
    for (number, act) in acts.into_iter().enumerate() {
        match act {
            Act::Push(length) => {
                if has_room(&mut leader) {
                    let text = format!("{number}:{};", "x".repeat(length));
                    publish(&mut leader, &text);
                    published += &text;
                }
            }
            Act::Join => pages.extend(coalescer.join(KEY).map(Page::new)),
            Act::Leave(index) => {
                // the last one that is not detached stays
                let at = index % pages.len();
                let mut others = pages.iter_mut().enumerate().filter(|(other, _)| *other != at);
                if others.any(|(_, page)| {
                    page.read();
                    page.end.is_none()
                }) {
                    drop(pages.remove(at));
                }
            }
            Act::Read(index) => {
                let at = index % pages.len();
                pages[at].read();
                let Page { has, end, .. } = &pages[at];
                assert!(published.starts_with(has.as_str()) && end.is_none_or(|end| end == "detached"));
                assert!(end.is_some() || has.len() == published.len());
            }
        }
    }
    leader.end(Tally::default());
    for page in &mut pages {
        page.read();
        assert!(published.starts_with(page.has.as_str()), "once and in order");
        assert!(page.end == Some("detached") || page.has == published && page.end == Some("ended"), "{:?}", page.end);
    }
    let detached = pages.iter().filter(|page| page.end == Some("detached")).count();
    assert!(detached < pages.len(), "one reader has all of it");
    drop(pages);
    assert_eq!(coalescer.held(), 0);
    detached
}

proptest! {
    /// At any time a reader has a prefix of all that was written, and at the end all of it.
    #[test]
    fn every_reader_gets_every_event_once_and_in_order(acts in prop::collection::vec(act(400), 1..60), one in 500..5000_usize) {
        prop_assert_eq!(run(acts, one), 0, "they are all within the window");
    }

    #[test]
    fn every_reader_gets_every_event_or_learns_that_it_is_detached(acts in prop::collection::vec(act(20_000), 1..80), one in 500..5000_usize) {
        run(acts, one);
    }
}

#[test]
fn the_orders_come_to_detached_readers() {
    let acts = (0..40).flat_map(|_| [Act::Push(5000), Act::Read(1)]);
    let acts = std::iter::once(Act::Join).chain(acts);
    assert_eq!(run(acts.collect(), 4096), 1);
}

/// What the subscriber takes: whether it is the latest event without a copy, and its text.
fn take(subscriber: &mut Subscriber) -> Option<(bool, String)> {
    let (mut copied, mut cx) = (Vec::new(), Context::from_waker(Waker::noop()));
    match subscriber.poll_take(&mut cx, 500, |event| copied.extend_from_slice(event.bytes)) {
        Poll::Ready(Taken::Latest(latest)) => Some((true, String::from_utf8(latest.bytes.to_vec()).unwrap())),
        Poll::Ready(Taken::Read(Read::Events(_))) => Some((false, String::from_utf8(copied).unwrap())),
        Poll::Ready(Taken::Read(other)) => panic!("{other:?}"),
        Poll::Pending => None,
    }
}

#[test]
fn a_reader_that_waits_takes_the_latest_event_without_a_copy_and_one_that_is_behind_reads_copies() {
    let coalescer = Arc::new(Coalescer::default());
    let (mut leader, mut first) = lead(&coalescer, WIDE);
    let mut second = coalescer.join(KEY).unwrap();
    assert_eq!((take(&mut first), take(&mut second)), (None, None));
    publish(&mut leader, "a");
    assert_eq!(take(&mut first), Some((true, "a".into())));
    assert_eq!(take(&mut first), None, "once");
    publish(&mut leader, "b");
    assert_eq!(take(&mut first), Some((true, "b".into())));
    // the second one lacks two events
    assert_eq!(take(&mut second), Some((false, "ab".into())));
    // both have all: the event that only the first one waits for is the latest for both
    assert_eq!(take(&mut first), None);
    publish(&mut leader, "c");
    assert_eq!(take(&mut second), Some((true, "c".into())));
    assert_eq!(read(&mut first), ("c".into(), None), "as a copy, too");
    publish(&mut leader, "d");
    leader.end(Tally::default());
    assert_eq!(take(&mut second), Some((false, "d".into())), "an ended log holds no buffer of its upstream");
    assert_eq!(read(&mut first), ("d".into(), Some("ended")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_and_its_last_subscriber_on_two_threads_miss_no_wake() {
    for _ in 0..300 {
        let coalescer = Arc::new(Coalescer::default());
        let (mut leader, mut subscriber) = lead(&coalescer, WIDE);
        let leading = tokio::spawn(async move {
            for text in ["a", "b", "c"] {
                publish(&mut leader, text);
                // registers the waker, then looks without the lock
                tokio::select! {
                    biased;
                    () = leader.abandoned() => {}
                    () = tokio::task::yield_now() => {}
                }
            }
            leader.abandoned().await;
        });
        let reading = tokio::spawn(async move {
            let mut seen = String::new();
            while seen.len() < 3 {
                let mut copied = String::new();
                let taken = std::future::poll_fn(|cx| {
                    subscriber.poll_take(cx, 500, |event| copied += std::str::from_utf8(event.bytes).unwrap())
                });
                if let Taken::Latest(latest) = taken.await {
                    seen += std::str::from_utf8(&latest.bytes).unwrap();
                }
                seen += &copied;
            }
            // the subscriber is dropped here: the leader's task must be woken
            seen
        });
        let patience = std::time::Duration::from_secs(60);
        assert_eq!(tokio::time::timeout(patience, reading).await.expect("woken by each event").unwrap(), "abc");
        tokio::time::timeout(patience, leading).await.expect("woken by the last subscriber that leaves").unwrap();
    }
}

#[tokio::test]
async fn a_leader_that_panics_is_counted_and_its_subscribers_get_an_internal_error() {
    let (coalescer, metrics) = (Arc::new(Coalescer::default()), Metrics::new().unwrap());
    let (leader, mut before) = lead(&coalescer, WIDE);
    supervise::spawn_answer(&metrics.panics, async move {
        let _leader = leader;
        panic!("a defect, before any output");
    });
    assert_eq!(before.head().await.err(), Some(Failure::Defect));

    let (mut leader, mut after) = lead(&coalescer, WIDE);
    let head = Head { model: "m".into(), upstream: "u".into(), route: None, vary: None, whole: None };
    leader.open(head, Tally::default());
    publish(&mut leader, "a");
    supervise::spawn_answer(&metrics.panics, drive(Defective { has_event: false }, leader));
    while metrics.panics.get() < 2 {
        tokio::task::yield_now().await;
    }
    assert_eq!(read(&mut after), ("a".into(), Some("broken")));
}
