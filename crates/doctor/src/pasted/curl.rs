//! Parses a curl command line, as developer tools copy it and documentation writes it. Pure.

use bytes::Bytes;

use super::{Pasted, only_page_headers, words};

/// Parses a curl command line.
///
/// # Errors
/// What cannot be parsed and what to do, in one line.
pub fn parse(line: &str) -> Result<Pasted, String> {
    let words = words::split(line)?;
    let mut words = words.into_iter().peekable();
    // a copied shell prompt
    words.next_if(|word| word == "$");
    match words.next() {
        Some(word) if word == "curl" || word.ends_with("/curl") => {}
        _ => return Err("it does not begin with `curl`: paste the whole line".to_owned()),
    }
    let mut line = Line::default();
    let mut options = true;
    while let Some(word) = words.next() {
        if options && word == "--" {
            options = false;
        } else if !options || !word.starts_with('-') || word == "-" {
            line.url(word)?;
        } else if let Some(name) = word.strip_prefix("--") {
            long(&mut line, name, &mut words)?;
        } else {
            short(&mut line, &word[1..], &mut words)?;
        }
    }
    line.finish()
}

/// The parts of the line so far.
#[derive(Default)]
struct Line {
    url: Option<String>,
    method: Option<String>,
    headers: Vec<(String, String)>,
    /// The headers that curl must not send.
    removed: Vec<String>,
    data: Vec<String>,
    json: bool,
    form: bool,
    upload: bool,
    get: bool,
    head: bool,
    user: bool,
    notes: Vec<String>,
}

