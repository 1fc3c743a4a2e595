//! Finds the id in a completion, or in a chunk of one. Pure.

use std::ops::Range;

use crate::json::Kind;
use crate::json::cursor::{Cursor, NotJson};

/// Returns the place of the value of the first top-level member `id`, if it is a string; quotation marks included.
pub(super) fn place(json: &[u8]) -> Option<Range<usize>> {
    let json = std::str::from_utf8(json).ok()?;
    read(&mut Cursor::lenient(json)).ok()?
}

fn read(cursor: &mut Cursor<'_>) -> Result<Option<Range<usize>>, NotJson> {
    let mut found = None;
    let mut members = cursor.object()?;
    while let Some(name) = members.next(cursor)? {
        let value = cursor.value()?;
        if found.is_none() && name == "id" {
            found = Some(value);
        }
    }
    Ok(found.filter(|value| value.kind() == Kind::String).map(|value| value.place()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn found(json: &str) -> Option<&str> {
        place(json.as_bytes()).map(|place| &json[place])
    }

    #[test]
    fn the_first_top_level_id_is_found_if_it_is_a_string() {
        assert_eq!(found(r#" {"x":{"id":"a"}, "i\u0064" : "b\"" }"#), Some(r#""b\"""#));
        assert_eq!(found(r#"{"id":"a","id":"b"}"#), Some(r#""a""#));
        for json in [
            "",
            "[DONE]",
            "{}",
            "[\"id\"]",
            r#"{"id":7,"id":"a"}"#,
            r#"{"id":null}"#,
            r#"{"id":"a","#,
            "{\"id\":\"a\u{0}\"}",
        ] {
            assert_eq!(found(json), None, "{json}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_can_be_looked_through(bytes: Vec<u8>) {
            place(&bytes);
        }

        #[test]
        fn what_is_found_is_the_id(id: String, around in prop::collection::hash_map(".{0,6}-", any::<String>(), 0..5)) {
            let mut object = json!(around);
            object["id"] = id.clone().into();
            let json = object.to_string();
            let read: Option<Value> = found(&json).map(|id| serde_json::from_str(id).unwrap());
            prop_assert_eq!(read, Some(Value::from(id)));
        }
    }
}
