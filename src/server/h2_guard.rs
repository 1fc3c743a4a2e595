//! Between TLS and hyper's HTTP/2: a deadline for unfinished frames, a bound for floods of frames, and a close that loses none.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use prometheus::IntCounter;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use super::deadline::Deadline;
use super::h2_frames::{Budget, FrameScanner, Within};

/// How long the client may take to close a connection whose last frame is sent.
const FAREWELL: Duration = Duration::from_secs(1);

/// A byte stream whose client-to-server frames are scanned; nothing is copied or delayed.
#[derive(Debug)]
pub(super) struct H2Guard<IO> {
    io: IO,
    scanner: FrameScanner,
    budget: Budget,
    opened: Instant,
    /// The timeout of an unfinished unit; the payload of a DATA frame has `data_timeout`.
    unit_timeout: Duration,
    data_timeout: Duration,
    deadline: Deadline,
    /// The unit of `deadline`.
    waits_for: Option<Within>,
    /// Counts connections that are closed for a flood.
    floods: IntCounter,
    /// The deadline of the client's close, before this side closes.
    farewell: Deadline,
    is_left: bool,
}

impl<IO: AsyncRead + AsyncWrite + Unpin> H2Guard<IO> {
    /// Guards a connection from its first byte.
    pub(super) fn new(io: IO, unit_timeout: Duration, data_timeout: Duration, floods: IntCounter) -> Self {
        Self {
            io,
            scanner: FrameScanner::default(),
            budget: Budget::new(Duration::ZERO),
            opened: Instant::now(),
            unit_timeout,
            data_timeout,
            deadline: Deadline::default(),
            waits_for: None,
            floods,
            farewell: Deadline::default(),
            is_left: false,
        }
    }

    /// Waits until the client closes its side, and discards what it sends until then.
    fn poll_left(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.farewell.arm(FAREWELL);
        let mut space = [MaybeUninit::uninit(); 1024];
        loop {
            let mut discarded = ReadBuf::uninit(&mut space);
            match Pin::new(&mut self.io).poll_read(cx, &mut discarded) {
                Poll::Ready(Ok(()))
                    if !discarded.filled().is_empty() && self.farewell.poll_expired(cx).is_pending() => {}
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => return self.farewell.poll_expired(cx),
            }
        }
    }

    /// Checks bytes that have come in.
    fn check(&mut self, bytes: &[u8]) -> io::Result<()> {
        let control = self.scanner.scan(bytes);
        // the clock is read only if there are frames to count
        if control == 0 || self.budget.spend(control, self.opened.elapsed()) {
            return Ok(());
        }
        self.floods.inc();
        Err(io::Error::other("the client sent too many control frames"))
    }

    /// The timeout of the rest of a unit.
    fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let within = self.scanner.within();
        if within != self.waits_for {
            self.waits_for = within;
            self.deadline.disarm();
        }
        let Some(within) = within else { return Poll::Pending };
        self.deadline.arm(if within.data { self.data_timeout } else { self.unit_timeout });
        ready!(self.deadline.poll_expired(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client began a frame and did not end it in time")))
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncRead for H2Guard<IO> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        match Pin::new(&mut this.io).poll_read(cx, buf) {
            Poll::Ready(Ok(())) => Poll::Ready(this.check(&buf.filled()[before..])),
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => this.poll_late(cx),
        }
    }
}

impl<IO: AsyncWrite + Unpin> H2Guard<IO> {
    fn earn(&mut self, written: &Poll<io::Result<usize>>) {
        if let Poll::Ready(Ok(bytes)) = written {
            self.budget.earn(*bytes);
        }
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncWrite for H2Guard<IO> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.io).poll_write(cx, buf);
        this.earn(&written);
        written
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.io).poll_write_vectored(cx, bufs);
        this.earn(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(cx)
    }

