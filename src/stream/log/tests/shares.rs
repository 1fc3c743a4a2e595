//! What one caller may have, and how many may read one stream.

use tokio::time::Instant;

use super::*;
use crate::stream::log::core::Author;
use crate::stream::log::registry::NoRoom;

fn of(caller: &str) -> Author {
    Author { caller: caller.into(), .."r".into() }
}

#[tokio::test(start_paused = true)]
async fn one_caller_does_not_fill_the_streams_of_others() {
    let quarter = Percent::new(25);
    let (registry, metrics, _) = registry(Rules { max_streams: 8, max_share: quarter, ..rules() });
    let (first, one) = registry.create(page(), of("key:a")).unwrap();
    let (_, two) = registry.create(page(), of("key:a")).unwrap();
    assert_eq!(registry.create(page(), of("key:a")).err(), Some(NoRoom::OverShare), "both run");
    let mut others: Vec<_> = (0..5).map(|at| registry.create(page(), of(&format!("key:{at}"))).unwrap()).collect();
    assert_eq!(metrics.streams_resumable.get(), 7);
    // its own ended stream makes room, and that of another caller does not
    let (theirs, mut ended) = others.pop().unwrap();
    append(&mut ended, event(1, 5)).unwrap();
    end(ended);
    assert_eq!(registry.create(page(), of("key:a")).err(), Some(NoRoom::OverShare));
    let mut one = one;
    append(&mut one, event(1, 5)).unwrap();
    end(one);
    let (_, three) = registry.create(page(), of("key:a")).unwrap();
    assert_eq!(registry.open(first, &page(), 0).err(), Some(Unopened::Unknown));
    assert!(registry.open(theirs, &page(), 0).is_ok());
    drop((two, three));
    assert!(registry.create(page(), of("key:a")).is_ok(), "a stream that never had an event is no longer counted");
}

#[tokio::test(start_paused = true)]
async fn one_caller_does_not_fill_the_memory_of_others() {
    let rules = Rules { max_bytes: 400_000, max_stream_bytes: 400_000, max_share: Percent::new(25), ..rules() };
    let (registry, metrics, _) = registry(rules);
    let (_, mut other) = registry.create(page(), of("key:b")).unwrap();
    append(&mut other, event(1, 20_000)).unwrap();
    let others = metrics.resumable_bytes.get();
    let (ended, mut first) = registry.create(page(), of("key:a")).unwrap();
    (1..=60).for_each(|number| append(&mut first, event(number, 1000)).unwrap());
    end(first);
    let (id, mut second) = registry.create(page(), of("key:a")).unwrap();
    for number in 1..=300 {
        append(&mut second, event(number, 1000)).unwrap();
        assert!(metrics.resumable_bytes.get() - others <= 100_000, "{number}");
    }
    assert_eq!(registry.open(ended, &page(), 0).err(), Some(Unopened::Unknown), "its ended stream went first");
    assert!(matches!(look(&mut open(&registry, id, 0), 100).0, Poll::Ready(Read::Gap { from: 1, .. })));
    drop(second);
}

#[tokio::test(start_paused = true)]
async fn a_stream_has_so_many_readers_and_a_place_is_free_when_one_leaves() {
    let (registry, _, _) = registry(Rules { max_readers: 2, ..rules() });
    let (id, mut writer, first) = registry.create_read(page(), of("key:a")).unwrap();
    append(&mut writer, event(1, 5)).unwrap();
    let second = open(&registry, id, 0);
    assert_eq!(registry.open(id, &page(), 0).err(), Some(Unopened::TooManyReaders));
    drop(first);
    let third = open(&registry, id, 0);
    end(writer);
    assert!(matches!(registry.open(id, &page(), 1), Ok(Opened::AtEnd)), "this needs no place");
    drop((second, third));
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_created_with_its_reader_is_never_without_one() {
    let (registry, _, drain) = registry(Rules { grace: Duration::ZERO, ..rules() });
    let (id, mut writer, mut reader) = registry.create_read(page(), of("key:a")).unwrap();
    registry.sweep(Instant::now());
    drain.begun.cancel();
    registry.sweep(Instant::now());
    append(&mut writer, event(1, 5)).unwrap();
    assert_eq!(look(&mut reader, 100).1.len(), 1);
    drop(reader);
    // what ends in a drain is no whole stream, and not stopped: clients resume from it
    registry.sweep(Instant::now());
    assert_eq!(append(&mut writer, event(2, 5)), Err(Fenced));
    assert_eq!(look(&mut open(&registry, id, 1), 100).0, Poll::Ready(Read::Lost));
}
