//! A TCP proxy that cuts connections: the network as browsers know it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// Forwards connections and cuts each after so many bytes that came from the server. It ends when this is dropped.
pub struct Cutting {
    pub address: SocketAddr,
    cuts: Arc<AtomicU64>,
    _accepting: JoinSet<()>,
}

impl Cutting {
    /// Before this server; `lengths` says how many bytes each connection lives for.
    pub async fn start(server: SocketAddr, mut lengths: impl FnMut() -> usize + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let cuts = Arc::new(AtomicU64::new(0));
        let mut accepting = JoinSet::new();
        let counted = Arc::clone(&cuts);
        accepting.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (client, _) = listener.accept().await.unwrap();
                connections.spawn(forward(client, server, lengths(), Arc::clone(&counted)));
            }
        });
        Self { address, cuts, _accepting: accepting }
    }

    /// How many connections it has cut.
    pub fn cuts(&self) -> u64 {
        self.cuts.load(Ordering::Relaxed)
    }
}

async fn forward(mut client: TcpStream, server: SocketAddr, mut left: usize, cuts: Arc<AtomicU64>) {
    let Ok(mut server) = TcpStream::connect(server).await else { return };
    let (mut up, mut down) = ([0; 4096], [0; 4096]);
    loop {
        let take = left.min(down.len());
        tokio::select! {
            read = client.read(&mut up) => match read {
                Ok(count @ 1..) if server.write_all(&up[..count]).await.is_ok() => {}
                _ => return,
            },
            read = server.read(&mut down[..take]) => match read {
                Ok(count @ 1..) if client.write_all(&down[..count]).await.is_ok() => left -= count,
                _ => return,
            },
        }
        if left == 0 {
            cuts.fetch_add(1, Ordering::Relaxed);
            // half of the cuts are resets: what was written and not yet read is lost, too
            if cuts.load(Ordering::Relaxed).is_multiple_of(2) {
                let _ = socket2::SockRef::from(&client).set_linger(Some(std::time::Duration::ZERO));
            }
            return;
        }
    }
}
