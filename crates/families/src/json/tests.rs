use proptest::prelude::*;
use serde::de::IgnoredAny;
use serde_json::Value;

use super::Path;
use super::check::{Defect, check as check_with};
use super::cursor::{Cursor, NotJson};

/// The body's value, if it is acceptable.
fn check(body: &[u8]) -> Result<&str, Defect> {
    check_with(body, |checker| checker.value(&Path::Top)).map(|value| value.text)
}

fn refusal(body: &[u8]) -> String {
    check(body).unwrap_err().to_string()
}

fn is_read(mut cursor: Cursor<'_>) -> bool {
    cursor.value().and_then(|_| cursor.end()).is_ok()
}

#[test]
fn what_is_not_json_is_refused_with_its_place() {
    assert_eq!(refusal(b" \n"), "the body is empty: send a JSON object");
    assert_eq!(refusal(b"{\"a\": \"\xff\"}"), "the body is not UTF-8 at byte 7: send JSON in UTF-8");
    for (body, place) in [
        ("{\n  \"a\": 1,\n}", "trailing comma at line 3 column 1"),
        ("{\"a\"", "EOF while parsing an object at line 1 column 4"),
        ("{} {}", "trailing characters at line 1 column 4"),
        ("hello", "expected value at line 1 column 1"),
        ("{'a': 1}", "key must be a string at line 1 column 2"),
        ("[1e999]", "number out of range at line 1 column 6"),
        ("[\"\\ud800\"]", "unexpected end of hex escape at line 1 column 9"),
    ] {
        assert_eq!(refusal(body.as_bytes()), format!("the body is not JSON: {place}"), "{body}");
    }
}

