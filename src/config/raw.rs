//! The file as it is written: every key, its type, its default and its bounds. Pure.
//!
//! What one key alone can tell is checked here; what needs other keys, files or the environment, in `resolve`.

use std::net::{Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use toml::de::DeValue;

use super::base_url::BaseUrl;
use super::problem::{Field, Mistake, Problems, quoted};
use super::raw_access::Access;
use super::raw_auto::Routing;
use super::raw_cache::Cache;
use super::raw_cost::Spending;
use super::raw_fallback;
use super::raw_limits::{Limits, Redis};
use super::section::{self, Section};
use super::values::{EnvName, Name, Size, Value};
use crate::price::Price;

/// A deadline: zero would cut off everybody.
const DEADLINE: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_hours(24);
/// A time that may be zero.
const SPAN: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_hours(24);

/// The whole file.
#[derive(Debug, PartialEq)]
pub(super) struct Raw {
    pub(super) server: Server,
    pub(super) cors: Cors,
    pub(super) stream: Stream,
    pub(super) resume: Resume,
    pub(super) upstreams: Field<Vec<Upstream>>,
    pub(super) models: Field<Vec<Model>>,
    pub(super) routing: Routing,
    pub(super) fallback: raw_fallback::Fallback,
    pub(super) access: Access,
    pub(super) limits: Limits,
    pub(super) cache: Cache,
    pub(super) cost: Spending,
    pub(super) redis: Redis,
    pub(super) log: Field<LogFormat>,
}

/// `[server]`
#[derive(Debug, PartialEq)]
pub(super) struct Server {
    pub(super) listen: Field<SocketAddr>,
    pub(super) admin: Field<SocketAddr>,
    pub(super) certificate: Field<PathBuf>,
    pub(super) private_key: Field<PathBuf>,
    pub(super) hosts: Field<Vec<Field<String>>>,
    pub(super) plaintext: Field<bool>,
    pub(super) max_connections: Field<usize>,
    pub(super) max_connections_per_ip: Field<usize>,
    pub(super) handshake_timeout: Field<Duration>,
    pub(super) header_timeout: Field<Duration>,
    pub(super) body_timeout: Field<Duration>,
    pub(super) max_body: Field<Size>,
    pub(super) write_timeout: Field<Duration>,
    pub(super) drain: Field<Duration>,
    pub(super) trusted_proxies: Field<Vec<Field<String>>>,
    pub(super) workers: Field<usize>,
}

/// `[cors]`
#[derive(Debug, PartialEq)]
pub(super) struct Cors {
    pub(super) origins: Field<Vec<Field<String>>>,
    pub(super) credentials: Field<bool>,
    pub(super) allow_headers: Field<Vec<Field<String>>>,
    pub(super) expose_headers: Field<Vec<Field<String>>>,
    pub(super) max_age: Field<Duration>,
}

/// `[stream]`
#[derive(Debug, PartialEq)]
pub(super) struct Stream {
    pub(super) heartbeat: Field<Duration>,
    pub(super) first_event_timeout: Field<Duration>,
    pub(super) commit_after: Field<Duration>,
    pub(super) idle_timeout: Field<Duration>,
    pub(super) max_duration: Field<Duration>,
    pub(super) max_event: Field<Size>,
}

/// `[resume]`
#[derive(Debug, PartialEq)]
pub(super) struct Resume {
    pub(super) grace: Field<Duration>,
    pub(super) retention: Field<Duration>,
    pub(super) max_bytes: Field<Size>,
    pub(super) max_stream_bytes: Field<Size>,
    pub(super) max_streams: Field<usize>,
}

/// One of `[[upstreams]]`
#[derive(Debug, PartialEq)]
pub(super) struct Upstream {
    pub(super) name: Field<Name>,
    pub(super) base_url: Field<BaseUrl>,
    pub(super) api_key_env: Field<Option<EnvName>>,
    pub(super) api_key_file: Field<Option<PathBuf>>,
    pub(super) ca_file: Field<PathBuf>,
    pub(super) connect_timeout: Field<Duration>,
    pub(super) keep_alive: Field<Duration>,
}

/// One of `[[models]]`
#[derive(Debug, PartialEq)]
pub(super) struct Model {
    pub(super) name: Field<Name>,
    pub(super) upstream: Field<String>,
    pub(super) upstream_model: Field<Option<String>>,
    pub(super) input_price: Field<Option<Price>>,
    pub(super) output_price: Field<Option<Price>>,
    pub(super) cached_input_price: Field<Option<Price>>,
    pub(super) reasoning_price: Field<Option<Price>>,
    pub(super) context: Field<Option<u64>>,
    pub(super) fallback: Field<Fallback>,
}

/// `models.fallback`
#[derive(Debug, PartialEq)]
pub(super) enum Fallback {
    Cheaper,
    List(Vec<Field<String>>),
}

/// `log.format`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LogFormat {
    Text,
    Json,
}

impl Raw {
    /// Reads the file's text. `None` where it is no TOML at all; everything that is wrong goes to `problems`.
    pub(super) fn parse(text: &str, problems: &mut Problems) -> Option<Self> {
        section::document(text, problems, Self::read)
    }

    fn read(root: &mut Section<'_, '_>) -> Self {
        root.renamed("streams", "resume");
        Self {
            server: root.section("server", Server::read),
            cors: root.section("cors", Cors::read),
            stream: root.section("stream", Stream::read),
            resume: root.section("resume", Resume::read),
            upstreams: root.sections("upstreams", Upstream::read),
            models: root.sections("models", Model::read),
            routing: root.section("routing", Routing::read),
            fallback: root.section("fallback", raw_fallback::Fallback::read),
            access: root.section("access", Access::read),
            limits: root.section("limits", Limits::read),
            cache: root.section("cache", Cache::read),
            cost: root.section("cost", Spending::read),
            redis: root.section("redis", Redis::read),
            log: root.section("log", |log| log.or("format", LogFormat::Text)),
        }
    }
}

