//! The names of targets, without secrets. Pure.

use url::Url;

/// The host, with the port if it is not the scheme's default: a name for tables and charts.
pub(super) fn name(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// The URL without user name, password, query and fragment, which may contain a key.
pub(super) fn without_secrets(url: &Url) -> String {
    format!("{}://{}{}", url.scheme(), name(url), url.path())
}

/// The names of all targets; targets with the same host are named by their URLs.
pub(super) fn names(urls: &[Url]) -> Vec<String> {
    let short: Vec<_> = urls.iter().map(name).collect();
    let is_ambiguous = |name: &String| short.iter().filter(|other| *other == name).count() > 1;
    let pairs = urls.iter().zip(&short);
    pairs.map(|(url, short)| if is_ambiguous(short) { without_secrets(url) } else { short.clone() }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_of_a_url_are_not_shown() {
        let url = Url::parse("https://user:canary@api.example.com:444/v1/x?key=canary#canary").unwrap();
        assert_eq!(without_secrets(&url), "https://api.example.com:444/v1/x");
        assert_eq!(name(&url), "api.example.com:444");
    }

    #[test]
    fn targets_of_one_host_are_named_by_their_urls() {
        let urls = |list: &[&str]| list.iter().map(|url| Url::parse(url).unwrap()).collect::<Vec<_>>();
        assert_eq!(names(&urls(&["https://a.example/x", "http://b.example:1/x"])), ["a.example", "b.example:1"]);
        assert_eq!(
            names(&urls(&["https://a.example/x", "https://a.example/y"])),
            ["https://a.example/x", "https://a.example/y"]
        );
    }
}
