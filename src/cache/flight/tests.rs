use std::pin::pin;
use std::task::Context;

use proptest::prelude::*;

use super::*;
use crate::cache::key::Digest;

const KEY: FlightKey = FlightKey(Digest([7; 32]));
const WIDE: Bounds = Bounds { one: 1 << 20, all: 1 << 30 };

fn logged(text: &str) -> Logged {
    let event = Event { block: Bytes::copy_from_slice(text.as_bytes()), after: 0, output: true, usage_only: false };
    Logged { event, at: Instant::now(), error: false }
}

fn push(pilot: &Pilot, text: &str) {
    pilot.push(logged(text), &Tally::default());
}

fn begin(flights: &Arc<Flights>, bounds: Bounds) -> (Pilot, Follower) {
    match flights.enter(KEY, bounds, || None::<()>) {
        Entered::Leads(pilot, follower) => (pilot, follower),
        _ => panic!("somebody else flies"),
    }
}

/// What the reader gets without waiting, and how it ends, if it does.
fn read(follower: &mut Follower) -> (String, Option<&'static str>) {
    let (mut text, mut cx) = (String::new(), Context::from_waker(Waker::noop()));
    loop {
        match follower.poll_next(&mut cx) {
            Poll::Ready(Step::Event(logged)) => text += std::str::from_utf8(&logged.event.block).unwrap(),
            Poll::Ready(Step::Ended) => return (text, Some("ended")),
            Poll::Ready(Step::Failed(_)) => return (text, Some("failed")),
            Poll::Ready(Step::Lost) => return (text, Some("lost")),
            Poll::Pending => return (text, None),
        }
    }
}

fn is_ready(future: impl Future<Output = ()>) -> bool {
    pin!(future).poll(&mut Context::from_waker(Waker::noop())).is_ready()
}

#[test]
fn who_joins_gets_everything_from_the_beginning() {
    let flights = Arc::new(Flights::default());
    let (pilot, mut first) = begin(&flights, WIDE);
    push(&pilot, "a");
    assert_eq!(read(&mut first), ("a".into(), None));
    let mut second = flights.join(KEY).unwrap();
    push(&pilot, "b");
    assert_eq!(read(&mut second), ("ab".into(), None));
    pilot.end();
    assert_eq!(read(&mut first), ("b".into(), Some("ended")));
    assert_eq!(read(&mut second), (String::new(), Some("ended")));
    assert!(flights.join(KEY).is_none(), "it has landed");
}

#[test]
fn the_writer_is_told_when_the_last_reader_leaves_and_nobody_joins_any_more() {
    let flights = Arc::new(Flights::default());
    let (pilot, first) = begin(&flights, WIDE);
    let second = flights.join(KEY).unwrap();
    drop(first);
    assert!(!is_ready(pilot.abandoned()));
    drop(second);
    assert!(is_ready(pilot.abandoned()) && flights.join(KEY).is_none());
    // the next one begins anew, and the end of the old one is not its end
    let (_other, _follower) = begin(&flights, WIDE);
    drop(pilot);
    assert!(flights.join(KEY).is_some());
}

#[test]
fn a_writer_that_goes_without_an_end_leaves_readers_that_are_told() {
    let flights = Arc::new(Flights::default());
    let (pilot, mut follower) = begin(&flights, WIDE);
    push(&pilot, "a");
    drop(pilot);
    assert_eq!(read(&mut follower), ("a".into(), Some("lost")));
    let (pilot, mut follower) = begin(&flights, WIDE);
    pilot.fail(Failure::no_connection());
    assert_eq!(read(&mut follower), (String::new(), Some("failed")));
}

