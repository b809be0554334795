//! Case conversion.

use crate::Error;
use crate::limits::Budget;
use crate::text::{Mark, Text, TextBuf};

/// Implements `str.lower`, `upper`, `title`, `capitalize`, `swapcase` and `casefold`.
pub(crate) fn change(budget: &Budget<'_>, text: &Text, name: &str) -> Result<Text, Error> {
    match name {
        "lower" => return text.map(budget, str::to_lowercase),
        "upper" => return text.map(budget, str::to_uppercase),
        _ => {}
    }
    let mut out = TextBuf::new(budget);
    let mut after_cased = false;
    for (at, (c, mark)) in text.chars().enumerate() {
        match name {
            "capitalize" if at == 0 => push_title(&mut out, c, mark)?,
            "title" if !after_cased => push_title(&mut out, c, mark)?,
            "swapcase" if c.is_lowercase() => push_all(&mut out, c.to_uppercase(), mark)?,
            "swapcase" if !c.is_uppercase() => out.push_char(c, mark)?,
            "casefold" => fold(&mut out, c, mark)?,
            _ => push_all(&mut out, c.to_lowercase(), mark)?,
        }
        after_cased = c.is_lowercase() || c.is_uppercase();
    }
    Ok(out.finish_markup(text.is_markup()))
}

fn push_all(
    out: &mut TextBuf<'_>,
    mut chars: impl Iterator<Item = char>,
    mark: Option<Mark>,
) -> Result<(), Error> {
    chars.try_for_each(|c| out.push_char(c, mark))
}

/// Appends a character in title case; if its upper case is several letters, only the first is a
/// capital.
fn push_title(out: &mut TextBuf<'_>, c: char, mark: Option<Mark>) -> Result<(), Error> {
    for (at, upper) in c.to_uppercase().enumerate() {
        if at == 0 {
            out.push_char(upper, mark)?;
        } else {
            push_all(out, upper.to_lowercase(), mark)?;
        }
    }
    Ok(())
}

/// Appends a character with full case folding.
fn fold(out: &mut TextBuf<'_>, c: char, mark: Option<Mark>) -> Result<(), Error> {
    if c == 'ı' {
        return out.push_char(c, mark);
    }
    for upper in c.to_uppercase() {
        push_all(out, upper.to_lowercase(), mark)?;
    }
    Ok(())
}
