//! An upstream that accepts one API key, and answers 401 to any other.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use demo_upstream::{Demo, Knobs};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// The running upstream.
pub struct Upstream {
    pub address: SocketAddr,
    keys: Arc<Mutex<Vec<String>>>,
    _demo: Demo,
    _task: JoinSet<()>,
}

impl Upstream {
    /// The keys of all requests so far, in order.
    pub fn keys(&self) -> Vec<String> {
        self.keys.lock().unwrap().clone()
    }
}

/// Starts an upstream that accepts this key. Each connection serves one request.
pub async fn start(accepted: &'static str) -> Upstream {
    let demo = Demo::start(TcpListener::bind("127.0.0.1:0").await.unwrap(), Knobs::default()).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, behind, keys) = (listener.local_addr().unwrap(), demo.addr, Arc::default());
    let mut task = JoinSet::new();
    let seen: Arc<Mutex<Vec<String>>> = Arc::clone(&keys);
    task.spawn(async move {
        let mut connections = JoinSet::new();
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            let seen = Arc::clone(&seen);
            connections.spawn(async move { drop(serve(socket, behind, accepted, &seen).await) });
        }
    });
    Upstream { address, keys, _demo: demo, _task: task }
}

async fn serve(
    mut socket: TcpStream,
    behind: SocketAddr,
    accepted: &str,
    keys: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        if socket.read_buf(&mut head).await? == 0 {
            return Ok(());
        }
    }
    let text = String::from_utf8_lossy(&head).into_owned();
    let key = text.lines().find_map(|line| line.strip_prefix("authorization: Bearer ")).unwrap_or_default();
    keys.lock().unwrap().push(key.to_owned());
    if key != accepted {
        let body = r#"{"error":{"message":"no","type":"invalid_request_error","code":"invalid_api_key"}}"#;
        let length = body.len();
        let answer = format!(
            "HTTP/1.1 401 Unauthorized\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
        );
        socket.write_all(answer.as_bytes()).await?;
        return socket.shutdown().await;
    }
    let mut demo = TcpStream::connect(behind).await?;
    let head =
        text.replace("content-type: application/json\r\n", "content-type: application/json\r\nconnection: close\r\n");
    demo.write_all(head.as_bytes()).await?;
    copy_bidirectional(&mut socket, &mut demo).await.map(drop)
}
