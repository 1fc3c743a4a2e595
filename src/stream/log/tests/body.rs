//! The response body of a reader.

use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Wake;

use http_body::Body;
use tokio::time::{Instant, advance};

use super::*;
use crate::metering::meter::Meter;
use crate::metrics::Outcome;
use crate::stream::body::Body as StreamBody;
use crate::stream::log::render::Rendered;

const EVERY: Duration = Duration::from_secs(15);

fn meter(metrics: &Arc<Metrics>) -> Meter {
    Meter::start(Arc::clone(metrics), Instant::now(), "req_2".into(), "stream", None, [127, 0, 0, 1].into())
}

type Numbered = StreamBody<Rendered>;

fn numbered(registry: &Registry, metrics: &Arc<Metrics>, id: StreamId, place: u64) -> Numbered {
    Rendered::numbered(open(registry, id, place), meter(metrics), Some(EVERY))
}

/// Returns all that can be sent now, and whether the body has ended.
fn flow(body: &mut Numbered) -> (String, bool) {
    let mut sent = Vec::new();
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(Arc::clone(&woken));
    let mut cx = Context::from_waker(&waker);
    loop {
        match Pin::new(&mut *body).poll_frame(&mut cx) {
            Poll::Ready(Some(Ok(frame))) => sent.extend_from_slice(frame.data_ref().unwrap()),
            Poll::Ready(None) => return (String::from_utf8(sent).unwrap(), true),
            Poll::Pending if woken.0.swap(0, Ordering::Relaxed) > 0 => {}
            Poll::Pending => return (String::from_utf8(sent).unwrap(), false),
        }
    }
}

fn settled(metrics: &Metrics, outcome: Outcome) -> u64 {
    metrics.requests.with_label_values(&["stream", "other", "200", outcome.as_str()]).get()
}

#[tokio::test(start_paused = true)]
async fn each_event_has_its_number_in_its_own_block_and_the_first_block_says_when_to_come_back() {
    let (registry, metrics, _) = registry(rules());
    let (id, mut writer) = create(&registry);
    append(&mut writer, b"data: a\n\n").unwrap();
    let mut body = numbered(&registry, &metrics, id, 0);
    assert_eq!(flow(&mut body), ("id: 1\nretry: 1000\ndata: a\n\n".into(), false));
    append(&mut writer, b"event: x\r\ndata: b\r\n\r\n").unwrap();
    append(&mut writer, b"data: [DONE]\n\n").unwrap();
    assert_eq!(flow(&mut body).0, "id: 2\nevent: x\r\ndata: b\r\n\r\nid: 3\ndata: [DONE]\n\n");
    end(writer);
    assert_eq!(flow(&mut body), (String::new(), true));
    drop(body);
    assert_eq!(settled(&metrics, Outcome::Ok), 1);
}

#[tokio::test(start_paused = true)]
async fn the_end_is_known_with_the_last_event() {
    let (registry, metrics, _) = registry(rules());
    let (id, mut writer) = create(&registry);
    append(&mut writer, b"data: a\n\n").unwrap();
    end(writer);
    let mut body = numbered(&registry, &metrics, id, 0);
    assert!(!body.is_end_stream());
    let mut cx = Context::from_waker(Waker::noop());
    assert!(matches!(Pin::new(&mut body).poll_frame(&mut cx), Poll::Ready(Some(Ok(_)))));
    assert!(body.is_end_stream());
}

