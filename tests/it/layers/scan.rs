//! Which paths a Rust file names: enough of the grammar to read `use` trees and inline paths, and no more.
//!
//! Comments, strings and what stands under `#[cfg(test)]` are left out.

use std::collections::HashMap;

/// What one file says.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct File {
    /// Every path with its full first name: `crate::a::B`, `std::fs::read`; `use` aliases are resolved.
    pub paths: Vec<Vec<String>>,
    /// What `pub use` gives away: the name, and the path behind it.
    pub exports: HashMap<String, Vec<String>>,
    /// Modules that exist for tests alone: name, and the file that `#[path]` gives it.
    pub test_modules: Vec<(String, Option<String>)>,
    /// Macros that are called, by name.
    pub macros: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Word(String),
    Text(String),
    Colons,
    Mark(char),
}

impl Token {
    fn is(&self, mark: char) -> bool {
        *self == Token::Mark(mark)
    }

    fn word(&self) -> Option<&str> {
        match self {
            Token::Word(word) => Some(word),
            _ => None,
        }
    }
}

/// Reads a file's source.
pub fn scan(source: &str) -> File {
    let mut file = File::default();
    let tokens = without_tests(&lex(source), &mut file.test_modules);
    let mut aliases: HashMap<String, Vec<String>> = HashMap::new();
    let mut inline = Vec::new();
    let mut at = 0;
    // how deep in braces, and at which depths inline modules began: `super` in one of them is the file itself
    let (mut depth, mut modules) = (0_usize, Vec::new());
    while at < tokens.len() {
        match &tokens[at] {
            Token::Mark('{') => depth += 1,
            Token::Mark('}') => {
                depth = depth.saturating_sub(1);
                modules.retain(|begun| *begun < depth);
            }
            Token::Word(word) if word == "mod" && tokens.get(at + 2).is_some_and(|token| token.is('{')) => {
                modules.push(depth);
            }
            Token::Word(word) if word == "use" => {
                let exported = at > 0 && (tokens[at - 1].word() == Some("pub") || tokens[at - 1].is(')'));
                let end = at + tokens[at..].iter().position(|token| token.is(';')).unwrap_or(tokens.len() - at);
                for (path, name) in tree(&tokens[at + 1..end]) {
                    let path = out_of(path, modules.len());
                    if exported {
                        file.exports.insert(name.clone(), path.clone());
                    }
                    aliases.insert(name, path.clone());
                    file.paths.push(path);
                }
                at = end;
            }
            Token::Word(word) if tokens.get(at + 1).is_some_and(|token| token.is('!')) => {
                file.macros.push(word.clone())
            }
            Token::Word(_) if tokens.get(at + 1) == Some(&Token::Colons) => {
                let (path, end) = run(&tokens, at);
                inline.push(out_of(path, modules.len()));
                at = end;
            }
            _ => {}
        }
        at += 1;
    }
    for path in inline {
        let first = aliases.get(&path[0]).filter(|alias| alias[0] != path[0] || alias.len() > 1);
        file.paths.push(match first {
            Some(alias) => [alias, &path[1..]].concat(),
            None => path,
        });
    }
    file
}

/// A path inside of inline modules, as the file itself would write it.
fn out_of(path: Vec<String>, modules: usize) -> Vec<String> {
    let inside = path.iter().take(modules).take_while(|segment| *segment == "super").count();
    match inside {
        0 => path,
        _ if path.get(inside).is_some_and(|segment| segment == "super") => path[inside..].to_vec(),
        _ => [&["self".to_owned()][..], &path[inside..]].concat(),
    }
}

/// `a::b::c` from its first word; gives its end, too: the index of its last token.
fn run(tokens: &[Token], mut at: usize) -> (Vec<String>, usize) {
    let mut path = Vec::new();
    while let Some(Token::Word(word)) = tokens.get(at) {
        path.push(word.clone());
        match (tokens.get(at + 1), tokens.get(at + 2)) {
            (Some(Token::Colons), Some(Token::Word(_))) => at += 2,
            _ => break,
        }
    }
    (path, at)
}

