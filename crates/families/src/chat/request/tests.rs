use bytes::Bytes;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::chat::Chat;
use crate::family::{Family, Form};
use crate::json::cursor::Cursor;
use crate::request::{Invalid, Request};

const HI: &str = r#""messages":[{"role":"user","content":"hi"}]"#;

fn parse_text(body: &str) -> Result<Request, Invalid> {
    Chat.parse(Bytes::copy_from_slice(body.as_bytes()), Form::Full)
}

fn request(members: &str) -> Request {
    parse_text(&format!("{{{members}}}")).unwrap()
}

fn refusal(body: &str) -> String {
    let reject = parse_text(body).unwrap_err();
    reject.0
}

fn upstream(body: &str) -> String {
    String::from_utf8(parse_text(body).unwrap().to_upstream("up", true).to_vec()).unwrap()
}

#[test]
fn a_request_says_what_it_asks_for() {
    let plain = request(HI);
    assert_eq!((plain.model(), plain.stream(), plain.wants_usage(), plain.max_tokens()), (None, false, false, None));
    let full = request(&format!(
        r#"{HI},"model":"gpt\u002d4o","stream":true,"stream_options":{{"include_usage":true}},"max_tokens":7,"max_completion_tokens":9,"n":3"#
    ));
    assert_eq!(
        (full.model(), full.stream(), full.wants_usage(), full.max_tokens(), full.choices()),
        (Some("gpt-4o"), true, true, Some(9), 3)
    );
    // an upstream that knows only one of the two names reads that one
    let crossed = request(&format!(r#"{HI},"max_tokens":900,"max_completion_tokens":1,"n":null"#));
    assert_eq!((crossed.max_tokens(), crossed.choices()), (Some(900), 1));
}

#[test]
fn the_prompt_is_all_text_of_all_messages_and_the_tools() {
    let messages = r#""messages":[{"role":"system","content":"four"},{"role":"user","name":"al","content":[
        {"type":"text","text":"\u00e9"},{"type":"image_url","image_url":{"url":"data:image/png;base64,AAAA"}}]},
        {"role":"assistant","content":null,"tool_calls":[{"id":"1","function":{"name":"f","arguments":"{}"}}]}]"#;
    assert_eq!(request(messages).prompt_bytes(), 4 + 2 + 2 + 3);
    let tools = request(&format!(r#"{messages},"tools":[{{"a":1}}]"#));
    assert_eq!(tools.prompt_bytes(), 11 + 9);
    assert_eq!(tools.estimated_prompt_tokens(), 5 + 3 * 3 + 3 + 1105, "and the image");
}

#[test]
fn what_is_wrong_is_named_by_its_path() {
    let with = |members: &str| format!("{{{HI},{members}}}");
    let message = |message: &str| format!(r#"{{"messages":[{{"role":"user"}},{message}]}}"#);
    for (body, refused) in [
        ("[1]".into(), "the body: expected an object, found an array"),
        ("\"x\"".into(), "the body: expected an object, found a string"),
        ("{}".into(), "messages: expected an array of messages, found nothing"),
        (r#"{"messages":null}"#.into(), "messages: expected an array, found null"),
        (r#"{"messages":{}}"#.into(), "messages: expected an array, found an object"),
        (r#"{"messages":[]}"#.into(), "messages: expected at least one message, found an empty array"),
        (message("[]"), "messages[1]: expected an object, found an array"),
        (message("{}"), "messages[1].role: expected a string, found nothing"),
        (message(r#"{"role":null}"#), "messages[1].role: expected a string, found null"),
        (
            message(r#"{"role":"user","content":7}"#),
            "messages[1].content: expected a string, an array or null, found a number",
        ),
        (
            message(r#"{"role":"user","content":[{},"x"]}"#),
            "messages[1].content[1]: expected an object, found a string",
        ),
        (with(r#""model":7"#), "model: expected a string or null, found a number"),
        (with(r#""model":"""#), "model: expected the name of a model, found an empty string"),
        (with(r#""stream":"yes""#), "stream: expected a boolean or null, found a string"),
        (with(r#""max_tokens":0"#), "max_tokens: expected a whole number from 1, or null, found 0"),
        (with(r#""max_tokens":1.5"#), "max_tokens: expected a whole number from 1, or null, found 1.5"),
        (with(r#""n":-1"#), "n: expected a whole number from 1, or null, found -1"),
        (
            with(r#""max_completion_tokens":"9""#),
            "max_completion_tokens: expected a whole number from 1, or null, found a string",
        ),
        (with(r#""seed":1e3"#), "seed: expected a whole number or null, found 1e3"),
        (with(r#""temperature":"hot""#), "temperature: expected a number or null, found a string"),
        (with(r#""top_p":[]"#), "top_p: expected a number or null, found an array"),
        (with(r#""tools":{}"#), "tools: expected an array or null, found an object"),
        (with(r#""stop":1"#), "stop: expected a string, an array or null, found a number"),
        (with(r#""stream":true,"stream_options":true"#), "stream_options: expected an object or null, found a boolean"),
        (
            with(r#""stream":true,"stream_options":{"include_usage":"yes"}"#),
            "stream_options.include_usage: expected a boolean or null, found a string",
        ),
        (
            with(r#""stream_options":{"include_usage":true}"#),
            "stream_options: only a stream has options: set stream to true or leave them out",
        ),
        (with(r#""x":{"a":[{"b":1,"b":2}]}"#), "x.a[0].b: this name appears twice in its object: send it once"),
    ] {
        assert_eq!(refusal(&body), refused, "{body}");
    }
}

#[test]
fn null_is_as_good_as_nothing() {
    let names = ["model", "stream", "stream_options", "max_tokens", "temperature", "n", "tools", "stop", "seed"];
    let nulls: String = names.iter().map(|name| format!(",\"{name}\":null")).collect();
    let request = request(&format!("{HI}{nulls}"));
    assert_eq!((request.model(), request.stream(), request.max_tokens()), (None, false, None));
}

#[test]
fn the_upstream_gets_the_client_s_bytes_with_its_own_model() {
    let body = " {\n \"temperature\" : 1.50e0, \"messages\":[ {\"role\":\"user\",\"content\":\"\\u0068i\\/\"} ],\t\"mode\\u006c\": \"a\",\"metadata\":{\"z\":1,\"a\":2.0},\"user\":\"u\" } \n";
    assert_eq!(upstream(body), body.replace("\"a\",", "\"up\","));
    assert_eq!(upstream(&format!(" {{ {HI}}}")), format!(" {{\"model\":\"up\", {HI}}}"));
    assert_eq!(upstream(&format!(r#"{{{HI},"model":null}}"#)), format!(r#"{{{HI},"model":"up"}}"#));
    let quoted = request(HI).to_upstream("a\"b", true);
    assert!(quoted.starts_with(br#"{"model":"a\"b","#), "{quoted:?}");
}

#[test]
fn a_stream_always_asks_for_usage_and_keeps_its_other_options() {
    let with = |options: &str| format!(r#"{{"model":"m",{HI},"stream":true{options}}}"#);
    for (options, becomes) in [
        (r#","stream_options":null"#, r#","stream_options":{"include_usage":true}"#),
        (r#","stream_options":{ }"#, r#","stream_options":{"include_usage":true }"#),
        (r#","stream_options":{"x": 1.0}"#, r#","stream_options":{"include_usage":true,"x": 1.0}"#),
        (r#","stream_options":{"include_usage" : false,"x":1}"#, r#","stream_options":{"include_usage" : true,"x":1}"#),
        (r#","stream_options":{"include_usage":null}"#, r#","stream_options":{"include_usage":true}"#),
        (r#","stream_options":{"include_usage":true}"#, r#","stream_options":{"include_usage":true}"#),
    ] {
        assert_eq!(upstream(&with(options)), with(becomes).replace(r#""m""#, r#""up""#), "{options}");
    }
    assert_eq!(
        upstream(&format!(r#"{{{HI},"stream":true}}"#)),
        format!(r#"{{"model":"up","stream_options":{{"include_usage":true}},{HI},"stream":true}}"#)
    );
    assert_eq!(
        upstream(&format!(r#"{{{HI},"model":"m","stream":false}}"#)),
        format!(r#"{{{HI},"model":"up","stream":false}}"#)
    );
}

#[test]
fn what_must_stream_asks_for_a_stream_whatever_the_body_says() {
    let upstream = |body: &str| {
        let request = Chat.parse(Bytes::copy_from_slice(body.as_bytes()), Form::Stream).unwrap();
        assert!(request.stream());
        String::from_utf8(request.to_upstream("up", true).to_vec()).unwrap()
    };
    let usage = r#""stream_options":{"include_usage":true},"#;
    assert_eq!(upstream(&format!(r#"{{"model":"m",{HI}}}"#)), format!(r#"{{"stream":true,{usage}"model":"up",{HI}}}"#));
    for stream in ["false", "null", "true"] {
        assert_eq!(
            upstream(&format!(r#"{{"model":"m","stream": {stream} ,{HI}}}"#)),
            format!(r#"{{{usage}"model":"up","stream": true ,{HI}}}"#)
        );
    }
    let all = upstream(&format!("{{{HI}}}"));
    assert_eq!(all, format!(r#"{{"model":"up","stream":true,{usage}{HI}}}"#));
    let asked = format!(r#"{{{HI},"model":"m","stream":false,"stream_options":{{"include_usage":true}}}}"#);
    assert!(Chat.parse(asked.clone().into(), Form::Stream).is_ok_and(|request| request.wants_usage()));
    assert!(Chat.parse(asked.into(), Form::Full).is_err(), "only a stream has options");
}

#[test]
fn the_short_form_takes_four_members_and_no_other() {
    let short = |members: &str| Chat.parse(Bytes::from(format!("{{{HI}{members}}}")), Form::Short);
    assert!(short(r#","model":"m","temperature":0.5,"stream":true"#).is_ok());
    let reject = short(r#","max_tokens":5"#).unwrap_err();
    assert!(reject.0.starts_with("max_tokens: unknown here: this route takes messages, model"), "{}", reject.0);
    assert!(short(r#","stream":1"#).unwrap_err().0.starts_with("stream: "));
}

/// The members of an object, with each value as it is spelled.
fn members(object: &str) -> Vec<(String, String)> {
    let mut cursor = Cursor::strict(object);
    let (mut members, mut all) = (cursor.object().unwrap(), Vec::new());
    while let Some(name) = members.next(&mut cursor).unwrap() {
        all.push((name.into_owned(), cursor.value().unwrap().text.to_owned()));
    }
    cursor.end().unwrap();
    all
}

/// An object with members of any name, and sometimes one of the members that are read.
fn body() -> impl Strategy<Value = Value> {
    let scalar = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,9}".prop_map(Value::from),
    ];
    let other = prop::collection::hash_map(".{0,6}-", scalar, 0..5); // no known name ends so
    let options = prop_oneof![
        Just(json!(null)),
        Just(json!({})),
        Just(json!({ "include_usage": true, "z": [] })),
        Just(json!({ "a": { "include_usage": 7 }, "include_usage": false })),
    ];
    let model = prop::option::of(prop_oneof![Just(Value::Null), ".{1,9}".prop_map(Value::from)]);
    (other, model, prop::option::of(options), ".*").prop_map(|(other, model, options, text)| {
        let mut body = serde_json::Map::from_iter(other);
        body.insert("messages".into(), json!([{ "role": "user", "content": text }]));
        body.insert("stream".into(), true.into());
        body.extend(model.map(|model| ("model".to_owned(), model)));
        body.extend(options.map(|options| ("stream_options".to_owned(), options)));
        body.into()
    })
}

/// What a message may be.
fn message() -> impl Strategy<Value = Value> {
    let text = || prop_oneof![".{0,9}", "[a\\\\\"\n]{0,5}"].prop_map(Value::from);
    let part = prop_oneof![
        text().prop_map(|text| json!({ "type": "text", "text": text })),
        text().prop_map(|url| json!({ "type": "image_url", "image_url": { "url": url } })),
    ];
    let content = prop_oneof![Just(Value::Null), text(), prop::collection::vec(part, 0..3).prop_map(Value::from)];
    let calls = prop::option::of((text(), text()).prop_map(
        |(name, arguments)| json!([{ "id": "c", "type": "function", "function": { "name": name, "arguments": arguments } }]),
    ));
    let role = prop_oneof![Just("user"), Just("assistant"), Just("tool")];
    (role, prop::option::of(content), calls, prop::option::of(text())).prop_map(|(role, content, calls, name)| {
        let mut message = json!({ "role": role });
        content.into_iter().for_each(|content| message["content"] = content);
        calls.into_iter().for_each(|calls| message["tool_calls"] = calls);
        name.into_iter().for_each(|name| message["name"] = name);
        message
    })
}

/// The text in a message, by the simplest possible code.
fn text_len(message: &Value) -> usize {
    let len = |value: &Value| value.as_str().map_or(0, str::len);
    let all =
        |list: &Value, len: &dyn Fn(&Value) -> usize| list.as_array().map_or(0, |list| list.iter().map(len).sum());
    let of_call = |call: &Value| len(&call["function"]["name"]) + len(&call["function"]["arguments"]);
    let of_parts = all(&message["content"], &|part| len(&part["text"]));
    len(&message["content"]) + of_parts + len(&message["name"]) + all(&message["tool_calls"], &of_call)
}

proptest! {
    #[test]
    fn a_request_is_read_as_serde_json_reads_it(
        messages in prop::collection::vec(message(), 1..5),
        body in body(),
        bounds in prop::array::uniform3(prop::option::of(1..u64::MAX)),
        tools in prop::option::of(prop::collection::vec(message(), 0..3)),
        pretty: bool,
    ) {
        let mut body = body;
        body["messages"] = messages.clone().into();
        for (name, bound) in ["max_tokens", "max_completion_tokens", "n"].into_iter().zip(bounds) {
            body[name] = bound.into();
        }
        let mut tool_bytes = 0;
        if let (Some(tools), false) = (tools, pretty) {
            tool_bytes = Value::from(tools.clone()).to_string().len();
            body["tools"] = tools.into();
        }
        let text = if pretty { serde_json::to_string_pretty(&body) } else { serde_json::to_string(&body) }.unwrap();
        let request = parse_text(&text).unwrap();
        prop_assert_eq!(request.model(), body["model"].as_str());
        prop_assert_eq!(request.stream(), body["stream"] == true);
        prop_assert_eq!(request.wants_usage(), body["stream_options"]["include_usage"] == true);
        prop_assert_eq!(request.max_tokens(), bounds[0].max(bounds[1]));
        prop_assert_eq!(request.choices(), bounds[2].unwrap_or(1));
        prop_assert_eq!(request.prompt_bytes() as usize, messages.iter().map(text_len).sum::<usize>() + tool_bytes);

        let prompt = request.prompt();
        let users: Vec<&Value> = messages.iter().filter(|message| message["role"] == "user").collect();
        prop_assert_eq!(prompt.earlier, users.len().saturating_sub(1) as u64);
        prop_assert_eq!(prompt.tokens, request.estimated_prompt_tokens());
        prop_assert_eq!(prompt.answer, request.max_tokens().unwrap_or(0));
        prop_assert_eq!(prompt.tools, tool_bytes > 2);
        prop_assert_eq!(prompt.images, Value::from(messages.clone()).to_string().contains("\"image_url\":"));
        if let Some(question) = users.last().and_then(|message| message["content"].as_str()) {
            prop_assert_eq!(&prompt.text.head, question);
        }
    }

    #[test]
    fn any_bytes_can_be_parsed(bytes: Vec<u8>, text in r#"[\[\]{}",:a\\messagrol0-9]{0,40}"#) {
        let _ = (Chat.parse(bytes.into(), Form::Full), Chat.parse(text.into(), Form::Full));
    }

    #[test]
    fn the_upstream_reads_the_same_but_for_model_and_usage(body in body(), pretty: bool, model in ".{1,9}") {
        let text = if pretty { serde_json::to_string_pretty(&body) } else { serde_json::to_string(&body) }.unwrap();
        let up = parse_text(&text).unwrap().to_upstream(&model, true);

        let mut expected: Value = serde_json::from_str(&text).unwrap(); // serde_json's floats are not exact on the way back
        expected["model"] = model.into();
        if !expected["stream_options"].is_object() {
            expected["stream_options"] = json!({});
        }
        expected["stream_options"]["include_usage"] = true.into();
        prop_assert_eq!(serde_json::from_slice::<Value>(&up).unwrap(), expected);

        // and every other member has the very bytes
        let raw = |object: &str| -> Vec<(String, String)> {
            let members = members(object).into_iter();
            members.filter(|(name, _)| name != "model" && name != "stream_options").collect()
        };
        prop_assert_eq!(raw(&text), raw(std::str::from_utf8(&up).unwrap()));
    }

    #[test]
    fn a_wrong_type_anywhere_is_refused_with_a_path(at in 0usize..8, body in body()) {
        let mut body = body;
        let (member, path) = [
            ("model", "model: "), ("stream", "stream: "), ("stream_options", "stream_options: "), ("max_tokens", "max_tokens: "),
            ("temperature", "temperature: "), ("tools", "tools: "), ("messages", "messages: "), ("stop", "stop: "),
        ][at];
        body[member] = match member { "stop" | "tools" | "messages" | "stream_options" => json!(7), _ => json!([{}]) };
        prop_assert!(refusal(&body.to_string()).starts_with(path));
    }
}

#[test]
fn a_name_that_differs_from_a_parameter_only_in_case_is_refused_with_its_path() {
    // encoding/json of Go folds case, U+017F and U+212A included, and takes the last of two such members
    let with = |members: &str| format!("{{{HI},{members}}}");
    let message = |member: &str| format!(r#"{{"messages":[{{"role":"user","content":"hi",{member}}}]}}"#);
    for (body, path, meant) in [
        (with(r#""model":"cheap","Model":"dear""#), "Model", "model"),
        (with(r#""MODEL":"dear""#), "MODEL", "model"),
        (with(r#""\u004dodel":"dear""#), "Model", "model"),
        (with(r#""max_to\u212aens":9"#), "[\"max_to\u{212a}ens\"]", "max_tokens"),
        (with("\"max_token\u{17f}\":9"), "[\"max_token\u{17f}\"]", "max_tokens"),
        (with(r#""Service_Tier":"priority""#), "Service_Tier", "service_tier"),
        (with(r#""Messages":[]"#), "Messages", "messages"),
        (
            with(r#""stream":true,"stream_options":{"Include_Usage":false}"#),
            "stream_options.Include_Usage",
            "include_usage",
        ),
        (message(r#""Content":"long""#), "messages[0].Content", "content"),
    ] {
        assert_eq!(
            refusal(&body),
            format!("{path}: write it `{meant}`: some servers read both names as one"),
            "{body}"
        );
    }
    for other in [r#""Vendor":1,"vendor":2"#, r#""modelo":1"#, r#""ſ":1"#, r#""metadata":{"Model":"x"}"#] {
        request(&format!("{HI},{other}"));
    }
}

proptest! {
    #[test]
    fn no_other_case_of_a_parameter_gets_through(upper in any::<u32>(), at in 0..4usize) {
        let name = ["model", "max_tokens", "stream", "tools"][at];
        let spelled: String = name.char_indices().map(|(i, letter)| match upper >> i & 1 {
            0 => letter,
            _ if letter == 's' => '\u{17f}',
            _ if letter == 'k' => '\u{212a}',
            _ => letter.to_ascii_uppercase(),
        }).collect();
        prop_assume!(spelled != name);
        let body = format!(r#"{{{HI},"{spelled}":null}}"#);
        let expected = format!("write it `{name}`");
        prop_assert!(refusal(&body).contains(&expected));
    }
}

#[test]
fn marked_members_are_found_in_whatever_case() {
    let mut request = request(&format!(r#"{HI},"Models":["dear"],"x":{{"route":1}}"#));
    assert_eq!(request.marked_member(&["models".into()]), None);
    request.mark_members(&["route".into(), "models".into()]);
    assert_eq!(request.marked_member(&["models".into()]).as_deref(), Some("Models"));
    assert_eq!(request.marked_member(&["route".into()]), None);
}

#[test]
fn a_byte_order_mark_is_ignored_and_not_sent_on() {
    let request = parse_text(&format!("\u{feff}{{{HI}}}")).unwrap();
    assert!(request.body().starts_with(b"{"));
    assert!(request.to_upstream("up", true).starts_with(br#"{"model":"up","#));
    assert!(parse_text(&format!("\u{feff}\u{feff}{{{HI}}}")).is_err(), "only one");
}
