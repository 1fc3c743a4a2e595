//! Upstreams that flood, that only comment, that end without the last blank line, that vary, and that end lines with CR.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;
use tokio::io::AsyncWriteExt;

use super::{DONE, FINISH, OUTPUT};
use crate::support::answer::truncated;
use crate::support::edge::{Edge, ORIGIN, Setup, Version, completion, expected, streaming, whole};
use crate::support::scripted::{self, Scripted, read_request};
use crate::support::soon;

const STREAM: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n";
const HEAD: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";
/// How long silence is borne here.
const PATIENCE: &str = "idle_timeout = \"2s\"\nfirst_event_timeout = \"2s\"\nwhole_timeout = \"2s\"";
/// Between two comments of an upstream that is busy; a tenth of that.
const BUSY: Duration = Duration::from_millis(200);
/// So many comments last half as long again.
const COMMENTS: usize = 15;

/// An upstream that says this to each request; its connections stay open.
async fn saying(bytes: String) -> Scripted {
    let script = move |mut socket| {
        let bytes = bytes.clone();
        async move {
            while read_request(&mut socket).await.is_some() {
                // who leaves in its middle has heard enough
                let _ = socket.write_all(bytes.as_bytes()).await;
            }
        }
    };
    Scripted::start(script).await
}

/// An upstream that says `first`, [`COMMENTS`] times `then`, one every [`BUSY`], and `last`.
async fn busy(first: String, then: &'static str, last: String) -> Scripted {
    let script = move |mut socket| {
        let (first, last) = (first.clone(), last.clone());
        async move {
            while read_request(&mut socket).await.is_some() {
                let mut tick = tokio::time::interval(BUSY);
                let _ = socket.write_all(first.as_bytes()).await;
                for _ in 0..COMMENTS {
                    tick.tick().await;
                    let _ = socket.write_all(then.as_bytes()).await;
                }
                tick.tick().await;
                let _ = socket.write_all(last.as_bytes()).await;
            }
        }
    };
    Scripted::start(script).await
}

/// An upstream with a processor of its own, which says `first` to one request and then `then` as fast as it can, until the
/// client has left.
fn flooding(first: String, then: &'static str) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let flood = thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        assert!(socket.read(&mut [0; 16 << 10]).unwrap() > 0);
        socket.write_all(first.as_bytes()).unwrap();
        let then = then.repeat(16 << 10);
        while socket.write_all(then.as_bytes()).is_ok() {}
    });
    (address, flood)
}

#[tokio::test]
async fn a_flood_that_stays_inside_ends_at_max_duration_and_its_neighbours_go_on() {
    for version in Version::BOTH {
        // in chunks so small that thousands come with one read of the socket
        let first = format!("{STREAM}transfer-encoding: chunked\r\n\r\n{:x}\r\n{OUTPUT}\r\n", OUTPUT.len());
        let (address, flood) = flooding(first, "4\r\nid\n\n\r\n");
        let setup = Setup { upstream: Some(address), stream: "max_duration = \"3s\"", ..Setup::default() };
        let edge = Edge::start(setup).await;
        let beside = streaming("spare", json!({ "hold": 4 }));
        let events = expected(&beside);
        // over HTTP/2, all of them share one connection
        let mut shared = edge.client(Version::Http2).await;
        let mut neighbour = shared.ask(&beside).await;
        let begun = neighbour.take(events[..4].concat().len()).await;

        let mut client = if version == Version::Http2 { shared } else { edge.client(version).await };
        let mut flooded = client.ask(&streaming("demo", json!({}))).await;
        let id = flooded.header("x-request-id").to_owned();
        assert_eq!(flooded.take(OUTPUT.len()).await, OUTPUT);
        let flooded = tokio::spawn(flooded.rest());
        edge.second.release(1);
        let rest = neighbour.rest().await;
        assert!(!flooded.is_finished(), "the neighbour had to wait for the end of the flood over {version:?}");
        assert_eq!([begun, rest].concat(), events.concat());

        let (before, code) = truncated(&soon(flooded).await.unwrap(), &id);
        assert_eq!((before.len(), &*code), (0, "upstream_timeout"));
        soon(tokio::task::spawn_blocking(|| flood.join().unwrap())).await.unwrap();
    }
}

