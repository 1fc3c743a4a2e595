//! The development default: the configuration without `--config`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use settings::{Mistake, Problems};

use super::Config;
use crate::server::local_ca::{self, LocalCertificate};

/// Everything except the addresses, which are only known at the start.
const FIXED: &str = include_str!("development.toml");

/// A configuration for this machine alone: local certificate, demo upstream, playground.
#[derive(Debug)]
pub struct Development {
    /// The checked configuration.
    pub config: Config,
    /// The certificate of the local CA, to trust in a browser or with `curl --cacert`; `None` if `certs_dir` contains
    /// another certificate, which is then used as it is.
    pub ca: Option<PathBuf>,
    /// Whether CA and certificate were made by this call.
    pub made: bool,
}

impl Development {
    /// Makes a local CA and a `localhost` certificate in `certs_dir` unless a usable one is there, and a configuration that
    /// lets pages of `playground_origins` reach the demo upstream at `demo`.
    ///
    /// # Errors
    /// The certificate cannot be made or used; each problem has a reason and a fix.
    pub fn prepare(certs_dir: &Path, demo: SocketAddr, playground_origins: &[String]) -> Result<Self, Problems> {
        let now = SystemTime::now();
        let LocalCertificate { ca, made } = local_ca::ensure(certs_dir, now).map_err(|error| {
            let reason = format!("the local certificate in {} cannot be made: {error}", certs_dir.display());
            Problems::of_file(Mistake::new(reason, "fix that, or start with --config FILE"))
        })?;
        let config = Config::parse_at(&text(demo, playground_origins), certs_dir, &|_| None, now)?;
        Ok(Self { config, ca, made })
    }
}

fn text(demo: SocketAddr, playground_origins: &[String]) -> String {
    let origins = toml::Value::from(playground_origins.to_vec());
    format!(
        "{FIXED}\n\
         [cors]\norigins = {origins}\n\n\
         [[upstreams]]\nname = \"demo\"\nbase_url = \"http://{demo}/v1\"\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use tempfile::TempDir;

    #[test]
    fn the_default_is_closed_to_all_but_loopback_and_the_playground() {
        let dir = TempDir::new().unwrap();
        let origins = ["http://localhost:5173".to_owned(), "http://127.0.0.1:5173".to_owned()];
        let made = Development::prepare(dir.path(), "127.0.0.1:4000".parse().unwrap(), &origins).unwrap();
        let config = made.config;
        assert!(config.warnings.is_empty(), "{:?}", config.warnings);
        assert!(config.server.listen.ip().is_loopback() && config.server.admin.ip().is_loopback());
        assert_eq!(config.server.hosts.names, ["localhost"]);
        assert_eq!(config.upstreams[0].base.to_string(), "http://127.0.0.1:4000/v1");
        assert!(config.upstreams[0].api_keys.is_empty());
        assert_eq!(config.models.models().len(), 5);
        assert!(config.models.find(None).is_some());
        assert!(!config.cors.is_closed());
        assert_eq!((made.made, made.ca), (true, Some(dir.path().join("ca.pem"))));
    }

    #[test]
    fn a_directory_that_cannot_be_made_is_named_with_the_mend() {
        let dir = TempDir::new().unwrap();
        std::fs::write(dir.path().join("certs"), "a file").unwrap();
        let result = Development::prepare(&dir.path().join("certs"), "127.0.0.1:1".parse().unwrap(), &[]);
        let message = result.expect_err("a file is there").to_string();
        assert!(message.contains("certs") && message.contains("--config"), "{message}");
    }
}