/// The leaves of a `use` tree: the path, and the name under which it is known here.
fn tree(tokens: &[Token]) -> Vec<(Vec<String>, String)> {
    let mut leaves = Vec::new();
    let mut prefix: Vec<String> = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        match &tokens[at] {
            Token::Word(word) if word == "as" => {
                let alias = tokens.get(at + 1).and_then(Token::word).unwrap_or("_").to_owned();
                leaves.push((std::mem::take(&mut prefix), alias));
                return leaves;
            }
            Token::Word(word) => prefix.push(word.clone()),
            Token::Mark('*') => prefix.push("*".to_owned()),
            Token::Mark('{') => {
                for branch in branches(&tokens[at + 1..]) {
                    let inner = tree(branch).into_iter().map(|(path, name)| {
                        let itself = path == ["self"];
                        let name =
                            if itself && name == "self" { prefix.last().cloned().unwrap_or_default() } else { name };
                        (if itself { prefix.clone() } else { [&prefix[..], &path].concat() }, name)
                    });
                    leaves.extend(inner);
                }
                return leaves;
            }
            _ => {}
        }
        at += 1;
    }
    if let Some(last) = prefix.last().cloned() {
        leaves.push((prefix, last));
    }
    leaves
}

/// What stands between the commas up to the brace that closes.
fn branches(tokens: &[Token]) -> Vec<&[Token]> {
    let (mut branches, mut begin, mut depth) = (Vec::new(), 0, 0);
    for (at, token) in tokens.iter().enumerate() {
        match token {
            Token::Mark('{') => depth += 1,
            Token::Mark('}') if depth == 0 => {
                branches.push(&tokens[begin..at]);
                return branches;
            }
            Token::Mark('}') => depth -= 1,
            Token::Mark(',') if depth == 0 => {
                branches.push(&tokens[begin..at]);
                begin = at + 1;
            }
            _ => {}
        }
    }
    branches
}

/// The tokens without the items under `#[cfg(test)]`.
fn without_tests(tokens: &[Token], test_modules: &mut Vec<(String, Option<String>)>) -> Vec<Token> {
    let cfg_test: Vec<Token> = lex("#[cfg(test)]");
    let mut kept = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        if !tokens[at..].starts_with(&cfg_test) {
            kept.push(tokens[at].clone());
            at += 1;
            continue;
        }
        let item = &tokens[at..at + item_length(&tokens[at..])];
        let named = item.windows(3).find(|three| three[0].word() == Some("mod") && three[2].is(';'));
        if let Some(name) = named.and_then(|three| three[1].word()) {
            let path = item.windows(3).find_map(|three| match three {
                [Token::Word(word), Token::Mark('='), Token::Text(path)] if word == "path" => Some(path.clone()),
                _ => None,
            });
            test_modules.push((name.to_owned(), path));
        }
        at += item.len();
    }
    kept
}

/// From its first attribute to its `;`, or to the brace that closes its body.
fn item_length(tokens: &[Token]) -> usize {
    let mut open = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        match token {
            Token::Mark(mark @ ('(' | '[' | '{')) => open.push(*mark),
            Token::Mark(')' | ']') => drop(open.pop()),
            Token::Mark('}') if open == ['{'] => return at + 1,
            Token::Mark('}') => drop(open.pop()),
            Token::Mark(';') if open.is_empty() => return at + 1,
            _ => {}
        }
    }
    tokens.len()
}

fn lex(source: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut rest = source;
    while let Some(first) = rest.chars().next() {
        if rest.starts_with("//") {
            rest = rest.split_once('\n').map_or("", |(_, after)| after);
        } else if rest.starts_with("/*") {
            rest = after_comment(rest);
        } else if let Some((text, after)) = text(rest) {
            tokens.push(Token::Text(text.to_owned()));
            rest = after;
        } else if first == '\'' {
            rest = after_quote(rest);
        } else if first.is_alphanumeric() || first == '_' {
            let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
            tokens.push(Token::Word(rest[..end].to_owned()));
            rest = &rest[end..];
        } else if let Some(after) = rest.strip_prefix("::") {
            tokens.push(Token::Colons);
            rest = after;
        } else {
            if !first.is_whitespace() {
                tokens.push(Token::Mark(first));
            }
            rest = &rest[first.len_utf8()..];
        }
    }
    tokens
}