#[tokio::test(start_paused = true)]
async fn a_gap_is_sent_without_a_number_and_what_is_left_follows_it() {
    let (registry, metrics, _) = registry(Rules { max_stream_bytes: 20_000, ..rules() });
    let (id, mut writer) = create(&registry);
    let mut slow = numbered(&registry, &metrics, id, 0);
    for number in 1..=100 {
        append(&mut writer, event(number, 1000)).unwrap();
    }
    let (sent, _) = flow(&mut slow);
    let (gap, rest) = sent.split_once("\n\n").unwrap();
    let to: u64 = gap
        .strip_prefix("retry: 1000\nevent: gap\ndata: {\"from\":1,\"to\":")
        .unwrap()
        .strip_suffix('}')
        .unwrap()
        .parse()
        .unwrap();
    assert!((75..90).contains(&to), "{to}");
    assert!(rest.starts_with(&format!("id: {}\ndata: {} ", to + 1, to + 1)), "{rest}");
    assert_eq!(rest.matches("id: ").count() as u64, 100 - to);
    assert_eq!(metrics.stream_gaps.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_request_that_created_the_stream_gets_an_error_event_for_a_gap() {
    let (registry, metrics, _) = registry(Rules { max_stream_bytes: 20_000, ..rules() });
    let (id, mut writer) = create(&registry);
    let mut own = Rendered::plain(open(&registry, id, 0), &metrics, None, Duration::ZERO);
    for number in 1..=100 {
        append(&mut writer, event(number, 1000)).unwrap();
    }
    let (sent, ended) = flow(&mut own);
    assert!(ended && sent.starts_with("data: {\"error\":{") && sent.ends_with("}}\n\n"), "{sent}");
    assert!(sent.contains("\"code\":\"gap\"") && sent.contains("req_1") && sent.contains("?from=0"), "{sent}");
    assert_eq!(sent.matches("\n\n").count(), 1, "nothing follows that would look like the answer: {sent}");
    assert_eq!(metrics.stream_gaps.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn silence_is_filled_with_comment_lines_at_once_and_then_every_so_often() {
    let (registry, metrics, _) = registry(rules());
    let (id, mut writer) = create(&registry);
    let mut body = numbered(&registry, &metrics, id, 0);
    assert_eq!(flow(&mut body).0, ": hb\n");
    advance(EVERY - Duration::from_millis(2)).await;
    assert_eq!(flow(&mut body).0, "");
    append(&mut writer, b"data: a\n\n").unwrap();
    assert_eq!(flow(&mut body).0, "id: 1\nretry: 1000\ndata: a\n\n");
    advance(EVERY - Duration::from_millis(2)).await;
    assert_eq!(flow(&mut body).0, "", "it was not silent");
    advance(Duration::from_millis(4)).await;
    assert_eq!(flow(&mut body).0, ": hb\n");
    drop(body);
    assert_eq!(settled(&metrics, Outcome::ClientGone), 0, "no status was ever sent");
}

#[tokio::test(start_paused = true)]
async fn its_connection_is_woken_for_each_heartbeat() {
    let (registry, metrics, _) = registry(rules());
    let (id, _writer) = create(&registry);
    let mut body = numbered(&registry, &metrics, id, 0);
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(Arc::clone(&woken));
    let mut cx = Context::from_waker(&waker);
    for _ in 0..3 {
        assert!(matches!(Pin::new(&mut body).poll_frame(&mut cx), Poll::Ready(Some(Ok(_)))));
        assert!(Pin::new(&mut body).poll_frame(&mut cx).is_pending());
        woken.0.store(0, Ordering::Relaxed);
        advance(EVERY).await;
        assert_eq!(woken.0.load(Ordering::Relaxed), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_lost_stream_ends_with_an_event_that_has_no_number_and_so_keeps_the_place() {
    let (registry, metrics, _) = registry(rules());
    let (id, mut writer) = create(&registry);
    append(&mut writer, b"data: a\n\n").unwrap();
    let mut body = numbered(&registry, &metrics, id, 1);
    let mut own = Rendered::plain(open(&registry, id, 0), &metrics, None, Duration::ZERO);
    drop(writer);
    let (sent, ended) = flow(&mut body);
    assert!(sent.starts_with("retry: 1000\nevent: draining\ndata: {\"error\":{"), "{sent}");
    assert!(ended && sent.contains("req_1") && !sent.contains("id: "), "{sent}");
    drop(body);
    assert_eq!(settled(&metrics, Outcome::Truncated), 1);
    // the request that created the stream gets the same end as every stream that a shutdown cuts
    let (sent, ended) = flow(&mut own);
    assert!(ended && sent.starts_with("data: a\n\ndata: {\"error\":{") && sent.contains("draining"), "{sent}");
}

#[tokio::test(start_paused = true)]
async fn a_replay_begins_with_small_frames_that_leave_one_by_one_and_goes_on_piece_by_piece() {
    let (registry, metrics, _) = registry(rules());
    let (id, mut writer) = create(&registry);
    for _ in 0..800 {
        append(&mut writer, [b'x'; 100]).unwrap();
    }
    let mut body = Rendered::plain(open(&registry, id, 0), &metrics, None, Duration::ZERO);
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(Arc::clone(&woken));
    let mut cx = Context::from_waker(&waker);
    let mut frame = || match Pin::new(&mut body).poll_frame(&mut cx) {
        Poll::Ready(Some(Ok(frame))) => Some(frame.data_ref().unwrap().len()),
        Poll::Ready(_) => panic!("it has ended"),
        Poll::Pending => None,
    };
    for about in [1024, 2048, 4096, 8192] {
        let bytes = frame().unwrap();
        assert!((about - 99..=about).contains(&bytes), "{bytes}");
        let before = woken.0.load(Ordering::Relaxed);
        assert_eq!(frame(), None, "the connection sends what it has");
        assert_eq!(woken.0.load(Ordering::Relaxed), before + 1, "and asks again");
    }
    for _ in 0..3 {
        let bytes = frame().unwrap();
        assert!((16_285..=16_384).contains(&bytes), "{bytes}");
    }
}

#[tokio::test(start_paused = true)]
async fn events_that_come_one_by_one_are_never_held_up() {
    let (registry, metrics, _) = registry(rules());
    let (id, mut writer) = create(&registry);
    let mut body = Rendered::plain(open(&registry, id, 0), &metrics, None, Duration::ZERO);
    let mut cx = Context::from_waker(Waker::noop());
    for number in 1..50 {
        append(&mut writer, event(number, 5000)).unwrap();
        let Poll::Ready(Some(Ok(frame))) = Pin::new(&mut body).poll_frame(&mut cx) else { panic!("no frame") };
        assert_eq!(frame.data_ref().unwrap(), &event(number, 5000));
    }
}

#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}