#[tokio::test]
async fn comments_and_empty_events_are_no_silence_neither_before_nor_after_the_first_event() {
    // a line alone belongs to the event that follows it; a block without data stays inside
    let cases = [(": hb\n", true), ("event: ping\n\n", false)];
    let cases = cases.into_iter().flat_map(|case| [(case, ""), (case, OUTPUT)]);
    let cases = cases.flat_map(|case| Version::BOTH.map(|version| (case, version)));
    join_all(cases.map(async |(((then, passed), first), version)| {
        let last = [OUTPUT, FINISH, DONE].concat();
        let upstream = busy(format!("{HEAD}{first}"), then, last.clone()).await;
        let edge = Edge::start(Setup { upstream: Some(upstream.address), stream: PATIENCE, ..Setup::default() }).await;
        let answer = edge.client(version).await.ask(&streaming("demo", json!({}))).await;
        assert_eq!(answer.status(), 200, "{then:?} after {first:?} over {version:?}");
        let inside = if passed { then.repeat(COMMENTS) } else { String::new() };
        assert_eq!(answer.rest().await, format!("{first}{inside}{last}"), "{then:?} over {version:?}");
        edge.until_ended("demo", 200, "ok", 1).await;
    }))
    .await;
}

#[tokio::test]
async fn silence_after_comments_is_silence() {
    let cases = [": hb\n", "event: ping\n\n"].into_iter().flat_map(|then| Version::BOTH.map(|version| (then, version)));
    join_all(cases.map(async |(then, version)| {
        for first in ["", OUTPUT] {
            let upstream = saying(format!("{HEAD}{first}{then}")).await;
            let edge =
                Edge::start(Setup { upstream: Some(upstream.address), stream: PATIENCE, ..Setup::default() }).await;
            let answer = edge.client(version).await.ask(&streaming("demo", json!({}))).await;
            let (status, id) = (answer.status(), answer.header("x-request-id").to_owned());
            match first {
                "" => assert_eq!((status, &*answer.error_code().await), (504, "upstream_timeout"), "{then:?}"),
                _ => assert_eq!(truncated(&answer.rest().await, &id).1, "upstream_timeout", "{then:?}"),
            }
        }
    }))
    .await;
}

#[tokio::test]
async fn after_a_finish_reason_a_last_line_without_a_blank_line_after_it_is_a_good_end() {
    let body = [OUTPUT, FINISH].concat();
    for last in ["data:[DONE]\n", "data: [DONE]", ": bye\n", "\n"] {
        let whole = format!("{body}{last}");
        let upstream = saying(format!("{STREAM}content-length: {}\r\n\r\n{whole}", whole.len())).await;
        let edge = Edge::start(Setup { upstream: Some(upstream.address), ..Setup::default() }).await;
        for (round, version) in (1..).zip(Version::BOTH) {
            let answer = edge.client(version).await.ask(&streaming("demo", json!({}))).await;
            let seen = answer.rest().await;
            // what is neither an event nor a part of one need not be passed on
            let data = if last.starts_with("data") { &whole } else { &body };
            assert!(seen.starts_with(data.as_bytes()) && whole.as_bytes().starts_with(&seen), "{last:?}: {seen:?}");
            edge.until_ended("demo", 200, "ok", round).await;
        }
    }
}

