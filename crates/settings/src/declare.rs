//! What a key is: declared once, with [`section!`](crate::section!). Pure.

use serde_json::json;

use crate::field::Field;
use crate::problem::Mistake;
use crate::section::Section;
use crate::value::Value;
use crate::{Json, Toml};

/// One key of a table.
#[derive(Debug)]
pub struct Key {
    /// Its name in the file.
    pub name: &'static str,
    /// Its documentation, as it is wrapped in the source. A line that begins with two blanks stays a line of
    /// its own, and deeper ones continue it.
    pub doc: &'static [&'static str],
    /// What can be written, as a noun.
    pub value: &'static str,
    /// The JSON Schema of what can be written.
    pub schema: fn() -> Json,
    /// What holds where the key is absent.
    pub presence: Presence,
    /// The least and the most value, as they are written in the file.
    pub bounds: Option<(&'static str, &'static str)>,
    /// What the example file shows instead of the default.
    pub example: Example,
}

/// What holds where a key is absent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// This value, as it is written in the file.
    Default(&'static str),
    /// Nothing: the key has no default.
    Optional,
    /// The key must be written.
    Required,
}

/// What the example file shows at a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Example {
    /// The default.
    Default,
    /// This value.
    Written(&'static str),
    /// This value in a comment: most files do without the key.
    Commented(&'static str),
}

/// A table: what it is about, its keys, and the tables in it, in the order of the example file.
#[derive(Debug)]
pub struct Description {
    /// What the table is about, as it is wrapped in the source.
    pub about: &'static [&'static str],
    /// Its keys.
    pub keys: &'static [Key],
    /// The tables in it.
    pub tables: &'static [Nested],
}

/// A table in a table.
#[derive(Debug)]
pub struct Nested {
    /// Its name.
    pub name: &'static str,
    /// How often it may be written.
    pub times: Times,
    /// What it holds.
    pub table: &'static Description,
}

/// How often a table may be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Times {
    /// Once or not at all; an absent table has the defaults of its keys.
    Once,
    /// Once or not at all; an absent table is off.
    Optional,
    /// As `[[name]]`, at least once.
    Many,
    /// As `[[name]]`, any number of times. The example shows it in a comment.
    AnyNumber,
}

impl Times {
    /// True for `[[name]]`.
    pub fn is_list(self) -> bool {
        matches!(self, Self::Many | Self::AnyNumber)
    }

    /// True where one must be written.
    pub fn is_required(self) -> bool {
        self == Self::Many
    }
}

impl Key {
    /// The default.
    ///
    /// # Panics
    /// The key has no default, or one that its type does not read: a mistake in the declaration, which any use shows.
    pub(crate) fn default_value<T: Value>(&self) -> T {
        match self.presence {
            Presence::Default(text) => self.parse(text),
            Presence::Optional | Presence::Required => panic!("{} has no default", self.name),
        }
    }

    /// The least and the most value.
    ///
    /// # Panics
    /// The key has no bounds, or some that its type does not read.
    pub(crate) fn bound_values<T: Value>(&self) -> (T, T) {
        let (least, most) = self.bounds.expect("a bounded key has bounds");
        (self.parse(least), self.parse(most))
    }

    fn parse<T: Value>(&self, text: &str) -> T {
        let value = Toml::parse(text).ok().and_then(|value| T::read(value.get_ref()).ok());
        value.unwrap_or_else(|| panic!("{}: {text} is no {}", self.name, self.value))
    }
}

impl Description {
    /// The key with this name.
    ///
    /// # Panics
    /// There is none.
    pub fn key(&self, name: &str) -> &Key {
        self.keys.iter().find(|key| key.name == name).expect("the key is declared")
    }
}

/// A table that is declared with [`section!`](crate::section!).
pub trait Table: Sized {
    /// What it holds.
    const DESCRIPTION: &'static Description;