/// The effect of a curl option.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Effect {
    Method,
    Header,
    Data,
    DataEncoded,
    Json,
    Form,
    Upload,
    Cookie,
    User,
    Bearer,
    Agent,
    Referer,
    Range,
    Url,
    Get,
    Head,
    /// The option has no effect on a page's request, and no value.
    Ignored,
    /// The same, with a value.
    IgnoredWithValue,
    /// The doctor has this flag of its own.
    OwnFlag(&'static str),
    /// The same, with a value.
    OwnFlagWithValue(&'static str),
}

impl Effect {
    fn takes_value(self) -> bool {
        !matches!(self, Effect::Get | Effect::Head | Effect::Ignored | Effect::OwnFlag(_))
    }
}

fn long(line: &mut Line, name: &str, words: &mut impl Iterator<Item = String>) -> Result<(), String> {
    let effect = match name {
        "request" => Effect::Method,
        "header" => Effect::Header,
        "data" | "data-ascii" | "data-raw" | "data-binary" => Effect::Data,
        "data-urlencode" => Effect::DataEncoded,
        "json" => Effect::Json,
        "form" | "form-string" => Effect::Form,
        "upload-file" => Effect::Upload,
        "cookie" => Effect::Cookie,
        "user" => Effect::User,
        "oauth2-bearer" => Effect::Bearer,
        "user-agent" => Effect::Agent,
        "referer" => Effect::Referer,
        "range" => Effect::Range,
        "url" => Effect::Url,
        "get" => Effect::Get,
        "head" => Effect::Head,
        "insecure" => Effect::OwnFlag("--insecure"),
        "cacert" => Effect::OwnFlagWithValue("--ca"),
        "http2-prior-knowledge" => Effect::Ignored,
        "compressed" | "silent" | "show-error" | "no-buffer" | "location" | "include" | "verbose" | "fail"
        | "fail-with-body" | "globoff" | "http1.1" | "http2" | "http3" | "ipv4" | "ipv6" | "progress-bar"
        | "no-progress-meter" | "tcp-nodelay" | "no-keepalive" | "tlsv1.2" | "tlsv1.3" | "remote-name" => {
            Effect::Ignored
        }
        "output" | "write-out" | "max-time" | "connect-timeout" | "retry" | "retry-delay" | "cookie-jar" | "proxy"
        | "resolve" | "connect-to" | "cert" | "key" | "trace" | "trace-ascii" | "dump-header" | "speed-limit"
        | "speed-time" => Effect::IgnoredWithValue,
        _ => return Err(format!("--{name} is not known here: remove it from the line")),
    };
    let value = if effect.takes_value() {
        words.next().ok_or_else(|| format!("--{name} has no value"))?
    } else {
        String::new()
    };
    line.apply(effect, &format!("--{name}"), value)
}

/// `-sSN`, `-XPOST`, `-X POST`.
fn short(line: &mut Line, letters: &str, words: &mut impl Iterator<Item = String>) -> Result<(), String> {
    for (at, letter) in letters.char_indices() {
        let effect = match letter {
            'X' => Effect::Method,
            'H' => Effect::Header,
            'd' => Effect::Data,
            'F' => Effect::Form,
            'T' => Effect::Upload,
            'b' => Effect::Cookie,
            'u' => Effect::User,
            'A' => Effect::Agent,
            'e' => Effect::Referer,
            'r' => Effect::Range,
            'G' => Effect::Get,
            'I' => Effect::Head,
            'k' => Effect::OwnFlag("--insecure"),
            's' | 'S' | 'N' | 'L' | 'i' | 'v' | 'f' | 'g' | '4' | '6' | '0' | '1' | '2' | '3' | '#' | 'O' => {
                Effect::Ignored
            }
            'o' | 'w' | 'm' | 'x' | 'c' | 'E' | 'D' => Effect::IgnoredWithValue,
            _ => return Err(format!("-{letter} is not known here: remove it from the line")),
        };
        let name = format!("-{letter}");
        if !effect.takes_value() {
            line.apply(effect, &name, String::new())?;
            continue;
        }
        let attached = &letters[at + letter.len_utf8()..];
        let value = match attached {
            "" => words.next().ok_or_else(|| format!("{name} has no value"))?,
            attached => attached.to_owned(),
        };
        return line.apply(effect, &name, value);
    }
    Ok(())
}

impl Line {
    fn url(&mut self, url: String) -> Result<(), String> {
        if self.url.is_some() {
            return Err("it names two URLs: paste one request".to_owned());
        }
        // curl assumes http:// for a URL without a scheme
        self.url = Some(if url.contains("://") { url } else { format!("http://{url}") });
        Ok(())
    }

    fn apply(&mut self, effect: Effect, name: &str, value: String) -> Result<(), String> {
        match effect {
            Effect::Method => self.method = Some(value),
            Effect::Header => self.header(&value)?,
            Effect::Data if value.starts_with('@') && name != "--data-raw" => return Err(reads_a_file(name)),
            Effect::Json if value.starts_with('@') => return Err(reads_a_file(name)),
            Effect::Data => self.data.push(value),
            Effect::DataEncoded => self.data.push(urlencoded(&value).ok_or_else(|| reads_a_file(name))?),
            Effect::Json => {
                self.json = true;
                self.data.push(value);
            }
            Effect::Form => self.form = true,
            Effect::Upload => self.upload = true,
            Effect::Cookie => self.headers.push(("cookie".to_owned(), value)),
            Effect::User => self.user = true,
            Effect::Bearer => self.headers.push(("authorization".to_owned(), format!("Bearer {value}"))),
            // the user agent of curl is not that of the page
            Effect::Agent | Effect::Ignored | Effect::IgnoredWithValue => {}
            Effect::Referer => self.headers.push(("referer".to_owned(), value)),
            Effect::Range => self.headers.push(("range".to_owned(), format!("bytes={value}"))),
            Effect::Url => self.url(value)?,
            Effect::Get => self.get = true,
            Effect::Head => self.head = true,
            Effect::OwnFlag(own) | Effect::OwnFlagWithValue(own) => {
                self.notes.push(format!("{name} of the curl line is not used: give {own} to the doctor itself"));
            }
        }
        Ok(())
    }

    /// Adds a header: `name: value`, `name;` for an empty value, `name:` to remove it.
    fn header(&mut self, text: &str) -> Result<(), String> {
        if text.starts_with('@') {
            return Err(reads_a_file("-H"));
        }
        let (name, value) = match text.find([':', ';']) {
            // an HTTP/2 pseudo-header, which some tools copy
            Some(0) => return Ok(()),
            Some(at) => (text[..at].trim(), text[at + 1..].trim()),
            None => return Err(format!("-H {text:?} has no colon: write `name: value`")),
        };
        let emptied = text.as_bytes().get(name.len()) == Some(&b';');
        if value.is_empty() && !emptied {
            self.removed.push(name.to_ascii_lowercase());
        } else {
            self.headers.push((name.to_owned(), value.to_owned()));
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Pasted, String> {
        let mut url = self.url.take().ok_or("it names no URL")?;
        let mut body = (!self.data.is_empty()).then(|| self.data.join(if self.json { "" } else { "&" }));
        if self.get
            && let Some(query) = body.take()
        {
            url = format!("{url}{}{query}", if url.contains('?') { '&' } else { '?' });
        }
        let method = match &self.method {
            Some(method) => Some(method.clone()),
            None if self.head => Some("HEAD".to_owned()),
            None if self.upload => Some("PUT".to_owned()),
            None if body.is_some() || self.form => Some("POST".to_owned()),
            None => None,
        };
        let content_type = match () {
            () if self.json => Some("application/json"),
            () if self.form => Some("multipart/form-data; boundary=tokenway"),
            () if body.is_some() => Some("application/x-www-form-urlencoded"),
            () => None,
        };
        if let Some(content_type) = content_type {
            self.default_header("content-type", content_type);
        }
        if self.json {
            self.default_header("accept", "application/json");
        }
        if self.form {
            self.notes.push("the fields of the form are not sent: only its type matters for CORS".to_owned());
            body = Some("--tokenway--\r\n".to_owned());
        }
        if self.upload {
            self.notes.push("the uploaded file is not sent: an empty body replaces it".to_owned());
            body = Some(String::new());
        }
        if self.user {
            self.notes.push("-u counts as credentials of the browser: its value is not sent".to_owned());
        }
        Ok(only_page_headers(Pasted {
            url,
            method,
            headers: self.headers,
            body: body.map(Bytes::from),
            with_credentials: self.user,
            notes: self.notes,
            ..Pasted::default()
        }))
    }

    fn default_header(&mut self, name: &str, value: &str) {
        let written = self.headers.iter().any(|(written, _)| written.eq_ignore_ascii_case(name));
        if !written && !self.removed.iter().any(|removed| removed == name) {
            self.headers.push((name.to_owned(), value.to_owned()));
        }
    }
}

/// The value of `--data-urlencode`: `content`, `=content`, `name=content`; `None` for the forms that read a file.
fn urlencoded(value: &str) -> Option<String> {
    let encode = |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    match value.find(['=', '@']) {
        Some(at) if value.as_bytes()[at] == b'@' => None,
        Some(0) => Some(encode(&value[1..])),
        Some(at) => Some(format!("{}={}", &value[..at], encode(&value[at + 1..]))),
        None => Some(encode(value)),
    }
}

fn reads_a_file(option: &str) -> String {
    format!("{option} names a file, and the doctor reads no file that a pasted line names: write its content instead")
}

#[cfg(test)]
mod tests;
