//! Compares names of members without regard to case, as some parsers do: Go's `encoding/json` takes `Model` for `model`. Pure.

use std::borrow::Cow;

use super::Path;
use super::cursor::{Cursor, NotJson};

/// Returns the name in lower case, by the simple case folding of Unicode (CaseFolding.txt, status C and S).
fn folded(name: &str) -> Cow<'_, str> {
    let is_folded = |byte: u8| byte.is_ascii() && !byte.is_ascii_uppercase();
    if name.bytes().all(is_folded) {
        return Cow::Borrowed(name);
    }
    // of the letters whose lower case is not their folding, only this one folds to an ASCII letter
    Cow::Owned(name.replace('\u{17f}', "s").chars().flat_map(char::to_lowercase).collect())
}

/// Returns the known name that differs from `name` only in case; `None` if `name` is a known name itself.
pub(crate) fn known_in_other_case<'k>(name: &str, known: &[&'k str]) -> Option<&'k str> {
    match folded(name) {
        Cow::Borrowed(_) => None,
        Cow::Owned(folded) => known.iter().copied().find(|known| *known == folded),
    }
}

/// Returns whether the two names are equal but for case.
pub(crate) fn is_same(one: &str, other: &str) -> bool {
    folded(one) == folded(other)
}

/// Returns the sentence for the client whose member at `path` is a known one in another case.
pub(crate) fn refusal(path: &Path<'_>, known: &str) -> String {
    format!("{}: write it `{known}`: some servers read both names as one", path.written())
}

/// Returns the names of the members of a JSON object that are equal to one of `wanted` but for case.
pub(crate) fn members_among(body: &str, wanted: &[String]) -> Vec<String> {
    let mut found = Vec::new();
    let mut read = || -> Result<(), NotJson> {
        let mut cursor = Cursor::lenient(body);
        let mut members = cursor.object()?;
        while let Some(name) = members.next(&mut cursor)? {
            if wanted.iter().any(|wanted| is_same(&name, wanted)) {
                found.push(name.into_owned());
            }
            cursor.value()?;
        }
        Ok(())
    };
    // what is not JSON has no members
    let _ = read();
    found
}
