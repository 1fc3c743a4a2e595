//! `tokenway serve`: configuration → listeners → serve → reload on SIGHUP → drain on SIGTERM or SIGINT.

mod configuration;

use std::io::{self, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use tokio::net::TcpListener;
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;
use tokio_stream::StreamExt;

use demo_upstream::{Demo, Knobs};
use tokenway::config::Config;
use tokenway::drain::Drain;
use tokenway::gateway::live::Live;
use tokenway::gateway::{Gateway, Shared};
use tokenway::metrics::Metrics;
use tokenway::server::{Settings, Signal, Signals, accept, admin, bind, descriptors, expiry, playground};
use tokenway::stream::open::OpenStreams;
use tokenway::supervise::{self, Failed};
use tokenway::telemetry::log::Log;

use configuration::{Fixed, Source, Wrong, reload};

/// How often idle upstream connections are looked for.
const SWEEP: Duration = Duration::from_secs(1);
/// How long the end of the process waits for tasks that still have something to log; milliseconds, as a rule.
const LAST_TASKS: Duration = Duration::from_secs(2);
/// How long the end of the process waits until the log is written.
const LAST_LINES: Duration = Duration::from_secs(1);
/// How long the end of the process waits until the last streams have settled, and until what they used is written to Redis.
const LAST_WRITES: Duration = Duration::from_secs(2);
/// How often this is looked at.
const LOOK: Duration = Duration::from_millis(5);
/// How long new requests are still accepted after the listener has closed, at most. It closes at once, as a rule.
const LAST_CONNECTIONS: Duration = Duration::from_millis(1500);
/// How often the certificate is checked for its expiry.
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// The playground of the development default.
const PLAYGROUND: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8444);
/// The directory in which the development default stores its local CA and certificate.
const CERTS: &str = "certs";
/// The pace of the demo upstream of the development default: slow enough to watch.
const DEMO_FIRST_TOKEN: Duration = Duration::from_millis(150);
const DEMO_TOKENS_PER_SECOND: f64 = 40.0;

/// The warning at the start if no credentials are required.
const OPEN: &str = "access.accept is empty: pages of every allowed origin, and every program that reaches this gateway, may \
                    spend the provider's money";

/// The arguments of `tokenway serve`.
#[derive(Debug, Default, clap::Args)]
#[command(after_help = "\
Examples:
  # the development default: a demo upstream, a local certificate
  tokenway serve

  tokenway serve --config tokenway.toml

Signals:
  HUP   the file and the certificate are read again; mistakes change nothing
  TERM  open streams may finish within server.drain; then exit status 0")]
pub(crate) struct Args {
    /// The configuration file; without it, the development default
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Serve the playground page on this address as well; its origin must be in cors.origins
    #[arg(long, value_name = "ADDR")]
    playground: Option<SocketAddr>,
}

/// Serves until a signal. Exit status 0 after a drain, 1 if an address cannot be bound, 64 for a wrong configuration.
pub(crate) fn run(args: &Args) -> ExitCode {
    let (error, status) = match Start::prepare(args) {
        Ok(start) => match start.run(args.playground) {
            Ok(status) => return status,
            Err(error) => (error, ExitCode::FAILURE),
        },
        Err(error) => {
            let status = if error.is::<Wrong>() { ExitCode::from(64) } else { ExitCode::FAILURE };
            (error, status)
        }
    };
    // nothing is served yet; if stderr cannot be written either, the exit status remains
    let _ = writeln!(io::stderr(), "{error}");
    status
}

type AnyError = Box<dyn std::error::Error + Send + Sync>;

/// What is known before anything runs.
struct Start {
    source: Source,
    config: Config,
    /// The listener of the development default's demo upstream.
    demo: Option<std::net::TcpListener>,
}

