//! Strict JSON for requests: what is wrong is named by its place.
//!
//! serde_json alone takes the last of two equal names, and the next reader the first: each would see another request. So
//! a body is walked over once before anything is read from it.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// How deep objects and arrays may be nested. It bounds the walker's stack; tool schemas, the deepest of what is sent, need a
/// fraction of it.
const MAX_DEPTH: usize = 64;

/// Why a body is not acceptable as JSON. Its `Display` is for the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Defect {
    Empty,
    NotUtf8 {
        /// Byte offset.
        offset: usize,
    },
    Syntax(String),
    Duplicate {
        path: String,
    },
    TooDeep {
        path: String,
    },
}

impl fmt::Display for Defect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Defect::Empty => f.write_str("the body is empty: send a JSON object"),
            Defect::NotUtf8 { offset } => write!(f, "the body is not UTF-8 at byte {offset}: send JSON in UTF-8"),
            Defect::Syntax(what) => write!(f, "the body is not JSON: {what}"),
            Defect::Duplicate { path } => write!(f, "{path}: this name stands twice in its object: send it once"),
            Defect::TooDeep { path } => write!(f, "{path}: nested deeper than {MAX_DEPTH} levels"),
        }
    }
}

/// The text of a body that is one JSON value, in which no object has a name twice and nothing is nested too deeply.
pub(super) fn check(body: &[u8]) -> Result<&str, Defect> {
    if body.trim_ascii().is_empty() {
        return Err(Defect::Empty);
    }
    let text = std::str::from_utf8(body).map_err(|error| Defect::NotUtf8 { offset: error.valid_up_to() })?;
    let mut input = serde_json::Deserializer::from_str(text);
    let mut defect = None;
    let walked = Walk { path: &Path::Top, depth: 0, defect: &mut defect }.deserialize(&mut input);
    // a defect of ours also ends the walk, with an error that says nothing
    walked.and_then(|()| input.end()).map_err(|error| defect.unwrap_or_else(|| Defect::Syntax(error.to_string())))?;
    Ok(text.trim_ascii())
}

/// The members of an object, in their order; `None` for any other JSON text.
pub(super) fn members(text: &str) -> Option<Vec<(Cow<'_, str>, &RawValue)>> {
    struct Members;

    impl<'de> Visitor<'de> for Members {
        type Value = Vec<(Cow<'de, str>, &'de RawValue)>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut members = Vec::new();
            while let Some((Name(name), value)) = map.next_entry()? {
                members.push((name, value));
            }
            Ok(members)
        }
    }

    // told by its first byte: serde would describe at length what it is instead
    let object = Kind::of_text(text) == Kind::Object;
    object.then(|| serde_json::Deserializer::from_str(text).deserialize_map(Members).ok()).flatten()
}

/// The elements of an array; `None` for any other value.
pub(super) fn elements(value: &RawValue) -> Option<Vec<&RawValue>> {
    let array = Kind::of(value) == Kind::Array;
    array.then(|| serde_json::from_str(value.get()).ok()).flatten()
}

/// A JSON value's type, as error messages name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Null,
    Boolean,
    Number,
    String,
    Array,
    Object,
}

impl Kind {
    pub(super) fn of(value: &RawValue) -> Self {
        Self::of_text(value.get())
    }

    /// Of a JSON text without white space around it.
    pub(super) fn of_text(text: &str) -> Self {
        match text.as_bytes().first() {
            Some(b'{') => Kind::Object,
            Some(b'[') => Kind::Array,
            Some(b'"') => Kind::String,
            Some(b't' | b'f') => Kind::Boolean,
            Some(b'n') | None => Kind::Null,
            Some(_) => Kind::Number,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Null => "null",
            Kind::Boolean => "a boolean",
            Kind::Number => "a number",
            Kind::String => "a string",
            Kind::Array => "an array",
            Kind::Object => "an object",
        })
    }
}

