//! A curl line, as developer tools copy it and as documentation writes it. Pure.

use bytes::Bytes;

use super::{Pasted, keep_what_a_page_sets, words};

/// Reads a curl line.
///
/// # Errors
/// One line: what in it cannot be read, and what to do.
pub fn parse(line: &str) -> Result<Pasted, String> {
    let words = words::split(line)?;
    let mut words = words.into_iter().peekable();
    // a prompt that was copied along
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

/// What was read so far.
#[derive(Default)]
struct Line {
    url: Option<String>,
    method: Option<String>,
    headers: Vec<(String, String)>,
    /// Headers which curl is told not to send.
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

/// What an option of curl does here.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Means {
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
    /// No browser knows it; it takes no value.
    Nothing,
    /// The same, with a value.
    NothingOfValue,
    /// It has a flag of the doctor's own; with a value or without.
    Told(&'static str),
    ToldOfValue(&'static str),
}

impl Means {
    fn takes_value(self) -> bool {
        !matches!(self, Means::Get | Means::Head | Means::Nothing | Means::Told(_))
    }
}

fn long(line: &mut Line, name: &str, words: &mut impl Iterator<Item = String>) -> Result<(), String> {
    let means = match name {
        "request" => Means::Method,
        "header" => Means::Header,
        "data" | "data-ascii" | "data-raw" | "data-binary" => Means::Data,
        "data-urlencode" => Means::DataEncoded,
        "json" => Means::Json,
        "form" | "form-string" => Means::Form,
        "upload-file" => Means::Upload,
        "cookie" => Means::Cookie,
        "user" => Means::User,
        "oauth2-bearer" => Means::Bearer,
        "user-agent" => Means::Agent,
        "referer" => Means::Referer,
        "range" => Means::Range,
        "url" => Means::Url,
        "get" => Means::Get,
        "head" => Means::Head,
        "insecure" => Means::Told("--insecure"),
        "cacert" => Means::ToldOfValue("--ca"),
        "compressed"
        | "silent"
        | "show-error"
        | "no-buffer"
        | "location"
        | "include"
        | "verbose"
        | "fail"
        | "fail-with-body"
        | "globoff"
        | "http1.1"
        | "http2"
        | "http2-prior-knowledge"
        | "http3"
        | "ipv4"
        | "ipv6"
        | "progress-bar"
        | "no-progress-meter"
        | "tcp-nodelay"
        | "no-keepalive"
        | "tlsv1.2"
        | "tlsv1.3"
        | "remote-name" => Means::Nothing,
        "output" | "write-out" | "max-time" | "connect-timeout" | "retry" | "retry-delay" | "cookie-jar" | "proxy"
        | "resolve" | "connect-to" | "cert" | "key" | "trace" | "trace-ascii" | "dump-header" | "speed-limit"
        | "speed-time" => Means::NothingOfValue,
        _ => return Err(format!("--{name} is not known here: take it off the line")),
    };
    let value =
        if means.takes_value() { words.next().ok_or_else(|| format!("--{name} has no value"))? } else { String::new() };
    line.apply(means, &format!("--{name}"), value)
}

/// `-sSN`, `-XPOST`, `-X POST`.
fn short(line: &mut Line, letters: &str, words: &mut impl Iterator<Item = String>) -> Result<(), String> {
    for (at, letter) in letters.char_indices() {
        let means = match letter {
            'X' => Means::Method,
            'H' => Means::Header,
            'd' => Means::Data,
            'F' => Means::Form,
            'T' => Means::Upload,
            'b' => Means::Cookie,
            'u' => Means::User,
            'A' => Means::Agent,
            'e' => Means::Referer,
            'r' => Means::Range,
            'G' => Means::Get,
            'I' => Means::Head,
            'k' => Means::Told("--insecure"),
            's' | 'S' | 'N' | 'L' | 'i' | 'v' | 'f' | 'g' | '4' | '6' | '0' | '1' | '2' | '3' | '#' | 'O' => {
                Means::Nothing
            }
            'o' | 'w' | 'm' | 'x' | 'c' | 'E' | 'D' => Means::NothingOfValue,
            _ => return Err(format!("-{letter} is not known here: take it off the line")),
        };
        let name = format!("-{letter}");
        if !means.takes_value() {
            line.apply(means, &name, String::new())?;
            continue;
        }
        let attached = &letters[at + letter.len_utf8()..];
        let value = match attached {
            "" => words.next().ok_or_else(|| format!("{name} has no value"))?,
            attached => attached.to_owned(),
        };
        return line.apply(means, &name, value);
    }
    Ok(())
}

impl Line {
    fn url(&mut self, url: String) -> Result<(), String> {
        if self.url.is_some() {
            return Err("it names two URLs: paste one request".to_owned());
        }
        // curl guesses http:// where nothing is written
        self.url = Some(if url.contains("://") { url } else { format!("http://{url}") });
        Ok(())
    }

    fn apply(&mut self, means: Means, name: &str, value: String) -> Result<(), String> {
        match means {
            Means::Method => self.method = Some(value),
            Means::Header => self.header(&value)?,
            Means::Data if value.starts_with('@') && name != "--data-raw" => return Err(reads_a_file(name)),
            Means::Json if value.starts_with('@') => return Err(reads_a_file(name)),
            Means::Data => self.data.push(value),
            Means::DataEncoded => self.data.push(urlencoded(&value).ok_or_else(|| reads_a_file(name))?),
            Means::Json => {
                self.json = true;
                self.data.push(value);
            }
            Means::Form => self.form = true,
            Means::Upload => self.upload = true,
            Means::Cookie => self.headers.push(("cookie".to_owned(), value)),
            Means::User => self.user = true,
            Means::Bearer => self.headers.push(("authorization".to_owned(), format!("Bearer {value}"))),
            // what curl calls itself is not what the page would
            Means::Agent | Means::Nothing | Means::NothingOfValue => {}
            Means::Referer => self.headers.push(("referer".to_owned(), value)),
            Means::Range => self.headers.push(("range".to_owned(), format!("bytes={value}"))),
            Means::Url => self.url(value)?,
            Means::Get => self.get = true,
            Means::Head => self.head = true,
            Means::Told(own) | Means::ToldOfValue(own) => {
                self.notes.push(format!("{name} of the curl line is not taken over: give {own} to the doctor itself"));
            }
        }
        Ok(())
    }

    /// `name: value`, `name;` for an empty value, `name:` for none at all.
    fn header(&mut self, text: &str) -> Result<(), String> {
        if text.starts_with('@') {
            return Err(reads_a_file("-H"));
        }
        let (name, value) = match text.find([':', ';']) {
            // HTTP/2 pseudo-headers, as some tools copy them
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
            self.unless_written("content-type", content_type);
        }
        if self.json {
            self.unless_written("accept", "application/json");
        }
        if self.form {
            self.notes.push("the fields of the form are not sent: its type is what CORS looks at".to_owned());
            body = Some("--tokenway--\r\n".to_owned());
        }
        if self.upload {
            self.notes.push("the uploaded file is not sent: an empty body stands for it".to_owned());
            body = Some(String::new());
        }
        if self.user {
            self.notes.push("-u is taken as credentials that the browser keeps: its value is not sent".to_owned());
        }
        Ok(keep_what_a_page_sets(Pasted {
            url,
            method,
            headers: self.headers,
            body: body.map(Bytes::from),
            with_credentials: self.user,
            notes: self.notes,
            ..Pasted::default()
        }))
    }

    fn unless_written(&mut self, name: &str, value: &str) {
        let written = self.headers.iter().any(|(written, _)| written.eq_ignore_ascii_case(name));
        if !written && !self.removed.iter().any(|removed| removed == name) {
            self.headers.push((name.to_owned(), value.to_owned()));
        }
    }
}

/// curl's `--data-urlencode`: `content`, `=content`, `name=content`; `None` for the forms that read a file.
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
