//! Authentication: finds the caller of a request from its head, or returns a refusal. This module has the clock and the
//! randomness; the other modules of the directory get them as arguments.

use std::net::IpAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use http::header::{HeaderMap, HeaderValue, ORIGIN};
use http::request::Parts;
use http::{Method, header};

use super::revocations::{Reach, Revocations};
use super::signatures::Signatures;
use crate::auth::caller::Caller;
use crate::auth::credentials::{Presented, bearer, presented};
use crate::auth::refusal::Refusal;
use crate::auth::session::{Fresh, Sessions, TooLong};
use crate::auth::settings::Access;
use crate::auth::{cookie, key};
use crate::error::{Code, Reject};
use crate::media_type;
use crate::metrics::Metrics;
use cors::decision::Decision;

/// Authenticates requests.
#[derive(Clone, Copy)]
pub struct Authenticator<'a> {
    /// `[access]`
    pub rules: &'a Access,
    /// Tokens whose signature these rules have verified.
    pub signatures: &'a Signatures,
    /// Revoked sessions.
    pub revocations: &'a dyn Revocations,
    /// The metrics that count refusals.
    pub metrics: &'a Metrics,
}

/// The result of a logout.
pub struct Logout {
    /// The `set-cookie` lines that delete the session's cookies.
    pub cookies: [HeaderValue; 2],
    /// The instances on which the logout holds.
    pub reach: Reach,
}

impl Authenticator<'_> {
    /// Returns the caller of a request from this address, with this CORS decision.
    ///
    /// # Errors
    /// - 401 `missing_credentials`: credentials are required, and there are none.
    /// - 401 `invalid_credentials`: they are invalid, for any reason. An invalid credential never counts as a missing one.
    /// - 403 `origin_not_allowed`, 415 `unsupported_media_type`: a cookie came with a request that a form or an image of
    ///   another site can make.
    pub fn authenticate(&self, parts: &Parts, cors: &Decision, address: IpAddr) -> Result<Caller, Reject> {
        if self.rules.accept.is_open() {
            return Ok(Caller::anonymous(address));
        }
        let presented = presented(&parts.headers, self.rules.accept).map_err(|refusal| self.refuse("none", refusal))?;
        if let Presented::Session(_) = presented {
            forgery_is_excluded(parts, cors)?;
        }
        self.caller(presented, &parts.headers, address).map_err(|refusal| self.refuse(presented.as_str(), refusal))
    }

    fn caller(&self, presented: Presented<'_>, headers: &HeaderMap, address: IpAddr) -> Result<Caller, Refusal> {
        let (origin, now) = (origin(headers), now());
        match presented {
            Presented::Key(text) => self.rules.keys.find(text, address, now),
            Presented::Token(token) => {
                let verified = self.signatures.check(&self.rules.tokens, token, origin, now)?;
                Ok(Caller::token(verified.subject, address, verified.terms))
            }
            Presented::Session(value) => {
                let sessions = self.rules.sessions.as_ref().ok_or(Refusal::NotAccepted)?;
                let session = sessions.open(value, origin, now)?;
                match self.revocations.is_revoked(session.id) {
                    true => Err(Refusal::Revoked),
                    false => Ok(session.caller(address)),
                }
            }
        }
    }

    /// Handles `POST /v1/session`: returns the caller that holds this token, and the `set-cookie` of a new session of its
    /// subject.
    ///
    /// # Errors
    /// 401 as in [`Authenticator::authenticate`], 400 for a token whose claims exceed a cookie.
    pub fn log_in(&self, sessions: &Sessions, parts: &Parts, address: IpAddr) -> Result<(Caller, HeaderValue), Reject> {
        let refuse = |refusal| self.refuse("token", refusal);
        let token = bearer(&parts.headers).map_err(refuse)?.ok_or_else(|| refuse(Refusal::Missing))?;
        if token.starts_with(key::PREFIX) {
            return Err(refuse(Refusal::NotAccepted));
        }
        let now = now();
        let origin = origin(&parts.headers);
        let verified = self.signatures.check(&self.rules.tokens, token, origin, now).map_err(refuse)?;
        let cookie = sessions.begin(&verified, now, fresh()?).map_err(|TooLong| {
            let message = "The token has more claims than a cookie holds: shorten its list of models.";
            Reject::new(Code::InvalidRequest, message)
        })?;
        let cookie = set_cookie(&cookie)?;
        Ok((Caller::token(verified.subject, address, verified.terms), cookie))
    }

    /// Handles `DELETE /v1/session`: revokes the session, if there is one.
    ///
    /// A request without a valid session succeeds: its client is logged out.
    ///
    /// # Errors
    /// 403 `origin_not_allowed`: a cookie came from a page that may not call.
    pub async fn log_out(&self, sessions: &Sessions, parts: &Parts, cors: &Decision) -> Result<Logout, Reject> {
        let now = now();
        let mut found = Vec::new();
        for value in cookie::values(&parts.headers) {
            forgery_is_excluded(parts, cors)?;
            found.extend(sessions.open(value, origin(&parts.headers), now));
        }
        let mut reach = Reach::SharedRevocations;
        for session in found {
            if self.revocations.revoke(session.id, session.expires, now).await == Reach::Here {
                reach = Reach::Here;
            }
        }
        let [partitioned, lax] = cookie::clear();
        Ok(Logout { cookies: [set_cookie(&partitioned)?, set_cookie(&lax)?], reach })
    }

    fn refuse(&self, credential: &str, refusal: Refusal) -> Reject {
        self.metrics.credentials_refused.with_label_values(&[credential, refusal.as_str()]).inc();
        refusal.reject()
    }
}

