//! The text of each fix. Pure.

use std::fmt::Write;

use super::{MAX_AGE, Needs};
use cors::names::{ALLOWED, EXPOSED};

/// A JSON string, which JavaScript, Python and TOML read, too.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn list<'a>(items: impl IntoIterator<Item = &'a str>) -> String {
    let items: Vec<String> = items.into_iter().map(quoted).collect();
    format!("[{}]", items.join(", "))
}

fn strings(items: &[String]) -> impl Iterator<Item = &str> {
    items.iter().map(String::as_str)
}

pub(super) fn tokenway(needs: &Needs) -> Result<String, String> {
    let Needs { origin, method, .. } = needs;
    if !origin.starts_with("https://") && !origin.starts_with("http://") {
        return Err(format!("Tokenway never allows the origin `{origin}`: serve the page over https"));
    }
    if !matches!(method.as_str(), "GET" | "POST" | "DELETE" | "HEAD") {
        return Err(format!("no route of Tokenway takes {method}"));
    }
    let url = url::Url::parse(origin).map_err(|_| format!("`{origin}` is no origin"))?;
    let is_loopback = match url.host() {
        Some(url::Host::Domain(domain)) => domain == "localhost",
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    if needs.credentials && url.scheme() == "http" && !is_loopback {
        return Err("Tokenway takes no cookies from pages over plain http: serve the page over https".to_owned());
    }
    let mut text = format!("[cors]\norigins = {}\n", list([origin.as_str()]));
    if needs.credentials {
        text.push_str("credentials = true\n");
    }
    let mut entry = |key: &str, names: &[String], built_in: &[&str]| {
        let more: Vec<&str> = strings(names).filter(|name| !built_in.contains(name)).collect();
        if !more.is_empty() {
            let _ = writeln!(text, "{key} = {}", list(more));
        }
    };
    entry("allow_headers", &needs.headers, &ALLOWED);
    entry("expose_headers", &needs.expose, &EXPOSED);
    Ok(text)
}

/// Both parts begin with a comment that names their place.
pub(super) fn nginx(needs: &Needs) -> Result<String, String> {
    let Needs { origin, method, headers, expose, credentials, preflight } = needs;
    if origin.contains('$') || method.contains('$') || headers.iter().chain(expose).any(|name| name.contains('$')) {
        return Err("nginx has no way to write a literal `$`".to_owned());
    }
    let origin = origin.replace('\\', "\\\\").replace('"', "\\\"");
    let identify = |indent: &str| {
        let mut text = format!("{indent}add_header Access-Control-Allow-Origin $cors_origin always;\n");
        if *credentials {
            let _ = writeln!(text, "{indent}add_header Access-Control-Allow-Credentials true always;");
        }
        text + indent + "add_header Vary Origin always;\n"
    };
    let mut text = format!(
        "# in http {{ }}\nmap $http_origin $cors_origin {{\n    default \"\";\n    \"{origin}\" $http_origin;\n}}\n\
         # in location {{ }}, beside proxy_pass\n"
    );
    if *preflight {
        text.push_str("if ($request_method = OPTIONS) {\n");
        text.push_str(&identify("    "));
        let _ = writeln!(text, "    add_header Access-Control-Allow-Methods \"{method}\" always;");
        if !headers.is_empty() {
            let _ = writeln!(text, "    add_header Access-Control-Allow-Headers \"{}\" always;", headers.join(", "));
        }
        let _ = writeln!(text, "    add_header Access-Control-Max-Age {MAX_AGE} always;\n    return 204;\n}}");
    }
    text.push_str(&identify(""));
    if !expose.is_empty() {
        let _ = writeln!(text, "add_header Access-Control-Expose-Headers \"{}\" always;", expose.join(", "));
    }
    // two layers that both set the header give two lines, which browsers reject
    text.push_str(
        "proxy_hide_header Access-Control-Allow-Origin;\nproxy_hide_header Access-Control-Allow-Credentials;\n",
    );
    Ok(text)
}

pub(super) fn express(needs: &Needs) -> String {
    let mut text = format!(
        "const cors = require('cors'); // npm install cors\n\n\
         // before all other middleware: no authentication and no limit for preflights\n\
         app.use(cors({{\n  origin: {},\n",
        list([needs.origin.as_str()])
    );
    let mut line = |key: &str, value: String| {
        let _ = writeln!(text, "  {key}: {value},");
    };
    if needs.preflight {
        line("methods", list([needs.method.as_str()]));
        line("allowedHeaders", list(strings(&needs.headers)));
        line("maxAge", MAX_AGE.to_string());
    }
    if !needs.expose.is_empty() {
        line("exposedHeaders", list(strings(&needs.expose)));
    }
    if needs.credentials {
        line("credentials", "true".to_owned());
    }
    text + "}));\n"
}

pub(super) fn fastapi(needs: &Needs) -> String {
    let mut text = format!(
        "from fastapi.middleware.cors import CORSMiddleware\n\n\
         # around the whole application, so that a 500 has the headers, too: uvicorn main:asgi\n\
         asgi = CORSMiddleware(\n    app,\n    allow_origins={},\n",
        list([needs.origin.as_str()])
    );
    let mut line = |key: &str, value: String| {
        let _ = writeln!(text, "    {key}={value},");
    };
    if needs.preflight {
        line("allow_methods", list([needs.method.as_str()]));
        line("allow_headers", list(strings(&needs.headers)));
        line("max_age", MAX_AGE.to_string());
    }
    if !needs.expose.is_empty() {
        line("expose_headers", list(strings(&needs.expose)));
    }
    if needs.credentials {
        line("allow_credentials", "True".to_owned());
    }
    text + ")\n"
}

pub(super) fn flask(needs: &Needs) -> String {
    // flask-cors treats an origin that looks like a pattern as one, such as an IPv6 address
    let is_pattern = needs.origin.contains(['[', '*', '?', '$', '^', '(', '\\', '+', '|']);
    let origin = if is_pattern { format!("^{}$", escaped_pattern(&needs.origin)) } else { needs.origin.clone() };
    let mut text = format!(
        "from flask_cors import CORS  # pip install flask-cors\n\n\n\
         @app.after_request\ndef vary(response):\n    response.vary.add(\"Origin\")  # flask-cors does not for one origin\n    \
         return response\n\n\nCORS(\n    app,\n    origins={},\n",
        list([origin.as_str()])
    );
    let mut line = |key: &str, value: String| {
        let _ = writeln!(text, "    {key}={value},");
    };
    if needs.preflight {
        line("methods", list([needs.method.as_str()]));
        line("allow_headers", list(strings(&needs.headers)));
        line("max_age", MAX_AGE.to_string());
    }
    if !needs.expose.is_empty() {
        line("expose_headers", list(strings(&needs.expose)));
    }
    if needs.credentials {
        line("supports_credentials", "True".to_owned());
    }
    text + ")\n"
}

fn escaped_pattern(text: &str) -> String {
    let mut escaped = String::new();
    for c in text.chars() {
        if !c.is_ascii_alphanumeric() && !matches!(c, ':' | '/' | '-') {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

pub(super) fn caddy(needs: &Needs) -> Result<String, String> {
    let Needs { origin, method, headers, expose, credentials, preflight } = needs;
    if origin.contains(['{', '}', '"', '*']) {
        return Err(format!("Caddy reads `{origin}` as a placeholder or pattern"));
    }
    let mut text = format!(
        "@page header Origin \"{origin}\"\nheader +Vary Origin\nheader @page {{\n    \
         Access-Control-Allow-Origin \"{origin}\"\n"
    );
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(text, "    {name} \"{value}\"");
    };
    if *credentials {
        line("Access-Control-Allow-Credentials", "true");
    }
    if *preflight {
        line("Access-Control-Allow-Methods", method);
        if !headers.is_empty() {
            line("Access-Control-Allow-Headers", &headers.join(", "));
        }
        line("Access-Control-Max-Age", &MAX_AGE.to_string());
    }
    if !expose.is_empty() {
        line("Access-Control-Expose-Headers", &expose.join(", "));
    }
    text.push_str("}\n");
    if *preflight {
        text.push_str(
            "@preflight {\n    method OPTIONS\n    header Access-Control-Request-Method *\n}\nrespond @preflight 204\n",
        );
    }
    text.push_str("# in reverse_proxy { }: header_down -Access-Control-*\n# basic_auth runs before respond: give it a matcher that excludes OPTIONS\n");
    Ok(text)
}
