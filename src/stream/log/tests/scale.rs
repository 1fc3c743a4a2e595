//! The cost of readers: counts of wake-ups and of polls, which do not depend on a clock.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Wake;

use tokio::time::Instant;

use super::*;
use crate::stream::log::coalescer::{Coalescer, CoalescingKey, Subscriber};
use crate::stream::log::core::Bounds;

const READERS: usize = 1000;
const EVENTS: usize = 20;

#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn an_event_wakes_each_of_a_thousand_readers_once_and_each_reads_it_in_one_look() {
    let coalescer = Arc::new(Coalescer::default());
    let key = CoalescingKey([1; 32]);
    let (mut leader, first) = coalescer.lead(key, Bounds { one: 1 << 20, all: 1 << 30 });
    let mut subscribers: Vec<Subscriber> =
        std::iter::once(first).chain((1..READERS).map(|_| coalescer.join(key).unwrap())).collect();
    let wakes = Arc::new(Wakes::default());
    let waker = Waker::from(Arc::clone(&wakes));
    let mut cx = Context::from_waker(&waker);
    let mut shown = 0;
    let mut look = |subscribers: &mut Vec<Subscriber>| {
        let polled = subscribers.iter_mut().map(|reader| reader.poll_read(&mut cx, 1 << 14, |_| shown += 1));
        polled.filter(Poll::is_pending).count()
    };
    assert_eq!(look(&mut subscribers), READERS);
    for number in 1..=EVENTS {
        let event = Batch::new(Bytes::from(event(number as u64, 200)), Instant::now(), Flags::DATA);
        leader.publish(event, Tally::default).unwrap();
        leader.wake();
        assert_eq!(wakes.0.load(Ordering::Relaxed), number * READERS, "one wake-up a reader");
        assert_eq!(look(&mut subscribers), 0, "one look has the event");
        assert_eq!(look(&mut subscribers), READERS, "and the next one waits");
    }
    assert_eq!(shown, READERS * EVENTS);
}
