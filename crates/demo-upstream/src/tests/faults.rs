//! Each fault does on the wire what its name says.

use super::*;

#[tokio::test]
async fn status_faults_carry_key_and_canary() {
    for fault in <Fault as clap::ValueEnum>::value_variants() {
        let Some(status) = fault.status() else { continue };
        let heard = with_fault(*fault, 3).await;
        assert!(heard.head().starts_with(&format!("HTTP/1.1 {status} ")), "{fault}");
        assert_eq!(heard.head().contains("retry-after: 7\r\n"), matches!(status, 429 | 503), "{fault}");
        let body = std::str::from_utf8(heard.split().1).unwrap();
        assert!(body.contains(FAKE_KEY) && body.contains(CANARY), "{fault}: {body}");
        assert!(serde_json::from_str::<Value>(body).unwrap()["error"]["message"].is_string());
    }
}

#[tokio::test]
async fn some_faults_replace_the_response() {
    for (fault, begins, holds) in [
        (Fault::Redirect, "HTTP/1.1 307 ", "location: http://127.0.0.1:9/v1/chat/completions\r\n"),
        (Fault::Html, "HTTP/1.1 200 ", "content-type: text/html"),
        (Fault::SwitchProtocols, "HTTP/1.1 101 ", "upgrade: demo\r\n"),
    ] {
        let heard = with_fault(fault, 3).await;
        assert!(heard.head().starts_with(begins) && heard.head().contains(holds), "{fault}: {}", heard.head());
    }
}

#[tokio::test]
async fn resets_happen_at_their_position() {
    let heard = with_fault(Fault::ResetBefore, 3).await;
    assert!(heard.reset && heard.bytes.is_empty());
    let heard = with_fault(Fault::ResetAfterHead, 3).await;
    assert!(heard.reset && heard.head().starts_with("HTTP/1.1 200 ") && heard.split().1.is_empty());
    for at in [0, 1, 4] {
        let heard = with_fault(Fault::ResetAfterEvents, at).await;
        assert!(heard.reset);
        assert_eq!(heard.chunked(), (first(at as usize), false));
    }
}

#[tokio::test]
async fn broken_ends_are_no_resets_and_happen_at_their_position() {
    let heard = with_fault(Fault::CleanEofWithoutDone, 2).await;
    assert_eq!(heard.chunked(), (first(2), true));
    let heard = with_fault(Fault::CleanEofWithoutDone, u64::MAX).await;
    assert_eq!(heard.chunked(), (all().strip_suffix(b"data: [DONE]\n\n").unwrap().to_vec(), true));
    assert_eq!(with_fault(Fault::EofNoEvents, 2).await.chunked(), (vec![], true));

    let heard = with_fault(Fault::DisconnectMidEvent, 2).await;
    let (got, ended) = heard.chunked();
    let cut = got.len() - first(2).len();
    assert!(!ended && !heard.reset && all().starts_with(&got) && 0 < cut && got.len() < first(3).len());

    let heard = with_fault(Fault::BadChunk, 2).await;
    assert_eq!(heard.chunked(), (first(2), false));
    assert!(heard.bytes.ends_with(b"\r\nsize\r\nno chunk\r\n") && !heard.reset);

    let heard = with_fault(Fault::ShortLength, 2).await;
    assert!(heard.head().contains(&format!("content-length: {}\r\n", first(2).len() + 100)));
    assert_eq!(heard.split().1, first(2));
}

#[tokio::test]
async fn error_events_end_the_stream_without_done() {
    for (fault, at, before) in
        [(Fault::ErrorEvent, 0, 0), (Fault::ErrorEvent, 4, 4), (Fault::ErrorEventBeforeOutput, 4, 1)]
    {
        let (body, ended) = with_fault(fault, at).await.chunked();
        let error = body.strip_prefix(&first(before)[..]).and_then(|rest| rest.strip_prefix(b"data: "));
        let error: Value = serde_json::from_slice(error.unwrap().strip_suffix(b"\n\n").unwrap()).unwrap();
        assert!(ended && error["error"]["message"].as_str().unwrap().contains(CANARY), "{fault}");
    }
}

#[tokio::test]
async fn faults_of_the_format_do_not_change_the_events() {
    let text = || String::from_utf8(all()).unwrap();
    for (fault, body) in [
        (Fault::Crlf, text().replace('\n', "\r\n")),
        (Fault::Cr, text().replace('\n', "\r")),
        (Fault::Bom, format!("\u{feff}{}", text())),
        (Fault::Comments, format!(":\n\n:\n\n:\n\n:\n\n{}", text())),
        (Fault::TrailingGarbageAfterDone, format!("{}{CANARY}: no event, no end", text())),
        (Fault::RoleDelay, text()),
        (Fault::SlowDrip, text()),
        (Fault::SplitEverywhere, text()),
        (Fault::ChunkExtensions, text()),
        (Fault::NoUsage, text()),
        (Fault::Informational, text()),
    ] {
        let mut heard = with_fault(fault, 3).await;
        if fault == Fault::Informational {
            let (hints, _) = heard.split();
            assert!(hints.starts_with("HTTP/1.1 103 "));
            heard.bytes.drain(..hints.len() + 2);
        }
        assert_eq!(heard.chunked(), (body.into_bytes(), true), "{fault}");
    }
    let (body, ended) = with_fault(Fault::ExtraAfterDone, 3).await.chunked();
    assert!(ended && body.strip_prefix(&all()[..]).unwrap().starts_with(b"data: {"));
}

