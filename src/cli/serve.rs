//! `tokenway serve`: configuration → listeners → serve → reload on SIGHUP → drain on SIGTERM or SIGINT.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::net::TcpListener;
use tokio::time::Instant;
use tokio_stream::StreamExt;

use demo_upstream::{Demo, Knobs};
use tokenway::config::Config;
use tokenway::config::development::Development;
use tokenway::drain::Drain;
use tokenway::gateway::live::Live;
use tokenway::gateway::{Gateway, Shared};
use tokenway::metrics::Metrics;
use tokenway::redis::settings::Redis;
use tokenway::server::{Settings, Signal, Signals, accept, admin, bind, playground};
use tokenway::stream::open::OpenStreams;
use tokenway::telemetry::log;

/// How often idle upstream connections are looked for.
const SWEEP: Duration = Duration::from_secs(1);
/// How long the process waits at its end for the last log lines; this takes milliseconds, as a rule.
const LAST_WORDS: Duration = Duration::from_secs(2);
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
    match start(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            if error.is::<Wrong>() { ExitCode::from(64) } else { ExitCode::FAILURE }
        }
    }
}

type AnyError = Box<dyn std::error::Error + Send + Sync>;

/// Where the configuration comes from, at the start and at each reload.
enum Source {
    File(PathBuf),
    /// The development default, whose demo upstream listens at this address.
    Development(SocketAddr),
}

impl Source {
    fn load(&self) -> Result<Config, Wrong> {
        match self {
            Source::File(path) => {
                let loaded = Config::load(path, &|name| std::env::var(name).ok());
                loaded.map_err(|problems| Wrong(problems.in_file(path)))
            }
            Source::Development(demo) => {
                let origins = ["localhost", "127.0.0.1"].map(|host| format!("http://{host}:{}", PLAYGROUND.port()));
                let prepared = Development::prepare(Path::new(CERTS), *demo, &origins);
                prepared.map(|development| development.config).map_err(|problems| Wrong(problems.to_string()))
            }
        }
    }
}

/// A configuration that cannot be used: one line per problem, as `tokenway check` writes them.
#[derive(Debug)]
struct Wrong(String);

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Wrong {}

fn start(args: &Args) -> Result<(), AnyError> {
    let (source, demo) = match &args.config {
        Some(path) => (Source::File(path.clone()), None),
        None => {
            let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
            (Source::Development(listener.local_addr()?), Some(listener))
        }
    };
    let config = source.load()?;
    log::to_stderr(config.log.json);
    config.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
    match source {
        Source::File(_) if config.access.accept.is_open() => tracing::warn!(listen = %config.server.listen, "{OPEN}"),
        // the demo upstream costs nothing
        Source::Development(_) => tracing::info!(listen = %config.server.listen, "no credentials are required"),
        Source::File(_) => {}
    }
    let runtime = runtime(config.server.workers)?;
    let served = runtime.block_on(serve(source, config, demo, args.playground));
    // tasks of streams that have just ended may still log; a name lookup cannot be interrupted, and the process waits for it
    // no longer than this
    runtime.shutdown_timeout(LAST_WORDS);
    served
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
) -> Result<(), AnyError> {
    let metrics = Arc::new(Metrics::new()?);
    let drain = Drain::default();
    let open = OpenStreams::new(metrics.streams_active.clone());
    let shared = Shared::start(&config, Arc::clone(&metrics), Arc::clone(&open), drain.clone()).await?;

    // before anything reports that it runs: a reader of that line may send a signal at once
    let mut signals = Signals::new()?;
    let fixed = Fixed::of(&config);
    // every address is bound before anything is served: either all of it works, or nothing
    let development = demo.is_some();
    let listen = if development { listen_by_default } else { listen_configured };
    let public = listen("server.listen", config.server.listen)?;
    let admin = listen("server.admin", config.server.admin)?;
    let playground = playground.or(development.then_some(PLAYGROUND));
    let playground = playground.map(|address| listen("--playground", address)).transpose()?;
    let url = public_url(&config, &public)?;
    eprintln!("listening on {}", socket_url(&config, public.local_addr()?));
    eprintln!("admin on http://{} (the dashboard; /metrics, /readyz)", admin.local_addr()?);

    let _demo = demo.map(start_demo).transpose()?;
    let settings = Arc::new(ArcSwap::from_pointee(Settings::new(&config.server)?));
    let live = Arc::new(Live::new(Gateway::new(config, shared.clone())?));
    if let Some(listener) = playground {
        eprintln!("playground on http://localhost:{}", listener.local_addr()?.port());
        let playground = playground::serve(listener, url.clone(), drain.clone());
        tokio::spawn(async move {
            if let Err(error) = playground.await {
                tracing::error!("{error}");
            }
        });
    }
    if development {
        eprintln!("{}", welcome(&url));
    }
    let health_registry = Arc::clone(&shared.health_registry);
    tokio::spawn(admin::serve(admin, Arc::clone(&metrics), health_registry, drain.clone()));
    tokio::spawn(sweep(Arc::clone(&live)));
    let mut served =
        tokio::spawn(accept::serve(public, Arc::clone(&settings), Arc::clone(&live), metrics, drain.clone()));

    while let Some(signal) = signals.next().await {
        match signal {
            Signal::Reload => reload(&source, &fixed, &live, &settings, &shared),
            Signal::Stop => break,
        }
    }
    let patience = live.current().config.server.drain;
    tracing::info!(streams = shared.metrics.streams_active.get(), ?patience, "draining; a second signal ends at once");
    drain.begun.cancel();
    // a client that has left cannot reconnect, because the listeners are closed
    live.current().sweep(Instant::now());
    let stopped_again = async { while signals.next().await != Some(Signal::Stop) {} };
    tokio::select! {
        _ = &mut served => {}
        () = stopped_again => {}
        () = async {
            tokio::time::sleep(patience).await;
            open.cut();
            drain.over.cancel();
            // the listener drops connections that do not end by themselves
            std::future::pending().await
        } => {}
    }
    Ok(())
}

