//! Real Redis servers of a test's own, alone or as a cluster; and one that does on its connections what a test writes.

use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, FromRedisValue};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::task::JoinSet;

use super::gateway::Directory;
use super::ports::free_port;
use super::soon;

/// Between two looks at what tells no one that it has changed.
const PAUSE: Duration = Duration::from_millis(10);

/// A running server; it is killed when this is dropped.
pub struct Redis {
    pub port: u16,
    child: Child,
    arguments: Vec<String>,
    directory: Directory,
}

impl Redis {
    /// An empty server that keeps nothing.
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// The same, with further arguments.
    pub async fn start_with(arguments: &[&str]) -> Self {
        loop {
            let directory = Directory::new();
            let port = free_port();
            let arguments: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
            let child = spawn(port, &directory, &arguments);
            let mut redis = Self { port, child, arguments, directory };
            // else somebody has taken the port meanwhile
            if redis.answers().await {
                return redis;
            }
        }
    }

    /// An empty server on this port.
    pub async fn start_at(port: u16) -> Self {
        let directory = Directory::new();
        let child = spawn(port, &directory, &[]);
        let mut redis = Self { port, child, arguments: Vec::new(), directory };
        assert!(redis.answers().await, "port {port} is taken");
        redis
    }

    /// `redis://127.0.0.1:PORT`
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Ends it at once, as a crash would.
    pub async fn kill(&mut self) {
        self.child.kill().await.unwrap();
    }

    /// Starts it again, empty, on the same port.
    pub async fn restart(&mut self) {
        self.child = spawn(self.port, &self.directory, &self.arguments);
        assert!(self.answers().await, "port {} is taken", self.port);
    }

    /// The reply to one command over a connection of its own.
    pub async fn command<T: FromRedisValue>(&self, words: &[&str]) -> T {
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]);
        soon(command.query_async(&mut self.connection().await.unwrap())).await.unwrap()
    }

    async fn connection(&self) -> redis::RedisResult<MultiplexedConnection> {
        // the library's own patience is half a second
        let patient = AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
        redis::Client::open(self.url())?.get_multiplexed_async_connection_with_config(&patient).await
    }

    /// Whether it has started; false once it has ended.
    async fn answers(&mut self) -> bool {
        soon(async {
            loop {
                if self.child.try_wait().unwrap().is_some() {
                    return false;
                }
                if let Ok(mut connection) = self.connection().await
                    && redis::cmd("PING").exec_async(&mut connection).await.is_ok()
                {
                    return true;
                }
                tokio::time::sleep(PAUSE).await;
            }
        })
        .await
    }
}

fn spawn(port: u16, directory: &Directory, arguments: &[String]) -> Child {
    Command::new("redis-server")
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir"])
        .arg(&directory.0)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap_or_else(|error| panic!("redis-server: {error}; run scripts/setup"))
}

/// Three servers that share the slots.
pub async fn cluster() -> Vec<Redis> {
    let mut nodes = Vec::new();
    for _ in 0..3 {
        let bus = free_port().to_string();
        let arguments = [
            "--cluster-enabled",
            "yes",
            "--cluster-port",
            &bus,
            "--cluster-node-timeout",
            // the default: a node that a busy machine holds up is not counted out
            "15000",
            "--cluster-announce-ip",
            "127.0.0.1",
        ];
        let node = Redis::start_with(&arguments).await;
        nodes.push((node, bus));
    }
    for (index, slots) in [("0", "5460"), ("5461", "10922"), ("10923", "16383")].into_iter().enumerate() {
        nodes[index].0.command::<()>(&["CLUSTER", "ADDSLOTSRANGE", slots.0, slots.1]).await;
    }
    for (node, bus) in &nodes[1..] {
        nodes[0].0.command::<()>(&["CLUSTER", "MEET", "127.0.0.1", &node.port.to_string(), bus]).await;
    }
    for (node, _) in &nodes {
        soon(async {
            loop {
                let info: String = node.command(&["CLUSTER", "INFO"]).await;
                if info.contains("cluster_state:ok") && info.contains("cluster_known_nodes:3") {
                    return;
                }
                tokio::time::sleep(PAUSE).await;
            }
        })
        .await;
    }
    nodes.into_iter().map(|(node, _)| node).collect()
}

