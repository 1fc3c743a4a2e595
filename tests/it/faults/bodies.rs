//! Request bodies: their bounds, and that what is in them goes up untouched.

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use serde_json::json;

use crate::support::client::RequestBody;
use crate::support::edge::{Edge, Setup, Version, post, streaming};

const BODY_BYTES: &str = "tokenway_request_body_bytes";

/// A body without a length, in these pieces; with `stalls` it never ends.
fn pieces(pieces: Vec<Bytes>, stalls: bool) -> RequestBody {
    let pieces = stream::iter(pieces).map(|piece| Ok(Frame::data(piece)));
    match stalls {
        true => BodyExt::boxed(StreamBody::new(pieces.chain(stream::pending()))),
        false => BodyExt::boxed(StreamBody::new(pieces)),
    }
}

#[tokio::test]
async fn a_body_over_max_body_is_413_whether_its_length_is_declared_or_not() {
    let edge = Edge::start(Setup { server: "max_body = \"8KiB\"", ..Setup::default() }).await;
    let exact = |size: usize| {
        let mut request = streaming("demo", json!({}));
        request["user"] = "".into();
        let padding = size - request.to_string().len();
        request["user"] = "u".repeat(padding).into();
        assert_eq!(request.to_string().len(), size);
        Bytes::from(request.to_string())
    };
    for version in Version::BOTH {
        for (size, status) in [(8 << 10, 200), ((8 << 10) + 1, 413)] {
            let declared = post("/v1/chat/completions", exact(size));
            let mut chunked = post("/v1/chat/completions", "");
            let body = exact(size);
            *chunked.body_mut() = pieces(body.chunks(1000).map(Bytes::copy_from_slice).collect(), false);
            for request in [declared, chunked] {
                let answer = edge.client(version).await.send(request).await;
                assert_eq!(answer.status(), status, "{size} over {version:?}");
                if status == 413 {
                    assert_eq!(answer.error_code().await, "body_too_large");
                }
            }
        }
    }
    assert_eq!(edge.first.counts().requests, 4);
}

#[tokio::test]
async fn bodies_that_would_take_more_memory_than_there_is_are_503_until_others_are_gone() {
    let server = "max_body = \"64KiB\"\nmax_body_memory = \"64KiB\"\nbody_timeout = \"60s\"";
    let edge = Edge::start(Setup { server, ..Setup::default() }).await;
    let mut whole = streaming("demo", json!({}));
    whole["user"] = "u".repeat(40 << 10).into();
    for version in Version::BOTH {
        // this body takes 48 KiB and holds its last byte back
        let mut held = post("/v1/chat/completions", "");
        *held.body_mut() = pieces(vec![Bytes::from(vec![b' '; 48 << 10])], true);
        let mut client = edge.client(version).await;
        let waiting = tokio::spawn(async move { client.send(held).await.status() });
        edge.until_metric(BODY_BYTES, |bytes| bytes >= 48.0 * 1024.0).await;
        let refused = edge.client(version).await.send(post("/v1/chat/completions", whole.to_string())).await;
        assert_eq!(refused.status(), 503);
        assert_eq!(refused.header("retry-after"), "2");
        assert_eq!(refused.error_code().await, "overloaded");
        waiting.abort();
        edge.until_metric(BODY_BYTES, |bytes| bytes == 0.0).await;
        let answer = edge.client(version).await.send(post("/v1/chat/completions", whole.to_string())).await;
        assert_eq!(answer.status(), 200);
        answer.rest().await;
        edge.until_metric(BODY_BYTES, |bytes| bytes == 0.0).await;
    }
}

#[tokio::test]
async fn a_caller_over_its_limits_is_refused_before_its_body_is_read() {
    let limits = "requests_per_minute = 1\nburst = 1";
    for version in Version::BOTH {
        let edge = Edge::start(Setup { limits, server: "body_timeout = \"60s\"", ..Setup::default() }).await;
        let first = post("/v1/chat/completions", streaming("demo", json!({})).to_string());
        assert_eq!(edge.client(version).await.send(first).await.status(), 200);
        // no byte of this body ever comes
        let mut request = post("/v1/chat/completions", "");
        *request.body_mut() = pieces(vec![], true);
        let answer = edge.client(version).await.send(request).await;
        assert_eq!(answer.status(), 429, "{version:?}");
        assert_eq!(answer.header("ratelimit-remaining"), "0");
        assert_eq!(answer.error_code().await, "rate_limited");
    }
}

#[tokio::test]
async fn a_wrong_header_is_refused_before_a_request_is_taken_from_the_limits() {
    let edge = Edge::start(Setup { limits: "requests_per_minute = 1\nburst = 1", ..Setup::default() }).await;
    let body = streaming("demo", json!({})).to_string();
    for (name, value) in [("tokenway-resumable", "yes"), ("content-type", "text/plain")] {
        let mut request = post("/v1/chat/completions", body.clone());
        request.headers_mut().insert(name, value.parse().unwrap());
        let status = edge.client(Version::Http2).await.send(request).await.status();
        assert!(status == 400 || status == 415, "{status}");
    }
    assert_eq!(edge.client(Version::Http2).await.send(post("/v1/chat/completions", body)).await.status(), 200);
}

