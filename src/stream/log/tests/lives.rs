//! How a stream begins, is read, ends and is removed.

use tokio::time::{Instant, advance};

use super::*;
use crate::auth::caller::Terms;
use crate::stream::log::registry::NoRoom::Full;
use crate::stream::log::registry::Unknown;

const SITE: http::HeaderName = http::HeaderName::from_static("sec-fetch-site");

fn is_known(registry: &Registry, id: StreamId) -> bool {
    !matches!(registry.open(id, &page(), 0), Err(Unopened::Unknown))
}

#[tokio::test(start_paused = true)]
async fn a_stream_exists_for_its_owner_alone() {
    let (registry, ..) = registry(rules());
    let (id, mut writer) = create(&registry);
    append(&mut writer, event(1, 5)).unwrap();
    let without_origin = Owner::of(&anyone(), &HeaderMap::new());
    let named = Owner::Caller("key:bot".into());
    for stranger in [owner("https://evil.example"), owner("https://app.example.com:444"), without_origin, named] {
        assert_eq!(registry.open(id, &stranger, 0).err(), Some(Unopened::Unknown));
        // and does not learn that the place is wrong
        assert_eq!(registry.open(id, &stranger, 9).err(), Some(Unopened::Unknown));
        assert_eq!(registry.stop(id, &stranger), Err(Unknown));
    }
    assert_eq!(registry.open(id, &page(), 9).err(), Some(Unopened::TooLarge { last: 1 }));
    assert_eq!(registry.stop(id, &page()), Ok(()));
}

#[test]
fn a_caller_with_credentials_owns_its_streams_from_any_page_and_any_address() {
    let token =
        |subject: &str, address: &str| Caller::token(subject.into(), address.parse().unwrap(), Terms::default());
    let from = |origin: &'static str| HeaderMap::from_iter([(http::header::ORIGIN, HeaderValue::from_static(origin))]);
    let ann = Owner::of(&token("ann", "192.0.2.1"), &from("https://a.example"));
    assert_eq!(ann, Owner::of(&token("ann", "198.51.100.2"), &from("https://b.example")));
    assert_ne!(ann, Owner::of(&token("bob", "192.0.2.1"), &from("https://a.example")));
}

#[test]
fn a_get_without_an_origin_is_of_the_gateway_s_own_page_where_the_browser_says_so() {
    let here = || "https://edge.example".to_owned();
    let get = |lines: &[(&'static str, &'static str)]| {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_static(value));
        }
        Owner::of_get(&anyone(), &headers, here)
    };
    assert_eq!(get(&[("sec-fetch-site", "same-origin")]), owner("https://edge.example"));
    let without_origin = Owner::of(&anyone(), &HeaderMap::new());
    // an image, a link, an address that was typed, curl
    for site in ["cross-site", "same-site", "none", "", "same-origin, same-origin"] {
        assert_eq!(get(&[("sec-fetch-site", site)]), without_origin, "{site}");
    }
    assert_eq!(get(&[]), without_origin);
    assert_eq!(get(&[("sec-fetch-site", "same-origin"), ("sec-fetch-site", "same-origin")]), without_origin);
    // an origin has precedence over sec-fetch-site
    let elsewhere = [("origin", "https://evil.example"), ("sec-fetch-site", "same-origin")];
    assert_eq!(get(&elsewhere), owner("https://evil.example"));
    // and credentials have precedence over any page
    let bot = Caller::token("bot".into(), [127, 0, 0, 1].into(), Terms::default());
    let headers = HeaderMap::from_iter([(SITE, HeaderValue::from_static("same-origin"))]);
    assert_eq!(Owner::of_get(&bot, &headers, here), Owner::of(&bot, &HeaderMap::new()));
}

