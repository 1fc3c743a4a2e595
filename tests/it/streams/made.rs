//! A stream is made, read whole, read from a place, and stopped.

use serde_json::json;

use super::{
    create, created, knobs, numbered, read, read_all, resumable, stop, text, until_finished, without_heartbeats,
};
use crate::support::edge::{Edge, Setup, Version, expected, streaming};
use crate::support::soon;

#[tokio::test]
async fn a_stream_is_made_at_once_and_read_with_numbers() {
    let edge = Edge::start(Setup::default()).await;
    for (round, version) in (1..).zip(Version::BOTH) {
        let request = streaming("demo", knobs(20, None));
        let answer = edge.client(version).await.send(create(&request)).await;
        assert_eq!(answer.status(), 201);
        let id = answer.header("tokenway-stream-id").to_owned();
        assert_eq!(answer.header("location"), format!("/v1/streams/{id}"));
        assert_eq!(answer.header("access-control-allow-origin"), crate::support::edge::ORIGIN);
        let body = answer.json().await;
        assert_eq!(body["id"], json!(id));
        let url = body["url"].as_str().unwrap();
        assert!(url.starts_with("https://localhost") && url.ends_with(&format!("/v1/streams/{id}")), "{url}");

        let events = expected(&request);
        let read = read_all(&edge, &id, None).await;
        assert_eq!(without_heartbeats(&read), numbered(&events, 0));
        assert_eq!(edge.first.counts().requests, round);
    }
}

#[tokio::test]
async fn a_stream_is_asked_for_whatever_the_body_says_of_it() {
    let edge = Edge::start(Setup::default()).await;
    for stream in [json!(false), json!(null), json!(true)] {
        let mut request = streaming("demo", knobs(5, None));
        let events = expected(&request);
        request["stream"] = stream;
        let id = created(&edge, &request).await;
        assert_eq!(without_heartbeats(&read_all(&edge, &id, None).await), numbered(&events, 0));
        request.as_object_mut().unwrap().remove("stream");
        let id = created(&edge, &request).await;
        assert_eq!(without_heartbeats(&read_all(&edge, &id, None).await), numbered(&events, 0));
    }
}

#[tokio::test]
async fn a_finished_stream_replays_from_any_place_and_then_says_that_there_is_no_more() {
    let edge = Edge::start(Setup::default()).await;
    let request = streaming("demo", knobs(30, None));
    let events = expected(&request);
    let id = created(&edge, &request).await;
    until_finished(&edge, 1).await;
    let last = events.len() as u64;
    for after in [0, 1, 17, last - 1] {
        let read = read_all(&edge, &id, Some(after)).await;
        assert_eq!(read, numbered(&events, after as usize), "without a heartbeat: all is there");
    }
    assert_eq!(read_all(&edge, &id, None).await, numbered(&events, 0));
    let mut client = edge.client(Version::Http2).await;
    let end = client.send(read(&id, Some(last))).await;
    assert_eq!((end.status(), end.rest().await.len()), (204, 0));
    let beyond = client.send(read(&id, Some(last + 1))).await;
    assert_eq!((beyond.status(), beyond.error_code().await.as_str()), (400, "invalid_request"));
    assert_eq!(edge.first.counts().requests, 1);
}

#[tokio::test]
async fn a_completion_streams_as_ever_and_can_be_picked_up() {
    let edge = Edge::start(Setup::default()).await;
    for version in Version::BOTH {
        let request = streaming("demo", knobs(20, Some(9)));
        let events = expected(&request);
        let mut client = edge.client(version).await;
        let mut answer = client.send(resumable(&request)).await;
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.header("tokenway-model"), "demo");
        let id = answer.header("tokenway-stream-id").to_owned();
        let first = events[..9].concat();
        assert_eq!(answer.take(first.len()).await, first);
        // another tab reads it meanwhile, and the page itself loses its connection
        let mut tab = edge.client(version).await.send(read(&id, Some(3))).await;
        let begun = numbered(&events[..9], 3);
        assert_eq!(tab.take(begun.len()).await, begun);
        drop(answer);
        let mut resumed = edge.client(version).await;
        let resumed =
            resumed.send(super::by_page(crate::support::client::get(&format!("/v1/streams/{id}?from=9")))).await;
        edge.first.release(1);
        let rest = numbered(&events, 3)[begun.len()..].to_owned();
        assert_eq!(without_heartbeats(&text(tab).await), rest);
        assert_eq!(without_heartbeats(&text(resumed).await), numbered(&events, 9));
    }
    assert_eq!(edge.first.counts().requests, 2);
    edge.until_ended("demo", 200, "ok", 2).await;
}

#[tokio::test]
async fn stopping_ends_the_upstream_s_work_at_once_and_every_reader_is_told() {
    let edge = Edge::start(Setup::default()).await;
    let request = streaming("demo", knobs(20, Some(5)));
    let events = expected(&request);
    let id = created(&edge, &request).await;
    let mut client = edge.client(Version::Http2).await;
    let mut reader = client.send(read(&id, Some(0))).await;
    let begun = numbered(&events[..5], 0);
    let mut before = Vec::new();
    while without_heartbeats(&String::from_utf8_lossy(&before)).len() < begun.len() {
        before.extend_from_slice(&reader.take(1).await);
    }
    assert_eq!(without_heartbeats(std::str::from_utf8(&before).unwrap()), begun);

    for _ in 0..2 {
        let stopped = client.send(stop(&id)).await;
        assert_eq!(stopped.status(), 204);
    }
    soon(edge.first.until(|counts| counts.cancelled == 1)).await;
    let end = text(reader).await;
    assert!(end.starts_with("id: 6\ndata: {\"error\":{") && end.contains("\"stream_stopped\""), "{end}");
    assert_eq!(client.send(read(&id, Some(6))).await.status(), 204);
    assert!(read_all(&edge, &id, Some(5)).await.contains("stream_stopped"));
}