impl Server {
    fn read(server: &mut Section<'_, '_>) -> Self {
        let loopback = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        Self {
            listen: server.or("listen", loopback(8443)),
            admin: server.or("admin", loopback(9443)),
            certificate: server.or("certificate", "certs/localhost.pem".into()),
            private_key: server.or("private_key", "certs/localhost.key".into()),
            hosts: server.strings("hosts"),
            plaintext: server.or("plaintext", false),
            max_connections: server.within("max_connections", 10_000, 1..=10_000_000),
            max_connections_per_ip: server.within("max_connections_per_ip", 0, 0..=10_000_000),
            handshake_timeout: server.within("handshake_timeout", Duration::from_secs(5), DEADLINE),
            header_timeout: server.within("header_timeout", Duration::from_secs(10), DEADLINE),
            body_timeout: server.within("body_timeout", Duration::from_secs(30), DEADLINE),
            max_body: server.within("max_body", Size(4 << 20), Size(1)..=Size(1 << 30)),
            write_timeout: server.within("write_timeout", Duration::from_secs(30), DEADLINE),
            drain: server.within("drain", Duration::from_secs(30), SPAN),
            trusted_proxies: server.strings("trusted_proxies"),
            workers: server.within("workers", 0, 0..=1024),
        }
    }
}

impl Cors {
    fn read(cors: &mut Section<'_, '_>) -> Self {
        Self {
            origins: cors.strings("origins"),
            credentials: cors.or("credentials", false),
            allow_headers: cors.strings("allow_headers"),
            expose_headers: cors.strings("expose_headers"),
            max_age: cors.or("max_age", Duration::from_hours(2)),
        }
    }
}

impl Stream {
    fn read(stream: &mut Section<'_, '_>) -> Self {
        Self {
            heartbeat: stream.within("heartbeat", Duration::from_secs(15), SPAN),
            first_event_timeout: stream.within("first_event_timeout", Duration::from_secs(60), DEADLINE),
            commit_after: stream.within("commit_after", Duration::from_secs(20), SPAN),
            idle_timeout: stream.within("idle_timeout", Duration::from_secs(120), DEADLINE),
            max_duration: stream.within("max_duration", Duration::from_mins(30), DEADLINE),
            // An event of less than a few kilobytes cannot even hold a tool call.
            max_event: stream.within("max_event", Size(1 << 20), Size(4 << 10)..=Size(64 << 20)),
        }
    }
}

impl Resume {
    fn read(resume: &mut Section<'_, '_>) -> Self {
        Self {
            grace: resume.within("grace", Duration::from_secs(30), SPAN),
            retention: resume.within("retention", Duration::from_mins(5), SPAN),
            max_bytes: resume.within("max_bytes", Size(64 << 20), Size(64 << 10)..=Size(1 << 40)),
            // less could not even bridge a short cut of a fast stream
            max_stream_bytes: resume.within("max_stream_bytes", Size(1 << 20), Size(16 << 10)..=Size(1 << 30)),
            max_streams: resume.within("max_streams", 1000, 1..=100_000),
        }
    }
}

impl Upstream {
    fn read(upstream: &mut Section<'_, '_>) -> Self {
        upstream.refuse(
            "api_key",
            "secrets never stand in the file",
            "use api_key_env or api_key_file, and replace this key: whoever read the file has it",
        );
        Self {
            name: upstream.required("name", "give the upstream a name that models refer to"),
            base_url: upstream
                .required("base_url", "write the provider's address, such as \"https://global-apis.com/v1\""),
            api_key_env: upstream.or("api_key_env", None),
            api_key_file: upstream.or("api_key_file", None),
            ca_file: upstream.or("ca_file", PathBuf::new()),
            connect_timeout: upstream.within("connect_timeout", Duration::from_secs(5), DEADLINE),
            keep_alive: upstream.within("keep_alive", Duration::from_secs(30), SPAN),
        }
    }
}

impl Model {
    fn read(model: &mut Section<'_, '_>) -> Self {
        Self {
            name: model.required("name", "write the name that clients ask for"),
            upstream: model.required("upstream", "write the name of one of the upstreams"),
            upstream_model: model.or("upstream_model", None),
            input_price: model.or("input_price", None),
            output_price: model.or("output_price", None),
            cached_input_price: model.or("cached_input_price", None),
            reasoning_price: model.or("reasoning_price", None),
            context: model.or("context", None),
            fallback: match model.holds_list("fallback") {
                true => model.strings("fallback").map(Fallback::List),
                false => model.or("fallback", Fallback::List(Vec::new())),
            },
        }
    }
}

impl Value for Fallback {
    fn read(value: &DeValue<'_>) -> Result<Self, Mistake> {
        match value.as_str() {
            Some("cheaper") => Ok(Self::Cheaper),
            Some(name) => Err(Mistake::new(
                format!("{} is neither \"cheaper\" nor a list", quoted(name)),
                "write a model's name in square brackets, such as [\"glm-4-plus\"], or [] for none",
            )),
            None => Err(Mistake::new("must be \"cheaper\" or a list of model names", "write [] for no fallback")),
        }
    }
}

impl Value for LogFormat {
    fn read(value: &DeValue<'_>) -> Result<Self, Mistake> {
        match value.as_str() {
            Some("text") => Ok(Self::Text),
            Some("json") => Ok(Self::Json),
            _ => Err(Mistake::new("must be \"text\" or \"json\"", "write one of the two, in quotes")),
        }
    }
}
