//! An event stream as a client on the wire sees it: each event with the moment at which it was whole.

use http::Response;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde_json::Value;
use tokio::time::Instant;

use super::soon;

/// One event with the blank line that ends it.
#[derive(Debug, Clone)]
pub struct Seen {
    pub at: Instant,
    pub text: String,
}

impl Seen {
    /// The JSON of its `data`, where it is JSON.
    pub fn json(&self) -> Option<Value> {
        serde_json::from_str(self.text.lines().find_map(|line| line.strip_prefix("data: "))?).ok()
    }

    /// The text that it adds to the answer, if it is output.
    pub fn content(&self) -> Option<String> {
        let json = self.json()?;
        json["choices"][0]["delta"]["content"].as_str().filter(|text| !text.is_empty()).map(str::to_owned)
    }
}

/// Reads events as they come.
pub struct Events {
    body: Incoming,
    rest: Vec<u8>,
    /// Whether the body has ended as HTTP wants it to.
    pub ended_well: Option<bool>,
}

impl Events {
    pub fn of(response: Response<Incoming>) -> Self {
        Self { body: response.into_body(), rest: Vec::new(), ended_well: None }
    }

    /// The next event; `None` at the end of the body. What was not ended by a blank line comes as an event, too.
    pub async fn next(&mut self) -> Option<Seen> {
        loop {
            let end = self.rest.windows(2).position(|two| two == b"\n\n").map(|at| at + 2);
            if let Some(end) = end.or(self.ended_well.map(|_| self.rest.len()).filter(|end| *end > 0)) {
                let text = String::from_utf8(self.rest.drain(..end).collect()).unwrap();
                return Some(Seen { at: Instant::now(), text });
            }
            match soon(self.body.frame()).await {
                Some(Ok(frame)) => self.rest.extend_from_slice(&frame.into_data().unwrap_or_default()),
                Some(Err(_)) => self.ended_well = Some(false),
                None if self.ended_well.is_some() => return None,
                None => self.ended_well = Some(true),
            }
        }
    }

    /// Everything up to the end.
    pub async fn rest(&mut self) -> Vec<Seen> {
        let mut seen = Vec::new();
        while let Some(event) = self.next().await {
            seen.push(event);
        }
        seen
    }
}