#[tokio::test(start_paused = true)]
async fn a_stream_without_a_reader_is_stopped_after_the_grace_time() {
    let (registry, ..) = registry(rules());
    let (id, mut writer) = create(&registry);
    append(&mut writer, event(1, 5)).unwrap();
    let reader = open(&registry, id, 0);
    advance(2 * GRACE).await;
    registry.sweep(Instant::now());
    append(&mut writer, event(2, 5)).expect("it has a reader");
    drop(reader);
    advance(GRACE - Duration::from_millis(1)).await;
    registry.sweep(Instant::now());
    append(&mut writer, event(3, 5)).expect("its reader may come back");
    let back = open(&registry, id, 2);
    advance(GRACE).await;
    drop(back);
    registry.sweep(Instant::now());
    append(&mut writer, event(4, 5)).expect("the reader was there until now");
    advance(GRACE).await;
    registry.sweep(Instant::now());
    assert_eq!(append(&mut writer, event(5, 5)), Err(Fenced));
    assert!(writer.poll_stopped(&mut Context::from_waker(Waker::noop())).is_ready());
    // a late reader still gets the reason
    let (read, seen) = look(&mut open(&registry, id, 4), 1000);
    assert_eq!(read, Poll::Ready(Read::Events(Then::End)));
    let last = String::from_utf8(seen[0].1.clone()).unwrap();
    assert!(
        last.starts_with("data: {\"error\":") && last.contains("stream_stopped") && last.contains("req_1"),
        "{last}"
    );
}