#[tokio::test]
async fn a_body_that_stalls_is_408() {
    let edge = Edge::start(Setup { server: "body_timeout = \"200ms\"", ..Setup::default() }).await;
    for version in Version::BOTH {
        for begun in [vec![], vec![Bytes::from("{\"model\":\"demo\",")]] {
            let mut request = post("/v1/chat/completions", "");
            *request.body_mut() = pieces(begun, true);
            let answer = edge.client(version).await.send(request).await;
            assert_eq!((answer.status(), &*answer.error_code().await), (408, "request_timeout"), "{version:?}");
        }
    }
    assert_eq!(edge.first.counts().connections, 0);
}

#[tokio::test]
async fn a_body_that_is_not_said_to_be_plain_json_is_415() {
    let edge = Edge::start(Setup::default()).await;
    let body = streaming("demo", json!({})).to_string();
    for version in Version::BOTH {
        for (name, value) in [
            ("content-type", "text/plain"),
            ("content-type", "application/x-www-form-urlencoded"),
            ("content-type", "application/jsonp"),
            ("content-encoding", "gzip"),
        ] {
            let mut request = post("/v1/chat/completions", body.clone());
            request.headers_mut().insert(name, value.parse().unwrap());
            let answer = edge.client(version).await.send(request).await;
            assert_eq!((answer.status(), &*answer.error_code().await), (415, "unsupported_media_type"), "{value}");
        }
        let mut request = post("/v1/chat/completions", body.clone());
        request.headers_mut().remove("content-type");
        assert_eq!(edge.client(version).await.send(request).await.status(), 415);
        let mut request = post("/v1/chat/completions", body.clone());
        request.headers_mut().insert("content-type", "Application/JSON; charset=UTF-8".parse().unwrap());
        assert_eq!(edge.client(version).await.send(request).await.status(), 200);
    }
}

#[tokio::test]
async fn a_wrong_body_is_400_with_the_path_of_what_is_wrong() {
    let edge = Edge::start(Setup::default()).await;
    for version in Version::BOTH {
        let mut client = edge.client(version).await;
        for (path, body, named) in [
            ("/v1/chat/completions", "", "body"),
            ("/v1/chat/completions", "[]", "body"),
            ("/v1/chat/completions", "{}", "messages"),
            ("/v1/chat/completions", r#"{"messages":[]}"#, "messages"),
            ("/v1/chat/completions", r#"{"messages":[{"role":"user","content":7}]}"#, "messages[0].content"),
            ("/v1/chat/completions", r#"{"messages":[{"content":"x"}]}"#, "messages[0].role"),
            ("/v1/chat/completions", r#"{"stream":"yes","messages":[{"role":"user","content":"x"}]}"#, "stream"),
            ("/v1/chat/completions", r#"{"model":"demo","model":"demo","messages":[]}"#, "model"),
            ("/v1/chat", r#"{"messages":[{"role":"user","content":"x"}],"tools":[]}"#, "tools"),
        ] {
            let answer = client.send(post(path, body)).await;
            assert_eq!(answer.status(), 400, "{body}");
            let error = answer.json().await;
            assert_eq!(error["error"]["code"], "invalid_request", "{body}");
            let message = error["error"]["message"].as_str().unwrap();
            assert!(message.contains(named), "{body}: {message}");
        }
        let unknown = r#"{"model":"nobody","messages":[{"role":"user","content":"x"}]}"#;
        let answer = client.send(post("/v1/chat/completions", unknown)).await;
        assert_eq!((answer.status(), &*answer.error_code().await), (404, "model_not_found"));
    }
    assert_eq!(edge.first.counts().connections, 0);
}

#[tokio::test]
async fn what_the_gateway_does_not_know_goes_up_byte_for_byte() {
    // odd blanks, numbers that no double holds, escapes that need not be, fields of other people's making
    let body = |model: &str, inserted: &str, stream: bool| {
        format!(
            "{{{inserted} \"temperature\" : 0.10 ,\t\"seed\":7 ,\"presence_penalty\":-0,\r\n\"model\": \"{model}\",\"stream\":{stream},\
             \"messages\":[{{\"role\":\"user\",\"content\":\"\\u0041\\/\\ud83c\\udf0a ü\",\"x-own\":1e308}}],\
             \"top_p\":1.000000000000000000000000001,\"metadata\":{{\"b\":1,\"a\":[null,[],{{}}]}},\
             \"some_vendor.extension\":{{\"big\":123456789012345678901234567890}},\"logit_bias\":{{\"50256\":-100}} }}"
        )
    };
    let edge = Edge::start(Setup::default()).await;
    for version in Version::BOTH {
        for stream in [true, false] {
            let sent = body("careful", "", stream);
            let answer = edge.client(version).await.send(post("/v1/chat/completions", sent)).await;
            assert_eq!(answer.status(), 200, "{:?}", answer.json().await);
            let inserted = if stream { "\"stream_options\":{\"include_usage\":true}," } else { "" };
            let came = edge.first.requests().pop().unwrap().body;
            assert_eq!(String::from_utf8_lossy(&came), body("model-at-one", inserted, stream));
        }
    }
}
