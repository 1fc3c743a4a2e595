//! One client of a schedule: what it does, and what it must have seen.

use bytes::Bytes;
use http::Request;
use http_body_util::BodyExt;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use tokenway::price::Price;
use tokio::task::JoinSet;

use super::drawn::{Behaviour, Client};
use crate::fallback::schedules::{BEFORE, Fate};
use crate::support::client::{RequestBody, Target, empty, full, get, request};
use crate::support::edge::{Version, expected, is_usage_only};

/// What a client has seen.
#[derive(Debug)]
pub struct Ended {
    pub request_id: String,
    /// The status of the first answer; none if there was no answer.
    pub status: Option<u16>,
    /// The model that answered.
    model: String,
    /// Whole events in order, without heartbeats and the fields of a log; or the body of an answer that is no stream.
    text: String,
    /// Whether the body of the last answer ended as it should.
    well: bool,
    /// Whether the client went away before the end.
    left: bool,
    /// The exact cost by the upstream's usage, where the answer is whole and of one attempt.
    pub cost: Option<String>,
    flaw: Option<String>,
}

/// One answer, as far as it was read.
struct Part {
    status: u16,
    headers: http::HeaderMap,
    text: String,
    well: bool,
    cut: bool,
}

impl Client {
    pub async fn play(&self, target: &Target, number: usize) -> Ended {
        let request_id = format!("client-{number}");
        let mut ended = Ended {
            request_id,
            status: None,
            model: String::new(),
            text: String::new(),
            well: false,
            left: false,
            cost: None,
            flaw: None,
        };
        let most = match &self.behaviour {
            Behaviour::Leaves(most) | Behaviour::Stops(most) => Some(*most),
            Behaviour::Resumes(cuts) => cuts.first().copied(),
            _ => None,
        };
        let Some(part) = exchange(target, self.version, self.request(number), most).await else { return ended };
        let header = |name: &str| part.headers.get(name).map_or("", |value| value.to_str().unwrap()).to_owned();
        ended.status = Some(part.status);
        ended.model = header("tokenway-model");
        ended.well = part.well;
        ended.left = part.cut;
        let (attempts, cache, stream) =
            (header("tokenway-attempts"), header("tokenway-cache"), header("tokenway-stream-id"));
        let is_stream = header("content-type").starts_with("text/event-stream");
        match &self.behaviour {
            Behaviour::Resumes(cuts) if part.status == 200 => {
                self.resume(target, &mut ended, part, (&stream, cuts)).await
            }
            Behaviour::Stops(_) if part.status == 200 && part.cut => {
                let stop = request("DELETE", &format!("/v1/streams/{stream}"), empty());
                let stopped = exchange(target, self.version, stop, None).await;
                ended.flaw = stopped.filter(|part| part.status != 204).map(|part| format!("DELETE: {}", part.status));
            }
            _ if is_stream => ended.text = blocks(&part.text, None).unwrap().0,
            _ => ended.text = part.text,
        }
        let whole =
            ended.text.ends_with("data: [DONE]\n\n") || self.behaviour == Behaviour::Whole && ended.status == Some(200);
        if whole && attempts == "1" && (cache == "off" || cache == "miss") {
            ended.cost = Some(self.cost(&ended.model));
        }
        ended
    }

    /// Reads a resumable stream to its end, over connections that are cut after so many bytes.
    async fn resume(&self, target: &Target, ended: &mut Ended, first: Part, (stream, cuts): (&str, &[usize])) {
        let (text, mut seen) = blocks(&first.text, None).unwrap();
        ended.text = text;
        let mut part = first;
        for most in cuts.iter().skip(1).map(|most| Some(*most)).chain([None]) {
            if !part.cut {
                break;
            }
            let read = get(&format!("/v1/streams/{stream}?from={seen}"));
            // a drain has closed the listener
            let Some(next) = exchange(target, self.version, read, most).await else { return };
            part = next;
            match part.status {
                200 => match blocks(&part.text, Some(seen)) {
                    Ok((text, count)) => {
                        ended.text += &text;
                        seen = count;
                    }
                    Err(flaw) => ended.flaw = Some(flaw),
                },
                // all is read
                204 => break,
                503 => return,
                status => ended.flaw = Some(format!("resumed: {status}")),
            }
        }
        (ended.well, ended.left) = (part.well, part.cut);
    }