#[tokio::test(start_paused = true)]
async fn while_the_process_shuts_down_there_is_no_grace() {
    let (registry, _, drain) = registry(rules());
    let (id, mut read) = create(&registry);
    let (_, mut unread) = create(&registry);
    let _reader = open(&registry, id, 0);
    drain.begun.cancel();
    registry.sweep(Instant::now());
    assert_eq!(append(&mut unread, event(1, 5)), Err(Fenced));
    assert_eq!(append(&mut read, event(1, 5)), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn an_ended_stream_is_stored_for_its_retention() {
    let (registry, metrics, _) = registry(rules());
    let (id, mut writer) = create(&registry);
    append(&mut writer, event(1, 5)).unwrap();
    end(writer);
    advance(RETENTION - Duration::from_millis(1)).await;
    registry.sweep(Instant::now());
    assert!(is_known(&registry, id));
    assert!(matches!(registry.open(id, &page(), 1), Ok(Opened::AtEnd)));
    let mut reader = open(&registry, id, 0);
    advance(Duration::from_millis(1)).await;
    registry.sweep(Instant::now());
    assert!(!is_known(&registry, id));
    assert_eq!((metrics.streams_resumable.get(), metrics.resumable_bytes.get()), (0, 0));
    // its reader gets a gap
    assert_eq!(look(&mut reader, 100).0, Poll::Ready(Read::Gap { from: 1, to: 1 }));
    assert_eq!(look(&mut reader, 100).0, Poll::Ready(Read::Ended));
}

#[tokio::test(start_paused = true)]
async fn when_there_are_as_many_streams_as_there_may_be_the_one_that_ended_first_goes() {
    let (registry, metrics, _) = registry(Rules { max_streams: 3, ..rules() });
    let (first, one) = create(&registry);
    let (second, mut two) = create(&registry);
    let (third, mut three) = create(&registry);
    assert_eq!(registry.create(page(), "r".into()).err(), Some(Full), "all of them run");
    append(&mut two, event(1, 5)).unwrap();
    append(&mut three, event(1, 5)).unwrap();
    end(three);
    advance(Duration::from_secs(1)).await;
    end(two);
    let (_, fourth) = create(&registry);
    assert_eq!([is_known(&registry, first), is_known(&registry, second)], [true, true]);
    assert!(!is_known(&registry, third));
    let (_, fifth) = create(&registry);
    assert!(!is_known(&registry, second));
    assert_eq!(metrics.streams_resumable.get(), 3);
    drop((one, fourth, fifth));
    assert_eq!(metrics.streams_resumable.get(), 0, "a stream that never had an event is removed");
}

#[tokio::test(start_paused = true)]
async fn a_stream_with_a_reader_is_removed_after_streams_without_readers() {
    let (registry, _, _) = registry(Rules { max_streams: 2, ..rules() });
    let mut ids = Vec::new();
    let mut reader = None;
    for _ in 0..2 {
        let (id, mut writer) = create(&registry);
        append(&mut writer, event(1, 5)).unwrap();
        append(&mut writer, event(2, 5)).unwrap();
        reader.get_or_insert(open(&registry, id, 0));
        end(writer);
        ids.push(id);
        advance(Duration::from_secs(1)).await;
    }
    let mut reader = reader.unwrap();
    assert_eq!(look(&mut reader, 1).1.len(), 1);
    let (_, third) = create(&registry);
    assert_eq!([is_known(&registry, ids[0]), is_known(&registry, ids[1])], [true, false]);
    assert_eq!(look(&mut reader, 100).1.len(), 1, "it reads on to the end");
    // but it is removed if there is no other
    let (_, fourth) = create(&registry);
    assert!(!is_known(&registry, ids[0]));
    drop((third, fourth));
}

#[tokio::test(start_paused = true)]
async fn when_memory_is_short_ended_streams_go_first_and_then_a_stream_s_own_oldest_events() {
    let (registry, metrics, _) = registry(Rules { max_bytes: 100_000, max_stream_bytes: 80_000, ..rules() });
    let (ended, mut writer) = create(&registry);
    for number in 1..=60 {
        append(&mut writer, event(number, 1000)).unwrap();
    }
    end(writer);
    let (running, mut writer) = create(&registry);
    let mut number = 0;
    while is_known(&registry, ended) {
        number += 1;
        append(&mut writer, event(number, 1000)).unwrap();
    }
    assert!((30..=45).contains(&number), "{number}");
    assert_eq!(look(&mut open(&registry, running, 0), usize::MAX).1.len(), number as usize, "all of its own");

    let (_, mut greedy) = create(&registry);
    for number in 1..=200 {
        append(&mut greedy, event(number, 1000)).unwrap();
        assert!(metrics.resumable_bytes.get() <= 100_000);
    }
    assert_eq!(look(&mut open(&registry, running, 0), usize::MAX).1.len(), number as usize, "not its neighbour's");
    assert_eq!(registry.create(page(), "r".into()).err(), None, "the budget holds");
}

#[tokio::test(start_paused = true)]
async fn a_budget_that_was_lowered_refuses_new_streams_until_it_holds() {
    let (registry, ..) = registry(rules());
    let (_, mut writer) = create(&registry);
    for number in 1..=200 {
        append(&mut writer, event(number, 1000)).unwrap();
    }
    registry.set_rules(Rules { max_bytes: 100_000, ..rules() });
    assert_eq!(registry.create(page(), "r".into()).err(), Some(Full));
    append(&mut writer, event(201, 1000)).unwrap();
    assert!(registry.create(page(), "r".into()).is_ok(), "the next event gave up the oldest");
}

#[tokio::test(start_paused = true)]
async fn a_writer_that_goes_without_an_end_leaves_a_lost_stream() {
    let (registry, ..) = registry(rules());
    let (id, mut writer) = create(&registry);
    append(&mut writer, event(1, 5)).unwrap();
    let mut reader = open(&registry, id, 0);
    drop(writer);
    assert_eq!(look(&mut reader, 100).0, Poll::Ready(Read::Events(Then::Wait)));
    assert_eq!(look(&mut reader, 100).0, Poll::Ready(Read::Lost));
    assert_eq!(look(&mut open(&registry, id, 1), 100).0, Poll::Ready(Read::Lost), "and is no whole one");
}

#[tokio::test(start_paused = true)]
async fn a_writer_that_panics_is_counted_and_its_readers_get_an_internal_error() {
    let (registry, metrics, _) = registry(rules());
    let (id, writer) = create(&registry);
    supervise::spawn_answer(&metrics.panics, drive(Defective { has_event: true }, writer));
    while metrics.panics.get() == 0 {
        tokio::task::yield_now().await;
    }
    let mut text = String::new();
    let mut cx = Context::from_waker(Waker::noop());
    let read =
        open(&registry, id, 0).poll_read(&mut cx, 1000, |event| text += std::str::from_utf8(event.bytes).unwrap());
    assert_eq!(read, Poll::Ready(Read::Events(Then::End)));
    assert!(text.starts_with("data: a\n\ndata: {\"error\":{") && text.contains("internal_error"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn a_stop_wins_over_the_end_that_comes_after_it() {
    let (registry, ..) = registry(rules());
    let (id, mut writer) = create(&registry);
    append(&mut writer, event(1, 5)).unwrap();
    registry.stop(id, &page()).unwrap();
    registry.stop(id, &page()).unwrap();
    assert_eq!(append(&mut writer, b"data: [DONE]\n\n"), Err(Fenced));
    end(writer);
    let (_, seen) = look(&mut open(&registry, id, 0), 1000);
    assert_eq!(seen.len(), 2);
}
