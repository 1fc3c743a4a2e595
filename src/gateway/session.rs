//! `/v1/session`: exchanges a token for a session cookie, and ends the session.

use http::{HeaderValue, Response, StatusCode, header};

use super::exchange::Exchange;
use super::response;
use super::routes::no_such_route;
use crate::auth::authenticate::Logout;
use crate::auth::revocations::Reach;
use crate::auth::session::Sessions;
use crate::body::Body;
use crate::error::Reject;

impl Exchange {
    /// `POST`: begins a session for the holder of the token.
    pub(super) fn log_in(&self) -> Result<Response<Body>, Reject> {
        let (caller, cookie) = self.gateway.authenticator().log_in(self.sessions()?, &self.parts, self.address)?;
        self.meter.record().caller(caller);
        Ok(answer([cookie]))
    }

    /// `DELETE`: ends the session.
    pub(super) async fn log_out(&self) -> Result<Response<Body>, Reject> {
        let Logout { cookies, reach } =
            self.gateway.authenticator().log_out(self.sessions()?, &self.parts, &self.cors).await?;
        let mut response = answer(cookies);
        if reach == Reach::Here {
            response.headers_mut().insert("tokenway-logout", HeaderValue::from_static("pending"));
        }
        Ok(response)
    }

    /// Without `[access.sessions]` there is no such route.
    fn sessions(&self) -> Result<&Sessions, Reject> {
        self.gateway
            .config
            .access
            .sessions
            .as_ref()
            .ok_or_else(|| no_such_route(self.parts.uri.path(), self.gateway.shared.families))
    }
}

fn answer(cookies: impl IntoIterator<Item = HeaderValue>) -> Response<Body> {
    let mut response = response::empty(StatusCode::NO_CONTENT);
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    for cookie in cookies {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    response
}
