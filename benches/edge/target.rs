//! The programs that are measured, each its own process with one worker, the same certificate and the same upstream.

use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, crypto};
use tokenway::auth::key::Key;
use tokio::time::{Instant, sleep};

use crate::{Outcome, procfs};

const PATIENCE: Duration = Duration::from_secs(5);

/// What can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub(crate) enum Kind {
    /// A bare TLS-to-TCP byte copy.
    Floor,
    /// This crate's gateway.
    Tokenway,
    /// Another build of the gateway, given by `--before`.
    Before,
    /// The same with gateway keys and every limit on, which are never reached.
    Limited,
    /// The same without keys, asked for streams that can be resumed: each goes through a log.
    Resumable,
    /// Debian's nginx with `proxy_buffering off`.
    Nginx,
    /// A proxy of hyper's server and client with nothing in between.
    PlainHyper,
}

impl Kind {
    /// As it stands in a table.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Floor => "floor",
            Kind::Tokenway => "tokenway",
            Kind::Before => "tokenway before",
            Kind::Limited => "tokenway limited",
            Kind::Resumable => "tokenway resumable",
            Kind::Nginx => "nginx",
            Kind::PlainHyper => "plain hyper",
        }
    }
}

/// What every target is given.
#[derive(Debug)]
pub(crate) struct Site {
    /// For configuration and logs.
    pub(crate) directory: PathBuf,
    /// The upstream.
    pub(crate) upstream: SocketAddr,
    /// The gateway's executable.
    pub(crate) tokenway: PathBuf,
    /// The executable of another build, to compare with.
    pub(crate) before: Option<PathBuf>,
}

impl Site {
    /// Makes the directory, and in it a P-256 certificate for `localhost`.
    pub(crate) fn prepare(
        directory: PathBuf,
        upstream: SocketAddr,
        tokenway: PathBuf,
        before: Option<PathBuf>,
    ) -> Outcome<Self> {
        fs::create_dir_all(&directory)?;
        let site = Site { directory, upstream, tokenway, before };
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()])?;
        fs::write(site.certificate(), made.cert.pem())?;
        fs::write(site.key(), made.signing_key.serialize_pem())?;
        Ok(site)
    }

    /// The certificate's file.
    pub(crate) fn certificate(&self) -> PathBuf {
        self.directory.join("certificate.pem")
    }

    fn key(&self) -> PathBuf {
        self.directory.join("private.key")
    }
}

