//! Origins that a server with a wrong comparison confuses with the page's own. Pure.

use url::{Host, Url};

/// An origin that the server should not allow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lookalike {
    /// Who controls pages of this origin.
    pub description: &'static str,
    /// The origin, as in the header `Origin`.
    pub origin: String,
}

/// The lookalikes of an origin, without the origin itself.
pub fn of(origin: &str) -> Vec<Lookalike> {
    let lookalike = |description, origin| Lookalike { description, origin };
    let mut lookalikes = vec![
        lookalike("any page of the web", "https://evil.example".to_owned()),
        lookalike("`null`, the origin of every sandboxed frame of every site", "null".to_owned()),
    ];
    let mut add = |description, origin: String| lookalikes.push(lookalike(description, origin));
    if let Ok(page) = Url::parse(origin)
        && let Some(host) = page.host()
    {
        let (scheme, port) = (page.scheme(), page.port().map_or(String::new(), |port| format!(":{port}")));
        if scheme == "https" {
            add(
                "the same page without TLS, which anyone on the visitor's network can imitate",
                format!("http://{host}{port}"),
            );
        }
        if let Host::Domain(domain) = host {
            // a server that compares only the beginning
            add("the owner of a name with the same beginning", format!("{scheme}://{domain}.evil.example{port}"));
            if let Some(own) = psl::domain_str(domain).filter(|own| own.contains('.')) {
                // a server that compares only the end, without its dot
                add("the owner of a name with the same end", format!("{scheme}://evil{own}{port}"));
            }
            // a server that does not escape the dots of a pattern
            if domain.matches('.').count() > 1
                && let Some(dot) = domain.find('.')
            {
                let (first, rest) = (&domain[..dot], &domain[dot + 1..]);
                add("the owner of a name with a letter instead of a dot", format!("{scheme}://{first}x{rest}{port}"));
            }
        }
    }
    lookalikes.retain(|lookalike| lookalike.origin != origin);
    lookalikes.dedup_by(|a, b| a.origin == b.origin);
    lookalikes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn origins(origin: &str) -> Vec<String> {
        of(origin).into_iter().map(|lookalike| lookalike.origin).collect()
    }

    #[test]
    fn each_lookalike_shows_one_mistake() {
        assert_eq!(
            origins("https://app.example.com:8443"),
            [
                "https://evil.example",
                "null",
                "http://app.example.com:8443",
                "https://app.example.com.evil.example:8443",
                "https://evilexample.com:8443",
                "https://appxexample.com:8443",
            ]
        );
    }

    #[test]
    fn addresses_and_localhost_have_fewer() {
        assert_eq!(origins("http://127.0.0.1:3000"), ["https://evil.example", "null"]);
        assert_eq!(
            origins("http://localhost:3000"),
            ["https://evil.example", "null", "http://localhost.evil.example:3000"]
        );
        assert_eq!(origins("null"), ["https://evil.example"]);
    }

    proptest! {
        #[test]
        fn no_lookalike_is_the_origin_itself_and_each_is_an_origin(host in "[a-z]{1,8}(\\.[a-z]{1,6}){0,3}", port in prop::option::of(1024_u16..)) {
            let origin = format!("https://{host}{}", port.map_or(String::new(), |port| format!(":{port}")));
            for other in origins(&origin) {
                prop_assert_ne!(&other, &origin);
                prop_assert!(other == "null" || Url::parse(&other).unwrap().origin().ascii_serialization() == other, "{other}");
            }
        }
    }
}