/// After a block comment; they nest.
fn after_comment(source: &str) -> &str {
    let (mut depth, mut at) = (0, 0);
    while at < source.len() {
        if source[at..].starts_with("/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if source[at..].starts_with("*/") {
            (depth, at) = (depth - 1, at + 2);
            if depth == 0 {
                return &source[at..];
            }
        } else {
            at += source[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    ""
}

/// A string literal of any kind, and what follows it.
fn text(source: &str) -> Option<(&str, &str)> {
    let body = source.trim_start_matches(['b', 'c']);
    if source.len() - body.len() > 1 {
        return None;
    }
    if let Some(raw) = body.strip_prefix('r') {
        let hashes = raw.len() - raw.trim_start_matches('#').len();
        let inner = raw[hashes..].strip_prefix('"')?;
        return inner.split_once(&format!("\"{}", "#".repeat(hashes)));
    }
    let inner = body.strip_prefix('"')?;
    let mut escaped = false;
    let end = inner.find(|c: char| {
        let ends = c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        ends
    })?;
    Some((&inner[..end], &inner[end + 1..]))
}

/// After a character literal, or after the quote of a lifetime.
fn after_quote(source: &str) -> &str {
    let inner = &source[1..];
    let mut chars = inner.char_indices();
    match (chars.next(), chars.next()) {
        (Some((_, '\\')), Some((at, _))) => {
            let end = inner[at + 1..].find('\'').map_or(inner.len(), |end| at + 1 + end + 1);
            inner.get(end..).unwrap_or("")
        }
        (Some(_), Some((at, '\''))) => &inner[at + 1..],
        _ => inner,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(source: &str) -> Vec<String> {
        scan(source).paths.iter().map(|path| path.join("::")).collect()
    }

    #[test]
    fn use_trees_and_inline_paths_are_found() {
        let source =
            "use crate::{a::{self, B}, c::*, d as e}; use super::f::G;\nfn h() -> crate::i::J { self::k::l() }";
        let found = paths(source);
        assert_eq!(
            found,
            ["crate::a", "crate::a::B", "crate::c::*", "crate::d", "super::f::G", "crate::i::J", "self::k::l"]
        );
    }

    #[test]
    fn an_alias_is_resolved() {
        assert_eq!(paths("use std::time; fn f() { time::Instant::now(); }")[1], "std::time::Instant::now");
        assert_eq!(paths("use tokio as t; fn f() { t::spawn(g()); }")[1], "tokio::spawn");
        assert_eq!(paths("use std::fs::{self, File}; fn f() { fs::read(x); }")[2], "std::fs::read");
    }

    #[test]
    fn comments_strings_characters_and_tests_are_left_out() {
        let source = r##"
            // use crate::a;
            /* use crate::b; /* crate::c::d */ crate::e::f */
            const X: &str = "crate::g::h \" crate::i::j"; const Y: &str = r#"crate::k::l " crate::m"#;
            const Q: char = '"'; const B: u8 = b'\''; fn f<'a>(x: &'a crate::real::One) {}
            #[cfg(test)] use crate::n::o;
            #[cfg(test)] #[path = "other.rs"] mod outside;
            #[cfg(test)] fn g(x: [u8; 3]) { crate::p::q(); }
            #[cfg(test)] mod tests { use crate::r::s; mod inner { use crate::t; } }
            fn g() { crate::real::two() }
        "##;
        assert_eq!(paths(source), ["crate::real::One", "crate::real::two"]);
        assert_eq!(scan(source).test_modules, [("outside".to_owned(), Some("other.rs".to_owned()))]);
    }

    #[test]
    fn exports_are_known_by_their_names() {
        let file = scan("pub use a::{B, C as D}; pub(super) use e::F; use g::H;");
        let mut names: Vec<_> = file.exports.iter().map(|(name, path)| format!("{name}={}", path.join("::"))).collect();
        names.sort();
        assert_eq!(names, ["B=a::B", "D=a::C", "F=e::F"]);
    }

    #[test]
    fn super_inside_an_inline_module_is_the_file() {
        let source = "mod m { use super::a::B; use super::super::c::D; } use super::e::F;";
        assert_eq!(paths(source), ["self::a::B", "super::c::D", "super::e::F"]);
    }
}
