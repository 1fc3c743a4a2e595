//! One request and its answer, over connections that are kept while the examination lasts.

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Version};
use http_body_util::Full;
use hyper::body::Incoming;
use tokio::time::{Instant, timeout};
use url::Url;

use crate::browser::answer::Answer;
use crate::dial::{Connection, Dialer, Error, Target, Trust, Versions};

/// A request, whole.
#[derive(Debug, Clone)]
pub struct Ask {
    /// Where to. Its fragment is not sent.
    pub url: Url,
    /// The method, which `http` takes as it is written.
    pub method: Method,
    /// Everything but `host` and `content-length`.
    pub headers: HeaderMap,
    /// Empty where there is none.
    pub body: Bytes,
}

/// The head of an answer, and its body to come.
#[derive(Debug)]
pub struct Got {
    /// Status and headers.
    pub answer: Answer,
    /// Which version was spoken.
    pub version: Version,
    /// From the request to this head, without the making of a connection.
    pub after: Duration,
    /// What follows. With HTTP/1.1 the connection waits until it is read or dropped.
    pub body: Incoming,
}

/// Why there is no answer, in one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreachable(pub String);

/// Asks servers, each over a connection that is kept.
pub struct Client {
    versions: Versions,
    trust: Trust,
    timeout: Duration,
    open: HashMap<(String, u16), Connection>,
}

impl Client {
    /// A client that waits so long for a connection, and as long again for the head of an answer.
    pub fn new(versions: Versions, trust: Trust, timeout: Duration) -> Self {
        Self { versions, trust, timeout, open: HashMap::new() }
    }

    /// How long it waits.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Sends a request and waits for the head of its answer. Follows nothing, keeps no cookies, adds no header but `host`.
    ///
    /// # Errors
    /// There is no answer.
    pub async fn ask(&mut self, ask: &Ask) -> Result<Got, Unreachable> {
        let target = Target::parse(ask.url.as_str())?;
        let key = (target.authority(), target.port());
        // a kept connection may be closed by now: the request is then sent on a new one, once
        if let Some(mut kept) = self.open.remove(&key)
            && kept.is_ready()
            && let Ok(got) = self.send(&mut kept, &target, ask).await
        {
            self.open.insert(key, kept);
            return Ok(got);
        }
        let dialer = Dialer::new(target, self.versions, &self.trust, self.timeout)?;
        let mut connection = dialer.dial().await?;
        let got = self.send(&mut connection, dialer.target(), ask).await?;
        self.open.insert(key, connection);
        Ok(got)
    }

    async fn send(&self, connection: &mut Connection, target: &Target, ask: &Ask) -> Result<Got, Unreachable> {
        let place = target.authority();
        let mut request = connection.request(ask.method.clone(), target);
        for (name, value) in &ask.headers {
            request.headers_mut().append(name, value.clone());
        }
        *request.body_mut() = Full::new(ask.body.clone());
        let begun = Instant::now();
        let answer = timeout(self.timeout, connection.send(request)).await;
        let answer = answer.map_err(|_| {
            Unreachable(format!("{place}: no answer within {:?}; allow it more with --timeout", self.timeout))
        })?;
        let answer = answer.map_err(|error| Unreachable(format!("{place}: {error}")))?;
        let after = begun.elapsed();
        let (head, body) = answer.into_parts();
        Ok(Got { answer: Answer { status: head.status, headers: head.headers }, version: head.version, after, body })
    }
}

impl From<Error> for Unreachable {
    fn from(error: Error) -> Self {
        Self(error.to_string())
    }
}