/// Puts this process, and so every target that it starts, on one processor.
///
/// Left to the scheduler, a target runs now beside the source, now on the source's own processor, where it wakes once for
/// all events that were written meanwhile: two results for one program, a third apart. And waking another, idle processor
/// costs more than forwarding an event, above all in a virtual machine. Measured: on one processor rounds differ by 3 %.
pub(crate) fn share_one_processor() -> Outcome {
    let processor = procfs::last_processor()?;
    let mut taskset = Command::new("taskset");
    taskset.args(["--all-tasks", "--cpu-list", "--pid", &processor, &std::process::id().to_string()]);
    let status = taskset.stdout(Stdio::null()).status().map_err(|error| format!("taskset (of util-linux): {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("taskset: {status}").into()) }
}

/// The TLS settings of the floor and the plain proxy: the gateway's provider, TLS 1.3.
pub(crate) fn tls(certificate: &Path, key: &Path, alpn: &[&[u8]]) -> Outcome<ServerConfig> {
    let mut config = ServerConfig::builder_with_provider(crypto::ring::default_provider().into())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_no_client_auth()
        .with_single_cert(vec![CertificateDer::from_pem_file(certificate)?], PrivateKeyDer::from_pem_file(key)?)?;
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    Ok(config)
}

/// A running target; ended when dropped.
#[derive(Debug)]
pub(crate) struct Target {
    child: Child,
    /// Where it listens for TLS.
    pub(crate) address: SocketAddr,
}

impl Drop for Target {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Target {
    /// Starts it and waits until it listens.
    pub(crate) async fn start(kind: Kind, site: &Site) -> Outcome<Self> {
        let started = match kind {
            Kind::Floor => listening(serve("floor", site)?, kind, site).await,
            Kind::PlainHyper => listening(serve("plain-hyper", site)?, kind, site).await,
            Kind::Tokenway => listening(tokenway(site, &site.tokenway, "tokenway.toml", OPEN)?, kind, site).await,
            Kind::Before => {
                let before = site.before.as_ref().ok_or("no --before was given")?;
                listening(tokenway(site, before, "before.toml", OPEN)?, kind, site).await
            }
            Kind::Resumable => {
                listening(tokenway(site, &site.tokenway, "resumable.toml", RESUMABLE)?, kind, site).await
            }
            Kind::Limited => {
                listening(tokenway(site, &site.tokenway, "limited.toml", &limited(site)?)?, kind, site).await
            }
            Kind::Nginx => nginx(site).await,
        };
        started.map_err(|error| format!("{}: {error}", kind.name()).into())
    }

    /// The process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }
}

fn serve(what: &str, site: &Site) -> Outcome<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["serve", what]).arg(site.certificate()).arg(site.key()).arg(site.upstream.to_string());
    Ok(command)
}

/// No key is asked for, and nothing limited.
const OPEN: &str = "[limits]
requests_per_minute = 0
";

/// The same, with room for as many resumable streams as the benchmark opens.
const RESUMABLE: &str = r#"[limits]
requests_per_minute = 0

[resume]
max_streams = 100000
max_bytes = "1GiB"
"#;

/// Keys are asked for, and every limit is counted; a thousand keys are known, and none comes near its limits.
fn limited(site: &Site) -> Outcome<String> {
    let file = site.directory.join("keys.toml");
    let keys = (0..1000_u16).map(|number| {
        let hash = Key::from_random(seed(number)).hash();
        format!("[[keys]]\nname = \"caller-{number}\"\nsha256 = \"{hash}\"\n\n")
    });
    fs::write(&file, keys.collect::<String>())?;
    Ok(format!(
        r#"[access]
accept = ["key"]
keys_file = "{}"

[limits]
requests_per_minute = 1_000_000_000
tokens_per_minute = 1_000_000_000
concurrent_streams = 1_000_000
"#,
        file.display()
    ))
}

/// The key that the client shows.
pub(crate) fn key() -> Key {
    Key::from_random(seed(17))
}

fn seed(number: u16) -> [u8; 32] {
    let mut seed = [0; 32];
    seed[..2].copy_from_slice(&number.to_le_bytes());
    seed
}

fn tokenway(site: &Site, executable: &Path, name: &str, more: &str) -> Outcome<Command> {
    let file = site.directory.join(name);
    let configuration = format!(
        r#"[server]
listen = "127.0.0.1:0"
admin = "127.0.0.1:0"
certificate = "{}"
private_key = "{}"
workers = 1

[[upstreams]]
name = "bench"
base_url = "http://{}/v1"

[[models]]
name = "bench"
upstream = "bench"

{more}"#,
        site.certificate().display(),
        site.key().display(),
        site.upstream
    );
    fs::write(&file, configuration)?;
    let mut command = Command::new(executable);
    command.arg("serve").arg("--config").arg(file);
    Ok(command)
}

/// Starts a program that says `listening on https://ADDRESS` on stderr.
async fn listening(mut command: Command, kind: Kind, site: &Site) -> Outcome<Target> {
    let log = site.directory.join(format!("{}.log", kind.name().replace(' ', "-")));
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(&log)?).spawn()?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        let text = fs::read_to_string(&log)?;
        let address = text.lines().find_map(|line| line.split_once("listening on https://")?.1.trim().parse().ok());
        if let Some(address) = address {
            return Ok(Target { child, address });
        }
        if let Some(status) = child.try_wait()? {
            return Err(format!("ended ({status}) before it listened; see {}", log.display()).into());
        }
        if Instant::now() > deadline {
            let _ = child.kill();
            let _ = child.wait();
            return Err(format!("does not listen after {PATIENCE:?}; see {}", log.display()).into());
        }
        sleep(Duration::from_millis(5)).await;
    }
}

async fn nginx(site: &Site) -> Outcome<Target> {
    let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let file = site.directory.join("nginx.conf");
    fs::write(&file, nginx_configuration(site, address))?;
    let program = ["nginx", "/usr/sbin/nginx"]
        .into_iter()
        .find(|program| Command::new(program).arg("-v").stderr(Stdio::null()).status().is_ok())
        .ok_or("not installed (apt-get install nginx-light)")?;
    let log = File::create(site.directory.join("nginx.log"))?;
    let mut command = Command::new(program);
    command.arg("-e").arg(site.directory.join("nginx-error.log")).arg("-p").arg(&site.directory).arg("-c").arg(&file);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn()?;
    let deadline = Instant::now() + PATIENCE;
    while TcpStream::connect(address).is_err() {
        if child.try_wait()?.is_some() || Instant::now() > deadline {
            let _ = child.kill();
            let _ = child.wait();
            return Err(format!("does not listen; see {}", site.directory.join("nginx-error.log").display()).into());
        }
        sleep(Duration::from_millis(5)).await;
    }
    Ok(Target { child, address })
}

/// One process does everything, as a single worker does: then there is one process to measure and to end.
fn nginx_configuration(site: &Site, address: SocketAddr) -> String {
    format!(
        r"daemon off;
master_process off;
worker_processes 1;
worker_rlimit_nofile 20000;
pid nginx.pid;
error_log nginx-error.log error;
events {{ worker_connections 16384; }}
http {{
    access_log off;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    keepalive_requests 1000000;
    upstream llm {{ server {}; keepalive 64; keepalive_requests 1000000; }}
    server {{
        listen {address} ssl http2 backlog=4096;
        ssl_certificate {};
        ssl_certificate_key {};
        ssl_protocols TLSv1.3;
        location / {{
            proxy_pass http://llm;
            proxy_http_version 1.1;
            proxy_set_header connection '';
            proxy_buffering off;
        }}
    }}
}}
",
        site.upstream,
        site.certificate().display(),
        site.key().display(),
    )
}
