//! The reference of a configuration, in Markdown. Pure.

use crate::declare::{Description, Key, Nested, Presence};
use crate::schema::text;

/// The reference below `head`: one table of keys for each table of the file.
pub fn markdown(head: &str, file: &Description) -> String {
    let mut reference = head.to_owned();
    for nested in file.tables {
        write(&mut reference, nested.name, nested);
    }
    reference
}

fn write(reference: &mut String, path: &str, nested: &Nested) {
    let Nested { times, table: Description { about, keys, tables }, .. } = nested;
    let (open, close) = if times.is_list() { ("[[", "]]") } else { ("[", "]") };
    *reference += &format!("\n## `{open}{path}{close}`\n\n{}\n\n", linked(&text(about)));
    *reference += "| key | value | default | meaning |\n|---|---|---|---|\n";
    for key in *keys {
        let (value, default) = (value(key), default(key));
        *reference += &format!("| `{}` | {value} | {default} | {} |\n", key.name, cell(&linked(&text(key.doc))));
    }
    for nested in *tables {
        write(reference, &format!("{path}.{}", nested.name), nested);
    }
}

fn value(key: &Key) -> String {
    let kind = cell(&key.value.trim_end().replace("` `", "`, `"));
    match key.bounds {
        Some((least, most)) => format!("{kind}, {} to {}", unquoted(least), unquoted(most)),
        None => kind,
    }
}

fn default(key: &Key) -> String {
    match key.presence {
        Presence::Default(value) => format!("`{value}`"),
        Presence::Optional => "none".to_owned(),
        Presence::Required => "required".to_owned(),
    }
}

/// A bound without its quotes and without the separators of its thousands.
fn unquoted(value: &str) -> String {
    value.trim_matches('"').replace('_', "")
}

/// What a cell of a table can hold.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', "<br>")
}

/// `docs/CORS.md` as a link beside this page.
fn linked(text: &str) -> String {
    let words = text.split(' ').map(|word| {
        let name = word.strip_prefix("docs/").and_then(|word| word.split_once(".md"));
        name.map_or_else(|| word.to_owned(), |(name, rest)| format!("[{name}.md]({name}.md){rest}"))
    });
    words.collect::<Vec<_>>().join(" ")
}
