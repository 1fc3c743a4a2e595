//! The demo upstream over raw sockets.

mod answers;
mod clients;
mod faults;
mod times;

use std::io::ErrorKind;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;

async fn start(knobs: Knobs) -> Demo {
    Demo::start(TcpListener::bind("127.0.0.1:0").await.unwrap(), knobs).unwrap()
}

fn body(demo: Value) -> String {
    json!({ "model": "m", "stream": true, "messages": [{ "role": "user", "content": "Why is 東京 wet?" }], "demo": demo })
        .to_string()
}

fn post(body: &str, more: &str) -> String {
    format!("POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\n{more}content-length: {}\r\n\r\n{body}", body.len())
}

/// All bytes until the end of the connection, and how it ended.
struct Heard {
    bytes: Vec<u8>,
    reset: bool,
}

impl Heard {
    fn split(&self) -> (&str, &[u8]) {
        let end = memchr::memmem::find(&self.bytes, b"\r\n\r\n").expect("a head");
        (std::str::from_utf8(&self.bytes[..end + 2]).unwrap(), &self.bytes[end + 4..])
    }

    fn head(&self) -> &str {
        self.split().0
    }

    /// The joined chunked body, and whether it is complete.
    fn chunked(&self) -> (Vec<u8>, bool) {
        let mut rest = self.split().1;
        let mut joined = Vec::new();
        while let Some(end) = memchr::memmem::find(rest, b"\r\n") {
            let size = std::str::from_utf8(&rest[..end]).unwrap().split(';').next().unwrap();
            let Ok(size) = usize::from_str_radix(size, 16) else { break };
            if size == 0 {
                return (joined, &rest[end..] == b"\r\n\r\n");
            }
            joined.extend_from_slice(&rest[end + 2..][..size]);
            rest = &rest[end + 2 + size + 2..];
        }
        (joined, false)
    }
}

/// Sends a request on a new connection, which the server closes.
async fn ask(demo: &Demo, body: &str) -> Heard {
    let mut socket = TcpStream::connect(demo.addr).await.unwrap();
    socket.write_all(post(body, "connection: close\r\n").as_bytes()).await.unwrap();
    let mut bytes = Vec::new();
    let end = socket.read_to_end(&mut bytes).await;
    let reset = end.is_err_and(|error| error.kind() == ErrorKind::ConnectionReset);
    Heard { bytes, reset }
}

async fn with_fault(fault: Fault, at: u64) -> Heard {
    let demo = start(Knobs::default()).await;
    ask(&demo, &body(json!({ "fault": fault.to_string(), "at": at }))).await
}

/// The first events of the complete stream.
fn first(events: usize) -> Vec<u8> {
    expected_stream(body(json!({})).as_bytes())[..events].concat()
}

fn all() -> Vec<u8> {
    expected_stream(body(json!({})).as_bytes()).concat()
}
