//! The JSON Schema of a configuration. Pure.

use serde_json::{Map, json};

use crate::Json;
use crate::declare::{Description, Key, Nested, Presence};

/// The schema of a whole file, in the draft 2020-12.
pub fn schema(title: &str, file: &Description) -> Json {
    let mut schema = table(file);
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema".into();
    schema["title"] = title.into();
    schema
}

fn table(description: &Description) -> Json {
    let keys = description.keys.iter().map(|declared| (declared.name.to_owned(), key(declared)));
    let tables = description.tables.iter().map(|declared| (declared.name.to_owned(), nested(declared)));
    let required_keys = description.keys.iter().filter(|key| key.presence == Presence::Required).map(|key| key.name);
    let required_tables =
        description.tables.iter().filter(|nested| nested.times.is_required()).map(|nested| nested.name);
    let required: Vec<&str> = required_keys.chain(required_tables).collect();
    let mut schema = json!({
        "type": "object",
        "description": text(description.about),
        "properties": keys.chain(tables).collect::<Map<_, _>>(),
        "additionalProperties": false,
    });
    if !required.is_empty() {
        schema["required"] = required.into();
    }
    schema
}

fn nested(nested: &Nested) -> Json {
    let one = table(nested.table);
    if !nested.times.is_list() {
        return one;
    }
    let mut list = json!({ "type": "array", "items": one });
    if nested.times.is_required() {
        list["minItems"] = 1.into();
    }
    list
}

fn key(key: &Key) -> Json {
    let mut schema = (key.schema)();
    let mut description = text(key.doc);
    if let Presence::Default(default) = key.presence {
        schema["default"] = json_of(default);
    }
    if let Some((least, most)) = key.bounds {
        match (json_of(least), json_of(most)) {
            (least @ Json::Number(_), most @ Json::Number(_)) => {
                schema["minimum"] = least;
                schema["maximum"] = most;
            }
            // no keyword of the draft compares durations or sizes
            _ => description += &format!(" From {least} to {most}."),
        }
    }
    schema["description"] = description.into();
    schema
}

/// The lines of a comment as one text. A line that begins with two blanks stays a line of its own; deeper ones continue it.
pub(crate) fn text(lines: &[&str]) -> String {
    let mut text = String::new();
    let mut after_own_line = false;
    for line in lines {
        let depth = line.len() - line.trim_start().len();
        let (is_own_line, continues) = (depth == 3, depth > 3);
        if !text.is_empty() {
            text.push(if is_own_line || after_own_line && !continues { '\n' } else { ' ' });
        }
        text += line.trim_start();
        after_own_line = is_own_line || continues;
    }
    text
}

/// A value that is written in TOML, as JSON.
///
/// # Panics
/// It is no TOML: a mistake in the declaration.
fn json_of(toml: &str) -> Json {
    let table: toml::Table = format!("value = {toml}").parse().expect("a declared value is TOML");
    serde_json::to_value(&table["value"]).expect("a TOML value is a JSON value")
}
