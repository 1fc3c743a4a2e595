//! One supervised connection to Redis or to a Redis cluster.
//!
//! A call uses the connection that is open, and fails after its timeout. A caller never connects, and never waits for
//! another call: commands are pipelined, and replies come in their order. After a reply that is late, the connection is
//! tested: meanwhile calls fail at once, and the late reply is dropped when it comes. If none comes, the connection is closed.

use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prometheus::IntCounterVec;
use redis::{Cmd, ErrorKind, RedisResult, ServerErrorKind, Value};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use crate::metrics::Metrics;
use crate::redis::error::RedisError;
use crate::redis::health::Health;
use crate::redis::settings::Redis;
use crate::redis::target::{CONNECT_TIMEOUT, Multiplexed, Target};
use crate::supervise;

/// The time in which a connection with a late reply must answer `PING`.
const TEST_TIMEOUT: Duration = Duration::from_secs(1);
/// One kind of error is logged once in this time.
const QUIET: Duration = Duration::from_secs(10);

/// The connection. Dropping it closes it.
pub struct Connection {
    inner: Arc<Inner>,
    connecting: JoinHandle<()>,
    /// Each write in the background holds a clone.
    pending: Arc<()>,
}

struct Inner {
    target: Target,
    /// Host and port, for the log.
    place: String,
    budget: Duration,
    serves: &'static str,
    metrics: Arc<Metrics>,
    runtime: Handle,
    state: Mutex<State>,
    /// Whether the connection is open.
    connected: watch::Sender<bool>,
}

#[derive(Default)]
struct State {
    connection: Option<Multiplexed>,
    /// The number of connections so far, so that an error of an old one does not close its successor.
    generation: u64,
    /// A reply is late, and the connection is tested.
    tested: bool,
    health: Health,
    logged: [Option<Instant>; RedisError::ALL.len()],
}

/// A Lua script, which Redis knows by its SHA-1 once it has seen it.
pub struct Script {
    text: &'static str,
    hash: String,
}

impl Connection {
    /// Starts to connect, on this runtime; `serves` is the purpose, for the log.
    ///
    /// # Errors
    /// Names the setting that cannot be used.
    pub fn start(config: &Redis, serves: &'static str, metrics: Arc<Metrics>) -> Result<Self, String> {
        let inner = Arc::new(Inner {
            target: Target::new(config).map_err(|error| format!("redis.url cannot be used: {error}"))?,
            place: config.place(),
            budget: config.timeout,
            serves,
            metrics,
            runtime: Handle::current(),
            state: Mutex::default(),
            connected: watch::Sender::new(false),
        });
        let (restarts, kept) = (inner.metrics.task_restarts.clone(), Arc::clone(&inner));
        let keep_connected = move || Arc::clone(&kept).keep_connected();
        let connecting = tokio::spawn(supervise::keep_always("redis", restarts, keep_connected));
        Ok(Self { inner, connecting, pending: Arc::default() })
    }

    /// Waits for the connection within this time. Returns false if there is none then.
    pub async fn is_ready_within(&self, patience: Duration) -> bool {
        let mut connected = self.inner.connected.subscribe();
        timeout(patience, connected.wait_for(|connected| *connected)).await.is_ok_and(|changed| changed.is_ok())
    }

    /// The metric that counts restarts of tasks.
    pub fn restarts(&self) -> IntCounterVec {
        self.inner.metrics.task_restarts.clone()
    }

    /// The runtime for work in the background.
    pub fn runtime(&self) -> &Handle {
        &self.inner.runtime
    }

    /// Runs a write in the background.
    pub fn write_later(&self, write: impl Future<Output = ()> + Send + 'static) {
        let pending = Arc::clone(&self.pending);
        self.inner.runtime.spawn(async move {
            write.await;
            drop(pending);
        });
    }

    /// Whether a write is still in the background.
    pub fn is_writing(&self) -> bool {
        Arc::strong_count(&self.pending) > 1
    }

    /// Returns the number of the connection: another one may lead to another server.
    pub fn generation(&self) -> u64 {
        self.inner.state().generation
    }

    /// Runs a script in one round trip, or in two if the server does not have it. All keys must be in one cluster slot.
    ///
    /// # Errors
    /// Returns the error, which is already counted and logged.
    pub async fn run(&self, script: &Script, keys: &[String], arguments: &[String]) -> Result<Value, RedisError> {
        let (generation, mut connection) = self.inner.connection()?;
        let reply = async {
            match connection.send(&script.command("EVALSHA", keys, arguments)).await {
                Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                    connection.send(&script.command("EVAL", keys, arguments)).await
                }
                reply => reply,
            }
        };
        let answer = self.inner.within(self.inner.budget, generation, reply).await;
        self.inner.test_if_late(&answer, generation, connection);
        answer
    }

    /// Runs one command within this timeout instead of `redis.timeout`.
    ///
    /// # Errors
    /// Returns the error, which is already counted and logged.
    pub async fn call(&self, command: &Cmd, budget: Duration) -> Result<Value, RedisError> {
        let (generation, mut connection) = self.inner.connection()?;
        let answer = self.inner.within(budget, generation, connection.send(command)).await;
        self.inner.test_if_late(&answer, generation, connection);
        answer
    }

    /// Counts and logs a reply with a wrong form.
    pub fn misunderstood(&self) -> RedisError {
        let generation = self.inner.state().generation;
        self.inner.failed_over(generation, RedisError::Reply)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.connecting.abort();
    }
}