fn listen_configured(key: &'static str, address: SocketAddr) -> Result<TcpListener, AnyError> {
    Ok(bind(key, address)?)
}

/// Binds an address of the development default. If it is taken, the error says how to use a file with other addresses.
fn listen_by_default(key: &'static str, address: SocketAddr) -> Result<TcpListener, AnyError> {
    bind(key, address).map_err(|error| {
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

/// Reads the configuration again and applies all of it, or keeps the old one and logs the reason.
fn reload(source: &Source, fixed: &Fixed, live: &Live, settings: &ArcSwap<Settings>, shared: &Shared) {
    let loaded = source.load().map_err(AnyError::from).and_then(|config| {
        let warnings = [&config.warnings[..], &fixed.needs_restart(&config)].concat();
        let settings = Settings::new(&config.server)?;
        Ok((settings, Gateway::new(config, shared.clone())?, warnings))
    });
    let result = match loaded {
        Ok((new_settings, gateway, warnings)) => {
            settings.store(Arc::new(new_settings));
            live.swap(gateway);
            warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
            tracing::info!("configuration reloaded; open streams go on");
            "ok"
        }
        Err(error) => {
            tracing::error!("configuration not reloaded, the old one stays: {error}");
            "failed"
        }
    };
    shared.metrics.config_stale.set(i64::from(result == "failed"));
    shared.metrics.reloads.with_label_values(&[result]).inc();
}

/// The settings that only a restart can change, as they were at the start.
struct Fixed {
    listen: SocketAddr,
    admin: SocketAddr,
    workers: usize,
    max_callers: usize,
    redis: Option<Redis>,
    json_log: bool,
}

impl Fixed {
    fn of(config: &Config) -> Self {
        let server = &config.server;
        Self {
            listen: server.listen,
            admin: server.admin,
            workers: server.workers,
            max_callers: config.max_callers,
            redis: config.redis.clone(),
            json_log: config.log.json,
        }
    }

    /// Returns the changes that a reload cannot make, one sentence each.
    fn needs_restart(&self, config: &Config) -> Vec<String> {
        let new = Fixed::of(config);
        let changed = [
            ("server.listen", self.listen != new.listen),
            ("server.admin", self.admin != new.admin),
            ("server.workers", self.workers != new.workers),
            ("limits.max_callers", self.max_callers != new.max_callers),
            ("[redis] of limits, budgets and logouts", self.redis != new.redis),
            ("log.format", self.json_log != new.json_log),
        ];
        let warn = |(key, _): &(&str, bool)| format!("{key} is not what it was at the start: restart to make it so");
        changed.iter().filter(|(_, changed)| *changed).map(warn).collect()
    }
}

async fn sweep(live: Arc<Live>) {
    loop {
        tokio::time::sleep(SWEEP).await;
        live.current().sweep(Instant::now());
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
        let taken = listen_by_default("server.listen", "127.0.0.1:0".parse().unwrap()).unwrap();
        let address = taken.local_addr().unwrap();
        let error = listen_by_default("server.listen", address).unwrap_err().to_string();
        assert!(error.starts_with(&format!("{address}: another process listens there")), "{error}");
        assert!(error.contains("tokenway serve --config") && !error.contains("choose another port"), "{error}");
        // with a file, another address can be chosen
        let error = listen_configured("server.listen", address).unwrap_err().to_string();
        assert!(error.contains("choose another port"), "{error}");
    }
}