/// A place in a JSON text, written `messages[2].content`. It lives on the walker's stack and allocates nothing.
#[derive(Debug, Clone, Copy)]
pub(super) enum Path<'a> {
    Top,
    Member(&'a Path<'a>, &'a str),
    Element(&'a Path<'a>, usize),
}

impl Path<'_> {
    /// As text, bounded, because names are as long as a client likes.
    pub(super) fn written(&self) -> String {
        const LONGEST: usize = 200;
        let mut text = self.to_string();
        if text.len() > LONGEST {
            text.truncate(text.floor_char_boundary(LONGEST));
            text.push('…');
        }
        text
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Path::Top => Ok(()),
            Path::Element(parent, index) => write!(f, "{parent}[{index}]"),
            Path::Member(parent, name) if !is_plain(name) => write!(f, "{parent}[{name:?}]"),
            Path::Member(Path::Top, name) => f.write_str(name),
            Path::Member(parent, name) => write!(f, "{parent}.{name}"),
        }
    }
}

fn is_plain(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}

/// A name, borrowed unless it has escapes.
#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

/// Names that one object has had so far: compared one by one while they are few.
#[derive(Default)]
struct Names<'a> {
    few: Vec<Cow<'a, str>>,
    /// Hashed with a random key: an attacker's names cannot be made to collide.
    many: HashSet<Cow<'a, str>>,
}

impl<'a> Names<'a> {
    const FEW: usize = 12;

    fn contain(&self, name: &str) -> bool {
        self.few.iter().any(|few| few == name) || self.many.contains(name)
    }

    fn insert(&mut self, name: Cow<'a, str>) {
        if self.few.len() < Self::FEW {
            self.few.push(name);
        } else {
            self.many.insert(name);
        }
    }
}

/// Walks over one value and remembers the first defect.
struct Walk<'a> {
    path: &'a Path<'a>,
    /// How many objects and arrays are around the value.
    depth: usize,
    defect: &'a mut Option<Defect>,
}

impl Walk<'_> {
    fn fail<E: serde::de::Error>(self, defect: fn(String) -> Defect) -> E {
        *self.defect = Some(defect(self.path.written()));
        E::custom("defect")
    }

    /// The depth of what is in this object or array.
    fn deeper(&self) -> Option<usize> {
        (self.depth < MAX_DEPTH).then_some(self.depth + 1)
    }
}

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Some(depth) = self.deeper() else {
            return Err(self.fail(|path| Defect::TooDeep { path }));
        };
        let mut names = Names::default();
        while let Some(Name(name)) = map.next_key()? {
            let path = Path::Member(self.path, &name);
            if names.contain(&name) {
                let twice = Walk { path: &path, ..self };
                return Err(twice.fail(|path| Defect::Duplicate { path }));
            }
            map.next_value_seed(Walk { path: &path, depth, defect: self.defect })?;
            names.insert(name);
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let Some(depth) = self.deeper() else {
            return Err(self.fail(|path| Defect::TooDeep { path }));
        };
        let mut path = Path::Element(self.path, 0);
        let mut index = 0;
        while seq.next_element_seed(Walk { path: &path, depth, defect: self.defect })?.is_some() {
            index += 1;
            path = Path::Element(self.path, index);
        }
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    fn refusal(body: &[u8]) -> String {
        check(body).unwrap_err().to_string()
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
    fn a_name_that_stands_twice_is_refused_also_in_another_spelling() {
        assert_eq!(refusal(br#"{"a":1,"b":2,"a":1}"#), "a: this name stands twice in its object: send it once");
        let deep = r#"{"messages":[{},{"content":[{"x y":{"role":1,"\u0072ole":2}}]}]}"#;
        assert!(
            refusal(deep.as_bytes()).starts_with("messages[1].content[0][\"x y\"].role: "),
            "{}",
            refusal(deep.as_bytes())
        );
        assert!(check(br#"{"a":{"a":[{"a":1},{"a":1}]}}"#).is_ok(), "the same name at other places");
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
                prop::collection::vec((any::<String>(), inner), 0..6)
                    .prop_map(|m| Value::Object(m.into_iter().collect())),
            ]
        })
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
}