#[test]
fn a_duplicate_name_is_refused_also_in_another_spelling() {
    assert_eq!(refusal(br#"{"a":1,"b":2,"a":1}"#), "a: this name appears twice in its object: send it once");
    let deep = r#"{"messages":[{},{"content":[{"x y":{"role":1,"\u0072ole":2}}]}]}"#;
    assert!(
        refusal(deep.as_bytes()).starts_with("messages[1].content[0][\"x y\"].role: "),
        "{}",
        refusal(deep.as_bytes())
    );
    assert!(check(br#"{"a":{"a":[{"a":1},{"a":1}]}}"#).is_ok(), "the same name at other places");
}

#[test]
fn a_duplicate_name_is_refused_also_among_many() {
    let names = |count: usize| (0..count).map(|number| format!("\"{number}\":{{\"0\":0}},")).collect::<String>();
    for count in [1, 11, 12, 13, 14, 100] {
        let last = count - 1;
        for double in [0, last / 2, last] {
            let refused = refusal(format!("{{{}\"{double}\":0}}", names(count)).as_bytes());
            assert_eq!(refused, format!("{double}: this name appears twice in its object: send it once"), "{count}");
        }
        assert!(check(format!("{{{}\"other\":0}}", names(count)).as_bytes()).is_ok());
    }
}

#[test]
fn the_deepest_nesting_passes_and_one_level_more_is_named() {
    let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
    assert!(check(nested(64).as_bytes()).is_ok());
    assert_eq!(check(nested(65).as_bytes()).unwrap_err(), Defect::TooDeep { path: "[0]".repeat(64)[..192].into() });
    assert!(matches!(check("[".repeat(1 << 20).as_bytes()), Err(Defect::TooDeep { .. })));
    assert!(matches!(check("{\"a\":".repeat(1 << 20).as_bytes()), Err(Defect::TooDeep { .. })));
}

#[test]
fn a_path_is_bounded_whatever_a_client_calls_its_members() {
    let name = "ä".repeat(10_000);
    let refusal = refusal(format!(r#"{{"{name}":1,"{name}":2}}"#).as_bytes());
    assert!(refusal.len() < 300, "{}", refusal.len());
    assert!(!super::Path::Member(&Path::Top, "a\nb").to_string().contains('\n'));
}

#[test]
fn members_and_elements_are_read_one_by_one() {
    let mut cursor = Cursor::lenient(r#" { "a" : [ 1 , "\u0062" ], "\u0063" : { } } "#);
    let mut members = cursor.object().unwrap();
    assert_eq!(members.next(&mut cursor).unwrap().unwrap(), "a");
    let mut elements = cursor.array().unwrap();
    assert!(elements.next(&mut cursor).unwrap());
    let one = cursor.value().unwrap();
    assert_eq!((one.text, one.place()), ("1", 11..12));
    assert!(elements.next(&mut cursor).unwrap());
    assert_eq!(cursor.value().unwrap().string().unwrap(), "b");
    assert!(!elements.next(&mut cursor).unwrap());
    assert_eq!(members.next(&mut cursor).unwrap().unwrap(), "c");
    assert_eq!(cursor.value().unwrap().text, "{ }");
    assert_eq!((members.next(&mut cursor), cursor.end()), (Ok(None), Ok(())));
}

#[test]
fn control_characters_end_no_string_wherever_they_stand() {
    for length in 0..20 {
        for byte in ['\0', '\n', '\u{1f}'] {
            let text = format!("\"{}{byte}{}\"", "a".repeat(length), "b".repeat(20 - length));
            assert_eq!(Cursor::lenient(&text).string(), Err(NotJson), "{text:?}");
        }
        let text = format!("\"{}\u{7f}é{}\"", "a".repeat(length), "b".repeat(20 - length));
        assert_eq!(Cursor::lenient(&text).string().unwrap(), &text[1..text.len() - 1]);
    }
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 48, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::vec((any::<String>(), inner), 0..6).prop_map(|m| Value::Object(m.into_iter().collect())),
        ]
    })
}

/// JSON texts, most of which have a mistake somewhere.
fn nearly_json() -> impl Strategy<Value = String> {
    let change = prop_oneof![
        Just(String::new()),
        r#"[\[\]{}",:0-9eE.+\\ \-]{1,2}"#,
        r"\\u[0-9a-fA-F]{0,4}",
        r"\\ud[89a-f]0[0-9]",
        "1e3[0-9]{2}",
        "[tfn]",
    ];
    (any_json(), any::<bool>(), change, any::<prop::sample::Index>(), 0..3_usize).prop_map(
        |(value, pretty, change, at, lost)| {
            let text = if pretty { serde_json::to_string_pretty(&value).unwrap() } else { value.to_string() };
            let start = text.floor_char_boundary(at.index(text.len() + 1));
            let end = text.ceil_char_boundary((start + lost).min(text.len()));
            [&text[..start], &change, &text[end..]].concat()
        },
    )
}

proptest! {
    #[test]
    fn any_json_passes_whole(value in any_json()) {
        let text = value.to_string();
        prop_assert_eq!(check(text.as_bytes()).unwrap(), &text);
    }

    #[test]
    fn any_bytes_can_be_checked(bytes: Vec<u8>) {
        let _ = check(&bytes);
    }

    #[test]
    fn what_serde_refuses_is_refused(text in r#"[\[\]{}",:a0-9\\ \-eE.]{0,20}"#) {
        let accepted = serde_json::from_str::<Value>(&text).is_ok();
        match check(text.as_bytes()) {
            Ok(_) => prop_assert!(accepted),
            Err(Defect::Duplicate { .. }) => {}
            Err(defect) => prop_assert!(!accepted, "{}", defect),
        }
    }

    #[test]
    fn each_cursor_accepts_what_its_type_of_serde_json_accepts(text in nearly_json(), short in r#"[\[\]{}",:a0-9\\u \-eE.]{0,20}"#) {
        for text in [text, short] {
            prop_assert_eq!(is_read(Cursor::strict(&text)), serde_json::from_str::<Value>(&text).is_ok(), "{}", text);
            prop_assert_eq!(is_read(Cursor::lenient(&text)), serde_json::from_str::<IgnoredAny>(&text).is_ok(), "{}", text);
        }
    }

    #[test]
    fn a_string_is_what_serde_reads(text in any::<String>()) {
        let json = serde_json::to_string(&text).unwrap();
        prop_assert_eq!(Cursor::lenient(&json).value().unwrap().string().unwrap(), text);
    }

    #[test]
    fn a_double_is_found_at_any_depth(name: String, around in prop::collection::vec(any::<bool>(), 0..50), value in any_json()) {
        let key = serde_json::to_string(&name).unwrap();
        let mut text = format!("{{{key}:{value},\"{name_}\":0,{key}:{value}}}", name_ = "other".repeat(usize::from(name != "other")));
        prop_assume!(!name.is_empty() && name != "other");
        let mut path = Path::Member(&Path::Top, &name).to_string();
        for in_array in around {
            let dot = if path.starts_with('[') { "" } else { "." };
            (text, path) = if in_array { (format!("[{text}]"), format!("[0]{dot}{path}")) } else { (format!("{{\"k\":{text}}}"), format!("k{dot}{path}")) };
        }
        let Err(Defect::Duplicate { path: found }) = check(text.as_bytes()) else { return Err(TestCaseError::fail(text)) };
        prop_assert!(found == path || (found.ends_with('…') && path.starts_with(found.trim_end_matches('…'))), "{} {}", found, path);
    }
}
