//! Mistakes in `[[upstreams]]`.

use std::path::Path;

use super::{Pieces, assert_problem};
use crate::config::Config;

#[test]
fn every_problem_of_an_upstream_names_its_key_and_the_mend() {
    for (upstream, key, words) in [
        ("api_key = \"sk-canary\"", "upstreams[0].api_key", "secrets never stand in the file; use api_key_env"),
        ("api_key_env = \"sk-canary\"", "upstreams[0].api_key_env", "never the key itself"),
        ("api_key_env = \"skcanary\"", "upstreams[0].api_key_env", "the variable that it names is not set"),
        ("api_key_env = \"GLOBAL_API_KEY\"", "upstreams[0].api_key_env", "the variable GLOBAL_API_KEY is not set"),
        ("api_key_env = \"EMPTY\"", "upstreams[0].api_key_env", "the variable EMPTY is empty"),
        ("api_key_env = \"TWO_WORDS\"", "upstreams[0].api_key_env", "no `Bearer`"),
        ("api_key_file = \"sk-canary\"", "upstreams[0].api_key_file", "cannot be read"),
        ("api_key_env = \"KEY\"\napi_key_file = \"k\"", "upstreams[0].api_key_file", "keep one of the two"),
        ("api_key_env = \"KEY\"\nbase_url = \"http://up.example\"", "upstreams[0].base_url", "clear text; write https"),
        ("base_url = \"https://u:canary@up.example\"", "upstreams[0].base_url", "holds credentials"),
        ("base_url = \"https://up.example?k=canary\"", "upstreams[0].base_url", "has a query"),
        ("base_url = 5", "upstreams[0].base_url", "must be a string"),
        (
            "api_key_env = \"KEY\"\napi_keys_env = [\"KEY\"]",
            "upstreams[0].api_keys_env",
            "cannot be used together with api_key_env",
        ),
        ("api_keys_env = []", "upstreams[0].api_keys_env", "is empty"),
        ("api_keys_env = [\"KEY\", \"NONE\"]", "upstreams[0].api_keys_env[1]", "the variable NONE is not set"),
        ("api_keys_env = [\"sk-canary\"]", "upstreams[0].api_keys_env[0]", "the variable that it names is not set"),
        (
            "api_keys_env = [\"KEY\"]\nbase_url = \"http://up.example\"",
            "upstreams[0].base_url",
            "clear text; write https",
        ),
        ("api_key_header = \"a b\"", "upstreams[0].api_key_header", "is no header name"),
        ("api_key_header = \"Host\"", "upstreams[0].api_key_header", "Tokenway writes itself"),
        ("headers = { \"a b\" = \"c\" }", "upstreams[0].headers.\"a b\"", "is no header name"),
        ("headers = { Connection = \"close\" }", "upstreams[0].headers.Connection", "Tokenway writes itself"),
        (
            "headers = { Authorization = \"Bearer canary\" }",
            "upstreams[0].headers.Authorization",
            "name it with api_key_env",
        ),
        (
            "headers = { x-key = \"canary\" }\napi_key_header = \"X-Key\"",
            "upstreams[0].headers.x-key",
            "name it with api_key_env",
        ),
        ("headers = { x-a = \"1\", X-A = \"2\" }", "upstreams[0].headers.X-A", "with other capitals"),
        ("headers = { x-a = \"\\n\" }", "upstreams[0].headers.x-a", "one line of visible characters"),
        ("headers = { x-a = 5 }", "upstreams[0].headers.x-a", "must be a string"),
        ("headers = [\"x\"]", "upstreams[0].headers", "write it in braces"),
        ("query = \"a=b\"", "upstreams[0].query", "write it in braces"),
        ("proxy = \"socks5://proxy\"", "upstreams[0].proxy", "only http proxies"),
        ("proxy = \"http://u:canary@proxy:3128\"", "upstreams[0].proxy", "holds credentials"),
        ("stream_usage = \"no\"", "upstreams[0].stream_usage", "must be true or false"),
        ("ca_file = \"none.pem\"", "upstreams[0].ca_file", "cannot be read"),
        ("ca_file = \"a.pem\"\nbase_url = \"http://[::1]\"", "upstreams[0].ca_file", "is not used"),
        ("connect_timeout = \"0s\"", "upstreams[0].connect_timeout", "out of range"),
        ("keep_alive = true", "upstreams[0].keep_alive", "must be a string, not true or false"),
        ("keepalive = \"1s\"", "upstreams[0].keepalive", "write `keep_alive`"),
    ] {
        assert_problem(&Pieces { upstream, ..Pieces::default() }, key, words);
    }
}

/// Returns the proxy of an upstream with this base URL and these lines, in an environment with these variables.
fn proxy(base_url: &str, lines: &str, env: &[(&str, &str)]) -> Result<Option<String>, String> {
    let text = format!(
        "[server]\nplaintext = true\nhosts = [\"localhost\"]\n[[upstreams]]\nname = \"up\"\nbase_url = \"{base_url}\"\n{lines}\n\
         [[models]]\nname = \"m\"\nupstream = \"up\"\n"
    );
    let env = |name: &str| env.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
    let config = Config::parse(&text, Path::new(""), &env).map_err(|problems| problems.to_string())?;
    Ok(config.upstreams[0].proxy.as_ref().map(ToString::to_string))
}

#[test]
fn the_proxy_of_the_environment_is_used_for_https_to_other_machines() {
    const UP: &str = "https://up.example/v1";
    const PROXY: (&str, &str) = ("HTTPS_PROXY", "http://u:canary@proxy:3128");
    let of = |base_url: &str, lines: &str, env: &[(&str, &str)]| proxy(base_url, lines, env).unwrap();
    assert_eq!(of(UP, "", &[]), None);
    assert_eq!(of(UP, "", &[PROXY]).as_deref(), Some("http://proxy:3128"));
    assert_eq!(of(UP, "", &[PROXY, ("https_proxy", "lower:1")]).as_deref(), Some("http://lower:1"));
    assert_eq!(of(UP, "proxy = \"\"", &[PROXY]), None);
    assert_eq!(of(UP, "proxy = \"http://own:8080\"", &[PROXY]).as_deref(), Some("http://own:8080"));
    for excluded in ["*", "example", "up.example", "a, .example"] {
        assert_eq!(of(UP, "", &[PROXY, ("NO_PROXY", excluded)]), None, "{excluded}");
    }
    assert!(of(UP, "", &[PROXY, ("no_proxy", "other.example")]).is_some());
    for local in ["http://up.example/v1", "https://localhost/v1", "https://127.0.0.1:8443", "https://[::1]/v1"] {
        assert_eq!(of(local, "", &[PROXY]), None, "{local}");
    }
    let wrong = proxy(UP, "", &[("HTTPS_PROXY", "socks5://u:canary@proxy")]).unwrap_err();
    assert!(wrong.contains("proxy = \"\"") && !wrong.contains("canary"), "{wrong}");
}