#[tokio::test]
async fn cuts_are_chunks_of_their_own() {
    for (fault, most) in [(Fault::SlowDrip, 1), (Fault::SplitEverywhere, 32), (Fault::ChunkExtensions, 4096)] {
        let heard = with_fault(fault, 3).await;
        let mut rest = heard.split().1;
        let mut sizes = Vec::new();
        while let Some(end) = memchr::memmem::find(rest, b"\r\n") {
            let line = std::str::from_utf8(&rest[..end]).unwrap();
            let (size, extension) = line.split_once(';').unwrap_or((line, ""));
            let size = usize::from_str_radix(size, 16).unwrap();
            if size == 0 {
                break;
            }
            assert_eq!(extension.is_empty(), fault != Fault::ChunkExtensions);
            sizes.push(size);
            rest = &rest[end + 2 + size + 2..];
        }
        assert!(
            sizes.iter().all(|size| *size <= most) && sizes.contains(&most.min(sizes.len())) || most == 4096,
            "{fault}"
        );
    }
}

#[tokio::test]
async fn faults_of_the_head_are_in_the_head() {
    let count = |heard: &Heard, name: &str| heard.head().lines().filter(|line| line.starts_with(name)).count();
    let heard = with_fault(Fault::NoContentType, 3).await;
    assert_eq!(count(&heard, "content-type:"), 0);
    let heard = with_fault(Fault::ContentTypeWithCharset, 3).await;
    assert!(heard.head().contains("content-type: text/event-stream; charset=utf-8\r\n"));
    let heard = with_fault(Fault::DuplicateHeaders, 3).await;
    assert_eq!((count(&heard, "content-type:"), count(&heard, "x-request-id:")), (2, 2));
    let heard = with_fault(Fault::ManyHeaders, 3).await;
    assert_eq!(count(&heard, "x-many-"), 500);
    let heard = with_fault(Fault::HugeHeader, 3).await;
    assert!(heard.head().len() > 512 * 1024);
    let heard = with_fault(Fault::CorsHeaders, 3).await;
    assert_eq!(count(&heard, "access-control-"), 7);
    assert!(heard.head().contains("access-control-allow-origin: \r\n") && heard.head().contains("set-cookie: "));
    assert_eq!(heard.chunked(), (all(), true));
}

#[tokio::test]
async fn http10_ends_with_the_connection() {
    let heard = with_fault(Fault::Http10, 3).await;
    assert!(heard.head().starts_with("HTTP/1.0 200 OK\r\n") && !heard.head().contains("transfer-encoding"));
    assert_eq!(heard.split().1, all());
}

#[tokio::test]
async fn gzip_is_a_member_of_stored_blocks() {
    let heard = with_fault(Fault::Gzip, 3).await;
    assert!(heard.head().contains("content-encoding: gzip\r\n"));
    let (body, ended) = heard.chunked();
    let mut rest = body.strip_prefix(&[0x1f, 0x8b, 8][..]).unwrap().get(7..).unwrap();
    let mut plain = Vec::new();
    while rest[0] == 0 {
        let length = usize::from(u16::from_le_bytes([rest[1], rest[2]]));
        plain.extend_from_slice(&rest[5..][..length]);
        rest = &rest[5 + length..];
    }
    assert!(ended);
    assert_eq!(plain, all());
    assert_eq!(rest[9..], (plain.len() as u32).to_le_bytes());
}

#[tokio::test]
async fn documents_break_off_in_their_middle() {
    let demo = start(Knobs::default()).await;
    let request = |fault: &str, at: u64| {
        json!({ "messages": [{ "role": "user", "content": "Hi" }], "demo": { "fault": fault, "at": at } }).to_string()
    };
    let whole = expected_stream(request("bom", 0).as_bytes()).concat();
    for fault in ["reset_after_events", "disconnect_mid_event", "short_length"] {
        let heard = ask(&demo, &request(fault, 3)).await;
        let got = heard.split().1;
        assert!(whole.starts_with(got) && !got.is_empty() && got.len() < whole.len(), "{fault}");
        assert_eq!(heard.reset, fault == "reset_after_events");
    }
    let heard = ask(&demo, &request("error_event", 3)).await;
    assert!(serde_json::from_slice::<Value>(&heard.chunked().0).unwrap()["error"].is_object());
    assert_eq!(ask(&demo, &request("comments", 3)).await.chunked(), (whole, true));
}
