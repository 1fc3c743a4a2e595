//! The floor: what forwarding costs when nothing is understood. TLS is terminated, a TCP connection is opened to the
//! upstream, bytes are copied both ways. One thread.

use std::net::SocketAddr;
use std::sync::Arc;

use rustls::ServerConfig;
use tokio::io::copy_bidirectional_with_sizes;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::Outcome;

/// Enough for a burst of events; tokio's default of 8 KiB each way would make the floor's memory a straw man.
const BUFFER: usize = 4096;

/// Serves until the process is ended.
pub(crate) async fn serve(tls: ServerConfig, upstream: SocketAddr) -> Outcome {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    eprintln!("listening on https://{}", listener.local_addr()?);
    let tls = TlsAcceptor::from(Arc::new(tls));
    loop {
        let (client, _) = listener.accept().await?;
        let tls = tls.clone();
        // An error ends one connection; the load client notices.
        tokio::spawn(async move { forward(client, tls, upstream).await });
    }
}

async fn forward(client: TcpStream, tls: TlsAcceptor, upstream: SocketAddr) -> std::io::Result<()> {
    client.set_nodelay(true)?;
    let mut client = Box::pin(tls.accept(client)).await?;
    let mut upstream = TcpStream::connect(upstream).await?;
    upstream.set_nodelay(true)?;
    copy_bidirectional_with_sizes(&mut client, &mut upstream, BUFFER, BUFFER).await?;
    Ok(())
}
