//! An HTTP/2 client that never hears that the server is going away, and so keeps sending: as one whose requests cross the
//! GOAWAY on their way.

use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy, duplex, split};

use super::client::{RequestBody, Target};
use super::frames::{ACK, GOAWAY, PING, frame, next_frame};

/// Hyper's client behind a filter that keeps GOAWAY from it, and the PING with which the server finds out when the first
/// GOAWAY has arrived (RFC 9113 §6.8).
pub async fn h2(target: &Target) -> http2::SendRequest<RequestBody> {
    let (mut from_server, mut to_server) = split(target.tls(&["h2"]).await);
    let (near, far) = duplex(64 << 10);
    let (mut from_client, mut to_client) = split(far);
    tokio::spawn(async move {
        let _ = copy(&mut from_client, &mut to_server).await;
        let _ = to_server.shutdown().await;
    });
    tokio::spawn(async move {
        while let Some(received) = next_frame(&mut from_server).await {
            let asks = received.kind == PING && received.flags & ACK == 0;
            let bytes = frame(received.kind, received.flags, received.stream, &received.payload);
            if received.kind != GOAWAY && !asks && to_client.write_all(&bytes).await.is_err() {
                // the client has gone: the server may close, too
                let _ = from_server.read_to_end(&mut Vec::new()).await;
                return;
            }
        }
    });
    let (sender, connection) = http2::Builder::new(TokioExecutor::new()).handshake(TokioIo::new(near)).await.unwrap();
    tokio::spawn(connection);
    sender
}