#[test]
fn a_log_beyond_its_bound_is_joined_by_nobody_kept_by_nobody_and_waits_for_the_slowest() {
    let flights = Arc::new(Flights::default());
    let (pilot, mut slow) = begin(&flights, Bounds { one: 4096, ..WIDE });
    let mut quick = flights.join(KEY).unwrap();
    let block = "x".repeat(2000);
    push(&pilot, &block);
    assert!(pilot.recorded().is_some());
    push(&pilot, &block);
    push(&pilot, &block);
    assert!(pilot.recorded().is_none() && flights.join(KEY).is_none());
    let mut pushed = 3;
    while is_ready(pilot.room()) {
        push(&pilot, &block);
        pushed += 1;
        assert_eq!(read(&mut quick).1, None);
        assert!(pushed < 100, "the slow one is not waited for");
    }
    assert!(pushed * 2000 > WINDOW - 4000);
    assert_eq!(read(&mut slow).0.len(), pushed * 2000, "nothing is lost");
    assert!(is_ready(pilot.room()));
    // and one that leaves is waited for no longer
    while is_ready(pilot.room()) {
        push(&pilot, &block);
        read(&mut quick);
    }
    drop(slow);
    assert!(is_ready(pilot.room()));
}

#[test]
fn all_logs_together_have_a_bound_and_give_back_what_they_held() {
    let flights = Arc::new(Flights::default());
    let bounds = Bounds { one: 1 << 20, all: 3000 };
    let (pilot, follower) = begin(&flights, bounds);
    push(&pilot, &"x".repeat(2000));
    assert!(pilot.recorded().is_some());
    let (other, reader) = flights.begin_anew(FlightKey(Digest([8; 32])), bounds);
    push(&other, &"x".repeat(2000));
    assert!(other.recorded().is_none() && pilot.recorded().is_some());
    drop((pilot, follower, other, reader));
    assert_eq!(flights.held.load(Ordering::Relaxed), 0);
}

#[test]
fn a_flight_is_begun_only_where_there_is_nothing_better() {
    let flights = Arc::new(Flights::default());
    assert!(matches!(flights.enter(KEY, WIDE, || Some(())), Entered::Instead(())));
    let (_pilot, _follower) = begin(&flights, WIDE);
    assert!(matches!(flights.enter(KEY, WIDE, || Some(())), Entered::Joined(_)));
    let (anew, _reader) = flights.begin_anew(KEY, WIDE);
    anew.end();
    assert!(flights.join(KEY).is_some(), "it has not taken the other one's place");
}

#[derive(Debug, Clone)]
enum Act {
    Push(usize),
    Join,
    Leave(prop::sample::Index),
    Read(prop::sample::Index),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        3 => (1..400_usize).prop_map(Act::Push),
        1 => Just(Act::Join),
        1 => any::<prop::sample::Index>().prop_map(Act::Leave),
        3 => any::<prop::sample::Index>().prop_map(Act::Read),
    ]
}

proptest! {
    /// Whatever the order of things, a reader has at any time a beginning of all that was written, and at the end all of it.
    #[test]
    fn every_reader_gets_every_event_once_and_in_order(acts in prop::collection::vec(act(), 1..60), one in 500..5000_usize) {
        let flights = Arc::new(Flights::default());
        let (pilot, first) = begin(&flights, Bounds { one, ..WIDE });
        let (mut readers, mut written) = (vec![(first, String::new())], String::new());
        for (number, act) in acts.into_iter().enumerate() {
            match act {
                Act::Push(length) => {
                    let text = format!("{number}:{};", "x".repeat(length));
                    push(&pilot, &text);
                    written += &text;
                }
                Act::Join => readers.extend(flights.join(KEY).map(|reader| (reader, String::new()))),
                Act::Leave(index) if readers.len() > 1 => drop(readers.remove(index.index(readers.len()))),
                Act::Leave(_) => {}
                Act::Read(index) => {
                    let at = index.index(readers.len());
                    let (reader, has) = &mut readers[at];
                    *has += &read(reader).0;
                    prop_assert_eq!(&*has, &written);
                }
            }
        }
        pilot.end();
        for (reader, mut has) in readers {
            let mut reader = reader;
            let (rest, end) = read(&mut reader);
            has += &rest;
            prop_assert_eq!((&has, end), (&written, Some("ended")));
        }
    }
}
