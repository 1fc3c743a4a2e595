//! Between TLS and hyper's HTTP/1.1: detects that a client has left, also after it has sent more than its request.

use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::FutureExt;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep};

/// The time between two checks while hyper does not read. A request must be cancelled within a second after its client has left; a
/// request that is answered at once is still answered.
const LOOK: Duration = Duration::from_millis(250);

/// A byte stream that fails once the client has left, also while nothing reads from it.
///
/// hyper detects by reading that a client has left, and while a response is sent it reads only until bytes come in. After a pipelined
/// request, or a stray line end, it would notice at the next write, a heartbeat later. From then on this checks periodically whether
/// the client has closed its side. Nothing is read for that: unread bytes cost no memory here, and are served later if the client
/// stays. A FIN behind more bytes than the kernel's receive buffer holds is not detected; a reset always is.
///
/// A client that has closed its side and still reads counts as gone, as in hyper (whose `half_close` is off): a socket does not
/// distinguish the two.
#[derive(Debug)]
pub(super) struct H1Guard<IO> {
    io: IO,
    has_left: fn(&IO) -> bool,
    /// hyper waits for bytes, and detects the end itself.
    reading: bool,
    /// Armed while hyper does not wait for bytes.
    look: Option<Pin<Box<Sleep>>>,
}

/// Whether the client has closed its side, by FIN or by reset; earlier bytes may still be unread. This reads the readiness that the
/// event loop has stored, without a system call.
pub(super) fn has_left(tcp: &TcpStream) -> bool {
    matches!(tcp.ready(Interest::READABLE).now_or_never(), Some(Ok(ready)) if ready.is_read_closed())
}

impl<IO> H1Guard<IO> {
    /// Guards `io`; `has_left` says whether the client has closed its side.
    pub(super) fn new(io: IO, has_left: fn(&IO) -> bool) -> Self {
        Self { io, has_left, reading: false, look: None }
    }

    /// Fails if the client has left and hyper does not read; wakes the task for the next check.
    fn check(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        if self.reading {
            return Ok(());
        }
        let look = self.look.get_or_insert_with(|| Box::pin(sleep(LOOK)));
        while look.as_mut().poll(cx).is_ready() {
            if (self.has_left)(&self.io) {
                return Err(io::Error::new(io::ErrorKind::ConnectionAborted, "the client left"));
            }
            look.as_mut().reset(Instant::now() + LOOK);
        }
        Ok(())
    }

    /// Checks when a write is pending: hyper does not flush then.
    fn checked<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_pending() {
            self.check(cx)?;
        }
        written
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for H1Guard<IO> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let read = Pin::new(&mut this.io).poll_read(cx, buf);
        this.reading = read.is_pending();
        if this.reading {
            this.look = None;
        }
        read
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for H1Guard<IO> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.io).poll_write(cx, buf);
        this.checked(cx, written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.io).poll_write_vectored(cx, bufs);
        this.checked(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    /// hyper flushes at the end of each poll.
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.check(cx)?;
        Pin::new(&mut this.io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
    use tokio::net::TcpListener;

    use super::*;

    /// A pipe, and whether its other end has left.
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

    /// Returns a guarded pipe of ten bytes, its other end, and the switch that makes the other end leave.
    fn guarded() -> (H1Guard<Pipe>, DuplexStream, Arc<AtomicBool>) {
        let (server, client) = duplex(10);
        let left = Arc::new(AtomicBool::new(false));
        let pipe = Pipe(server, left.clone());
        (H1Guard::new(pipe, |pipe| pipe.1.load(Ordering::Relaxed)), client, left)
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
    async fn the_end_of_a_socket_is_detected_although_bytes_are_unread() {
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
            let detected = async {
                while !has_left(&tcp) {
                    tokio::task::yield_now().await;
                }
            };
            let detected = tokio::time::timeout(Duration::from_secs(10), detected).await;
            assert!(detected.is_ok(), "{unread} bytes, reset: {reset}");
        }
    }
}
