use proptest::prelude::*;

use super::canonical;

fn text(body: &str) -> Option<String> {
    canonical(body.as_bytes()).map(|out| String::from_utf8(out).unwrap())
}

#[test]
fn order_space_and_escapes_make_no_difference() {
    let one = r#"{"messages":[{"role":"user","content":"Ab\n"}],"temperature":1}"#;
    let other =
        "{ \"temperature\" : 1.0 ,\r\n\"m\\u0065ssages\":[ {\"content\":\"\\u0041b\\u000a\",\"role\":\"user\"}\t] } ";
    assert_eq!(text(one), text(other));
    assert_eq!(text(one).unwrap(), r#"{"messages":[{"content":"Ab\n","role":"user"}],"temperature":1}"#);
}

#[test]
fn numbers_are_exact_however_they_are_spelled() {
    for (spellings, canonical) in [
        (&["1", "1.0", "1e0", "10e-1", "0.1E+1", "1.000e00"][..], "1"),
        (&["0", "-0", "0.0", "0e99", "-0.00E-3"], "0"),
        (&["100", "1e2", "1.0e+2", "10000e-2"], "1e2"),
        (&["-0.25", "-25e-2", "-2.5E-01"], "-25e-2"),
        (&["9007199254740993", "9007199254740993.0", "900719925474099.3e1"], "9007199254740993"),
    ] {
        for spelling in spellings {
            assert_eq!(
                text(&format!(r#"{{"n":{spelling}}}"#)).unwrap(),
                format!(r#"{{"n":{canonical}}}"#),
                "{spelling}"
            );
        }
    }
    // the same f64, and yet two numbers
    assert_ne!(text(r#"{"seed":9007199254740993}"#), text(r#"{"seed":9007199254740992}"#));
    assert_eq!(text(r#"{"n":1e100000000000000000000}"#), None);
    assert_ne!(text(r#"{"n":"1"}"#), text(r#"{"n":1}"#));
}

#[test]
fn only_the_model_and_the_form_of_the_answer_are_left_out() {
    let plain = text(r#"{"messages":[]}"#).unwrap();
    for same in [
        r#"{"messages":[],"stream":true,"stream_options":{"include_usage":true},"model":"m"}"#,
        r#"{"mod\u0065l":null,"messages":[],"stream":false}"#,
    ] {
        assert_eq!(text(same).unwrap(), plain, "{same}");
    }
    for other in [
        r#"{"messages":[],"user":"ann"}"#,
        r#"{"messages":[],"temperature":null}"#,
        r#"{"messages":[],"x-of-a-provider":1}"#,
        r#"{"messages":[{"stream":true}]}"#,
    ] {
        assert_ne!(text(other).unwrap(), plain, "{other}");
    }
    assert_ne!(text(r#"{"messages":[{"model":"a"}]}"#), text(r#"{"messages":[{"model":"b"}]}"#), "only at the top");
}

#[test]
fn what_the_provider_is_to_keep_is_not_cached() {
    assert_eq!(text(r#"{"messages":[],"store":true}"#), None);
    assert!(text(r#"{"messages":[],"store":false}"#).is_some());
}

#[test]
fn what_is_no_request_has_no_form() {
    for broken in [
        "",
        "[]",
        "7",
        "{",
        r#"{"a"}"#,
        r#"{"a":}"#,
        r#"{"a":1,}"#,
        r#"{"a":1}x"#,
        r#"{"a":"\"#,
        r#"{"a":-}"#,
        r#"{"a":01}"#,
        r#"{"a":-00}"#,
        r#"{"a":1.}"#,
        r#"{"a":.5}"#,
        r#"{"a":1e}"#,
        r#"{"a":1e+}"#,
        r#"{"a":1,"a":1}"#,
    ] {
        assert_eq!(text(broken), None, "{broken}");
    }
    let deep = format!(r#"{{"a":{}{}}}"#, "[".repeat(200), "]".repeat(200));
    assert_eq!(text(&deep), None);
}

/// A value whose numbers are `digits × 10^exponent`.
#[derive(Debug, Clone, PartialEq)]
enum Node {
    Word(&'static str),
    Number(i64, i8),
    Text(String),
    List(Vec<Node>),
    Object(std::collections::BTreeMap<String, Node>),
}

impl Node {
    /// Returns the value with its numbers in one form, which is computed with arithmetic.
    fn meaning(&self) -> Node {
        match self {
            Node::Number(0, _) => Node::Number(0, 0),
            Node::Number(digits, exponent) if digits % 10 == 0 => Node::Number(digits / 10, exponent + 1).meaning(),
            Node::List(list) => Node::List(list.iter().map(Node::meaning).collect()),
            Node::Object(object) => {
                Node::Object(object.iter().map(|(name, node)| (name.clone(), node.meaning())).collect())
            }
            other => other.clone(),
        }
    }

    /// Returns one of its spellings, selected by the bits of `dice`.
    fn spell(&self, dice: &mut u64) -> String {
        let mut roll = |sides: u64| {
            *dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (*dice >> 33) % sides
        };
        let space = [" ", "", "\n\t", ""][roll(4) as usize];
        match self {
            Node::Word(word) => format!("{space}{word}"),
            Node::Number(digits, exponent) => match roll(3) {
                0 => format!("{space}{digits}e{exponent}"),
                1 => format!("{space}{digits}.00E{exponent:+}"),
                // a zero with a leading zero is not JSON
                _ if *digits == 0 => format!("{space}-0"),
                _ => format!("{space}{digits}00e{}", i32::from(*exponent) - 2),
            },
            Node::Text(text) => spell_text(text, roll(2) == 0),
            Node::List(list) => {
                format!("[{}{space}]", list.iter().map(|node| node.spell(dice)).collect::<Vec<_>>().join(","))
            }
            Node::Object(object) => {
                let ascii = roll(2) == 0;
                let reversed = roll(2) == 0;
                let mut members: Vec<String> = object
                    .iter()
                    .map(|(name, node)| format!("{}{space}:{}", spell_text(name, ascii), node.spell(dice)))
                    .collect();
                if reversed {
                    members.reverse();
                }
                format!("{{{}}}", members.join(&format!("{space},")))
            }
        }
    }
}

fn spell_text(text: &str, ascii: bool) -> String {
    let json = serde_json::to_string(text).unwrap();
    let escape = |c: char| -> String {
        let mut units = [0; 2];
        c.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04x}")).collect()
    };
    if ascii { json.chars().map(|c| if c.is_ascii() { c.to_string() } else { escape(c) }).collect() } else { json }
}

fn node() -> impl Strategy<Value = Node> {
    let leaf = prop_oneof![
        prop::sample::select(vec!["true", "false", "null"]).prop_map(Node::Word),
        (-1000_i64..1000, -5_i8..5).prop_map(|(digits, exponent)| Node::Number(digits, exponent)),
        any::<String>().prop_map(Node::Text),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Node::List),
            prop::collection::btree_map("[a-c\u{e9}\"]{0,2}", inner, 0..4).prop_map(Node::Object),
        ]
    })
}

proptest! {
    #[test]
    fn every_spelling_of_a_value_has_one_form(value in node(), one: u64, other: u64) {
        let body = |mut dice| format!(r#"{{"v":{}}}"#, value.spell(&mut dice));
        let form = text(&body(one));
        prop_assert!(form.is_some(), "{}", body(one));
        prop_assert_eq!(form, text(&body(other)));
    }

    #[test]
    fn two_values_have_one_form_only_if_they_mean_the_same(one in node(), other in node()) {
        let form = |value: &Node| text(&format!(r#"{{"v":{}}}"#, value.spell(&mut 0)));
        prop_assert_eq!(form(&one) == form(&other), one.meaning() == other.meaning());
    }

    #[test]
    fn the_form_is_json_with_the_same_meaning_and_a_form_of_itself(value in node(), dice: u64) {
        let body = format!(r#"{{"v":{}}}"#, value.spell(&mut dice.clone()));
        let form = text(&body).unwrap();
        prop_assert_eq!(text(&form), Some(form.clone()));
        let (was, is): (serde_json::Value, serde_json::Value) =
            (serde_json::from_str(&body).unwrap(), serde_json::from_str(&form).unwrap());
        prop_assert!(near(&was, &is), "{} {}", was, is);
    }

    #[test]
    fn what_is_no_json_has_no_form(members in prop::collection::vec(prop::sample::select(b"{}[]\",:\\u0e1-.tn \x80".to_vec()), 0..12)) {
        for body in [members.clone(), [br#"{"a":"#, &members[..], b"}"].concat()] {
            if canonical(&body).is_some() {
                prop_assert!(serde_json::from_slice::<serde::de::IgnoredAny>(&body).is_ok(), "{}", body.escape_ascii());
            }
        }
    }
}

/// Whether the values are equal, except that numbers may have become integers.
fn near(one: &serde_json::Value, other: &serde_json::Value) -> bool {
    use serde_json::Value::{Array, Number, Object};
    match (one, other) {
        (Number(one), Number(other)) => {
            let (one, other) = (one.as_f64().unwrap(), other.as_f64().unwrap());
            (one - other).abs() <= one.abs() * 1e-12
        }
        (Array(one), Array(other)) => one.len() == other.len() && one.iter().zip(other).all(|(a, b)| near(a, b)),
        (Object(one), Object(other)) => {
            one.len() == other.len()
                && one.iter().all(|(name, value)| other.get(name).is_some_and(|other| near(value, other)))
        }
        _ => one == other,
    }
}