/// Excludes cross-site request forgery. A browser adds cookies to requests that another site causes. With an allowed
/// `Origin`, the page may call; without one, the request may come from an image or a link. A form cannot send JSON, so a
/// POST of JSON was preflighted. (OWASP, "Cross-Site Request Forgery Prevention": verifying origin, custom content type.)
fn forgery_is_excluded(parts: &Parts, cors: &Decision) -> Result<(), Reject> {
    if !matches!(cors, Decision::Actual(_)) {
        let message = "A request with the session's cookie needs an `Origin` that cors.origins lists: call from such a page, \
                       or send a key or a token in `authorization`.";
        return Err(Reject::new(Code::OriginNotAllowed, message));
    }
    if parts.method == Method::POST { media_type::require_json(parts) } else { Ok(()) }
}

fn origin(headers: &HeaderMap) -> Option<&str> {
    headers.get(ORIGIN).and_then(|origin| origin.to_str().ok())
}

/// Returns seconds since the epoch.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

fn fresh() -> Result<Fresh, Reject> {
    let mut fresh = Fresh { id: [0; 16], nonce: [0; 12] };
    // a seal needs randomness
    let filled = getrandom::fill(&mut fresh.id).and_then(|()| getrandom::fill(&mut fresh.nonce));
    filled.map(|()| fresh).map_err(|_| Reject::defect())
}

fn set_cookie(line: &str) -> Result<HeaderValue, Reject> {
    let mut value = HeaderValue::from_str(line).map_err(|_| Reject::defect())?;
    value.set_sensitive(true);
    Ok(value)
}

/// Returns the `www-authenticate` of a 401 (RFC 9110 §11.6.1, RFC 6750 §3).
pub fn challenge(code: Code) -> Option<(header::HeaderName, HeaderValue)> {
    let challenge = match code {
        Code::MissingCredentials => "Bearer",
        Code::InvalidCredentials => "Bearer error=\"invalid_token\"",
        _ => return None,
    };
    Some((header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge)))
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;
    use cors::decision::decide;
    use cors::policy::{Policy, Spec};

    /// Returns the result of a request with a cookie, independent of the route.
    fn answered(method: &str, headers: &[(&str, &str)]) -> Result<(), Code> {
        let spec = Spec { origins: vec!["https://a.example".into()], credentials: true, ..Spec::default() };
        let request = Request::builder().method(method).uri("/v1/feedback");
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let cors = decide(&Policy::new(&spec).unwrap(), "POST", &parts.method, &parts.headers);
        forgery_is_excluded(&parts, &cors).map_err(|reject| reject.code)
    }

    #[test]
    fn a_cookie_needs_an_allowed_origin_and_its_posts_need_json_on_every_route() {
        let (origin, json) = (("origin", "https://a.example"), ("content-type", "application/json"));
        assert_eq!(answered("GET", &[origin]), Ok(()));
        assert_eq!(answered("DELETE", &[origin]), Ok(()));
        assert_eq!(answered("POST", &[origin, json]), Ok(()));
        assert_eq!(answered("POST", &[origin]), Err(Code::UnsupportedMediaType));
        assert_eq!(answered("POST", &[origin, ("content-type", "text/plain")]), Err(Code::UnsupportedMediaType));
        assert_eq!(answered("POST", &[json]), Err(Code::OriginNotAllowed));
        assert_eq!(answered("GET", &[("origin", "https://b.example")]), Err(Code::OriginNotAllowed));
    }
}