impl Start {
    fn prepare(args: &Args) -> Result<Self, AnyError> {
        let (source, demo) = match &args.config {
            Some(path) => (Source::File(path.clone()), None),
            None => {
                let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
                (Source::Development(listener.local_addr()?), Some(listener))
            }
        };
        let config = source.load()?;
        Ok(Self { source, config, demo })
    }

    /// Runs to the end. An error that comes after the log has begun is its last line; `Err` is one from before.
    fn run(self, playground: Option<SocketAddr>) -> Result<ExitCode, AnyError> {
        let metrics = Arc::new(Metrics::new()?);
        let log = Log::to_stderr(self.config.log.json, metrics.log_lines_dropped.clone())?;
        let ended = self.serve(playground, metrics, &log);
        if let Err(error) = &ended {
            log.print(&error.to_string());
        }
        log.flush_within(LAST_LINES);
        Ok(if ended.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    fn serve(self, playground: Option<SocketAddr>, metrics: Arc<Metrics>, log: &Log) -> Result<(), AnyError> {
        let Self { source, config, demo } = self;
        config.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
        match source {
            Source::File(_) if config.access.accept.is_open() => {
                tracing::warn!(listen = %config.server.listen, "{OPEN}");
            }
            // the demo upstream costs nothing
            Source::Development(_) => tracing::info!(listen = %config.server.listen, "no credentials are required"),
            Source::File(_) => {}
        }
        let runtime = runtime(config.server.workers)?;
        let served = runtime.block_on(serve(source, config, demo, playground, metrics, log));
        // tasks of streams that have just ended still hold what is to be logged of them; a name that is being looked up cannot be
        // interrupted, and is waited for no longer than this
        runtime.shutdown_timeout(LAST_TASKS);
        served
    }
}

/// One worker needs no scheduler for many: it is this thread.
fn runtime(workers: usize) -> std::io::Result<tokio::runtime::Runtime> {
    use tokio::runtime::Builder;
    let mut builder = match workers {
        1 => Builder::new_current_thread(),
        _ => Builder::new_multi_thread(),
    };
    if workers > 1 {
        builder.worker_threads(workers);
    }
    builder.enable_all().build()
}

async fn serve(
    source: Source,
    config: Config,
    demo: Option<std::net::TcpListener>,
    playground: Option<SocketAddr>,
    metrics: Arc<Metrics>,
    log: &Log,
) -> Result<(), AnyError> {
    let drain = Drain::default();
    let open = OpenStreams::new(metrics.streams_active.clone());
    let shared = Shared::start(&config, Arc::clone(&metrics), Arc::clone(&open), drain.clone()).await?;

    let limit = tokenway::descriptors::raise_limit();
    if let Some(warning) = descriptors::warning(limit, config.server.max_connections) {
        tracing::warn!("{warning}");
    }
    // before anything reports that it runs: a reader of that line may send a signal at once
    let mut signals = Signals::new()?;
    let fixed = Fixed::of(&config);
    // every address is bound before anything is served: either all of it works, or nothing
    let development = demo.is_some();
    let listen = if development { listen_by_default } else { listen_configured };
    let reuse_port = config.server.reuse_port;
    let public = listen("server.listen", config.server.listen, reuse_port)?;
    let admin = listen("server.admin", config.server.admin, reuse_port)?;
    let playground = playground.or(development.then_some(PLAYGROUND));
    let playground = playground.map(|address| listen("--playground", address, false)).transpose()?;
    let url = public_url(&config, &public)?;
    log.print(&format!("listening on {}", socket_url(&config, public.local_addr()?)));
    log.print(&format!("admin on http://{} (the dashboard; /metrics, /readyz)", admin.local_addr()?));

    let _demo = demo.map(start_demo).transpose()?;
    let settings = Arc::new(ArcSwap::from_pointee(Settings::new(&config.server)?.within(limit)));
    let live = Arc::new(Live::new(Gateway::new(config, shared.clone())?));
    if let Some(listener) = playground {
        log.print(&format!("playground on http://localhost:{}", listener.local_addr()?.port()));
        let playground = playground::serve(listener, url.clone(), metrics.task_restarts.clone(), drain.clone());
        tokio::spawn(async move {
            if let Err(error) = playground.await {
                tracing::error!("{error}");
            }
        });
    }
    if development {
        log.print(&welcome(&url));
    }
    let mut served = tokio::spawn(accept::serve(
        public,
        Arc::clone(&settings),
        Arc::clone(&live),
        Arc::clone(&metrics),
        drain.clone(),
    ));
    expiry::publish(&metrics, live.current().config.server.identity.as_ref());
    // none of these ends before the drain
    let mut tasks = JoinSet::new();
    let health_registry = Arc::clone(&shared.health_registry);
    tasks.spawn(admin::serve(admin, Arc::clone(&metrics), health_registry, drain.clone()));
    tasks.spawn({
        let (live, restarts) = (Arc::clone(&live), metrics.task_restarts.clone());
        async move { supervise::keep("sweep", &restarts, || false, || sweep(&live)).await }
    });
    tasks.spawn({
        let (live, restarts) = (Arc::clone(&live), metrics.task_restarts.clone());
        async move { supervise::keep("certificates", &restarts, || false, || watch_certificates(&live)).await }
    });
    loop {
        tokio::select! {
            Some(signal) = signals.next() => match signal {
                Signal::Reload => reload(&source, &fixed, &live, &settings, &shared, limit),
                Signal::Stop => break,
            },
            ended = &mut served => return Err(unexpected_end(ended)),
            Some(ended) = tasks.join_next() => return Err(unexpected_end(ended)),
        }
    }
    let stopped_again = async { while signals.next().await != Some(Signal::Stop) {} };
    tokio::select! {
        () = stopped_again => Ok(()),
        // the last connection has ended
        ended = &mut served => {
            let _ = tokio::time::timeout(LAST_WRITES, settled(&shared)).await;
            if drain.closing.is_cancelled() { Ok(()) } else { Err(unexpected_end(ended)) }
        }
        () = shut_down(&live, &drain, &open, shared.metrics.streams_active.get()) => Ok(()),
    }
}

/// The moments of the shutdown, one after another. It does not end by itself: the listener drops connections that do not end.
async fn shut_down(live: &Live, drain: &Drain, open: &OpenStreams, streams: i64) {
    let gateway = live.current();
    let (delay, patience) = (gateway.config.server.shutdown_delay, gateway.config.server.drain);
    tracing::info!(streams, ?delay, ?patience, "draining; a second signal ends at once");
    drain.announced.cancel();
    tokio::time::sleep(delay).await;
    drain.closing.cancel();
    let _ = tokio::time::timeout(LAST_CONNECTIONS, drain.closed.cancelled()).await;
    drain.begun.cancel();
    // a client that has left cannot reconnect, because the listeners are closed
    gateway.sweep(Instant::now());
    tokio::time::sleep(patience).await;
    open.cut();
    drain.over.cancel();
    std::future::pending().await
}

/// Returns once no stream is open and nothing is left to write to Redis. Tasks that end with the runtime could not write what
/// their requests used: budgets and limits would stay reserved.
async fn settled(shared: &Shared) {
    let is_busy = || {
        let writes = shared.link.as_ref().is_some_and(|link| link.is_writing());
        writes || shared.metrics.streams_active.get() > 0
    };
    // a stream counts as ended shortly before it is settled: twice in a row
    let mut calm = 0;
    while calm < 2 {
        tokio::time::sleep(LOOK).await;
        calm = if is_busy() { 0 } else { calm + 1 };
    }
}

fn listen_configured(key: &'static str, address: SocketAddr, reuse_port: bool) -> Result<TcpListener, AnyError> {
    Ok(bind(key, address, reuse_port)?)
}

/// Binds an address of the development default. If it is taken, the error says how to use a file with other addresses.
fn listen_by_default(key: &'static str, address: SocketAddr, reuse_port: bool) -> Result<TcpListener, AnyError> {
    bind(key, address, reuse_port).map_err(|error| {
        let source = std::error::Error::source(&error).and_then(|source| source.downcast_ref::<io::Error>());
        match source.map(io::Error::kind) {
            Some(io::ErrorKind::AddrInUse) => format!(
                "{address}: another process listens there, and the development default has no other address: stop that \
                 process, or write your own (cp tokenway.toml mine.toml; tokenway serve --config mine.toml)"
            )
            .into(),
            _ => error.into(),
        }
    })
}

/// Why the process ends if one of its tasks has ended.
fn unexpected_end(ended: Result<Result<(), Failed>, JoinError>) -> AnyError {
    match ended {
        Ok(Err(failed)) => failed.into(),
        Ok(Ok(())) => "a task ended that lives as long as the process: this is a defect of tokenway".into(),
        Err(error) => error.into(),
    }
}

async fn sweep(live: &Live) {
    loop {
        tokio::time::sleep(SWEEP).await;
        live.current().sweep(Instant::now());
    }
}

/// Repeats the warning of the configuration: a process may run for months.
async fn watch_certificates(live: &Live) {
    loop {
        tokio::time::sleep(DAY).await;
        let gateway = live.current();
        let warning = gateway.config.server.identity.as_ref().and_then(|own| own.expiry_warning(SystemTime::now()));
        warning.iter().for_each(|warning| tracing::warn!("server.certificate {warning}"));
    }
}

fn start_demo(listener: std::net::TcpListener) -> Result<Demo, AnyError> {
    listener.set_nonblocking(true)?;
    let knobs = Knobs { first_token: DEMO_FIRST_TOKEN, tokens_per_second: DEMO_TOKENS_PER_SECOND, ..Knobs::default() };
    Ok(Demo::start(TcpListener::from_std(listener)?, knobs)?)
}

fn scheme(config: &Config) -> &'static str {
    if config.server.identity.is_some() { "https" } else { "http" }
}

fn socket_url(config: &Config, address: SocketAddr) -> String {
    format!("{}://{address}", scheme(config))
}

/// Returns the URL under which a page reaches the public listener: with the first of its names.
fn public_url(config: &Config, listener: &TcpListener) -> Result<String, AnyError> {
    let address = listener.local_addr()?;
    let name = config.server.hosts.names.iter().find(|name| !name.starts_with("*."));
    Ok(match name {
        Some(name) => format!("{}://{name}:{}", scheme(config), address.port()),
        None => socket_url(config, address),
    })
}

fn welcome(url: &str) -> String {
    format!(
        r#"
This is the development default: a demo upstream answers. Try it:

  curl -N --cacert {CERTS}/ca.pem {url}/v1/chat/completions -H 'content-type: application/json' \
    -d '{{"model":"gpt-4o","stream":true,"messages":[{{"role":"user","content":"Why do streams feel fast?"}}]}}'

In a browser: http://localhost:{playground} (trust {CERTS}/ca.pem, or open {url}/healthz once and accept the certificate).
A real provider: cp tokenway.toml mine.toml, set its key in the environment, then tokenway serve --config mine.toml
"#,
        playground = PLAYGROUND.port(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_taken_address_of_the_development_default_is_named_with_what_can_be_done() {
        let taken = listen_by_default("server.listen", "127.0.0.1:0".parse().unwrap(), false).unwrap();
        let address = taken.local_addr().unwrap();
        let error = listen_by_default("server.listen", address, false).unwrap_err().to_string();
        assert!(error.starts_with(&format!("{address}: another process listens there")), "{error}");
        assert!(error.contains("tokenway serve --config") && !error.contains("choose another port"), "{error}");
        // with a file, another address can be chosen
        let error = listen_configured("server.listen", address, false).unwrap_err().to_string();
        assert!(error.contains("choose another port"), "{error}");
    }
}
