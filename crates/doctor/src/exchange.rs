//! One request and its answer, over connections that are kept while the examination lasts.

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Version};
use http_body_util::Full;
use hyper::body::Incoming;
use tokio::time::{Instant, timeout, timeout_at};
use url::Url;

use super::watch::Watched;
use browser::answer::Answer;
use dial::{Connection, Dialer, Error, SendError, Target, Trust, Versions};

/// A kept connection that is not free by then is not waited for.
const REUSE: Duration = Duration::from_millis(100);
/// A body that nobody wants is read for so long, for the sake of the connection.
const REST: Duration = Duration::from_millis(200);

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
    /// When everything must be over.
    deadline: Option<Instant>,
    /// By authority, and whether it speaks TLS.
    open: HashMap<(String, bool), Connection>,
}

impl Client {
    /// A client that waits so long for a connection, and as long again for the head of an answer.
    pub fn new(versions: Versions, trust: Trust, timeout: Duration) -> Self {
        Self { versions, trust, timeout, deadline: None, open: HashMap::new() }
    }

    /// How long it waits.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// From here on it has less patience with each answer, and with all of them together.
    pub fn hurry(&mut self, timeout: Duration, in_all: Duration) {
        self.timeout = self.timeout.min(timeout);
        self.deadline = Some(Instant::now() + in_all);
    }

    /// Whether the time for all of them is over.
    pub fn is_late(&self) -> bool {
        self.deadline.is_some_and(|deadline| Instant::now() >= deadline)
    }

    /// Sends a request and waits for the head of its answer. Follows nothing, keeps no cookies, adds no header but `host`.
    ///
    /// # Errors
    /// There is no answer.
    pub async fn ask(&mut self, ask: &Ask) -> Result<Got, Unreachable> {
        let target = Target::parse(ask.url.as_str())?;
        let key = (target.authority(), target.is_tls());
        if let Some(mut kept) = self.open.remove(&key)
            && timeout(REUSE, kept.ready()).await == Ok(true)
        {
            match self.send(&mut kept, &target, ask).await {
                // closed meanwhile: it goes on a new one
                Err(Failed::Unsent) => {}
                Err(Failed::For(unreachable)) => return Err(unreachable),
                Ok(got) => {
                    self.open.insert(key, kept);
                    return Ok(got);
                }
            }
        }
        let dialer = Dialer::new(target, self.versions, &self.trust, self.timeout)?;
        let mut connection = dialer.dial().await?;
        match self.send(&mut connection, dialer.target(), ask).await {
            Ok(got) => {
                self.open.insert(key, connection);
                Ok(got)
            }
            Err(Failed::For(unreachable)) => Err(unreachable),
            Err(Failed::Unsent) => Err(Unreachable(format!("{}: {}", dialer.target().authority(), SendError::Unsent))),
        }
    }

    /// The head of an answer alone; its body is read within bounds and thrown away.
    ///
    /// # Errors
    /// There is no answer.
    pub async fn head(&mut self, ask: &Ask) -> Result<Answer, Unreachable> {
        let over = || Unreachable("the time for probes is over".to_owned());
        let got = match self.deadline {
            None => self.ask(ask).await?,
            Some(_) if self.is_late() => return Err(over()),
            Some(deadline) => timeout_at(deadline, self.ask(ask)).await.map_err(|_| over())??,
        };
        Watched::body(got.body, REST).await;
        Ok(got.answer)
    }

    async fn send(&self, connection: &mut Connection, target: &Target, ask: &Ask) -> Result<Got, Failed> {
        let place = target.authority();
        let mut request = connection.request(ask.method.clone(), target);
        for (name, value) in &ask.headers {
            request.headers_mut().append(name, value.clone());
        }
        *request.body_mut() = Full::new(ask.body.clone());
        let begun = Instant::now();
        let answer = timeout(self.timeout, connection.send(request)).await;
        let late = || format!("{place}: no answer within {:?}; allow it more with --timeout", self.timeout);
        let answer = answer.map_err(|_| Failed::For(Unreachable(late())))?.map_err(|error| match error {
            SendError::Unsent => Failed::Unsent,
            error => Failed::For(Unreachable(format!("{place}: {error}"))),
        })?;
        let after = begun.elapsed();
        let (head, body) = answer.into_parts();
        Ok(Got { answer: Answer { status: head.status, headers: head.headers }, version: head.version, after, body })
    }
}

enum Failed {
    /// Nothing was sent.
    Unsent,
    For(Unreachable),
}

impl From<Error> for Unreachable {
    fn from(error: Error) -> Self {
        Self(error.to_string())
    }
}
