//! The clients of all upstreams, across reloads: an upstream that did not change keeps its client, with its idle connections and its
//! TLS sessions.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::client::Client;
use super::settings::Upstream;

/// The clients of the configuration that is used now.
#[derive(Default)]
pub struct Clients(Mutex<Vec<Arc<Client>>>);

impl Clients {
    /// Returns a client for each of these upstreams: the one that is used now, or a new one.
    ///
    /// # Errors
    /// Names the upstream that cannot be used, and the reason.
    pub fn of(&self, upstreams: &[Upstream]) -> Result<Vec<Arc<Client>>, String> {
        let used = self.lock();
        let client = |upstream: &Upstream| {
            let same = used.iter().find(|client| client.serves(upstream));
            let new = || Client::new(upstream).map(Arc::new);
            let client = same.map_or_else(new, |client| Ok(Arc::clone(client)));
            client.map_err(|error| format!("upstream `{}`: {error}", upstream.name))
        };
        upstreams.iter().map(client).collect()
    }

    /// Uses these clients from now on. The others close their idle connections, and those that running streams return.
    pub fn adopt(&self, clients: Vec<Arc<Client>>) {
        let before = std::mem::replace(&mut *self.lock(), clients.clone());
        let is_used = |client: &&Arc<Client>| clients.iter().any(|used| Arc::ptr_eq(used, client));
        before.iter().filter(|client| !is_used(client)).for_each(|client| client.retire());
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Client>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::HeaderName;

    use super::*;
    use crate::upstream::base_url::BaseUrl;

    fn upstream() -> Upstream {
        Upstream {
            name: "up".to_owned(),
            base: BaseUrl::parse("https://up.example/v1").unwrap(),
            ..Upstream::default()
        }
    }

    #[test]
    fn an_upstream_that_did_not_change_keeps_its_client_and_any_change_makes_a_new_one() {
        let clients = Clients::default();
        let first = clients.of(&[upstream()]).unwrap();
        clients.adopt(first.clone());
        let again = clients.of(&[upstream()]).unwrap();
        assert!(Arc::ptr_eq(&first[0], &again[0]));
        let secret = settings::Secret::new("sk-1".to_owned());
        for changed in [
            Upstream { name: "other".to_owned(), ..upstream() },
            Upstream { base: BaseUrl::parse("https://up.example/v2").unwrap(), ..upstream() },
            Upstream { api_keys: vec![secret], ..upstream() },
            Upstream { api_key_header: HeaderName::from_static("api-key"), ..upstream() },
            Upstream { query: vec![("a".to_owned(), "b".to_owned())], ..upstream() },
            Upstream { connect_timeout: Duration::from_secs(9), ..upstream() },
            Upstream { keep_alive: Duration::from_secs(9), ..upstream() },
            Upstream { max_connection_age: Duration::from_secs(9), ..upstream() },
        ] {
            let new = clients.of(&[changed]).unwrap();
            assert!(!Arc::ptr_eq(&first[0], &new[0]));
        }
    }
}
