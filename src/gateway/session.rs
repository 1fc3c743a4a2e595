//! `/v1/session`: a token for a cookie, and back.

use http::request::Parts;
use http::{HeaderValue, Response, StatusCode, header};

use super::{Gateway, Visitor};
use crate::auth::check::LoggedOut;
use crate::auth::revocations::Reach;
use crate::auth::session::Sessions;
use crate::body::Body;
use crate::error::Reject;
use crate::gateway::answers;
use crate::metering::meter::Meter;

impl Gateway {
    /// `POST`: a new session for whoever holds the token.
    pub(super) fn log_in(&self, parts: &Parts, visitor: Visitor<'_>, meter: &Meter) -> Result<Response<Body>, Reject> {
        let (caller, cookie) = self.check().log_in(self.sessions()?, parts, visitor.address)?;
        meter.record().caller(caller);
        Ok(answer([cookie]))
    }

    /// `DELETE`: no session any more.
    pub(super) async fn log_out(&self, parts: &Parts, visitor: Visitor<'_>) -> Result<Response<Body>, Reject> {
        let LoggedOut { cookies, reach } = self.check().log_out(self.sessions()?, parts, visitor.cors).await?;
        let mut response = answer(cookies);
        if reach == Reach::Here {
            response.headers_mut().insert("tokenway-logout", HeaderValue::from_static("pending"));
        }
        Ok(response)
    }

    /// Where sessions are not taken, there is no such route.
    fn sessions(&self) -> Result<&Sessions, Reject> {
        self.config.access.sessions.as_ref().ok_or_else(answers::no_such_route)
    }
}

fn answer(cookies: impl IntoIterator<Item = HeaderValue>) -> Response<Body> {
    let mut response = answers::empty(StatusCode::NO_CONTENT);
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    for cookie in cookies {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    response
}
