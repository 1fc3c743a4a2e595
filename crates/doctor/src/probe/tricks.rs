//! Origins that a careless server takes for the page's own. Pure.

use url::{Host, Url};

/// An origin that is not to be allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trick {
    /// What it plays on, as it follows "it allows".
    pub words: &'static str,
    /// As `Origin` carries it.
    pub origin: String,
}

/// Every trick on an origin; those that would be the origin itself are left out.
pub fn on(origin: &str) -> Vec<Trick> {
    let mut tricks = vec![
        Trick { words: "any page of the web", origin: "https://evil.example".to_owned() },
        Trick { words: "`null`, which every sandboxed frame of every site has", origin: "null".to_owned() },
    ];
    let mut add = |words, origin: String| tricks.push(Trick { words, origin });
    if let Ok(page) = Url::parse(origin)
        && let Some(host) = page.host()
    {
        let (scheme, port) = (page.scheme(), page.port().map_or(String::new(), |port| format!(":{port}")));
        if scheme == "https" {
            add(
                "the same page without TLS, which anyone on the visitor's network can play",
                format!("http://{host}{port}"),
            );
        }
        if let Host::Domain(domain) = host {
            // where only the beginning is compared
            add("whoever owns a name that ends otherwise", format!("{scheme}://{domain}.evil.example{port}"));
            if let Some(own) = psl::domain_str(domain).filter(|own| own.contains('.')) {
                // where only the end is compared, without its dot
                add("whoever buys a name that ends the same", format!("{scheme}://evil{own}{port}"));
            }
            // where the dots of a pattern are not escaped
            if domain.matches('.').count() > 1
                && let Some(dot) = domain.find('.')
            {
                let (first, rest) = (&domain[..dot], &domain[dot + 1..]);
                add("whoever buys a name with another letter for a dot", format!("{scheme}://{first}x{rest}{port}"));
            }
        }
    }
    tricks.retain(|trick| trick.origin != origin);
    tricks.dedup_by(|a, b| a.origin == b.origin);
    tricks
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn origins(origin: &str) -> Vec<String> {
        on(origin).into_iter().map(|trick| trick.origin).collect()
    }

    #[test]
    fn each_trick_plays_on_one_mistake() {
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
        fn no_trick_is_the_origin_itself_and_each_is_an_origin(host in "[a-z]{1,8}(\\.[a-z]{1,6}){0,3}", port in prop::option::of(1024_u16..)) {
            let origin = format!("https://{host}{}", port.map_or(String::new(), |port| format!(":{port}")));
            for trick in origins(&origin) {
                prop_assert_ne!(&trick, &origin);
                prop_assert!(trick == "null" || Url::parse(&trick).unwrap().origin().ascii_serialization() == trick, "{trick}");
            }
        }
    }
}
