//! A server that plays the answers of many cases at once, on three origins, and remembers what it was asked.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use http::StatusCode;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::case::{Case, Location, Play, Site};

/// A running server; it stops when this is dropped.
pub struct Stage {
    pub sites: Sites,
    plays: Arc<Mutex<HashMap<u64, Played>>>,
    _accepting: JoinSet<()>,
}

/// The origins: the page's own first.
#[derive(Debug, Clone)]
pub struct Sites {
    own: String,
    other: String,
    third: String,
}

/// A request as the server saw it, or as it is predicted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    pub hop: usize,
    pub method: String,
    pub origin: Option<String>,
    pub asks_method: Option<String>,
    pub asks_headers: Option<String>,
    /// Headers of the page and those that a browser derives from them: [`told`].
    pub told: Vec<(String, String)>,
}

/// Of a request's headers those that are compared, sorted. Others depend on the browser's version and language.
pub fn told(headers: &[(String, String)]) -> Vec<(String, String)> {
    const TOLD: [&str; 18] = [
        "authorization",
        "content-type",
        "content-language",
        "x-custom",
        "x-other",
        "x-long",
        "x-empty",
        "x-blanks",
        "x-http-method-override",
        "x-method-override",
        "last-event-id",
        "range",
        "save-data",
        "dpr",
        "ect",
        "intervention",
        "sec-anything",
        "*",
    ];
    let compared = headers.iter().filter(|(name, _)| TOLD.contains(&name.as_str()));
    // Chromium respells ranges: `bytes= 007-9` as `bytes=7-9`
    let value = |name: &str, value: &str| if name == "range" { "some".to_owned() } else { value.trim().to_owned() };
    let mut told: Vec<_> = compared.map(|(name, written)| (name.clone(), value(name, written))).collect();
    told.sort();
    told
}

struct Played {
    hops: Vec<(Vec<u8>, Vec<u8>)>,
    seen: Vec<Seen>,
    /// The `Cookie` of each request.
    cookies: Vec<String>,
}

impl Sites {
    pub fn of(&self, site: Site) -> &str {
        match site {
            Site::Own => &self.own,
            Site::Other => &self.other,
            Site::Third => &self.third,
        }
    }

    pub fn render(&self, text: &str) -> String {
        text.replace("{own}", &self.own).replace("{other}", &self.other).replace("{third}", &self.third)
    }

    pub fn url(&self, case: &Case, id: u64, hop: usize) -> String {
        format!("{}/case/{id}/{hop}", self.of(case.hops[hop].site))
    }

    /// The lines of a case's answer, `content-length` and `cache-control` among them.
    pub fn lines(&self, case: &Case, id: u64, hop: usize, preflight: bool) -> (u16, Vec<(String, String)>) {
        let here = &case.hops[hop];
        let play = if preflight { &here.preflight } else { &here.response };
        let Play { mut status, lines } = play.clone();
        let mut lines: Vec<(String, String)> = lines
            .into_iter()
            .map(|(name, value)| (name.to_owned(), self.render(value).replace("{id}", &id.to_string())))
            .collect();
        if let Some(next) = case.hops.get(hop + 1).filter(|_| !preflight) {
            if !matches!(status, 301 | 302 | 303 | 307 | 308) {
                status = [302, 307, 303, 301, 308][usize::from(status) % 5];
            }
            let url = self.url(case, id, hop + 1);
            let location = match next.location {
                Location::Absolute => Some(url),
                Location::Userinfo => Some(url.replace("http://", "http://me:secret@")),
                Location::User => Some(url.replace("http://", "http://me@")),
                Location::Data => Some("data:text/plain,x".to_owned()),
                Location::Foreign => Some("foreign://x/y".to_owned()),
                Location::Broken => Some("http://[".to_owned()),
                Location::Missing => None,
            };
            lines.extend(location.map(|url| ("location".to_owned(), url)));
        }
        lines.push(("content-length".to_owned(), "0".to_owned()));
        lines.push(("cache-control".to_owned(), "no-store".to_owned()));
        (status, lines)
    }
}

