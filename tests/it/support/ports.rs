//! Ports that nobody else gets meanwhile. The kernel gives a port that was free a moment ago to whoever asks for any, and
//! tests ask all the time.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};

use socket2::{Domain, Socket, Type};

/// Below the range out of which kernels give ports to those who ask for any (Linux's begins at 32768).
const FIRST: u32 = 20_000;
const COUNT: u32 = 12_000;
/// How many ports in a row belong to one process. Process ids that live at the same time lie close together.
const EACH: u32 = 12;

/// A port at which nobody listens now, for a server that is started later, or again.
pub fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let number = process::id().wrapping_mul(EACH).wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = (FIRST + number % COUNT) as u16;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
}

/// An address that refuses connections for as long as this lives: the port is taken, and nobody listens.
pub struct Nobody {
    pub address: SocketAddr,
    _taken: Socket,
}

impl Nobody {
    pub fn new() -> Self {
        let taken = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        taken.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
        Self { address: taken.local_addr().unwrap().as_socket().unwrap(), _taken: taken }
    }
}
