//! Names of functions on a stack, reduced to a plain path: `lilims_engine::session::Session::generate`.
//!
//! Symbols as Rust demangles them also hold types, as in `<A as B>::f::<C>`; these are left out. Only
//! paths that begin with a known crate are kept. Symbols are part of the programs on the device, ours or
//! others, and never depend on what people do.

use crate::crates::is_known;

/// Bounds of symbols and paths that are looked at.
const MAX_SYMBOL_BYTES: usize = 2000;
const MAX_BRACKETS: usize = 64;
const MAX_PARTS: usize = 16;
const MAX_PART_BYTES: usize = 60;

/// The plain path of the function with the demangled name `symbol`; `None` if it is not of a known crate
/// or not a path.
pub(crate) fn plain_path(symbol: &str) -> Option<String> {
    let n_brackets = symbol.bytes().filter(|b| *b == b'<').count();
    if symbol.len() > MAX_SYMBOL_BYTES || n_brackets > MAX_BRACKETS || !symbol.is_ascii() {
        return None;
    }
    path_of(symbol)
}

/// The crate that a plain path begins with.
pub(crate) fn crate_of(path: &str) -> &str {
    path.split("::").next().unwrap_or(path)
}

fn path_of(symbol: &str) -> Option<String> {
    let symbol = without_references(symbol);
    let Some(inner) = symbol.strip_prefix('<') else { return checked(&without_generics(symbol)) };
    let end = closing(inner)?;
    let (receiver, method) = (&inner[..end], &inner[end + 1..]);
    let types = split_at_as(receiver);
    // A method of a foreign type or of a type parameter is named by its trait.
    types.into_iter().find_map(|it| path_of(&format!("{it}{method}")))
}

/// `symbol` without what stands before the name of a type.
fn without_references(mut symbol: &str) -> &str {
    while let Some(rest) = ["&", "mut ", "dyn "].iter().find_map(|it| symbol.strip_prefix(it)) {
        symbol = rest;
    }
    symbol
}

/// The position of the `>` that closes what was opened before `text`.
fn closing(text: &str) -> Option<usize> {
    depths(text).find(|(_, _, depth)| *depth < 0).map(|(at, ..)| at)
}

/// The one or two types of `A` or `A as B`.
fn split_at_as(receiver: &str) -> Vec<&str> {
    let at = depths(receiver)
        .find(|(at, _, depth)| *depth == 0 && receiver[*at..].starts_with(" as "))
        .map(|(at, ..)| at);
    at.map_or(vec![receiver], |at| vec![&receiver[..at], &receiver[at + 4..]])
}

/// `symbol` without what stands between angle brackets.
fn without_generics(symbol: &str) -> String {
    let kept = depths(symbol).filter(|(_, c, depth)| *depth == 0 && *c != '>');
    kept.map(|(_, c, _)| c).collect()
}

/// The characters with their positions and the number of open brackets after each. The `>` of `->`
/// closes nothing.
fn depths(text: &str) -> impl Iterator<Item = (usize, char, i32)> + '_ {
    let mut depth = 0_i32;
    let mut previous = ' ';
    text.char_indices().map(move |(at, c)| {
        match c {
            '<' => depth += 1,
            '>' if previous != '-' => depth -= 1,
            _ => {}
        }
        previous = c;
        (at, c, depth)
    })
}

/// The path if its parts are names and the first is a known crate.
fn checked(path: &str) -> Option<String> {
    let parts: Vec<&str> =
        path.split("::").filter(|part| !part.is_empty()).map(plain_part).collect::<Option<_>>()?;
    let is_valid = parts.len() <= MAX_PARTS && parts.len() > 1 && is_known(parts[0]);
    is_valid.then(|| parts.join("::"))
}

/// A part of a path: a name, or what the compiler writes for closures and the like.
fn plain_part(part: &str) -> Option<&str> {
    if part.starts_with('{') {
        return Some("{}");
    }
    let name = part.split('{').next().unwrap_or(part);
    let is_name = name.len() <= MAX_PART_BYTES
        && name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    is_name.then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symbols_become_plain_paths() {
        for (symbol, expected) in [
            (
                "lilims_engine::session::Session::generate",
                "lilims_engine::session::Session::generate",
            ),
            ("core::ptr::drop_in_place<secret::Type>", "core::ptr::drop_in_place"),
            ("<lilims_core::app::App as core::ops::Drop>::drop", "lilims_core::app::App::drop"),
            ("<secret::Type as core::fmt::Debug>::fmt", "core::fmt::Debug::fmt"),
            ("<F as core::ops::FnOnce<(secret::A,)>>::call_once", "core::ops::FnOnce::call_once"),
            ("<&mut lilims_gguf::File>::open::<fn(u8) -> secret::B>", "lilims_gguf::File::open"),
            (
                "<alloc::boxed::Box<secret::F, A> as core::ops::FnOnce<B>>::call_once",
                "alloc::boxed::Box::call_once",
            ),
            ("std::panicking::panic_handler::{closure#0}", "std::panicking::panic_handler::{}"),
            ("std::rt::lang_start::{{closure}}", "std::rt::lang_start::{}"),
            (
                "core::ops::function::FnOnce::call_once{{vtable.shim}}",
                "core::ops::function::FnOnce::call_once",
            ),
            ("<<lilims_core::A as std::B>::C as std::D>::e", "lilims_core::A::C::e"),
            (
                "tokio::runtime::task::raw::poll::<secret::Future, secret::S>",
                "tokio::runtime::task::raw::poll",
            ),
        ] {
            assert_eq!(plain_path(symbol).as_deref(), Some(expected), "{symbol}");
        }
    }

    #[test]
    fn other_symbols_are_left_out() {
        let long = format!("std::{}", "a".repeat(MAX_PART_BYTES + 1));
        let many = "std::a".to_string() + &"::a".repeat(MAX_PARTS);
        for symbol in [
            "main",
            "std",
            "start_thread",
            "secret::f",
            "<secret::A as secret::B>::c",
            "lilims_core::/srv/anna",
            "lilims_core::a b",
            "lilims_core::ä",
            "<lilims_core::a",
            "<<<<",
            ">",
            "",
            &long,
            &many,
        ] {
            assert_eq!(plain_path(symbol), None, "{symbol}");
        }
    }

    #[test]
    fn plain_paths_stay() {
        for path in ["std::a::{}", "lilims_core::app::App::call"] {
            assert_eq!(plain_path(path).as_deref(), Some(path));
            assert!(is_known(crate_of(path)));
        }
    }
}
