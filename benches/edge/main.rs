//! `cargo bench --bench edge -- [cpu] [ttft] [requests] [memory] [scale]`: what a forwarded event, a first token, a short
//! request and an open stream cost in Tokenway, beside a bare byte copy, nginx and a plain hyper proxy on the same machine in the same minutes.
//!
//! Upstream (`source`) and load (`client`) live in this process; what is measured runs as a process of its own (`target`)
//! and is measured from outside (`procfs`). All targets take turns in every round; the best round of each counts.

mod client;
mod floor;
mod plain_hyper;
mod procfs;
mod report;
mod scenario;
mod source;
mod target;
mod wire;

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Parser;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::report::Report;
use crate::scenario::{Bench, Part};
use crate::source::{Clock, Source};
use crate::target::{Kind, Site};

type BoxError = Box<dyn std::error::Error + Send + Sync>;
type Outcome<T = ()> = Result<T, BoxError>;

/// Measures Tokenway beside a bare byte copy, nginx and a plain hyper proxy, all on one processor.
#[derive(Debug, Parser)]
#[command(name = "edge")]
struct Flags {
    /// What to measure [default: all]
    #[arg(value_enum)]
    parts: Vec<Part>,
    /// Whom to measure [default: all]
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Kind>,
    /// Rounds; the best counts (memory and scale take at most two, their figures hardly move)
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds of each processor-time measurement
    #[arg(long, default_value_t = 2.0)]
    window: f64,
    /// Streams of the processor-time measurement
    #[arg(long, default_value_t = 100)]
    streams: usize,
    /// Events a second of all streams together
    #[arg(long, default_value_t = 5000.0)]
    rate: f64,
    /// Idle streams of the memory measurement
    #[arg(long, default_value_t = 1000)]
    idle: usize,
    /// Requests of each kind and round for the first-token time
    #[arg(long, default_value_t = 150)]
    requests: usize,
    /// The gateway's executable [default: the one that cargo built beside this]
    #[arg(long)]
    tokenway: Option<PathBuf>,
    /// The executable of an earlier build, which is measured in the same run
    #[arg(long)]
    before: Option<PathBuf>,
    /// Prints JSON instead of tables
    #[arg(long)]
    json: bool,
    /// Passed by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

/// What a measured program of this executable is started with.
#[derive(Debug, Parser)]
struct Serve {
    #[arg(value_parser = ["serve"])]
    _serve: String,
    what: String,
    certificate: PathBuf,
    key: PathBuf,
    upstream: SocketAddr,
}

fn main() -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    if std::env::args().nth(1).is_some_and(|first| first == "serve") {
        return runtime.block_on(serve(Serve::parse()));
    }
    // `cargo test --all-targets` starts it without a flag, nextest with `--list`: there is no test in here.
    if std::env::args().len() == 1 || std::env::args().any(|argument| argument == "--list") {
        return Ok(());
    }
    runtime.block_on(measure(Flags::parse()))
}

async fn serve(flags: Serve) -> Outcome {
    match flags.what.as_str() {
        "floor" => floor::serve(target::tls(&flags.certificate, &flags.key, &[])?, flags.upstream).await,
        "plain-hyper" => {
            let tls = target::tls(&flags.certificate, &flags.key, &[b"h2", b"http/1.1"])?;
            plain_hyper::serve(tls, flags.upstream).await
        }
        other => Err(format!("{other} is not served here: floor or plain-hyper").into()),
    }
}

async fn measure(flags: Flags) -> Outcome {
    let clock = Clock::start();
    let source = Source::start(clock)?;
    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("edge-{}", std::process::id()));
    let tokenway = flags.tokenway.unwrap_or_else(|| env!("CARGO_BIN_EXE_tokenway").into());
    let site = Site::prepare(directory, source.address, tokenway, flags.before)?;
    let client = client::Client::new(&CertificateDer::from_pem_file(site.certificate())?)?;
    let bench = Bench {
        client,
        clock,
        source,
        site,
        rounds: flags.rounds.max(1),
        window: std::time::Duration::from_secs_f64(flags.window),
        streams: flags.streams,
        rate: flags.rate,
        idle: flags.idle,
        requests: flags.requests,
    };
    let mut report = Report::new(procfs::machine()?);
    target::share_one_processor()?;
    let parts = if flags.parts.is_empty() { Part::ALL.to_vec() } else { flags.parts };
    let kinds = bench.present(&flags.only, &mut report).await;
    for part in parts {
        bench.run(part, &kinds, &mut report).await?;
    }
    let text = if flags.json { report.json()? } else { report.table() };
    writeln!(std::io::stdout(), "{text}")?;
    // The logs explain the notes.
    if report.is_without_notes() {
        std::fs::remove_dir_all(&bench.site.directory)?;
    }
    Ok(())
}
