//! A validator for the keywords of JSON Schema (draft 2020-12) that our schema uses. It stops at any other keyword.

use regex_automata::dfa::regex::Regex;
use serde_json::{Map, Value};

/// Returns the parts of `value` that the schema refuses, each with its path.
pub(super) fn errors(schema: &Value, value: &Value, path: &str) -> Vec<String> {
    let mut errors = Vec::new();
    for (keyword, rule) in schema.as_object().unwrap() {
        let accepts = match keyword.as_str() {
            "$schema" | "title" | "description" | "default" => true,
            "type" => types(rule).any(|name| is_type(value, name)),
            "enum" => rule.as_array().unwrap().contains(value),
            "anyOf" => rule.as_array().unwrap().iter().any(|one| self::errors(one, value, path).is_empty()),
            "not" => !self::errors(rule, value, path).is_empty(),
            "pattern" => value.as_str().is_none_or(|text| Regex::new(rule.as_str().unwrap()).unwrap().is_match(text)),
            "minimum" => value.as_f64().is_none_or(|number| number >= rule.as_f64().unwrap()),
            "maximum" => value.as_f64().is_none_or(|number| number <= rule.as_f64().unwrap()),
            "minItems" => value.as_array().is_none_or(|items| items.len() as u64 >= rule.as_u64().unwrap()),
            "required" => {
                let names = rule.as_array().unwrap().iter().map(|name| name.as_str().unwrap());
                value.as_object().is_none_or(|object| names.clone().all(|name| object.contains_key(name)))
            }
            "additionalProperties" => {
                assert_eq!(*rule, Value::Bool(false));
                let known = |name: &String| schema["properties"].get(name).is_some();
                value.as_object().is_none_or(|object| object.keys().all(known))
            }
            "properties" => {
                let none = Map::new();
                for (name, member) in value.as_object().unwrap_or(&none) {
                    if let Some(schema) = rule.get(name) {
                        errors.extend(self::errors(schema, member, &format!("{path}.{name}")));
                    }
                }
                true
            }
            "items" => {
                for (i, item) in value.as_array().into_iter().flatten().enumerate() {
                    errors.extend(self::errors(rule, item, &format!("{path}[{i}]")));
                }
                true
            }
            other => panic!("{path}: the keyword {other} is not known here"),
        };
        if !accepts {
            errors.push(format!("{path}: {value} is not accepted by {keyword} {rule}"));
        }
    }
    errors
}

fn types(rule: &Value) -> impl Iterator<Item = &str> {
    let list = rule.as_array().map_or(std::slice::from_ref(rule), Vec::as_slice);
    list.iter().map(|name| name.as_str().unwrap())
}

fn is_type(value: &Value, name: &str) -> bool {
    match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_u64() || value.is_i64(),
        "number" => value.is_number(),
        other => panic!("the type {other} is not known here"),
    }
}
