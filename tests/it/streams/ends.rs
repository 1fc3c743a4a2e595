//! Leaving, staying away, being slow, being somebody else, and the gateway's own end.

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use super::{by_page, create, created, knobs, numbered, read, read_all, resumable, stop, text, until_finished, with};
use super::{without_heartbeats, without_numbers};
use crate::access::{bearer, token};
use crate::support::answer::truncated;
use crate::support::client::get;
use crate::support::edge::{Edge, Setup, Version, completion, expected, streaming, whole};
use crate::support::soon;

#[tokio::test]
async fn leaving_is_not_stopping_until_the_grace_time_is_over() {
    for version in Version::BOTH {
        let edge = Edge::start(Setup::default()).await;
        let request = streaming("demo", knobs(20, Some(6)));
        let begun = expected(&request)[..6].concat();
        let mut answer = edge.client(version).await.send(resumable(&request)).await;
        assert_eq!(answer.take(begun.len()).await, begun);
        let id = answer.header("tokenway-stream-id").to_owned();
        drop(answer);
        let far = || Instant::now() + Duration::from_secs(29);
        let begun = Instant::now();
        edge.streams.sweep(far());
        assert_eq!(edge.first.counts().open, 1);
        while edge.first.counts().open == 1 {
            edge.streams.sweep(far() + Duration::from_secs(2));
            assert!(begun.elapsed() < crate::support::PATIENCE);
            tokio::task::yield_now().await;
        }
        soon(edge.first.until(|counts| counts.cancelled == 1)).await;
        edge.until_ended("demo", 200, "client_gone", 1).await;
        let end = read_all(&edge, &id, Some(6)).await;
        assert!(end.starts_with("id: 7\nretry: 1000\ndata: {\"error\":{") && end.contains("stream_stopped"), "{end}");
    }
}

#[tokio::test]
async fn without_the_header_a_client_that_leaves_cancels_as_ever() {
    let edge = Edge::start(Setup::default()).await;
    let request = streaming("demo", knobs(20, Some(6)));
    for header in [None, Some("false")] {
        let mut asked = by_page(completion(&request));
        if let Some(value) = header {
            asked = with(asked, "tokenway-resumable", value);
        }
        let before = edge.first.counts().cancelled;
        let mut answer = edge.client(Version::Http2).await.send(asked).await;
        answer.take(10).await;
        assert_eq!(answer.header("tokenway-stream-id"), "");
        drop(answer);
        soon(edge.first.until(|counts| counts.cancelled == before + 1)).await;
    }
}

#[tokio::test]
async fn a_client_that_leaves_before_the_first_output_leaves_nothing_behind() {
    let edge = Edge::start(Setup::default()).await;
    for (left, version) in (1..).zip(Version::BOTH) {
        let client = edge.client(version).await;
        let begun = edge.first.until(|counts| counts.open == 1);
        soon(client.leave_when(resumable(&streaming("demo", knobs(5, Some(0)))), begun)).await;
        soon(edge.first.until(|counts| counts.cancelled == left && counts.open == 0)).await;
        edge.until_ended("demo", 499, "client_gone", left).await;
        assert_eq!(edge.metric("tokenway_streams_resumable "), 0.0);
    }
}

#[tokio::test]
async fn the_stream_of_another_page_does_not_exist() {
    let edge = Edge::start(Setup::default()).await;
    let request = streaming("demo", knobs(5, None));
    let id = created(&edge, &request).await;
    until_finished(&edge, 1).await;
    let mut client = edge.client(Version::Http2).await;
    let unknown = format!("/v1/streams/st_{}", "0".repeat(32));
    let path = format!("/v1/streams/{id}");
    // curl is somebody else than the page
    for path in [&path, &format!("{path}?from=9999"), &unknown] {
        let answer = client.send(get(path)).await;
        assert_eq!((answer.status(), answer.error_code().await.as_str()), (404, "stream_not_found"));
    }
    let mut theirs = stop(&id);
    theirs.headers_mut().remove("origin");
    assert_eq!(client.send(theirs).await.status(), 404);
    assert_eq!(read_all(&edge, &id, None).await, numbered(&expected(&request), 0));
}

