//! The type of every response body: bytes that are complete, or a stream of frames. It cannot fail: a broken stream ends with an
//! error event.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Frame, SizeHint};

/// A stream of frames behind a pointer, so that every response has one type.
pub type Frames = Pin<Box<dyn http_body::Body<Data = Bytes, Error = Infallible> + Send>>;

/// The body of every response.
pub enum Body {
    /// The whole body; `None` once it is taken, or for an empty body.
    Full(Option<Bytes>),
    /// The frames as they come in, and then, if the client accepts them, trailer fields that are known at the end.
    Stream(Frames, Option<Trailer>),
}

/// Makes the trailer fields (RFC 9110 §6.5) when the rest has been sent; `None` without trailers.
pub type Trailer = Box<dyn FnOnce() -> Option<HeaderMap> + Send>;

impl Body {
    /// Makes an empty body.
    pub fn empty() -> Self {
        Body::Full(None)
    }

    /// Makes a body of these bytes.
    pub fn full(bytes: impl Into<Bytes>) -> Self {
        Body::Full(Some(bytes.into()).filter(|bytes: &Bytes| !bytes.is_empty()))
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.get_mut() {
            Body::Full(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Body::Stream(frames, trailer) => match frames.as_mut().poll_frame(cx) {
                Poll::Ready(None) => {
                    let fields = trailer.take().and_then(|trailer| trailer());
                    Poll::Ready(fields.map(|fields| Ok(Frame::trailers(fields))))
                }
                polled => polled,
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Body::Full(bytes) => bytes.is_none(),
            Body::Stream(frames, trailer) => trailer.is_none() && frames.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Body::Full(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Body::Stream(frames, _) => frames.size_hint(),
        }
    }
}