    /// Some clients (curl 7.88) discard frames that they have not processed when they see the end of the connection. So the client
    /// is to close first: it has GOAWAY.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.is_left {
            ready!(Pin::new(&mut this.io).poll_flush(cx))?;
            ready!(this.poll_left(cx));
            this.is_left = true;
        }
        Pin::new(&mut this.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    use super::*;

    const UNIT: Duration = Duration::from_secs(10);
    const PAYLOAD: Duration = Duration::from_secs(30);
    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

    fn guarded() -> (H2Guard<DuplexStream>, DuplexStream) {
        let (server, client) = duplex(1 << 20);
        (H2Guard::new(server, UNIT, PAYLOAD, IntCounter::new("floods", "floods").unwrap()), client)
    }

    /// Reads until the guard ends the connection; the error's kind and the seconds that it took.
    async fn ended(guard: &mut H2Guard<DuplexStream>) -> (io::ErrorKind, u64) {
        let begun = Instant::now();
        let error = tokio::io::copy(guard, &mut tokio::io::sink()).await.unwrap_err();
        (error.kind(), begun.elapsed().as_secs())
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_client_and_one_that_sends_only_pri_are_cut_off() {
        for sent in [0, 3, 24] {
            let (mut guard, mut client) = guarded();
            client.write_all(&PREFACE[..sent]).await.unwrap();
            assert_eq!(ended(&mut guard).await, (io::ErrorKind::TimedOut, 10), "{sent} bytes");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_frame_that_trickles_is_cut_off_although_bytes_come() {
        let (mut guard, mut client) = guarded();
        client.write_all(PREFACE).await.unwrap();
        let trickle = tokio::spawn(async move {
            client.write_all(&[0, 1, 0, 0x1, 0x4, 0, 0, 0, 1]).await.unwrap();
            while client.write_all(b"x").await.is_ok() {
                tokio::time::sleep(Duration::from_secs(3)).await;
            }
        });
        assert_eq!(ended(&mut guard).await, (io::ErrorKind::TimedOut, 10));
        drop(guard);
        trickle.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_data_payload_has_the_time_of_a_body() {
        let (mut guard, mut client) = guarded();
        client.write_all(PREFACE).await.unwrap();
        client.write_all(&[0, 0, 9, 0, 0, 0, 0, 0, 1, b'x']).await.unwrap();
        assert_eq!(ended(&mut guard).await, (io::ErrorKind::TimedOut, 30));
    }

    #[tokio::test(start_paused = true)]
    async fn whole_frames_far_apart_are_no_fault() {
        let (mut guard, mut client) = guarded();
        client.write_all(PREFACE).await.unwrap();
        let client = tokio::spawn(async move {
            for _ in 0..20 {
                tokio::time::sleep(5 * UNIT).await;
                // a frame in two halves, the second one late
                client.write_all(&[0, 0, 8, 6, 0, 0, 0]).await.unwrap();
                tokio::time::sleep(UNIT - Duration::from_secs(1)).await;
                client.write_all(&[0; 10]).await.unwrap();
            }
        });
        let read = tokio::io::copy(&mut guard, &mut tokio::io::sink()).await.unwrap();
        assert_eq!(read, PREFACE.len() as u64 + 20 * 17);
        client.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_ends_the_connection_and_is_counted() {
        let (mut guard, mut client) = guarded();
        client.write_all(PREFACE).await.unwrap();
        let flood = tokio::spawn(async move {
            let ping = [0, 0, 8, 6, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8];
            let mut sent = 0;
            while client.write_all(&ping).await.is_ok() {
                sent += 1;
            }
            sent
        });
        assert_eq!(ended(&mut guard).await.0, io::ErrorKind::Other);
        assert_eq!(guard.floods.get(), 1);
        drop(guard);
        assert!(flood.await.unwrap() < 100_000);
    }

    #[tokio::test(start_paused = true)]
    async fn the_end_comes_after_the_clients_or_a_second_later() {
        for closes_after in [None, Some(Duration::from_millis(300))] {
            let (mut guard, mut client) = guarded();
            let begun = Instant::now();
            let client = tokio::spawn(async move {
                client.write_all(PREFACE).await.unwrap();
                if let Some(wait) = closes_after {
                    tokio::time::sleep(wait).await;
                    client.shutdown().await.unwrap();
                }
                let mut read = Vec::new();
                client.read_to_end(&mut read).await.unwrap();
                (read, begun.elapsed())
            });
            guard.write_all(b"the last frame").await.unwrap();
            guard.shutdown().await.unwrap();
            let (read, ended) = client.await.unwrap();
            assert_eq!((read, ended), (b"the last frame".to_vec(), closes_after.unwrap_or(FAREWELL)));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_acknowledges_what_it_gets_is_no_flood() {
        let (mut guard, mut client) = guarded();
        client.write_all(PREFACE).await.unwrap();
        guard.read_exact(&mut [0; PREFACE.len()]).await.unwrap();
        let update = [0, 0, 4, 8, 0, 0, 0, 0, 0, 0, 0, 1, 0];
        for _ in 0..50_000 {
            guard.write_all(&[0; 200]).await.unwrap();
            client.read_exact(&mut [0; 200]).await.unwrap();
            client.write_all(&update).await.unwrap();
            client.write_all(&update).await.unwrap();
            guard.read_exact(&mut [0; 26]).await.unwrap();
        }
    }
}
