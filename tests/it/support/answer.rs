//! An answer of the gateway, read as a test wants.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::Response;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde_json::{Value, json};

use super::soon;

/// An answer whose body is read as the test wants.
pub struct Answer {
    pub head: http::response::Parts,
    body: Incoming,
    unread: BytesMut,
    trailers: http::HeaderMap,
    /// The connection closes with the last of its answers.
    _connection: Arc<dyn Any + Send + Sync>,
}

impl Answer {
    pub fn new(response: Response<Incoming>, connection: Arc<dyn Any + Send + Sync>) -> Self {
        let (head, body) = response.into_parts();
        Self { head, body, unread: BytesMut::new(), trailers: http::HeaderMap::new(), _connection: connection }
    }

    pub fn status(&self) -> u16 {
        self.head.status.as_u16()
    }

    /// The one value of a header; empty where there is none.
    pub fn header(&self, name: &str) -> &str {
        let values: Vec<_> = self.head.headers.get_all(name).iter().collect();
        assert!(values.len() < 2, "{name}: {values:?}");
        values.first().map_or("", |value| value.to_str().unwrap())
    }

    /// Exactly this many bytes, however they come.
    pub async fn take(&mut self, count: usize) -> Bytes {
        while self.unread.len() < count {
            let frame = soon(self.body.frame()).await.expect("the body ends early").expect("the body breaks off");
            self.unread.extend_from_slice(frame.data_ref().unwrap());
        }
        self.unread.split_to(count).freeze()
    }

    /// The rest of a body that ends as it should.
    pub async fn rest(self) -> Bytes {
        let (read, end) = self.until_end().await;
        end.unwrap_or_else(|error| panic!("{error} after {}", String::from_utf8_lossy(&read)));
        read
    }

    /// The rest of a body that ends as it should, with a pause after each piece.
    pub async fn rest_slowly(mut self, pause: Duration) -> Bytes {
        while let Some(frame) = soon(self.body.frame()).await {
            let frame = frame.expect("the body breaks off");
            self.unread.extend_from_slice(&frame.into_data().unwrap_or_default());
            tokio::time::sleep(pause).await;
        }
        self.unread.freeze()
    }

    /// The rest of a body, and how it ended.
    pub async fn until_end(mut self) -> (Bytes, hyper::Result<()>) {
        let end = self.read_to_end().await;
        (self.unread.freeze(), end)
    }

    /// The rest of a body that ends as it should, and the value of this trailer field; empty where there is none.
    pub async fn rest_and_trailer(mut self, name: &str) -> (Bytes, String) {
        self.read_to_end().await.unwrap();
        let value = self.trailers.get(name).map(|value| value.to_str().unwrap().to_owned());
        (self.unread.freeze(), value.unwrap_or_default())
    }

    async fn read_to_end(&mut self) -> hyper::Result<()> {
        loop {
            match soon(self.body.frame()).await {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.unread.extend_from_slice(&data),
                    Err(frame) => self.trailers = frame.into_trailers().unwrap(),
                },
                Some(Err(error)) => return Err(error),
                None => return Ok(()),
            }
        }
    }

    /// The whole body as JSON.
    pub async fn json(self) -> Value {
        let body = self.rest().await;
        serde_json::from_slice(&body).unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&body)))
    }

    /// The code of the error, which must have OpenAI's shape and the request's id.
    pub async fn error_code(self) -> String {
        let id = self.header("x-request-id").to_owned();
        error_code(&self.json().await, &id)
    }
}

/// The code of an error object of OpenAI's shape.
pub fn error_code(body: &Value, request_id: &str) -> String {
    let error = &body["error"];
    assert_eq!(body.as_object().map(serde_json::Map::len), Some(1), "{body}");
    assert!(error["message"].as_str().is_some_and(|message| !message.is_empty()), "{body}");
    assert!(error["type"].is_string() && error["request_id"] == json!(request_id), "{body}");
    error["code"].as_str().unwrap_or_else(|| panic!("{body}")).to_owned()
}

/// A stream that broke: the events before its end, and the code of the one error event that ends it.
pub fn truncated(body: &[u8], request_id: &str) -> (Bytes, String) {
    let text = std::str::from_utf8(body).expect("UTF-8");
    assert!(!text.contains("[DONE]"), "{text}");
    let start = text.rfind("data: {\"error\":").unwrap_or_else(|| panic!("no error event at the end: {text}"));
    assert_eq!(text.matches("data: {\"error\":").count(), 1, "{text}");
    let event = text[start..].strip_suffix("\n\n").unwrap_or_else(|| panic!("unfinished: {text}"));
    let error = serde_json::from_str(&event["data: ".len()..]).unwrap_or_else(|error| panic!("{error}: {event}"));
    (Bytes::copy_from_slice(&body[..start]), error_code(&error, request_id))
}