#[tokio::test]
async fn a_place_that_is_none_is_refused_before_any_replay() {
    let edge = Edge::start(Setup::default()).await;
    let id = created(&edge, &streaming("demo", knobs(5, None))).await;
    until_finished(&edge, 1).await;
    let mut client = edge.client(Version::Http2).await;
    for place in ["-1", "1.5", "9999", "99999999999999999999999999", "st_1:1", "latest"] {
        let by_header = with(read(&id, None), "last-event-id", place);
        let by_url = by_page(get(&format!("/v1/streams/{id}?from={place}")));
        for request in [by_header, by_url] {
            let answer = client.send(request).await;
            assert_eq!((answer.status(), answer.error_code().await.as_str()), (400, "invalid_request"), "{place}");
        }
    }
}

#[tokio::test]
async fn only_streams_are_resumable_and_the_header_says_true_or_false() {
    let edge = Edge::start(Setup::default()).await;
    let mut client = edge.client(Version::Http2).await;
    let document = resumable(&whole("demo", json!({})));
    let odd = with(resumable(&streaming("demo", json!({}))), "tokenway-resumable", "yes");
    for request in [document, odd] {
        let answer = client.send(request).await;
        assert_eq!((answer.status(), answer.error_code().await.as_str()), (400, "invalid_request"));
    }
    assert_eq!(edge.first.counts().requests, 0);
}

#[tokio::test]
async fn as_many_streams_run_as_there_may_be() {
    let edge = Edge::start(Setup { streams: "max_streams = 2\nmax_share = 1.0", ..Setup::default() }).await;
    let held = streaming("demo", knobs(5, Some(2)));
    let first = created(&edge, &held).await;
    created(&edge, &held).await;
    let mut client = edge.client(Version::Http2).await;
    for request in [create(&held), resumable(&held)] {
        let answer = client.send(request).await;
        assert_eq!((answer.status(), answer.header("retry-after")), (503, "2"));
        assert_eq!(answer.error_code().await, "overloaded");
    }
    // nobody was asked in vain
    soon(edge.first.until(|counts| counts.requests == 2)).await;
    assert_eq!(client.send(stop(&first)).await.status(), 204);
    assert_eq!(client.send(create(&held)).await.status(), 201);
    assert_eq!(client.send(read(&first, None)).await.status(), 404, "it made room");
}

#[tokio::test]
async fn a_reader_that_takes_nothing_holds_nobody_up_and_is_told_what_it_missed() {
    for version in Version::BOTH {
        let edge =
            Edge::start(Setup { streams: "max_stream_bytes = \"64KiB\"", narrow: true, ..Setup::default() }).await;
        let request = streaming("demo", knobs(20_000, Some(20)));
        let events = expected(&request);
        let id = created(&edge, &request).await;
        let slow = edge.client(version).await.send(read(&id, None)).await;
        let own = edge.client(version).await.send(read(&id, None)).await;
        let fast = tokio::spawn(text(own));
        edge.first.release(1);
        // the upstream is read to its end, though one reader takes nothing
        until_finished(&edge, 1).await;
        assert!(edge.metric("tokenway_streams_resumable_bytes") <= 65_536.0);
        fast.await.unwrap();

        let read = text(slow).await;
        let (mut place, mut gaps) = (0, 0);
        for block in without_heartbeats(&read).split_inclusive("\n\n") {
            if let Some(gap) = block.strip_prefix("event: gap\ndata: ") {
                let gap: serde_json::Value = serde_json::from_str(gap).unwrap();
                assert_eq!(gap["from"], json!(place + 1), "exactly what is missing");
                place = gap["to"].as_u64().unwrap() as usize;
                gaps += 1;
            } else {
                assert!(block.starts_with(&format!("id: {}\n", place + 1)), "{block} behind {place}");
                assert_eq!(without_numbers(block).as_bytes(), events[place]);
                place += 1;
            }
        }
        assert!(gaps > 0);
        assert_eq!(place, events.len());
    }
}

