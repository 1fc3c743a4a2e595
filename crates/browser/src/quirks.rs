//! The differences between browsers and the standard, as data, and the decisions of this crate that depend on them. Pure.
//!
//! Differential tests compare those of Chromium with the browser itself. Those of Firefox and Safari come from their sources
//! and from MDN's compatibility data.

use std::fmt;

/// The browser whose rules decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Browser {
    /// The Fetch standard, to the letter.
    Standard,
    /// Chrome, Edge, Opera and others on Blink.
    #[default]
    Chromium,
    /// Firefox.
    Firefox,
    /// Safari, and every browser on iOS.
    Safari,
}

/// One difference between browsers and the standard that decides whether a page's request succeeds, or how often it is
/// preflighted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quirk {
    /// A stable name.
    pub id: &'static str,
    /// The browsers that differ.
    pub browsers: &'static [Browser],
    /// The standard's rule.
    pub standard: &'static str,
    /// The behaviour of these browsers.
    pub instead: &'static str,
}

/// All known differences.
pub const QUIRKS: [Quirk; 13] = [
    Quirk {
        id: "wildcard-covers-authorization",
        browsers: &[Browser::Chromium, Browser::Firefox, Browser::Safari],
        standard: "`*` in Access-Control-Allow-Headers does not cover `authorization` (§4.8, step 7.6)",
        instead: "it covers `authorization`, with a warning in the console of Chromium and Firefox that this will change",
    },
    Quirk {
        id: "max-age-two-hours",
        browsers: &[Browser::Chromium],
        standard: "Access-Control-Max-Age has an imposed limit (§4.8, step 7.10)",
        instead: "the limit is 7200 seconds",
    },
    Quirk {
        id: "max-age-one-day",
        browsers: &[Browser::Firefox],
        standard: "Access-Control-Max-Age has an imposed limit (§4.8, step 7.10)",
        instead: "the limit is 86400 seconds",
    },
    Quirk {
        id: "max-age-ten-minutes",
        browsers: &[Browser::Safari],
        standard: "Access-Control-Max-Age has an imposed limit (§4.8, step 7.10)",
        instead: "the limit is 600 seconds",
    },
    Quirk {
        id: "user-agent-dropped",
        browsers: &[Browser::Chromium],
        standard: "`user-agent` is a header that a page may set; it is not safelisted, so it is preflighted (§2.2.2)",
        instead: "the page's `user-agent` is silently dropped, and asks for no preflight; Firefox and Safari send it",
    },
    Quirk {
        id: "client-hints-safelisted",
        browsers: &[Browser::Chromium],
        standard: "only accept, accept-language, content-language, content-type and range are safelisted (§2.2.2)",
        instead: "device-memory, dpr, width, viewport-width, rtt, downlink, ect, save-data and intervention are, too; a redirect drops most of them",
    },
    Quirk {
        id: "lines-joined",
        browsers: &[Browser::Chromium, Browser::Safari],
        standard: "two lines of one request header are checked one by one, each up to 128 bytes (§2.2.2)",
        instead: "they are checked as one value, joined by a comma",
    },
    Quirk {
        id: "third-party-cookies-blocked",
        browsers: &[Browser::Firefox, Browser::Safari],
        standard: "whether a third-party cookie is stored is the browser's choice",
        instead: "third-party cookies are partitioned (Firefox) or blocked (Safari) unless they are `Partitioned`",
    },
    Quirk {
        id: "same-site-unset",
        browsers: &[Browser::Firefox, Browser::Safari],
        standard: "a cookie without SameSite is taken for Lax (RFC 6265bis §5.6.7)",
        instead: "it is taken for None, though not shared between sites",
    },
    Quirk {
        id: "location-first",
        browsers: &[Browser::Chromium],
        standard: "a redirect's Location is read after the CORS check and the redirect mode (§4.4, steps 4.4 and 6.3)",
        instead: "a Location that is no URL fails before both, userinfo in it before the mode; and without Location, \
                  `redirect: \"error\"` gets the response as it is",
    },
    Quirk {
        id: "no-userinfo",
        browsers: &[Browser::Chromium],
        standard: "a redirect within the page's own origin, or in mode no-cors, may lead to a URL with a user name (§4.5)",
        instead: "it fails, but for XMLHttpRequest",
    },
    Quirk {
        id: "events-in-utf8",
        browsers: &[Browser::Chromium],
        standard: "EventSource reads UTF-8 whatever the content type's charset says (HTML §9.2.3)",
        instead: "it fails the connection for another charset",
    },
    Quirk {
        id: "no-streaming-upload",
        browsers: &[Browser::Firefox, Browser::Safari],
        standard: "a request's body can be a ReadableStream, which is always preflighted (§5.4)",
        instead: "there is no such body: the stream's text form is sent, or an error is thrown",
    },
];

impl Browser {
    /// All of them.
    pub const ALL: [Browser; 4] = [Browser::Standard, Browser::Chromium, Browser::Firefox, Browser::Safari];

    /// `standard`, `chromium`, `firefox` or `safari`.
    pub fn as_str(self) -> &'static str {
        match self {
            Browser::Standard => "standard",
            Browser::Chromium => "chromium",
            Browser::Firefox => "firefox",
            Browser::Safari => "safari",
        }
    }

    /// The longest time for which it caches a preflight response, in seconds; `None` for the standard, which has no limit.
    pub fn longest_max_age(self) -> Option<u64> {
        match self {
            Browser::Standard => None,
            Browser::Chromium => Some(7_200),
            Browser::Firefox => Some(86_400),
            Browser::Safari => Some(600),
        }
    }

    /// Its differences from the standard.
    pub fn quirks(self) -> impl Iterator<Item = &'static Quirk> {
        QUIRKS.iter().filter(move |quirk| quirk.browsers.contains(&self))
    }

    pub(super) fn wildcard_covers_authorization(self) -> bool {
        self != Browser::Standard
    }

    pub(super) fn drops_user_agent(self) -> bool {
        self == Browser::Chromium
    }

    pub(super) fn safelists_client_hints(self) -> bool {
        self == Browser::Chromium
    }

    pub(super) fn reads_location_first(self) -> bool {
        self == Browser::Chromium
    }

    pub(super) fn wants_utf8_events(self) -> bool {
        self == Browser::Chromium
    }

    pub(super) fn refuses_userinfo(self) -> bool {
        self == Browser::Chromium
    }

    pub(super) fn defaults_to_lax(self) -> bool {
        matches!(self, Browser::Standard | Browser::Chromium)
    }

    pub(super) fn joins_lines(self) -> bool {
        matches!(self, Browser::Chromium | Browser::Safari)
    }
}

impl fmt::Display for Browser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
