//! An error as a client reads it. Pure.

use serde::Serialize;

/// An error of the gateway itself, which each family writes in its own format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ApiError<'a> {
    /// The HTTP status that goes with it; also for an error that is written into a stream.
    pub status: u16,
    /// The gateway's code, from a closed set.
    pub code: &'a str,
    /// One or two sentences for a person.
    pub message: &'a str,
    /// The id of the request.
    pub request_id: &'a str,
}

/// Writes OpenAI's format, with the members in alphabetical order.
#[derive(Serialize)]
struct OpenAi<'a> {
    error: Members<'a>,
}

#[derive(Serialize)]
struct Members<'a> {
    code: &'a str,
    message: &'a str,
    request_id: &'a str,
    #[serde(rename = "type")]
    kind: &'a str,
}

impl ApiError<'_> {
    /// Writes `{"error":{"code","message","request_id","type"}}`: the format that OpenAI's SDKs read.
    pub fn openai(&self) -> Vec<u8> {
        let Self { code, message, request_id, .. } = *self;
        let body = OpenAi { error: Members { code, message, request_id, kind: self.openai_type() } };
        serde_json::to_vec(&body).expect("strings alone always serialize")
    }

    /// Returns OpenAI's `error.type`, which its SDKs show.
    fn openai_type(&self) -> &'static str {
        match self.status {
            401 => "authentication_error",
            403 => "permission_error",
            429 => "rate_limit_error",
            500.. => "server_error",
            _ => "invalid_request_error",
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn the_type_follows_from_the_status() {
        for (status, kind) in [
            (400, "invalid_request_error"),
            (401, "authentication_error"),
            (403, "permission_error"),
            (404, "invalid_request_error"),
            (410, "invalid_request_error"),
            (413, "invalid_request_error"),
            (429, "rate_limit_error"),
            (500, "server_error"),
            (504, "server_error"),
        ] {
            let error = ApiError { status, code: "c", message: "m", request_id: "r" };
            let body: Value = serde_json::from_slice(&error.openai()).unwrap();
            let members = json!({ "code": "c", "message": "m", "request_id": "r", "type": kind });
            assert_eq!(body, json!({ "error": members }), "{status}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_one_line_of_json(code: String, message: String, request_id: String) {
            let error = ApiError { status: 502, code: &code, message: &message, request_id: &request_id };
            let body = error.openai();
            prop_assert!(!body.iter().any(|byte| matches!(byte, b'\r' | b'\n')));
            let body: Value = serde_json::from_slice(&body).unwrap();
            prop_assert_eq!(&body["error"]["message"], &message);
        }
    }
}
