//! The table of texts in the language of the page, and how a text gets its values.
//!
//! `build.rs` makes a key of each text of `locales/en.json`, with the place of the text in the table of every
//! language and the names of its values. The page loads the texts of its language before it is drawn, and when
//! another one is chosen.

use std::fmt::Display;
use std::sync::{PoisonError, RwLock};

use leptos::prelude::*;

/// Tags of the languages, and their names in themselves.
pub(crate) const LANGUAGES: [(&str, &str); 3] =
    [("en", "English"), ("de", "Deutsch"), ("ar", "العربية")];

/// The language of the page, and its texts.
static CHOSEN: RwLock<(&str, &[&str])> = RwLock::new((LANGUAGES[0].0, &[]));

/// The keys of the texts, by the names that `locales/en.json` gives them.
#[expect(non_upper_case_globals, reason = "they are written as in the catalogue")]
#[allow(clippy::module_inception, missing_docs, reason = "names of the catalogue")]
pub(crate) mod keys {
    use super::Key;
    include!(concat!(env!("OUT_DIR"), "/keys.rs"));
}

/// What [`text!`] knows of a text while it compiles.
pub(crate) struct Key {
    pub(crate) at: u16,
    pub(crate) is_plural: bool,
    pub(crate) values: &'static [&'static str],
}

impl Key {
    /// The place of a text without values.
    pub(crate) const fn plain(&self) -> u16 {
        assert!(self.values.is_empty(), "this text needs values");
        self.at
    }

    /// The place of a text, and whether it is a plural. `given` are the names of its values.
    pub(crate) const fn with(&self, given: &[&str]) -> (u16, bool) {
        assert!(self.values.len() == given.len(), "this text needs fewer or more values");
        let mut index = 0;
        while index < given.len() {
            assert!(contains(self.values, given[index]), "this text has no value of this name");
            index += 1;
        }
        (self.at, self.is_plural)
    }
}

const fn contains(names: &[&str], name: &str) -> bool {
    let mut index = 0;
    while index < names.len() {
        if is_same(names[index].as_bytes(), name.as_bytes()) {
            return true;
        }
        index += 1;
    }
    false
}

const fn is_same(left: &[u8], right: &[u8]) -> bool {
    let mut index = 0;
    while index < left.len() && index < right.len() && left[index] == right[index] {
        index += 1;
    }
    index == left.len() && index == right.len()
}

/// The first of the preferred languages that the catalogue has, such as `en-GB`: its tag.
pub(crate) fn supported(preferred: &[String]) -> &'static str {
    let primary = |tag: &str| tag.split(['-', '_']).next().unwrap_or_default().to_ascii_lowercase();
    let find = |wanted: &String| LANGUAGES.iter().find(|(tag, _)| *tag == primary(wanted));
    preferred.iter().find_map(find).unwrap_or(&LANGUAGES[0]).0
}

/// Whether the language of the texts is written from right to left.
pub(crate) fn is_right_to_left() -> bool {
    chosen() == "ar"
}

/// Makes the language that of the texts from now on, and returns whether these are all: texts that are on the
/// page stay as they are until they are drawn again. `texts` are those of its file in order, with six forms for
/// a plural.
pub(crate) fn choose(tag: &'static str, texts: Vec<String>) -> bool {
    let is_whole = texts.len() == keys::N_TEXTS;
    if is_whole {
        let texts = texts.into_iter().map(|text| &*text.leak()).collect::<Vec<&'static str>>();
        *CHOSEN.write().unwrap_or_else(PoisonError::into_inner) = (tag, texts.leak());
    }
    is_whole
}

/// The tag of the language of the texts.
pub(crate) fn chosen() -> &'static str {
    CHOSEN.read().unwrap_or_else(PoisonError::into_inner).0
}

/// The text at this place.
#[cfg(not(test))]
pub(crate) fn plain(at: u16) -> &'static str {
    let texts = CHOSEN.read().unwrap_or_else(PoisonError::into_inner).1;
    texts.get(usize::from(at)).copied().unwrap_or_default()
}

/// The English text at this place: tests run without a page that loads texts.
#[cfg(test)]
pub(crate) fn plain(at: u16) -> &'static str {
    let english = include_str!(concat!(env!("OUT_DIR"), "/en.texts"));
    english.split('\0').nth(at.into()).unwrap_or_default()
}

/// The text with its values, of which a plural has one that is named `count`.
pub(crate) fn filled((at, is_plural): (u16, bool), values: &[(&str, &dyn Display)]) -> String {
    let value =
        |name: &str| values.iter().find(|(it, _)| *it == name).map(|(_, it)| it.to_string());
    let count = || value("count").and_then(|it| it.parse().ok()).unwrap_or_default();
    let form = if is_plural { plural_form(chosen(), count()) } else { 0 };
    let mut filled = String::new();
    each_piece(plain(at + form), |piece, name| {
        filled.push_str(piece);
        filled.push_str(&value(name).unwrap_or_default());
    });
    filled
}

