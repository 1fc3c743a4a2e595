//! A server that answers what a test says, head by head.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::scripted::Scripted;

/// A request that came.
#[derive(Debug, Clone)]
pub struct Heard {
    pub method: String,
    pub path: String,
    pub headers: HashMap<String, String>,
    pub body: Vec<u8>,
}

impl Heard {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    pub fn is_preflight(&self) -> bool {
        self.method == "OPTIONS" && !self.header("access-control-request-method").is_empty()
    }
}

/// A running server.
pub struct Server {
    pub url: String,
    heard: Arc<Mutex<Vec<Heard>>>,
    _scripted: Scripted,
}

impl Server {
    /// Answers each request so; see [`reply`].
    pub async fn start(answer: impl Fn(&Heard) -> String + Send + Sync + 'static) -> Self {
        let (answer, heard) = (Arc::new(answer), Arc::<Mutex<Vec<Heard>>>::default());
        let all = Arc::clone(&heard);
        let scripted = Scripted::start(move |mut socket| {
            let (answer, all) = (Arc::clone(&answer), Arc::clone(&all));
            async move {
                while let Some(heard) = read(&mut socket).await {
                    let text = answer(&heard);
                    all.lock().unwrap().push(heard);
                    if socket.write_all(text.as_bytes()).await.is_err() {
                        return;
                    }
                }
            }
        })
        .await;
        Self { url: format!("http://{}/v1/chat", scripted.address), heard, _scripted: scripted }
    }

    /// Every request so far.
    pub fn heard(&self) -> Vec<Heard> {
        self.heard.lock().unwrap().clone()
    }
}

/// An answer with these header lines.
pub fn reply(status: &str, lines: &[&str], body: &str) -> String {
    let lines: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
    let length = match status {
        "204 No Content" => String::new(),
        _ => format!("content-length: {}\r\n", body.len()),
    };
    format!("HTTP/1.1 {status}\r\n{lines}{length}\r\n{body}")
}

async fn read(socket: &mut TcpStream) -> Option<Heard> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(socket.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).unwrap();
    let mut lines = head.lines();
    let mut first = lines.next().unwrap().split(' ');
    let (method, path) = (first.next().unwrap().to_owned(), first.next().unwrap().to_owned());
    let headers: HashMap<String, String> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let length = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    socket.read_exact(&mut body).await.ok()?;
    Some(Heard { method, path, headers, body })
}