impl Inner {
    /// Returns the open connection and its number.
    fn connection(&self) -> Result<(u64, Multiplexed), RedisError> {
        let state = self.state();
        match state.connection.as_ref().filter(|_| !state.tested) {
            Some(connection) => Ok((state.generation, connection.clone())),
            None => {
                drop(state);
                Err(self.failed(RedisError::NotConnected))
            }
        }
    }

    async fn within(
        &self,
        budget: Duration,
        generation: u64,
        reply: impl Future<Output = RedisResult<Value>>,
    ) -> Result<Value, RedisError> {
        match timeout(budget, reply).await {
            Ok(Ok(value)) => {
                self.state().health.replied();
                Ok(value)
            }
            Ok(Err(error)) => Err(self.failed_over(generation, RedisError::of(&error))),
            Err(_) => Err(self.failed_over(generation, RedisError::Slow)),
        }
    }

    async fn keep_connected(self: Arc<Self>) {
        let mut connected = self.connected.subscribe();
        while connected.wait_for(|connected| !connected).await.is_ok() {
            let back_off = self.state().health.back_off(jitter());
            if !back_off.is_zero() {
                tokio::time::sleep(back_off).await;
            }
            let opened = async {
                let mut connection = self.target.connect().await?;
                // a server that accepts and then stays silent counts as unavailable
                let ping = timeout(self.budget, connection.send(&redis::cmd("PING"))).await;
                let slow = |_| Err((ErrorKind::Io, "no reply within redis.timeout").into());
                ping.unwrap_or_else(slow).map(|_| connection)
            };
            match timeout(CONNECT_TIMEOUT, opened).await {
                Ok(Ok(connection)) => {
                    let mut state = self.state();
                    state.connection = Some(connection);
                    state.tested = false;
                    state.health.connected();
                    state.generation += 1;
                    // under the lock, because the connection may be closed in the next moment
                    self.connected.send_replace(true);
                    drop(state);
                    tracing::info!(redis = self.place, serves = self.serves, "connected to Redis");
                }
                Ok(Err(error)) => self.not_connected(match RedisError::of(&error) {
                    RedisError::Io | RedisError::Other => RedisError::Connect,
                    error => error,
                }),
                Err(_) => self.not_connected(RedisError::Connect),
            }
        }
    }

    fn not_connected(&self, error: RedisError) {
        self.state().health.not_connected();
        self.failed(error);
    }

    /// Tests the connection after a late reply, unless it is tested already. Replies come in order, so the reply to the test
    /// follows the late one.
    fn test_if_late(
        self: &Arc<Self>,
        answer: &Result<Value, RedisError>,
        generation: u64,
        mut connection: Multiplexed,
    ) {
        if *answer != Err(RedisError::Slow) {
            return;
        }
        let mut state = self.state();
        if state.generation != generation || std::mem::replace(&mut state.tested, true) {
            return;
        }
        drop(state);
        let inner = Arc::clone(self);
        self.runtime.spawn(async move {
            let ping = redis::cmd("PING");
            let answers = matches!(timeout(TEST_TIMEOUT, connection.send(&ping)).await, Ok(Ok(_)));
            let mut state = inner.state();
            if state.generation != generation {
                return;
            }
            match answers {
                true => state.tested = false,
                false => inner.close(&mut state),
            }
        });
    }

    fn close(&self, state: &mut State) {
        if state.connection.take().is_some() {
            state.health.closed();
            self.connected.send_replace(false);
        }
    }

    /// Handles an error of this connection, and closes it if necessary.
    fn failed_over(&self, generation: u64, error: RedisError) -> RedisError {
        let mut state = self.state();
        let cluster = matches!(state.connection, Some(Multiplexed::Cluster(_)));
        // an error of an old connection says nothing about its successor
        if state.generation == generation && state.health.failed(error, cluster) {
            self.close(&mut state);
        }
        drop(state);
        self.failed(error)
    }

    /// Counts an error, and logs it once in [`QUIET`].
    fn failed(&self, error: RedisError) -> RedisError {
        self.metrics.redis_failures.with_label_values(&[error.as_str()]).inc();
        let now = Instant::now();
        let mut state = self.state();
        let logged = &mut state.logged[error as usize];
        if logged.is_none_or(|logged| now.duration_since(logged) >= QUIET) {
            *logged = Some(now);
            drop(state);
            tracing::warn!(
                redis = self.place,
                reason = error.as_str(),
                serves = self.serves,
                "no answer from Redis: each instance counts for itself (limits: at redis.local_share)"
            );
        }
        error
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // no change can panic half-way
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn jitter() -> u8 {
    let mut byte = [0];
    // without randomness there is no jitter
    let _ = getrandom::fill(&mut byte);
    byte[0]
}

impl Script {
    /// Makes a script with this source.
    pub fn new(text: &'static str) -> Self {
        Self { text, hash: redis::Script::new(text).get_hash().to_owned() }
    }

    fn command(&self, name: &str, keys: &[String], arguments: &[String]) -> Cmd {
        let mut command = redis::cmd(name);
        command.arg(if name == "EVAL" { self.text } else { &self.hash }).arg(keys.len());
        command.arg(keys).arg(arguments);
        command
    }
}