/// The text as views, for values that are elements.
pub(crate) fn views(at: u16, mut values: Vec<(&str, AnyView)>) -> Vec<AnyView> {
    let mut views = Vec::new();
    each_piece(plain(at), |piece, name| {
        views.push(piece.to_owned().into_any());
        if let Some(at) = values.iter().position(|(it, _)| *it == name) {
            views.push(values.swap_remove(at).1);
        }
    });
    views
}

/// Calls `on_piece` with each piece of a text and the name of the value after it.
fn each_piece(mut text: &str, mut on_piece: impl FnMut(&str, &str)) {
    while let Some((piece, after)) = text.split_once("{{") {
        let (name, after) = after.split_once("}}").unwrap_or((after, ""));
        on_piece(piece, name.trim());
        text = after;
    }
    on_piece(text, "");
}

/// The place of a plural's form among zero, one, two, few, many and other, by the rules of
/// [CLDR](https://www.unicode.org/cldr/charts/latest/supplemental/language_plural_rules.html) for whole
/// numbers.
fn plural_form(tag: &str, count: u64) -> u16 {
    match (tag, count, count % 100) {
        ("ar", 0, _) => 0,
        ("ar", 2, _) => 2,
        ("ar", _, 3..=10) => 3,
        ("ar", _, 11..) => 4,
        (_, 1, _) => 1,
        _ => 5,
    }
}

/// The key of a text: `key!(button.cancel)`.
macro_rules! key {
    ($head:ident $(. $tail:ident)*) => { $crate::text::keys::$head $(::$tail)* };
}

/// The value of a text: `seconds`, or `seconds = 3`.
macro_rules! value {
    ($name:ident) => {
        $name
    };
    ($name:ident = $value:expr) => {
        $value
    };
}

/// A text of the catalogue: `text!(button.cancel)`, `text!(time.seconds_left, seconds)`. It does not compile
/// without each of the text's values.
macro_rules! text {
    ($head:ident $(. $tail:ident)*) => {
        $crate::text::plain(const { $crate::text::key!($head $(. $tail)*).plain() })
    };
    ($head:ident $(. $tail:ident)*, $($name:ident $(= $value:expr)?),+ $(,)?) => {
        $crate::text::filled(
            const { $crate::text::key!($head $(. $tail)*).with(&[$(stringify!($name)),+]) },
            &[$((stringify!($name), &$crate::text::value!($name $(= $value)?))),+],
        )
    };
}

/// A text of the catalogue whose values are views.
macro_rules! text_view {
    ($head:ident $(. $tail:ident)*, $($name:ident $(= $value:expr)?),+ $(,)?) => {
        $crate::text::views(
            const { $crate::text::key!($head $(. $tail)*).with(&[$(stringify!($name)),+]).0 },
            vec![$((
                stringify!($name),
                leptos::prelude::IntoAny::into_any($crate::text::value!($name $(= $value)?)),
            )),+],
        )
    };
}

pub(crate) use {key, text, text_view, value};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn falls_back_to_english() {
        let preferred = |tags: &[&str]| {
            supported(&tags.iter().map(|tag| (*tag).to_owned()).collect::<Vec<_>>())
        };
        assert_eq!(preferred(&["tlh", "EN-gb"]), "en");
        assert_eq!(preferred(&["tlh", "de-AT"]), "de");
        assert_eq!(preferred(&["tlh"]), "en");
        assert_eq!(preferred(&[]), "en");
    }

    #[test]
    fn plurals_follow_the_language() {
        let forms = |tag, counts: &[u64]| {
            counts.iter().map(|count| plural_form(tag, *count)).collect::<Vec<_>>()
        };
        assert_eq!(forms("de", &[0, 1, 2, 101]), [5, 1, 5, 5]);
        let counts = [0, 1, 2, 3, 10, 11, 99, 100, 102, 103, 111, 1000];
        assert_eq!(forms("ar", &counts), [0, 1, 2, 3, 3, 4, 4, 5, 5, 3, 4, 5]);
    }

    #[test]
    fn values_and_plurals_are_put_in_place() {
        assert_eq!(text!(unit.tokens, count = 1, number = "1"), "1 token");
        assert_eq!(text!(unit.tokens, count = 0_u64, number = "0"), "0 tokens");
        let (used, count) = ("3", 10_usize);
        assert_eq!(text!(unit.tokens_of, used, count, number = "ten"), "3 of ten tokens");
    }
}
