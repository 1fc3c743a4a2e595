//! Clients that leave, and the deadlines of heads and idle connections.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::net::TcpListener;

use super::*;

/// A pipe, and whether its other end is told to have left.
struct Pipe(DuplexStream, Arc<AtomicBool>);

impl AsyncRead for Pipe {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Pipe {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

/// A guarded pipe of ten bytes, its other end, and the switch that says that it has left.
fn guarded() -> (H1Guard<Pipe>, DuplexStream, Arc<AtomicBool>) {
    let (server, client) = duplex(10);
    let left = Arc::new(AtomicBool::new(false));
    let pipe = Pipe(server, left.clone());
    let never = Duration::from_secs(1_000_000_000);
    let wait = HeadWait::new(Arc::default(), never, never);
    (H1Guard::new(pipe, |pipe| pipe.1.load(Ordering::Relaxed), wait), client, left)
}

const HEAD: Duration = Duration::from_secs(10);
const IDLE: Duration = Duration::from_secs(75);

/// A guarded pipe with deadlines, its other end, and the connection's requests.
fn with_deadlines() -> (H1Guard<DuplexStream>, DuplexStream, Arc<Activity>) {
    let (server, client) = duplex(1000);
    let activity = Arc::new(Activity::default());
    let wait = HeadWait::new(activity.clone(), HEAD, IDLE);
    (H1Guard::new(server, |_| false, wait), client, activity)
}

/// The time until the guard ends the stream.
async fn ended(guard: &mut H1Guard<DuplexStream>) -> Duration {
    let begun = Instant::now();
    tokio::io::copy(guard, &mut tokio::io::sink()).await.unwrap();
    begun.elapsed()
}

#[tokio::test(start_paused = true)]
async fn the_first_head_has_its_time_from_the_beginning() {
    for sent in ["", "GET"] {
        let (mut guard, mut client, _activity) = with_deadlines();
        client.write_all(sent.as_bytes()).await.unwrap();
        assert_eq!(ended(&mut guard).await, HEAD);
    }
    let (mut guard, mut client, _activity) = with_deadlines();
    let trickle = tokio::spawn(async move {
        while client.write_all(b"x").await.is_ok() {
            tokio::time::sleep(HEAD / 3).await;
        }
    });
    assert_eq!(ended(&mut guard).await, HEAD);
    drop(guard);
    trickle.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_has_the_idle_timeout_and_the_next_head_its_own() {
    let (mut guard, mut client, activity) = with_deadlines();
    client.write_all(b"1").await.unwrap();
    guard.read_u8().await.unwrap();
    // a request may be over before the next read
    drop(activity.begin());
    assert_eq!(ended(&mut guard).await, IDLE);

    let (mut guard, mut client, activity) = with_deadlines();
    drop(activity.begin());
    let trickle = tokio::spawn(async move {
        tokio::time::sleep(IDLE - Duration::from_secs(1)).await;
        while client.write_all(b"x").await.is_ok() {
            tokio::time::sleep(HEAD / 3).await;
        }
    });
    assert_eq!(ended(&mut guard).await, IDLE - Duration::from_secs(1) + HEAD);
    drop(guard);
    trickle.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn no_deadline_runs_during_a_request_and_while_its_response_is_written() {
    let (mut guard, _client, activity) = with_deadlines();
    let busy = activity.begin();
    assert!(tokio::time::timeout(9 * IDLE, ended(&mut guard)).await.is_err());
    drop(busy);
    assert!(tokio::time::timeout(IDLE / 2, ended(&mut guard)).await.is_err());
    guard.write_all(b"the rest").await.unwrap();
    let begun = Instant::now();
    ended(&mut guard).await;
    assert!(begun.elapsed() >= IDLE && begun.elapsed() <= 2 * IDLE, "{:?}", begun.elapsed());
}

/// Flushes again and again, as hyper does when its task is woken, until that fails.
async fn failed_flush(guard: &mut H1Guard<Pipe>) -> io::ErrorKind {
    poll_fn(|cx| match Pin::new(&mut *guard).poll_flush(cx) {
        Poll::Ready(Err(error)) => Poll::Ready(error.kind()),
        _ => Poll::Pending,
    })
    .await
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_behind_unread_bytes_is_noticed_at_the_next_look() {
    let (mut guard, mut client, left) = guarded();
    client.write_all(b"12").await.unwrap();
    guard.read_u8().await.unwrap();
    let begun = Instant::now();
    tokio::spawn(async move {
        tokio::time::sleep(5 * LOOK / 2).await;
        left.store(true, Ordering::Relaxed);
    });
    assert_eq!(failed_flush(&mut guard).await, io::ErrorKind::ConnectionAborted);
    assert_eq!(begun.elapsed(), 3 * LOOK);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_while_a_write_waits_is_noticed_too() {
    let (mut guard, mut client, left) = guarded();
    client.write_all(b"12").await.unwrap();
    guard.read_u8().await.unwrap();
    left.store(true, Ordering::Relaxed);
    let begun = Instant::now();
    let error = guard.write_all(&[0; 11]).await.unwrap_err();
    assert_eq!((error.kind(), begun.elapsed()), (io::ErrorKind::ConnectionAborted, LOOK));
}

#[tokio::test(start_paused = true)]
async fn where_hyper_waits_for_bytes_it_is_left_to_hyper_and_nothing_wakes() {
    let (mut guard, mut client, left) = guarded();
    client.write_all(b"1").await.unwrap();
    guard.read_u8().await.unwrap();
    guard.flush().await.unwrap();
    assert!(guard.look.is_some());
    assert!(guard.read_u8().now_or_never().is_none());
    left.store(true, Ordering::Relaxed);
    assert!(guard.look.is_none());
    assert!(tokio::time::timeout(10 * LOOK, failed_flush(&mut guard)).await.is_err());
    assert!(guard.look.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_client_that_stays_is_served_and_what_it_sent_is_still_there() {
    let (mut guard, mut client, _left) = guarded();
    client.write_all(b"123").await.unwrap();
    assert_eq!(guard.read_u8().await.unwrap(), b'1');
    assert!(tokio::time::timeout(10 * LOOK, failed_flush(&mut guard)).await.is_err());
    guard.write_all(b"abc").await.unwrap();
    client.read_exact(&mut [0; 3]).await.unwrap();
    let mut rest = [0; 2];
    guard.read_exact(&mut rest).await.unwrap();
    assert_eq!(&rest, b"23");
}

#[tokio::test]
async fn the_end_of_a_socket_is_told_although_bytes_are_unread() {
    for (unread, reset) in [(0, false), (0, true), (3, false), (3, true), (20_000, true)] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (tcp, _) = listener.accept().await.unwrap();
        client.write_all(&vec![b'x'; unread]).await.unwrap();
        assert!(!has_left(&tcp), "{unread} bytes");
        if reset {
            socket2::SockRef::from(&client).set_linger(Some(Duration::ZERO)).unwrap();
            drop(client);
        } else {
            client.shutdown().await.unwrap();
        }
        let told = async {
            while !has_left(&tcp) {
                tokio::task::yield_now().await;
            }
        };
        let told = tokio::time::timeout(Duration::from_secs(10), told).await;
        assert!(told.is_ok(), "{unread} bytes, reset: {reset}");
    }
}