impl Stage {
    pub async fn open() -> Self {
        let plays: Arc<Mutex<HashMap<u64, Played>>> = Arc::default();
        let mut accepting = JoinSet::new();
        let mut origins = Vec::new();
        for host in ["localhost", "127.0.0.1", "third.localhost"] {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            origins.push(format!("http://{host}:{}", listener.local_addr().unwrap().port()));
            let plays = Arc::clone(&plays);
            accepting.spawn(async move {
                let mut connections = JoinSet::new();
                while let Ok((socket, _)) = listener.accept().await {
                    connections.spawn(serve(socket, Arc::clone(&plays)));
                }
            });
        }
        let [own, other, third] = origins.try_into().unwrap();
        Self { sites: Sites { own, other, third }, plays, _accepting: accepting }
    }

    pub fn put_on(&self, id: u64, case: &Case) {
        let bytes = |hop, preflight| {
            let (status, lines) = self.sites.lines(case, id, hop, preflight);
            let phrase = StatusCode::from_u16(status).unwrap().canonical_reason().unwrap_or_default();
            let mut head = format!("HTTP/1.1 {status} {phrase}\r\n").into_bytes();
            for (name, value) in lines {
                head.extend(format!("{name}: ").bytes());
                head.extend(latin1(&value));
                head.extend(b"\r\n");
            }
            head.extend(b"\r\n");
            head
        };
        let hops = (0..case.hops.len()).map(|hop| (bytes(hop, true), bytes(hop, false))).collect();
        self.plays.lock().unwrap().insert(id, Played { hops, seen: Vec::new(), cookies: Vec::new() });
    }

    /// The `Cookie` of the last request.
    pub fn last_cookies(&self, id: u64) -> String {
        self.plays.lock().unwrap()[&id].cookies.last().unwrap().clone()
    }

    /// What was asked, in order.
    pub fn take_off(&self, id: u64) -> Vec<Seen> {
        self.plays.lock().unwrap().remove(&id).unwrap().seen
    }
}

pub fn latin1(text: &str) -> Vec<u8> {
    text.chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect()
}

async fn serve(socket: TcpStream, plays: Arc<Mutex<HashMap<u64, Played>>>) {
    let mut socket = BufReader::new(socket);
    while let Some((method, path, headers)) = read_head(&mut socket).await {
        let get = |name: &str| headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.clone());
        let length = get("content-length").map_or(0, |length| length.parse().unwrap());
        if socket.read_exact(&mut vec![0; length]).await.is_err() {
            return;
        }
        let mut parts = path.trim_start_matches("/case/").split('/');
        let (id, hop) = (parts.next().and_then(|id| id.parse().ok()), parts.next().and_then(|hop| hop.parse().ok()));
        let answer = match (id, hop) {
            (Some(id), Some(hop)) => {
                let asks_method = get("access-control-request-method");
                let told = told(&headers);
                let preflight = method == "OPTIONS" && asks_method.is_some();
                let seen = Seen {
                    hop,
                    method,
                    origin: get("origin"),
                    asks_method,
                    asks_headers: get("access-control-request-headers"),
                    told,
                };
                let mut plays = plays.lock().unwrap();
                let Some(played) = plays.get_mut(&id) else { return };
                played.seen.push(seen);
                played.cookies.push(get("cookie").unwrap_or_default());
                let (to_preflight, to_request) = played.hops[hop].clone();
                if preflight { to_preflight } else { to_request }
            }
            _ => {
                let page = "<!doctype html><title>A page</title><link rel=\"icon\" href=\"data:,\">";
                format!("HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: {}\r\n\r\n{page}", page.len())
                    .into_bytes()
            }
        };
        if socket.write_all(&answer).await.is_err() {
            return;
        }
    }
}

type Head = (String, String, Vec<(String, String)>);

async fn read_head(socket: &mut BufReader<TcpStream>) -> Option<Head> {
    let mut lines = Vec::new();
    loop {
        let mut line = Vec::new();
        if socket.read_until(b'\n', &mut line).await.ok()? == 0 {
            return None;
        }
        let line: String = line.iter().map(|b| char::from(*b)).collect();
        match line.trim_end_matches(['\r', '\n']) {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let mut start = lines.first()?.split(' ');
    let (method, path) = (start.next()?.to_owned(), start.next()?.to_owned());
    let headers = lines[1..].iter().filter_map(|line| line.split_once(':'));
    let headers = headers.map(|(name, value)| (name.to_ascii_lowercase(), value.trim_matches([' ', '\t']).to_owned()));
    Some((method, path, headers.collect()))
}
