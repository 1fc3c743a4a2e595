//! A Redis server or a Redis cluster, and a connection to it by the client library.

use std::time::Duration;

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::cluster::ClusterClient;
use redis::cluster_async::ClusterConnection;
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, RedisResult,
    TlsCertificates, Value,
};

use crate::redis::settings::Redis;

/// The timeout of a connection attempt, with TLS and authentication.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// One server, or a cluster.
pub(super) enum Target {
    Single(Box<Client>),
    Cluster(Box<ClusterClient>),
}

/// A connection that many calls share.
#[derive(Clone)]
pub(super) enum Multiplexed {
    Single(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl Target {
    /// Makes the server of this configuration.
    pub(super) fn new(config: &Redis) -> RedisResult<Self> {
        let info = connection_info(config)?;
        let certificates = TlsCertificates { client_tls: None, root_cert: config.ca.clone() };
        if !config.cluster {
            return Ok(Self::Single(Box::new(match config.tls {
                true => Client::build_with_tls(info, certificates)?,
                false => Client::open(info)?,
            })));
        }
        let mut builder = ClusterClient::builder([info])
            .connection_timeout(CONNECT_TIMEOUT)
            // the timeout is enforced here
            .response_timeout(CONNECT_TIMEOUT)
            .retries(3)
            .min_retry_wait(1)
            .max_retry_wait(10);
        if config.tls {
            builder = builder.tls(redis::cluster::TlsMode::Secure).certs(certificates);
        }
        Ok(Self::Cluster(Box::new(builder.build()?)))
    }

    /// Opens a connection.
    pub(super) async fn connect(&self) -> RedisResult<Multiplexed> {
        match self {
            Self::Single(client) => {
                let config = AsyncConnectionConfig::new()
                    .set_connection_timeout(Some(CONNECT_TIMEOUT))
                    .set_response_timeout(None);
                client.get_multiplexed_async_connection_with_config(&config).await.map(Multiplexed::Single)
            }
            Self::Cluster(client) => client.get_async_connection().await.map(Multiplexed::Cluster),
        }
    }
}

fn connection_info(config: &Redis) -> RedisResult<ConnectionInfo> {
    let address = match config.tls {
        false => ConnectionAddr::Tcp(config.host.clone(), config.port),
        true => {
            ConnectionAddr::TcpTls { host: config.host.clone(), port: config.port, insecure: false, tls_params: None }
        }
    };
    let info = address.into_connection_info()?;
    let mut settings =
        info.redis_settings().clone().set_db(config.database).set_lib_name("tokenway", env!("CARGO_PKG_VERSION"));
    if let Some(username) = &config.username {
        settings = settings.set_username(username);
    }
    if let Some(password) = &config.password {
        settings = settings.set_password(password.expose());
    }
    let tcp = info.tcp_settings().clone().set_nodelay(true);
    Ok(info.set_redis_settings(settings).set_tcp_settings(tcp))
}

impl Multiplexed {
    /// Sends a command and waits for its reply.
    pub(super) async fn send(&mut self, command: &Cmd) -> RedisResult<Value> {
        let value = match self {
            Self::Single(connection) => connection.req_packed_command(command).await?,
            Self::Cluster(connection) => connection.req_packed_command(command).await?,
        };
        value.extract_error()
    }
}