    /// Checks what was seen. In a drain, a stream may end with an error event at any place, and a request may be refused.
    pub fn check(&self, ended: &Ended, drains: bool) -> Result<(), String> {
        if let Some(flaw) = &ended.flaw {
            return Err(flaw.clone());
        }
        let Some(status) = ended.status else {
            return if drains { Ok(()) } else { Err("no answer".to_owned()) };
        };
        if self.behaviour == Behaviour::Malformed {
            return (status == 400 || drains && status == 503)
                .then_some(())
                .ok_or(format!("{status} to what is malformed"));
        }
        if status != 200 {
            let code = error_code(&ended.text).filter(|_| !ended.left);
            if code.is_none() && !ended.left {
                return Err("no error in the body".to_owned());
            }
            let explained = self.fates.0.explains(status) || self.model == "careful" && self.fates.1.explains(status);
            let drained = drains && status == 503;
            return (explained || drained).then_some(()).ok_or(format!("{status} from {:?}", self.fates));
        }
        if matches!(self.behaviour, Behaviour::Stops(_)) && ended.left {
            return Ok(());
        }
        let fate = if ended.model == "spare" { self.fates.1 } else { self.fates.0 };
        match self.behaviour {
            Behaviour::Whole => {
                let body: Value = serde_json::from_str(&ended.text).map_err(|error| error.to_string())?;
                body["choices"].is_array().then_some(()).ok_or("no choices".to_owned())
            }
            _ => self.check_stream(ended, fate, drains),
        }
    }

    fn check_stream(&self, ended: &Ended, fate: Fate, drains: bool) -> Result<(), String> {
        let mut body = self.body();
        body["model"] = ended.model.as_str().into();
        let events: Vec<String> =
            expected(&body).iter().map(|event| own(std::str::from_utf8(event).unwrap(), &self.behaviour)).collect();
        let text = own(&ended.text, &self.behaviour);
        let mut before = text.as_str();
        let mut code = None;
        if let Some((start, error)) = text.rsplit_once("data: {\"error\":") {
            code = error_code(&format!("{{\"error\":{error}"));
            if code.is_none() {
                return Err(format!("an error event without a code: {error}"));
            }
            before = start;
        }
        let count = before.matches("\n\n").count();
        if events.get(..count).map(<[String]>::concat).as_deref() != Some(before) {
            return Err(format!("these are not the first {count} events of {events:#?}"));
        }
        let whole = count == events.len();
        match (code.as_deref(), fate) {
            (None, _) if ended.left => Ok(()),
            (None, Fate::Answers) if whole && ended.well => Ok(()),
            (Some("draining"), _) if drains => Ok(()),
            (Some(_), Fate::Truncates(_)) if count == BEFORE && ended.well => Ok(()),
            // the listener was closed before the client could resume
            (None, _) if drains && matches!(self.behaviour, Behaviour::Resumes(_)) => Ok(()),
            (code, fate) => Err(format!("{code:?} after {count} of {} events, {fate:?}", events.len())),
        }
    }

    /// The body of the request. Those who share, ask for the same.
    fn body(&self) -> Value {
        let mut demo = json!({
            "first_token_ms": self.first_token,
            "tokens": self.tokens,
            "tokens_per_second": 400,
        });
        if !matches!(self.behaviour, Behaviour::Shares(_)) {
            demo["models"] = json!({ self.model: self.fates.0.told(), "spare": self.fates.1.told() });
        }
        let prompt = match self.behaviour {
            Behaviour::Shares(what) => format!("What is {what}?"),
            _ => "What is this?".to_owned(),
        };
        json!({
            "model": self.model,
            "stream": self.behaviour != Behaviour::Whole,
            "messages": [{ "role": "user", "content": prompt }],
            "demo": demo,
        })
    }

    fn request(&self, number: usize) -> Request<RequestBody> {
        let body = match self.behaviour {
            Behaviour::Malformed => "{\"model\":".to_owned(),
            _ => self.body().to_string(),
        };
        let mut request = request("POST", "/v1/chat/completions", full(body));
        let mut set = |name: &'static str, value: &str| request.headers_mut().insert(name, value.parse().unwrap());
        set("content-type", "application/json");
        set("x-request-id", &format!("client-{number}"));
        match self.behaviour {
            Behaviour::Shares(_) => {}
            Behaviour::Resumes(_) | Behaviour::Stops(_) => {
                set("tokenway-resumable", "true");
                set("cache-control", "no-store");
            }
            _ => drop(set("cache-control", "no-store")),
        }
        request
    }

