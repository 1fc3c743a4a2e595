//! What to do about a block, in one sentence, and whether a policy of the server's would help. Pure.

use browser::block::Block;
use browser::code::Code;

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advice {
    /// One or two sentences.
    pub text: String,
    /// Whether the server's CORS policy is what is to be mended.
    pub by_policy: bool,
}

/// What to do about a block. `status` is the blocked answer's, `location` where it redirects to, without secrets.
pub fn on(block: &Block, status: Option<u16>, location: Option<&str>) -> Advice {
    let policy = |text: &str| Advice { text: text.to_owned(), by_policy: true };
    let page = |text: String| Advice { text, by_policy: false };
    match block.code {
        Some(code) => match code {
            Code::PreflightInvalidStatus | Code::PreflightMissingAllowOriginHeader if status == Some(429) => policy(
                "Take OPTIONS out of the rate limit: a preflight is the browser's, and the page cannot wait and try again.",
            ),
            Code::PreflightInvalidStatus | Code::PreflightMissingAllowOriginHeader
                if matches!(status, Some(401 | 407)) =>
            {
                policy("Answer OPTIONS before authentication: a preflight never carries credentials.")
            }
            Code::PreflightInvalidStatus | Code::PreflightMissingAllowOriginHeader if status == Some(403) => policy(
                "Let the server allow this origin. If it does already, something answers before CORS: authentication, a firewall.",
            ),
            Code::PreflightInvalidStatus | Code::PreflightMissingAllowOriginHeader
                if matches!(status, Some(404 | 405 | 501)) =>
            {
                policy("Answer OPTIONS for this route, before the router asks which method has a handler.")
            }
            Code::PreflightInvalidStatus => policy("Answer preflights by hand, with status 204, before anything else."),
            Code::PreflightDisallowedRedirect => page(match location {
                Some(location) => {
                    format!("Call the URL that it redirects to: {location}. Then see what that one answers.")
                }
                None => "Call the final URL: no browser follows a redirect of a preflight.".to_owned(),
            }),
            Code::MissingAllowOriginHeader if status.is_some_and(|status| status >= 400) => policy(
                "The server failed, and its error goes out without CORS headers: the page cannot read the status. Put the \
                 headers on errors, too; then read the error.",
            ),
            Code::MissingAllowOriginHeader | Code::PreflightMissingAllowOriginHeader => {
                policy("Let the server allow this origin.")
            }
            Code::MultipleAllowOriginValues | Code::PreflightMultipleAllowOriginValues => policy(
                "Let one layer answer CORS alone: take it out of the application, or out of the proxy. One origin stands there, not \
                 a list.",
            ),
            Code::AllowOriginMismatch
            | Code::PreflightAllowOriginMismatch
            | Code::InvalidAllowOriginValue
            | Code::PreflightInvalidAllowOriginValue => policy(
                "Let the server send back this very origin: scheme, host and port, lower case, without a slash at the end. If another \
                 page's origin stands there, a cache serves it: send `Vary: Origin`.",
            ),
            Code::WildcardOriginNotAllowed | Code::PreflightWildcardOriginNotAllowed => policy(
                "Name the origin instead of `*`; or, if no cookie is needed, drop `credentials: \"include\"` from the page's call.",
            ),
            Code::InvalidAllowCredentials | Code::PreflightInvalidAllowCredentials => policy(
                "Allow credentials; or, if no cookie is needed, drop `credentials: \"include\"` from the page's call.",
            ),
            Code::InvalidAllowMethodsPreflightResponse | Code::InvalidAllowHeadersPreflightResponse => {
                policy("Write the list as names with commas between, without quotes or brackets.")
            }
            Code::MethodDisallowedByPreflightResponse => policy(
                "Allow the method. Methods other than the usual ones are not upper-cased: write it as the page does.",
            ),
            Code::HeaderDisallowedByPreflightResponse => policy(
                "Allow the header; or let the page not send it. Headers are listed by name: with credentials, `*` is no wildcard.",
            ),
            Code::RedirectContainsCredentials => page(
                "Let the server redirect to a URL without user name and password, or call the final URL with an \
                 `authorization` header."
                    .to_owned(),
            ),
            Code::CorsDisabledScheme => page("Call an http or https URL.".to_owned()),
            Code::DisallowedByMode => page("Drop `mode: \"same-origin\"` from the page's call.".to_owned()),
            Code::NoCorsRedirectModeNotFollow => page("Drop `mode: \"no-cors\"` from the page's call.".to_owned()),
        },
        None => page(format!("Change the call or the server so that there is {}.", block.needed)),
    }
}