/// What a scripted server does with one command.
#[derive(Clone)]
pub enum Reply {
    /// These bytes.
    Now(&'static str),
    /// These bytes, after this time.
    After(Duration, &'static str),
    /// None, ever: neither to this command nor to a later one of the connection.
    Never,
    /// It closes the connection.
    Close,
}

/// A server that accepts every greeting, and answers scripts as a test wants.
pub struct ScriptedRedis {
    pub address: SocketAddr,
    /// The names of the commands on each connection, in order.
    seen: Arc<Mutex<Vec<Vec<String>>>>,
    reply: Arc<Mutex<Reply>>,
    _accepting: JoinSet<()>,
}

impl ScriptedRedis {
    pub async fn start(reply: Reply) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::<Mutex<Vec<Vec<String>>>>::default();
        let reply = Arc::new(Mutex::new(reply));
        let mut accepting = JoinSet::new();
        let (all, script) = (seen.clone(), reply.clone());
        accepting.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((socket, _)) = listener.accept().await {
                all.lock().unwrap().push(Vec::new());
                let number = all.lock().unwrap().len() - 1;
                connections.spawn(serve(socket, number, all.clone(), script.clone()));
            }
        });
        Self { address, seen, reply, _accepting: accepting }
    }

    pub fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// From now on scripts are answered so.
    pub fn answer(&self, reply: Reply) {
        *self.reply.lock().unwrap() = reply;
    }

    /// The commands that came so far, by connection.
    pub fn seen(&self) -> Vec<Vec<String>> {
        self.seen.lock().unwrap().clone()
    }

    /// Returns once what was seen is so.
    pub async fn until(&self, so: impl Fn(&[Vec<String>]) -> bool) {
        soon(async {
            while !so(&self.seen()) {
                tokio::time::sleep(PAUSE).await;
            }
        })
        .await;
    }
}

async fn serve(socket: TcpStream, number: usize, seen: Arc<Mutex<Vec<Vec<String>>>>, reply: Arc<Mutex<Reply>>) {
    let mut socket = BufReader::new(socket);
    let mut silent = false;
    while let Some(command) = read_command(&mut socket).await {
        seen.lock().unwrap()[number].push(command.clone());
        let reply = match command.as_str() {
            "PING" => Reply::Now("+PONG\r\n"),
            // who reads logouts has no part in it
            "LOGOUTS" => Reply::Now("*0\r\n"),
            "EVALSHA" | "EVAL" | "GETRANGE" => reply.lock().unwrap().clone(),
            _ => Reply::Now("+OK\r\n"),
        };
        match reply {
            // it would be taken for the reply that is owed
            Reply::Now(_) if silent => {}
            Reply::Now(bytes) => socket.write_all(bytes.as_bytes()).await.unwrap(),
            Reply::After(time, bytes) => {
                tokio::time::sleep(time).await;
                socket.write_all(bytes.as_bytes()).await.unwrap();
            }
            Reply::Never => silent = true,
            Reply::Close => break,
        }
    }
    seen.lock().unwrap()[number].push("closed".to_owned());
}

/// The name of the next command (RESP: an array of bulk strings), `LOGOUTS` for a script about those; `None` at the end of
/// the connection.
async fn read_command(socket: &mut BufReader<TcpStream>) -> Option<String> {
    let count = read_number(socket, "*").await?;
    let mut words = Vec::new();
    for _ in 0..count {
        let mut word = vec![0; read_number(socket, "$").await? + 2];
        socket.read_exact(&mut word).await.ok()?;
        words.push(String::from_utf8_lossy(&word).trim_end().to_owned());
    }
    match words.get(3).map(String::as_str) {
        Some("tokenway:{logouts}") => Some("LOGOUTS".to_owned()),
        _ => words.first().map(|name| name.to_ascii_uppercase()),
    }
}

async fn read_number(socket: &mut BufReader<TcpStream>, prefix: &str) -> Option<usize> {
    let mut line = String::new();
    socket.read_line(&mut line).await.ok()?;
    line.trim_end().strip_prefix(prefix)?.parse().ok()
}