    /// What the answer of this model costs by the upstream's own count.
    fn cost(&self, model: &str) -> String {
        let mut body = self.body();
        body["model"] = model.into();
        body["stream"] = true.into();
        body["stream_options"] = json!({ "include_usage": true });
        let events = expected(&body);
        let usage = events.iter().find(|event| is_usage_only(event)).unwrap();
        let usage: Value = serde_json::from_slice(&usage["data: ".len()..]).unwrap();
        let of = |name: &str, price: &str| Price::parse(price).unwrap().of(usage["usage"][name].as_u64().unwrap());
        let (input, output) = match model {
            "demo" => ("0.27", "1.10"),
            "careful" => ("3", "5"),
            _ => ("1", "2"),
        };
        let mut cost = of("prompt_tokens", input);
        cost += of("completion_tokens", output);
        cost.to_string()
    }
}

/// Asks for one completion.
pub async fn warm_up(target: &Target) {
    let body = json!({ "model": "demo", "messages": [{ "role": "user", "content": "x" }], "demo": { "tokens": 1 } });
    let mut asked = request("POST", "/v1/chat/completions", full(body.to_string()));
    asked.headers_mut().insert("content-type", "application/json".parse().unwrap());
    let part = exchange(target, Version::Http1, asked, None).await.unwrap();
    assert_eq!(part.status, 200, "{}", part.text);
}

/// Sends a request over a connection of its own, and reads at most so many bytes of the body. None if there is no answer.
async fn exchange(
    target: &Target,
    version: Version,
    mut request: Request<RequestBody>,
    most: Option<usize>,
) -> Option<Part> {
    let mut running = JoinSet::new();
    let response = match version {
        Version::Http1 => {
            let io = TokioIo::new(target.try_tls(&["http/1.1"]).await.ok()?);
            let (mut sender, connection) = http1::handshake(io).await.ok()?;
            running.spawn(async move { drop(connection.await) });
            *request.uri_mut() = request.uri().path_and_query().unwrap().clone().into();
            sender.send_request(request).await.ok()?
        }
        Version::Http2 => {
            let io = TokioIo::new(target.try_tls(&["h2"]).await.ok()?);
            let (mut sender, connection) = http2::handshake(TokioExecutor::new(), io).await.ok()?;
            running.spawn(async move { drop(connection.await) });
            sender.send_request(request).await.ok()?
        }
    };
    let (head, mut body) = response.into_parts();
    let (mut read, mut well, mut cut) = (Vec::new(), true, false);
    loop {
        if most.is_some_and(|most| read.len() >= most) {
            cut = true;
            break;
        }
        match body.frame().await {
            Some(Ok(frame)) => frame.data_ref().into_iter().for_each(|data: &Bytes| read.extend_from_slice(data)),
            Some(Err(_)) => {
                well = false;
                break;
            }
            None => break,
        }
    }
    if let Some(most) = most.filter(|most| read.len() > *most) {
        read.truncate(most);
    }
    let text = String::from_utf8_lossy(&read).into_owned();
    Some(Part { status: head.status.as_u16(), headers: head.headers, text, well, cut })
}

/// The whole events of a text, without heartbeats and the fields of a log, and the number of the last one. A resumed stream
/// numbers its events from the one behind `after`.
fn blocks(text: &str, after: Option<u64>) -> Result<(String, u64), String> {
    let (mut events, mut last) = (String::new(), after.unwrap_or(0));
    for block in text.replace(": hb\n", "").split_inclusive("\n\n").filter(|block| block.ends_with("\n\n")) {
        let mut event = String::new();
        let mut number = None;
        for line in block.split_inclusive('\n') {
            match line.split_once(": ") {
                Some(("id", value)) => number = value.trim_end().parse().ok(),
                Some(("retry", _)) => {}
                _ => event += line,
            }
        }
        if event.trim().is_empty() {
            continue;
        }
        last += 1;
        if after.is_some() && number != Some(last) {
            return Err(format!("event {number:?} and not {last}"));
        }
        events += &event;
    }
    Ok((events, last))
}

/// The events for a comparison: a shared answer has an id and a time of its own for each client.
fn own(text: &str, behaviour: &Behaviour) -> String {
    if !matches!(behaviour, Behaviour::Shares(_)) {
        return text.to_owned();
    }
    let without_id =
        |block: &str| match block.strip_prefix("data: ").and_then(|data| serde_json::from_str(data.trim_end()).ok()) {
            Some(Value::Object(mut chunk)) if !chunk.contains_key("error") => {
                chunk.remove("id");
                chunk.remove("created");
                format!("data: {}\n\n", Value::Object(chunk))
            }
            _ => block.to_owned(),
        };
    text.split_inclusive("\n\n").map(without_id).collect()
}

/// The code of an error object with a request id.
fn error_code(text: &str) -> Option<String> {
    let body: Value = serde_json::from_str(text).ok()?;
    body["error"]["request_id"].as_str()?;
    body["error"]["code"].as_str().map(str::to_owned)
}
