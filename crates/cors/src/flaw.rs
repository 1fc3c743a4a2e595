//! The mistakes in an entry of `Spec::origins`, with their messages. Pure.

/// Why an entry is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flaw {
    Null,
    File,
    NoScheme,
    SchemeWildcard,
    Scheme,
    MisspeltScheme,
    AppWildcard,
    AppHost,
    Space,
    Unicode,
    Userinfo,
    Path,
    UpperCase,
    Wildcard,
    AddressWildcard,
    PublicSuffix,
    Address,
    Host,
    DefaultPort,
    Port,
}

impl Flaw {
    /// Whether a corrected spelling of the entry can be proposed.
    pub(super) fn is_spelling(self) -> bool {
        !matches!(
            self,
            Flaw::Null
                | Flaw::File
                | Flaw::Scheme
                | Flaw::MisspeltScheme
                | Flaw::AppWildcard
                | Flaw::AppHost
                | Flaw::PublicSuffix
        )
    }

    /// The clause after the entry in a sentence.
    pub(super) fn reason(self) -> &'static str {
        match self {
            Flaw::Null => "is the origin of every sandboxed frame, local file and data: page, regardless of its author",
            Flaw::File => "has no origin of its own: browsers send `null` for every local file",
            Flaw::NoScheme => "has no scheme",
            Flaw::SchemeWildcard => "has a wildcard as its scheme",
            Flaw::Scheme => "has a scheme whose pages have no origin of their own",
            Flaw::MisspeltScheme => "has a scheme that looks like a misspelt https",
            Flaw::AppWildcard => "has a wildcard, but origins of extensions and apps are compared byte for byte",
            Flaw::AppHost => "is no origin that an extension or an app can have",
            Flaw::Space => "contains white space or a control character",
            Flaw::Unicode => "contains letters outside ASCII, which browsers never send in an origin",
            Flaw::Userinfo => "holds a user name or password, which no origin has",
            Flaw::Path => "has a path or a trailing slash, which no origin has: it would never match",
            Flaw::UpperCase => {
                "contains upper-case letters: browsers send origins in lower case, so it would never match"
            }
            Flaw::Wildcard => "has a wildcard in the midst of its host",
            Flaw::AddressWildcard => "has a wildcard before an IP address",
            Flaw::PublicSuffix => "has its wildcard over a public suffix, below which anyone can register a name",
            Flaw::Address => "holds an IP address in a form that browsers never send",
            Flaw::Host => "has no valid host name",
            Flaw::DefaultPort => "writes the scheme's default port out: browsers leave it out, so it would never match",
            Flaw::Port => "has no valid port",
        }
    }

    /// The fix, if no corrected spelling can be proposed.
    pub(super) fn mend(self) -> &'static str {
        match self {
            Flaw::Null | Flaw::File => {
                "serve the page over http or https, on this machine for instance from http://localhost:3000, and name that \
                 origin"
            }
            Flaw::Scheme => "remove it; a page needs an origin of http, https, or of an extension or app to call from",
            Flaw::MisspeltScheme => "write https:// or http://",
            Flaw::AppWildcard => "write one entry for each extension or app",
            Flaw::AppHost => {
                "write what its requests send in `Origin`, such as tauri://localhost or chrome-extension://ID"
            }
            Flaw::SchemeWildcard => "write one entry for https and, where needed, one for http",
            Flaw::Unicode => "write the host in punycode, as browsers send it: https://xn--bcher-kva.example",
            Flaw::Wildcard => {
                "write `*` only as the whole first label (https://*.example.com) and as the port (http://localhost:*), or \
                 `*` alone for every origin"
            }
            Flaw::AddressWildcard => "name each address; an address has no subdomains",
            Flaw::PublicSuffix => {
                "name the origins one by one, or put a wildcard below a domain that is yours, such as https://*.example.com"
            }
            Flaw::Address => {
                "write IPv4 as four decimal numbers, and IPv6 in brackets and in its shortest form: http://[::1]"
            }
            Flaw::Port => "write a port from 1 to 65535 without leading zeros, or `:*` for any port",
            Flaw::NoScheme
            | Flaw::Space
            | Flaw::Userinfo
            | Flaw::Path
            | Flaw::UpperCase
            | Flaw::Host
            | Flaw::DefaultPort => {
                "write scheme, host and, unless it is the default one, port: https://app.example.com"
            }
        }
    }
}