#[tokio::test]
async fn the_gateway_s_end_lets_readers_come_back_and_tells_the_request_itself() {
    for version in Version::BOTH {
        let edge = Edge::start(Setup::default()).await;
        let request = streaming("demo", knobs(9, Some(4)));
        let begun = expected(&request)[..4].concat();
        let mut answer = edge.client(version).await.send(resumable(&request)).await;
        assert_eq!(answer.take(begun.len()).await, begun);
        let stream = answer.header("tokenway-stream-id").to_owned();
        let id = answer.header("x-request-id").to_owned();
        let mut tab = edge.client(version).await.send(read(&stream, Some(3))).await;
        tab.take(5).await;
        edge.drain.begun.cancel();
        edge.open.cut();
        edge.drain.over.cancel();
        let (before, code) = truncated(&answer.rest().await, &id);
        assert_eq!((before.len(), &*code), (0, "draining"));
        let end = text(tab).await;
        let last = end.split("\n\n").nth(1).unwrap();
        assert!(last.starts_with("event: draining\ndata: {\"error\":{"), "no id, so that the place is kept: {end}");
        soon(edge.first.until(|counts| counts.cancelled == 1)).await;
        edge.until_ended("demo", 200, "truncated", 1).await;
    }
}

#[tokio::test]
async fn a_completion_that_is_slow_to_begin_has_heartbeats_and_is_resumable_all_the_same() {
    let edge = Edge::start(Setup { stream: "commit_after = \"50ms\"", ..Setup::default() }).await;
    let request = streaming("demo", knobs(9, Some(1)));
    let mut answer = edge.client(Version::Http2).await.send(resumable(&request)).await;
    assert_eq!(answer.take(6).await, ": hb\n\n");
    let id = answer.header("tokenway-stream-id").to_owned();
    edge.first.release(1);
    assert_eq!(without_heartbeats(&text(answer).await).as_bytes(), expected(&request).concat());
    assert_eq!(read_all(&edge, &id, None).await, numbered(&expected(&request), 0));
}

#[tokio::test]
async fn a_client_that_waits_for_the_first_output_is_a_reader_when_the_drain_begins() {
    for version in Version::BOTH {
        // a grace that is shorter than the wait
        let setup = Setup { streams: "grace = \"0s\"", stream: "commit_after = \"50ms\"", ..Setup::default() };
        let edge = Edge::start(setup).await;
        let request = streaming("demo", knobs(9, Some(1)));
        let mut client = edge.client(version).await;
        let (mut answer, ()) = tokio::join!(client.send(resumable(&request)), async {
            soon(edge.first.until(|counts| counts.held == 1)).await;
            edge.streams.sweep(Instant::now() + Duration::from_secs(1));
            edge.drain.begun.cancel();
            edge.streams.sweep(Instant::now() + Duration::from_secs(1));
        });
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.take(5).await, ": hb\n");
        edge.first.release(1);
        assert!(without_heartbeats(&text(answer).await).as_bytes() == expected(&request).concat());
    }
}

#[tokio::test]
async fn one_caller_does_not_take_the_streams_of_others_and_a_stream_has_so_many_readers() {
    let more = "[access]\naccept = [\"token\"]";
    let edge = Edge::start(Setup { streams: "max_streams = 8\nmax_readers = 2", more, ..Setup::default() }).await;
    let mut client = edge.client(Version::Http2).await;
    let by = |request, subject: &str| with(request, "authorization", &bearer(&token(json!({ "sub": subject }))));
    let held = streaming("demo", knobs(5, Some(2)));
    for request in [create(&held), resumable(&held)] {
        assert!(client.send(by(request, "ann")).await.status() < 300);
    }
    for request in [create(&held), resumable(&held)] {
        let answer = client.send(by(request, "ann")).await;
        assert_eq!((answer.status(), answer.header("retry-after")), (429, "2"));
        assert_eq!(answer.error_code().await, "rate_limited");
    }
    let answer = client.send(by(create(&held), "bob")).await;
    assert_eq!(answer.status(), 201);
    let id = answer.json().await["id"].as_str().unwrap().to_owned();
    let mut readers = Vec::new();
    for _ in 0..2 {
        let mut reader = client.send(by(read(&id, None), "bob")).await;
        reader.take(1).await;
        readers.push(reader);
    }
    let answer = client.send(by(read(&id, None), "bob")).await;
    assert_eq!((answer.status(), answer.header("retry-after")), (503, "2"));
    assert_eq!(answer.error_code().await, "overloaded");
}
