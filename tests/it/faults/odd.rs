//! Upstreams that hardly speak HTTP, or never stop.

use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc;

use crate::support::answer::truncated;
use crate::support::edge::{Edge, Setup, Version, streaming, whole};
use crate::support::scripted::{Scripted, read_request};
use crate::support::soon;

const STREAM: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n";
const OUTPUT: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"}}]}\n\n";
const FINISH: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";
const DONE: &str = "data: [DONE]\n\n";

/// An upstream that says this to each request, and keeps its connections open.
async fn saying(bytes: impl Into<String>) -> Scripted {
    let bytes = bytes.into();
    Scripted::start(move |mut socket| {
        let bytes = bytes.clone();
        async move {
            while read_request(&mut socket).await.is_some() {
                // who leaves in its middle has heard enough
                let _ = socket.write_all(bytes.as_bytes()).await;
            }
        }
    })
    .await
}

/// An upstream that says the first to each request, and then the second until the client leaves. It tells when it has left.
async fn repeating(first: &'static str, then: &'static str) -> (Scripted, mpsc::UnboundedReceiver<()>) {
    let (told, left) = mpsc::unbounded_channel();
    let then = then.repeat(4096 / then.len() + 1);
    let upstream = Scripted::start(move |mut socket| {
        let (told, then) = (told.clone(), then.clone());
        async move {
            if read_request(&mut socket).await.is_some() && socket.write_all(first.as_bytes()).await.is_ok() {
                while socket.write_all(then.as_bytes()).await.is_ok() {}
                told.send(()).unwrap();
            }
        }
    });
    (upstream.await, left)
}

#[tokio::test]
async fn what_is_no_answer_is_an_upstream_failure() {
    for said in [
        "SSH-2.0-OpenSSH_9.9\r\n\r\n",
        "HTTP/3 200 OK\r\n\r\n",
        "HTTP/1.1 2000 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nx: \0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n12345",
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: -5\r\n\r\n12345",
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\nfffffffffffffffff\r\n",
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-16\r\n\r\n",
        "HTTP/1.1 201 Created\r\ncontent-type: text/event-stream\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 204 No Content\r\n\r\n",
        "HTTP/1.1 206 Partial Content\r\ncontent-type: text/event-stream\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 304 Not Modified\r\n\r\n",
        // an error whose body never comes: it is not waited for
        "HTTP/1.1 500 Oops\r\ncontent-length: 1000000\r\n\r\n{\"error\":",
    ] {
        let upstream = saying(said).await;
        let edge = Edge::start(Setup { upstream: Some(upstream.address), ..Setup::default() }).await;
        for version in Version::BOTH {
            let asked = [streaming("demo", json!({})), whole("demo", json!({}))];
            for request in asked {
                let answer = edge.client(version).await.ask(&request).await;
                assert_eq!((answer.status(), &*answer.error_code().await), (502, "upstream_failure"), "{said:?}");
            }
        }
    }
}

#[tokio::test]
async fn done_ends_the_stream_though_the_upstream_goes_on() {
    let body = [OUTPUT, FINISH, DONE].concat();
    for rest in ["", "data: more\n\n", &": x\n\n".repeat(100_000)] {
        let upstream = saying(format!("{STREAM}\r\n{body}{rest}")).await;
        let edge = Edge::start(Setup { upstream: Some(upstream.address), ..Setup::default() }).await;
        for version in Version::BOTH {
            let answer = edge.client(version).await.ask(&streaming("demo", json!({}))).await;
            assert_eq!(answer.rest().await, body);
        }
        edge.until_ended("demo", 200, "ok", 2).await;
    }
}

#[tokio::test]
async fn a_finish_reason_and_a_clean_end_are_a_good_end_also_without_done() {
    let body = [OUTPUT, FINISH].concat();
    for last in ["", "data: [DONE]", "data: [DONE]\n", "data: [DONE]\r\n"] {
        let body = format!("{body}{last}");
        let upstream = saying(format!("{STREAM}content-length: {}\r\n\r\n{body}", body.len())).await;
        let edge = Edge::start(Setup { upstream: Some(upstream.address), ..Setup::default() }).await;
        for version in Version::BOTH {
            let answer = edge.client(version).await.ask(&streaming("demo", json!({}))).await;
            assert_eq!(answer.rest().await, body, "{last:?}");
        }
    }
}

#[tokio::test]
async fn an_answer_s_head_that_never_ends_is_given_up() {
    let failure = (502, "upstream_failure");
    for (first, then, ends) in [
        ("HTTP/1.1 200 OK\r\n", "a: b\r\n", failure),
        ("HTTP/1.1 200 OK\r\na: ", "bbbbbbbb", failure),
        ("HTTP/1.1 200 ", "OKOKOKOK", failure),
        ("HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 102 Processing\r\n\r\n", failure),
    ] {
        let (upstream, mut left) = repeating(first, then).await;
        let edge = Edge::start(Setup { upstream: Some(upstream.address), ..Setup::default() }).await;
        for version in Version::BOTH {
            for request in [streaming("demo", json!({})), whole("demo", json!({}))] {
                let answer = edge.client(version).await.ask(&request).await;
                assert_eq!((answer.status(), &*answer.error_code().await), ends, "{then:?}");
                soon(left.recv()).await.unwrap();
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_flood_after_output_is_stopped_by_max_duration_and_one_without_output_by_its_bytes() {
    for (then, code) in [
        (OUTPUT, "upstream_timeout"),
        (": a comment\n\n", "upstream_failure"),
        // these are suppressed
        ("retry: 1\n\n", "upstream_failure"),
        ("\n", "upstream_failure"),
    ] {
        let first: &'static str = Box::leak(format!("{STREAM}\r\n{OUTPUT}").into_boxed_str());
        let (upstream, mut left) = repeating(first, then).await;
        let stream = if code == "upstream_timeout" { "max_duration = \"1s\"" } else { "max_event = \"64KiB\"" };
        let edge = Edge::start(Setup { upstream: Some(upstream.address), stream, ..Setup::default() }).await;
        for version in Version::BOTH {
            eprintln!("{then:?} over {version:?}");
            let answer = edge.client(version).await.ask(&streaming("demo", json!({}))).await;
            let id = answer.header("x-request-id").to_owned();
            let (before, code_seen) = truncated(&soon(answer.rest()).await, &id);
            assert!(before.starts_with(OUTPUT.as_bytes()), "{then:?}");
            assert_eq!(code_seen, code, "{then:?}");
            soon(left.recv()).await.unwrap();
        }
    }
}

#[tokio::test]
async fn before_any_output_a_flood_is_bounded_by_bytes_also_where_all_of_it_stays_inside() {
    for (then, ends) in [
        (": a comment\n\n", (502, "upstream_failure")),
        ("data: {\"choices\":[]}\n\n", (502, "upstream_failure")),
        ("retry: 1\n\n", (502, "upstream_failure")),
    ] {
        let first: &'static str = Box::leak(format!("{STREAM}\r\n").into_boxed_str());
        let (upstream, mut left) = repeating(first, then).await;
        let stream = "max_event = \"64KiB\"";
        let edge = Edge::start(Setup { upstream: Some(upstream.address), stream, ..Setup::default() }).await;
        for version in Version::BOTH {
            let answer = edge.client(version).await.ask(&streaming("demo", json!({}))).await;
            assert_eq!((answer.status(), &*answer.error_code().await), ends, "{then:?}");
            soon(left.recv()).await.unwrap();
        }
    }
}