    /// Reads it.
    fn read(section: &mut Section<'_, '_>) -> Self;
}

/// The type of a nested table: the table itself, an optional one, or a list of tables.
pub trait Nest: Sized {
    /// What one of the tables holds.
    const DESCRIPTION: &'static Description;
    /// How often it may be written.
    const TIMES: Times;

    /// Reads it from under this key.
    fn read_nested(section: &mut Section<'_, '_>, key: &'static str) -> Self;
}

impl<T: Table> Nest for T {
    const DESCRIPTION: &'static Description = T::DESCRIPTION;
    const TIMES: Times = Times::Once;

    fn read_nested(section: &mut Section<'_, '_>, key: &'static str) -> Self {
        section.table(key)
    }
}

impl<T: Table> Nest for Option<T> {
    const DESCRIPTION: &'static Description = T::DESCRIPTION;
    const TIMES: Times = Times::Optional;

    fn read_nested(section: &mut Section<'_, '_>, key: &'static str) -> Self {
        section.table_if_written(key)
    }
}

impl<T: Table> Nest for Field<Vec<T>> {
    const DESCRIPTION: &'static Description = T::DESCRIPTION;
    const TIMES: Times = Times::AnyNumber;

    fn read_nested(section: &mut Section<'_, '_>, key: &'static str) -> Self {
        section.tables(key)
    }
}

/// Declares a table: a struct with a [`Field`] for each key, its reader, and its [`Description`].
///
/// ```
/// use std::time::Duration;
///
/// settings::section! {
///     /// Deadlines of one stream.
///     #[renamed(ping => heartbeat)]
///     #[secret(api_key: "use api_key_env")]
///     pub struct Stream {
///         /// Silence after which a heartbeat is sent. "0s": off.
///         heartbeat: Duration = "15s" in "0s" ..= "24h";
///         /// The name of the upstream.
///         upstream: String, required "write the name of an upstream", example "global";
///         /// The model that answers. Without this line, the request names it.
///         model: Option<String>, commented "gpt-4o";
///     }
/// }
///
/// settings::section! {
///     /// The whole file.
///     pub struct File {
///         [stream]: Stream;
///     }
/// }
///
/// let mut problems = settings::Problems::default();
/// let file: File = settings::document("[stream]\nupstream = \"global\"", &mut problems).unwrap();
/// assert_eq!((file.stream.heartbeat.value, problems.0.len()), (Duration::from_secs(15), 0));
/// ```
///
/// Defaults, bounds and examples are written as in the file. A key has a default, or is `required` with the mend of its
/// absence, or has a type with an empty value, such as `Option`. `example` is what the example file shows instead of the
/// default; `commented` shows it in a comment. Tables come after the keys: `[name]: T` for a table, `[name]: Option<T>` for one
/// that is off where it is absent, `[name]: Field<Vec<T>>` for `[[name]]`, with `many` behind it where one must be written.
#[macro_export]
macro_rules! section {
    (
        $(#[doc = $about:literal])+
        $(#[renamed($old:ident => $new:ident)])*
        $(#[secret($secret:ident: $advice:literal)])*
        $vis:vis struct $name:ident {
            $(
                $(#[doc = $doc:literal])+
                $key:ident : $type:ty
                    $(= $default:tt $(in $least:tt ..= $most:tt)?)?
                    $(, required $mend:literal)?
                    $(, example $example:tt)?
                    $(, commented $commented:tt)?
                ;
            )*
            $( [$table:ident] : $nested:ty $(, $many:ident)? ; )*
        }
    ) => {
        $(#[doc = $about])+
        #[derive(Debug, PartialEq)]
        $vis struct $name {
            $( $(#[doc = $doc])+ $vis $key: $crate::Field<$type>, )*
            $( #[doc = concat!("`[", stringify!($table), "]`")] $vis $table: $nested, )*
        }

        impl $crate::Table for $name {
            const DESCRIPTION: &'static $crate::declare::Description = &$crate::declare::Description {
                about: &[$($about),+],
                keys: &[$( $crate::Key {
                    name: stringify!($key),
                    doc: &[$($doc),+],
                    value: <$type as $crate::Value>::TYPE,
                    schema: <$type as $crate::Value>::schema,
                    presence: $crate::section!(@presence $($default)? $(required $mend)?),
                    bounds: $crate::section!(@bounds $($($least, $most)?)?),
                    example: $crate::section!(@example $(written $example)? $(commented $commented)?),
                }, )*],
                tables: &[$( $crate::declare::Nested {
                    name: stringify!($table),
                    times: $crate::section!(@times $nested $(, $many)?),
                    table: <$nested as $crate::Nest>::DESCRIPTION,
                }, )*],
            };

            fn read(section: &mut $crate::Section<'_, '_>) -> Self {
                $( section.renamed(stringify!($old), stringify!($new)); )*
                $( section.secret(stringify!($secret), $advice); )*
                #[allow(unused_variables, reason = "a table may have no keys of its own")]
                let keys = <Self as $crate::Table>::DESCRIPTION;
                Self {
                    $( $key: $crate::section!(
                        @read section, keys.key(stringify!($key)),
                        $($default $(in $least)?)? $(required $mend)?
                    ), )*
                    $( $table: <$nested as $crate::Nest>::read_nested(section, stringify!($table)), )*
                }
            }
        }
    };

    (@presence required $mend:literal) => { $crate::declare::Presence::Required };
    (@presence $default:tt) => { $crate::declare::Presence::Default(stringify!($default)) };
    (@presence) => { $crate::declare::Presence::Optional };

    (@bounds $least:tt, $most:tt) => { Some((stringify!($least), stringify!($most))) };
    (@bounds) => { None };

    (@example written $example:tt) => { $crate::declare::Example::Written(stringify!($example)) };
    (@example commented $example:tt) => { $crate::declare::Example::Commented(stringify!($example)) };
    (@example) => { $crate::declare::Example::Default };

    (@times $nested:ty, many) => { $crate::declare::Times::Many };
    (@times $nested:ty) => { <$nested as $crate::Nest>::TIMES };

    (@read $section:ident, $key:expr, required $mend:literal) => { $section.required($key, $mend) };
    (@read $section:ident, $key:expr, $default:tt in $least:tt) => { $section.bounded($key) };
    (@read $section:ident, $key:expr, $default:tt) => { $section.with_default($key) };
    (@read $section:ident, $key:expr,) => { $section.optional($key) };
}

/// Implements [`Value`] for an enumeration whose values are words: `words!(Mode { Fast = "fast", Slow = "slow" }, "mend")`.
#[macro_export]
macro_rules! words {
    ($type:ty { $($variant:ident = $word:literal),+ $(,)? }, $mend:literal) => {
        impl $crate::Value for $type {
            const TYPE: &'static str = concat!($("`", stringify!($word), "` "),+);

            fn read(value: &$crate::Toml<'_>) -> Result<Self, $crate::Mistake> {
                match value.as_str() {
                    $(Some($word) => Ok(Self::$variant),)+
                    _ => Err($crate::declare::no_word(&[$($word),+], $mend)),
                }
            }

            fn schema() -> $crate::Json {
                $crate::declare::words_schema(&[$($word),+])
            }
        }
    };
}

/// The mistake of a value that is none of these words.
pub fn no_word(words: &[&str], mend: &str) -> Mistake {
    let quoted: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
    let listed = match &quoted[..] {
        [first @ .., last] if !first.is_empty() => format!("{} or {last}", first.join(", ")),
        _ => quoted.join(""),
    };
    Mistake::new(format!("must be {listed}"), mend)
}

/// The JSON Schema of one of these words.
pub fn words_schema(words: &[&str]) -> Json {
    json!({ "enum": words })
}
