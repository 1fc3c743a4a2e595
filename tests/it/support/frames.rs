//! HTTP/2 frames by hand (RFC 9113 §4 and §6).

use tokio::io::{AsyncRead, AsyncReadExt};

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const PRIORITY: u8 = 2;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;

pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;
pub const ACK: u8 = 1;

/// The preface and an empty SETTINGS frame.
pub fn preface() -> Vec<u8> {
    let mut preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    preface.extend(frame(SETTINGS, 0, 0, b""));
    preface
}

/// One frame.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// The header block of a GET for `path` on `localhost`, without dynamic table or Huffman code (RFC 7541 §6).
pub fn get_block(path: &str) -> Vec<u8> {
    // static entries 2 (:method GET) and 7 (:scheme https); literals without indexing for names 1 and 4
    let mut block = vec![0x82, 0x87];
    for (name, value) in [(0x01, "localhost"), (0x04, path)] {
        block.push(name);
        block.push(value.len() as u8);
        block.extend(value.as_bytes());
    }
    block
}

/// A frame as it was read.
pub struct Received {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

/// The next frame; `None` where the connection has ended.
pub async fn next_frame(stream: &mut (impl AsyncRead + Unpin)) -> Option<Received> {
    let mut head = [0; 9];
    stream.read_exact(&mut head).await.ok()?;
    let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
    stream.read_exact(&mut payload).await.ok()?;
    let id = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
    Some(Received { kind: head[3], flags: head[4], stream: id, payload })
}
