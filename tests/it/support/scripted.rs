//! An upstream that does on its raw connections what a test writes, where the demo upstream is too well bred.

use std::future::Future;
use std::net::SocketAddr;

use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// A chat completion.
pub const ANSWER: &str = r#"{"choices":[{"message":{"content":"hello"},"finish_reason":"stop"}]}"#;

/// [`ANSWER`] with its head.
pub fn answer() -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{ANSWER}", ANSWER.len())
}

/// A running upstream; it stops when this is dropped.
pub struct Scripted {
    pub address: SocketAddr,
    _accepting: JoinSet<()>,
}

impl Scripted {
    /// Does this on each connection.
    pub async fn start<F: Future<Output = ()> + Send + 'static>(
        script: impl Fn(TcpStream) -> F + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut accepting = JoinSet::new();
        accepting.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((socket, _)) = listener.accept().await {
                connections.spawn(script(socket));
            }
        });
        Self { address, _accepting: accepting }
    }
}

/// Reads a request with its body; `None` where the client has left.
pub async fn read_request(socket: &mut TcpStream) -> Option<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(socket.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap().parse().unwrap();
    socket.read_exact(&mut vec![0; length]).await.ok()?;
    Some(())
}
