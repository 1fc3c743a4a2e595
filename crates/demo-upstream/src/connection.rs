//! One connection: reads requests and plays the scripts of their responses, and notices when the client leaves.

use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until};
use tokio_rustls::server::TlsStream;

use super::knobs::Knobs;
use super::observe::Observer;
use super::request::{self, Progress, Request};
use super::steps::{Ending, Step, Steps, steps};

/// The byte stream of a connection.
pub(super) trait Socket: AsyncRead + AsyncWrite + Unpin {
    /// Sends an RST instead of a FIN when the socket is closed.
    fn reset_on_drop(&self) -> io::Result<()>;
}

impl Socket for TcpStream {
    fn reset_on_drop(&self) -> io::Result<()> {
        self.set_zero_linger()
    }
}

impl Socket for TlsStream<TcpStream> {
    fn reset_on_drop(&self) -> io::Result<()> {
        self.get_ref().0.set_zero_linger()
    }
}

/// Serves a connection to its end.
pub(super) async fn serve(socket: impl Socket, knobs: &Knobs, observer: &Arc<Observer>) {
    let number = observer.connected();
    let connection = Connection { socket, unread: BytesMut::new(), observer };
    // the observer has counted how the connection ends
    let _ = connection.run(number, knobs).await;
    observer.disconnected();
}

/// The most unread bytes of a connection while a script plays. If a client sends more, its leaving is not noticed.
const MAX_UNREAD: usize = 64 * 1024;

/// The client has left.
struct Gone;

/// Measures the lateness of the last write that is due at `due`: the first output, because the role is due at the same time
/// and written before it.
struct Stamp {
    /// The body of the request.
    body: Bytes,
    due: Duration,
    late: Option<Duration>,
}

struct Connection<'a, S> {
    socket: S,
    /// Bytes of the next request.
    unread: BytesMut,
    observer: &'a Observer,
}

impl<S: Socket> Connection<'_, S> {
    async fn run(mut self, number: u64, knobs: &Knobs) -> Result<(), Gone> {
        while let Some(mut request) = self.request().await? {
            request.connection = number;
            self.observer.request_started(&request);
            let steps = steps(&request, knobs);
            let mut stamp =
                knobs.stamp.then(|| Stamp { body: request.body.clone(), due: knobs.first_token, late: None });
            drop(request);
            let played = self.play(steps, &mut stamp).await;
            if let Some(Stamp { body, late: Some(late), .. }) = stamp {
                self.observer.record_lateness(body, late);
            }
            self.observer.response_ended(played.is_err());
            match played? {
                Ending::KeepAlive => {}
                Ending::Close | Ending::Silence => break,
                Ending::Reset => return self.socket.reset_on_drop().map_err(|_| Gone),
            }
        }
        self.socket.shutdown().await.map_err(|_| Gone)
    }

    /// The next request; `None` if it is malformed.
    async fn request(&mut self) -> Result<Option<Request>, Gone> {
        let mut continued = false;
        loop {
            match request::take(&mut self.unread) {
                Ok(Progress::Complete(request)) => {
                    if self.unread.is_empty() {
                        // frees the buffer of the request while its response plays
                        self.unread = BytesMut::new();
                    }
                    return Ok(Some(request));
                }
                Ok(Progress::Incomplete { expects_continue }) => {
                    if expects_continue && !continued {
                        continued = true;
                        self.write(Bytes::from_static(b"HTTP/1.1 100 Continue\r\n\r\n")).await?;
                    }
                }
                Err(request::Malformed) => {
                    self.write(Bytes::from_static(MALFORMED)).await?;
                    return Ok(None);
                }
            }
            self.unread.reserve(4096);
            match self.socket.read_buf(&mut self.unread).await {
                Ok(0) | Err(_) => return Err(Gone),
                Ok(_) => {}
            }
        }
    }

    /// Plays a script. Its times count from now.
    async fn play(&mut self, steps: Steps, stamp: &mut Option<Stamp>) -> Result<Ending, Gone> {
        let start = Instant::now();
        let mut sleep = pin!(sleep_until(start));
        for step in steps {
            match step {
                Step::Write { due: after, bytes } => {
                    let due = start + after;
                    if due > Instant::now() {
                        sleep.as_mut().reset(due);
                        tokio::select! {
                            biased;
                            () = sleep.as_mut() => {}
                            gone = self.gone() => return Err(gone),
                        }
                    }
                    if let Some(stamp) = stamp.as_mut().filter(|stamp| stamp.due == after) {
                        stamp.late = Some(due.elapsed());
                    }
                    self.write(bytes).await?;
                }
                Step::Hold => {
                    let observer = self.observer;
                    tokio::select! {
                        () = observer.held() => {}
                        gone = self.gone() => return Err(gone),
                    }
                }
                Step::End(Ending::Silence) => return Err(self.gone().await),
                Step::End(ending) => return Ok(ending),
            }
        }
        Ok(Ending::Close)
    }

    /// Writes all bytes, and notices when a client leaves that does not read.
    async fn write(&mut self, mut bytes: Bytes) -> Result<(), Gone> {
        while !bytes.is_empty() {
            let written = std::future::poll_fn(|cx| match Pin::new(&mut self.socket).poll_write(cx, &bytes) {
                Poll::Ready(written) => Poll::Ready(written.map_err(|_| Gone)),
                Poll::Pending => self.poll_gone(cx).map(Err),
            })
            .await?;
            self.observer.sent(written);
            bytes.advance(written);
        }
        std::future::poll_fn(|cx| match Pin::new(&mut self.socket).poll_flush(cx) {
            Poll::Ready(flushed) => Poll::Ready(flushed.map_err(|_| Gone)),
            Poll::Pending => self.poll_gone(cx).map(Err),
        })
        .await
    }

    /// Waits until the client has left.
    async fn gone(&mut self) -> Gone {
        std::future::poll_fn(|cx| self.poll_gone(cx)).await
    }

    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<Gone> {
        while self.unread.len() < MAX_UNREAD {
            let read = pin!(self.socket.read_buf(&mut self.unread));
            match ready!(read.poll(cx)) {
                Ok(0) | Err(_) => return Poll::Ready(Gone),
                Ok(_) => {}
            }
        }
        Poll::Pending
    }
}

const MALFORMED: &[u8] = b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
