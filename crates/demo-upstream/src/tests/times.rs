//! The times of events, by a paused clock.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, DuplexStream};
use tokio::time::Instant;

use super::*;
use crate::connection::{Socket, serve};

impl Socket for DuplexStream {
    fn reset_on_drop(&self) -> io::Result<()> {
        Ok(())
    }
}

/// Sends a request over a pipe of this capacity, under paused time.
async fn piped(room: usize, demo: Value) -> impl AsyncRead + AsyncWrite + Unpin {
    let (mut client, server) = tokio::io::duplex(room);
    tokio::spawn(async move { serve(server, &Knobs::default(), &Arc::new(Observer::new(0))).await });
    client.write_all(post(&body(demo), "").as_bytes()).await.unwrap();
    client
}

/// The arrival of each event since now, by its first bytes.
async fn arrivals(client: &mut (impl AsyncRead + Unpin), events: usize) -> Vec<Duration> {
    let start = Instant::now();
    let mut times = Vec::new();
    let mut bytes = Vec::new();
    while times.len() < events && client.read_buf(&mut bytes).await.unwrap() > 0 {
        times.extend(memchr::memmem::find_iter(&bytes, b"data: ").map(|_| start.elapsed()));
        // the text may be split over two reads
        bytes.drain(..bytes.len().saturating_sub(5));
    }
    times.truncate(events);
    times
}

#[tokio::test(start_paused = true)]
async fn events_follow_the_timetable_and_do_not_drift() {
    let mut client = piped(1 << 16, json!({ "first_token_ms": 150, "tokens_per_second": 40, "tokens": 1000 })).await;
    let times = arrivals(&mut client, 1 + 1000).await;
    assert_eq!(times[0], Duration::from_millis(150), "the role chunk comes with the first token");
    for (number, time) in times[1..].iter().enumerate() {
        assert_eq!(*time, Duration::from_millis(150 + 25 * number as u64), "token {number}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_rate_of_fractional_milliseconds_does_not_drift() {
    let mut client = piped(1 << 16, json!({ "tokens_per_second": 30, "tokens": 3001 })).await;
    let times = arrivals(&mut client, 1 + 3001).await;
    let late = times[3001] - Duration::from_secs(100);
    assert!(late <= Duration::from_millis(1), "{late:?}");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_paused_gets_the_missed_events_at_once_and_the_next_on_time() {
    let mut client = piped(1024, json!({ "tokens_per_second": 10, "tokens": 100 })).await;
    let start = Instant::now();
    tokio::time::sleep(Duration::from_secs(5)).await;
    let times = arrivals(&mut client, 1 + 100).await;
    assert!(times[1 + 49] < Duration::from_millis(10), "{:?}", times[1 + 49]);
    assert_eq!(times[1 + 80], Duration::from_secs(3));
    assert_eq!(start.elapsed(), Duration::from_millis(9900));
}

#[tokio::test(start_paused = true)]
async fn role_delay_sends_the_role_at_once() {
    let mut client = piped(1 << 16, json!({ "fault": "role_delay", "first_token_ms": 2000 })).await;
    let times = arrivals(&mut client, 2).await;
    assert_eq!(times, [Duration::ZERO, Duration::from_secs(2)]);
}

#[tokio::test(start_paused = true)]
async fn never_finish_keeps_sending_comments() {
    let mut client = piped(1 << 16, json!({ "fault": "never_finish", "at": 2 })).await;
    assert_eq!(arrivals(&mut client, 2).await.len(), 2);
    let mut comments = 0;
    let mut bytes = [0; 256];
    while comments < 1000 {
        let length = client.read(&mut bytes).await.unwrap();
        comments += memchr::memmem::find_iter(&bytes[..length], b": still here\n\n").count();
    }
}

#[tokio::test(start_paused = true)]
async fn comments_fill_the_time_until_the_first_token() {
    let mut client = piped(1 << 16, json!({ "fault": "comments", "first_token_ms": 400 })).await;
    let start = Instant::now();
    let mut times = Vec::new();
    let mut bytes = [0; 512];
    while times.len() < 4 {
        let length = client.read(&mut bytes).await.unwrap();
        times.extend(memchr::memmem::find_iter(&bytes[..length], b":\n\n").map(|_| start.elapsed().as_millis()));
    }
    assert_eq!(times, [0, 100, 200, 300]);
}

#[tokio::test(start_paused = true)]
async fn a_slow_drip_spreads_an_event_over_its_interval() {
    let mut client = piped(1 << 16, json!({ "fault": "slow_drip", "tokens_per_second": 2, "tokens": 2 })).await;
    let start = Instant::now();
    let mut times = Vec::new();
    let mut bytes = [0; 512];
    while times.len() < 100 {
        let length = client.read(&mut bytes).await.unwrap();
        times.extend(memchr::memmem::find_iter(&bytes[..length], b"1\r\n").map(|_| start.elapsed()));
    }
    // by now a part of an event of some 250 bytes, which all come within 500 ms
    assert!((Duration::from_millis(100)..Duration::from_millis(300)).contains(&times[99]), "{:?}", times[99]);
}

#[tokio::test(start_paused = true)]
async fn a_fault_that_replaces_the_response_comes_at_the_first_token_time() {
    for fault in ["status_500", "reset_before", "html"] {
        let mut client = piped(1 << 16, json!({ "fault": fault, "first_token_ms": 700 })).await;
        let start = Instant::now();
        let _ = client.read(&mut [0; 512]).await.unwrap();
        assert_eq!(start.elapsed(), Duration::from_millis(700), "{fault}");
    }
}

#[tokio::test]
async fn the_lateness_of_first_outputs_is_recorded_by_request_if_enabled() {
    let first_token = Duration::from_millis(5);
    for stamp in [true, false] {
        let knobs = Knobs { first_token, tokens_per_second: 500.0, tokens: Some(3), stamp, ..Knobs::default() };
        let demo = start(knobs).await;
        let asked = [body(json!({ "seed": 1 })), body(json!({ "seed": 2 }))];
        for body in &asked {
            ask(&demo, body).await;
        }
        let lateness = demo.lateness();
        let bodies: Vec<_> = lateness.iter().map(|(body, _)| body.to_vec()).collect();
        let expected = if stamp { asked.map(String::into_bytes).to_vec() } else { Vec::new() };
        assert_eq!(bodies, expected);
        assert!(lateness.iter().all(|(_, late)| *late < Duration::from_secs(5)));
    }
}