#[tokio::test]
async fn half_an_event_at_the_end_is_a_broken_stream_also_after_a_finish_reason() {
    let body = [OUTPUT, FINISH].concat();
    let last = "data: {\"cho";
    let upstream = saying(format!("{STREAM}content-length: {}\r\n\r\n{body}{last}", body.len() + last.len())).await;
    let edge = Edge::start(Setup { upstream: Some(upstream.address), ..Setup::default() }).await;
    for (round, version) in (1..).zip(Version::BOTH) {
        let answer = edge.client(version).await.ask(&streaming("demo", json!({}))).await;
        let id = answer.header("x-request-id").to_owned();
        let (before, code) = truncated(&answer.rest().await, &id);
        assert_eq!((&before[..], &*code), (body.as_bytes(), "upstream_failure"));
        edge.until_ended("demo", 200, "truncated", round).await;
    }
}

#[tokio::test]
async fn every_vary_line_of_the_upstream_is_merged_into_one_with_origin() {
    let vary = "\r\nvary: accept-language\r\nvary: x-one, x-two\r\n";
    let body = [OUTPUT, FINISH, DONE].concat();
    let length = body.len();
    let streamed = format!("{STREAM}content-length: {length}{vary}\r\n{body}");
    let document = scripted::answer().replacen("\r\n", vary, 1);
    for (said, request) in [(streamed, streaming("demo", json!({}))), (document, whole("demo", json!({})))] {
        let upstream = saying(said).await;
        let edge = Edge::start(Setup { upstream: Some(upstream.address), ..Setup::default() }).await;
        for version in Version::BOTH {
            for origin in [Some(ORIGIN), None] {
                let mut request = completion(&request);
                origin.map(|origin| request.headers_mut().insert("origin", origin.parse().unwrap()));
                let answer = edge.client(version).await.send(request).await;
                assert_eq!(answer.status(), 200);
                // there is but one line, or `header` fails
                let vary = answer.header("vary").to_ascii_lowercase();
                let mut names: Vec<_> = vary.split(',').map(str::trim).collect();
                names.sort_unstable();
                assert_eq!(names, ["accept-language", "origin", "x-one", "x-two"], "{version:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_small_event_that_is_held_does_not_keep_megabytes_alive() {
    let pair = format!("retry: {}\n\n: x\n\n", "1".repeat(8 << 10));
    // a little more than max_event, and then nothing: only the bytes can end this
    let upstream = saying(format!("{HEAD}{}", pair.repeat(9))).await;
    let stream = "max_event = \"64KiB\"";
    let edge = Edge::start(Setup { upstream: Some(upstream.address), stream, ..Setup::default() }).await;
    for version in Version::BOTH {
        let answer = edge.client(version).await.ask(&streaming("demo", json!({}))).await;
        assert_eq!((answer.status(), &*answer.error_code().await), (502, "upstream_failure"), "{version:?}");
    }
}

#[tokio::test]
async fn an_upstream_of_any_line_end_has_heartbeats_in_its_silence() {
    for end in ["\n", "\r\n", "\r"] {
        let event = OUTPUT.replace('\n', end);
        let upstream = saying(format!("{HEAD}{event}")).await;
        let stream = "heartbeat = \"40ms\"";
        let edge = Edge::start(Setup { upstream: Some(upstream.address), stream, ..Setup::default() }).await;
        for version in Version::BOTH {
            let mut answer = edge.client(version).await.ask(&streaming("demo", json!({}))).await;
            let expected = format!("{event}: hb\n\n: hb\n\n");
            assert_eq!(answer.take(expected.len()).await, expected, "{version:?}");
        }
    }
}

#[tokio::test]
async fn a_heartbeat_behind_an_id_has_no_blank_line() {
    let event = format!("id: 7\n{OUTPUT}");
    let upstream = saying(format!("{HEAD}{event}")).await;
    let stream = "heartbeat = \"40ms\"";
    let edge = Edge::start(Setup { upstream: Some(upstream.address), stream, ..Setup::default() }).await;
    let mut answer = edge.client(Version::Http1).await.ask(&streaming("demo", json!({}))).await;
    // a blank line would make openai-python dispatch an empty event
    let expected = format!("{event}: hb\n: hb\n");
    assert_eq!(answer.take(expected.len()).await, expected);
}
