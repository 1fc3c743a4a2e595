//! The advice for a blocked response, and whether a CORS policy of the server would help. Pure.

use browser::block::{Block, Step};
use browser::code::Code;

/// What to do about a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advice {
    /// One or two sentences.
    pub text: String,
    /// Whether the server's CORS policy has to change.
    pub by_policy: bool,
}

/// The advice for a block. `status` is that of the blocked response, `location` the target of its redirect, without secrets.
pub fn on(block: &Block, status: Option<u16>, location: Option<&str>) -> Advice {
    let policy = |text: &str| Advice { text: text.to_owned(), by_policy: true };
    let page = |text: String| Advice { text, by_policy: false };
    match block.code {
        Some(code) => match code {
            Code::PreflightInvalidStatus | Code::PreflightMissingAllowOriginHeader if status == Some(429) => policy(
                "Exclude OPTIONS from the rate limit: the browser sends the preflight, and the page cannot retry it.",
            ),
            Code::PreflightInvalidStatus | Code::PreflightMissingAllowOriginHeader
                if matches!(status, Some(401 | 407)) =>
            {
                policy("Answer OPTIONS before authentication: a preflight never carries credentials.")
            }
            Code::PreflightInvalidStatus | Code::PreflightMissingAllowOriginHeader if status == Some(403) => policy(
                "Let the server allow this origin. If it does already, something answers before CORS: authentication or a firewall.",
            ),
            Code::PreflightInvalidStatus | Code::PreflightMissingAllowOriginHeader
                if matches!(status, Some(404 | 405 | 501)) =>
            {
                policy("Answer OPTIONS for this route, before the router looks for a handler of the method.")
            }
            Code::PreflightInvalidStatus => policy("Answer preflights with status 204, before anything else."),
            Code::PreflightDisallowedRedirect => page(match location {
                Some(location) => {
                    format!("Call the URL that it redirects to: {location}. Then check the response of that URL.")
                }
                None => "Call the final URL: no browser follows a redirect of a preflight.".to_owned(),
            }),
            Code::MissingAllowOriginHeader if status.is_some_and(|status| status >= 400) => policy(
                "The server sent an error without CORS headers, so the page cannot read the status. Add the headers to errors, \
                 too; then read the error.",
            ),
            Code::MissingAllowOriginHeader | Code::PreflightMissingAllowOriginHeader => {
                policy("Let the server allow this origin.")
            }
            Code::MultipleAllowOriginValues | Code::PreflightMultipleAllowOriginValues => policy(
                "Let only one layer set the CORS headers: the application or the proxy. The header has one origin, not a list.",
            ),
            Code::AllowOriginMismatch
            | Code::PreflightAllowOriginMismatch
            | Code::InvalidAllowOriginValue
            | Code::PreflightInvalidAllowOriginValue => policy(
                "Let the server send exactly this origin: scheme, host and port, lower case, without a slash at the end. If the \
                 header has another page's origin, a cache served it: send `Vary: Origin`.",
            ),
            Code::WildcardOriginNotAllowed | Code::PreflightWildcardOriginNotAllowed => policy(
                "Name the origin instead of `*`; or, if no cookie is needed, remove `credentials: \"include\"` from the page's call.",
            ),
            Code::InvalidAllowCredentials | Code::PreflightInvalidAllowCredentials => policy(
                "Allow credentials; or, if no cookie is needed, remove `credentials: \"include\"` from the page's call.",
            ),
            Code::InvalidAllowMethodsPreflightResponse | Code::InvalidAllowHeadersPreflightResponse => {
                policy("Write the list as names, separated by commas, without quotes or brackets.")
            }
            Code::MethodDisallowedByPreflightResponse => policy(
                "Allow the method, in the same case as the page: browsers do not normalise methods such as patch.",
            ),
            Code::HeaderDisallowedByPreflightResponse => {
                policy("Allow the header by its name, or do not send it. With credentials, `*` is no wildcard.")
            }
            Code::RedirectContainsCredentials => page(
                "Let the server redirect to a URL without user name and password, or call the final URL with an \
                 `authorization` header."
                    .to_owned(),
            ),
            Code::CorsDisabledScheme => page("Call an http or https URL.".to_owned()),
            Code::DisallowedByMode => page("Remove `mode: \"same-origin\"` from the page's call.".to_owned()),
            Code::NoCorsRedirectModeNotFollow => page("Remove `mode: \"no-cors\"` from the page's call.".to_owned()),
        },
        None if block.step == Step::EVENT_SOURCE => page(event_source(status).to_owned()),
        None => page(format!("Change the call or the server so that there is {}.", block.needed)),
    }
}

/// What to do about a response that fails an `EventSource`.
fn event_source(status: Option<u16>) -> &'static str {
    match status {
        Some(200) => {
            "Answer with `content-type: text/event-stream`, in UTF-8, and send errors as events. For an answer in JSON, the page \
             needs fetch()."
        }
        Some(204) => {
            "204 tells an EventSource to stop. Answer 200 with `content-type: text/event-stream` if there are events."
        }
        Some(401 | 403) => {
            "EventSource sends no headers of the page: authenticate by cookie, with `withCredentials: true`, or by a short-lived token \
             in the URL. Or use fetch()."
        }
        Some(429 | 500..) => {
            "EventSource does not try again after this status: let the page create a new one later. Or answer 200 with \
             `content-type: text/event-stream` and a `retry:` line, and close the stream."
        }
        _ => "Answer 200 with `content-type: text/event-stream`; check the URL.",
    }
}
