//! The paths that a Rust file names, in `use` trees and inline. Items under `#[cfg(test)]` are left out.

use std::collections::HashMap;
use std::iter;

use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};

/// What one file names.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct File {
    /// Every path with its full first name: `crate::a::B`, `std::fs::read`; `use` aliases are resolved.
    pub paths: Vec<Vec<String>>,
    /// The names that `pub use` exports, and the path of each.
    pub exports: HashMap<String, Vec<String>>,
    /// Modules that only tests have: the name, and the file that `#[path]` gives it.
    pub test_modules: Vec<(String, Option<String>)>,
    /// Macros that are called, by name.
    pub macros: Vec<String>,
}

/// Reads a file's source.
///
/// # Panics
/// The source is not Rust.
pub fn scan(source: &str) -> File {
    let mut scan = Scan::default();
    scan.read(source.parse().unwrap(), 0);
    let Scan { mut file, aliases, inline } = scan;
    for path in inline {
        let first = aliases.get(&path[0]).filter(|alias| alias[0] != path[0] || alias.len() > 1);
        file.paths.push(match first {
            Some(alias) => [alias, &path[1..]].concat(),
            None => path,
        });
    }
    file
}

#[derive(Default)]
struct Scan {
    file: File,
    aliases: HashMap<String, Vec<String>>,
    /// Paths that are not in a `use` tree.
    inline: Vec<Vec<String>>,
}

impl Scan {
    /// Reads the tokens between two delimiters, `modules` inline modules deep.
    fn read(&mut self, tokens: TokenStream, modules: usize) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let mut at = 0;
        while at < tokens.len() {
            let rest = &tokens[at..];
            let next = match &tokens[at] {
                TokenTree::Punct(_) if is_cfg_test(rest) => self.skip_item(rest),
                TokenTree::Ident(word) if word == "mod" && group(rest.get(2), Delimiter::Brace).is_some() => {
                    self.read(group(rest.get(2), Delimiter::Brace).map(Group::stream).unwrap_or_default(), modules + 1);
                    3
                }
                TokenTree::Ident(word) if word == "use" && !is_mark(rest.get(1), '<') => {
                    let before = at.checked_sub(1).map(|before| &tokens[before]);
                    let is_exported = is_word(before, "pub") || group(before, Delimiter::Parenthesis).is_some();
                    let end = rest.iter().position(|token| is_mark(Some(token), ';')).unwrap_or(rest.len());
                    for (path, name) in tree(&rest[1..end]) {
                        let path = out_of(path, modules);
                        if is_exported {
                            self.file.exports.insert(name.clone(), path.clone());
                        }
                        self.aliases.insert(name, path.clone());
                        self.file.paths.push(path);
                    }
                    end
                }
                TokenTree::Ident(word) if is_mark(rest.get(1), '!') => {
                    self.file.macros.push(word.to_string());
                    1
                }
                TokenTree::Ident(_) => {
                    let path = run(rest);
                    let end = 3 * path.len() - 2;
                    if path.len() > 1 || is_path_mark(&rest[1..]) {
                        self.inline.push(out_of(path, modules));
                    }
                    end
                }
                TokenTree::Group(group) => {
                    self.read(group.stream(), modules);
                    1
                }
                _ => 1,
            };
            at += next;
        }
    }

    /// Notes the module that an item under `#[cfg(test)]` declares, if it is one. Returns how many tokens the item has.
    fn skip_item(&mut self, item: &[TokenTree]) -> usize {
        let end =
            item.iter().position(|token| is_mark(Some(token), ';') || group(Some(token), Delimiter::Brace).is_some());
        let end = end.map_or(item.len(), |end| end + 1);
        let item = &item[..end];
        let module = item.windows(3).find(|three| is_word(three.first(), "mod") && is_mark(three.get(2), ';'));
        if let Some([_, name, _]) = module {
            self.file.test_modules.push((name.to_string(), item.iter().find_map(path_attribute)));
        }
        end
    }
}

/// The file of an attribute's content `path = "file"`.
fn path_attribute(token: &TokenTree) -> Option<String> {
    let content: Vec<TokenTree> = group(Some(token), Delimiter::Bracket)?.stream().into_iter().collect();
    let is_path = is_word(content.first(), "path") && is_mark(content.get(1), '=');
    is_path.then(|| content.get(2).map(|file| file.to_string().trim_matches('"').to_owned())).flatten()
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

/// The path `a::b::c` at the begin of these tokens.
fn run(tokens: &[TokenTree]) -> Vec<String> {
    let segments = tokens.chunks(3).enumerate().map_while(|(place, chunk)| match chunk.first()? {
        TokenTree::Ident(word) if place == 0 || is_path_mark(&tokens[3 * place - 2..]) => Some(word.to_string()),
        _ => None,
    });
    segments.collect()
}

/// The leaves of a `use` tree: the path, and the name that it has in this file.
fn tree(tokens: &[TokenTree]) -> Vec<(Vec<String>, String)> {
    let mut prefix: Vec<String> = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        match token {
            TokenTree::Ident(word) if word == "as" => {
                let alias = tokens.get(at + 1).map(ToString::to_string).unwrap_or_default();
                return vec![(prefix, alias)];
            }
            TokenTree::Ident(word) => prefix.push(word.to_string()),
            TokenTree::Group(group) => {
                let inner: Vec<TokenTree> = group.stream().into_iter().collect();
                let branches = inner.split(|token| is_mark(Some(token), ','));
                let leaves = branches.flat_map(tree).map(|(path, name)| match &path[..] {
                    [only] if only == "self" => {
                        let name = if name == "self" { prefix.last().cloned().unwrap_or_default() } else { name };
                        (prefix.clone(), name)
                    }
                    _ => ([&prefix[..], &path].concat(), name),
                });
                return leaves.collect();
            }
            _ if is_mark(Some(token), '*') => prefix.push("*".to_owned()),
            _ => {}
        }
    }
    let name = prefix.last().cloned();
    name.into_iter().zip(iter::once(prefix)).map(|(name, path)| (path, name)).collect()
}

fn is_cfg_test(tokens: &[TokenTree]) -> bool {
    let attribute = group(tokens.get(1), Delimiter::Bracket);
    is_mark(tokens.first(), '#') && attribute.is_some_and(|it| it.stream().to_string().replace(' ', "") == "cfg(test)")
}

fn is_path_mark(tokens: &[TokenTree]) -> bool {
    is_mark(tokens.first(), ':') && is_mark(tokens.get(1), ':')
}

fn is_mark(token: Option<&TokenTree>, mark: char) -> bool {
    matches!(token, Some(TokenTree::Punct(punct)) if punct.as_char() == mark)
}

fn is_word(token: Option<&TokenTree>, name: &str) -> bool {
    matches!(token, Some(TokenTree::Ident(word)) if word == name)
}

fn group(token: Option<&TokenTree>, delimiter: Delimiter) -> Option<&Group> {
    match token {
        Some(TokenTree::Group(group)) if group.delimiter() == delimiter => Some(group),
        _ => None,
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
