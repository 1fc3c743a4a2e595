//! The example file: every key with its documentation and its default. Pure.

use crate::declare::{Description, Example, Key, Nested, Presence, Times};

/// The example file below `head`. `more(path)` is what follows a table, such as more tables of the same list; or nothing.
pub fn example(head: &str, file: &Description, more: impl Fn(&str) -> &'static str) -> String {
    let mut text = head.to_owned();
    for nested in file.tables {
        write(&mut text, nested.name, nested, &more);
    }
    text
}

fn write(text: &mut String, path: &str, nested: &Nested, more: &impl Fn(&str) -> &'static str) {
    let Nested { times, table: Description { about, keys, tables }, .. } = nested;
    let (open, close) = if times.is_list() { ("[[", "]]") } else { ("[", "]") };
    let is_off = *times == Times::AnyNumber;
    *text += "\n";
    comment(text, about);
    line(text, is_off, &format!("{open}{path}{close}"));
    for key in *keys {
        comment(text, key.doc);
        let (commented, value) = shown(key);
        line(text, is_off || commented, &format!("{} = {value}", key.name));
    }
    *text += more(path);
    for nested in *tables {
        write(text, &format!("{path}.{}", nested.name), nested, more);
    }
}

/// Whether the key is commented out, and its value.
fn shown(key: &Key) -> (bool, &'static str) {
    match (key.example, key.presence) {
        (Example::Written(value), _) => (false, value),
        (Example::Commented(value), _) => (true, value),
        (Example::Default, Presence::Default(value)) => (false, value),
        (Example::Default, Presence::Optional | Presence::Required) => (true, "\"…\""),
    }
}

fn comment(text: &mut String, lines: &[&str]) {
    for line in lines {
        *text += &format!("#{line}\n");
    }
}

fn line(text: &mut String, commented: bool, line: &str) {
    *text += &format!("{}{line}\n", if commented { "# " } else { "" });
}
