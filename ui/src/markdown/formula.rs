//! Formulas as MathML, from pieces of which every tag, attribute and class is one of a list.

use std::fmt::Write;

use lilims_ipc::{Formula, MathAttribute, MathClass, MathPiece, MathTag};
use pulldown_cmark_escape::escape_html_body_text;

use super::source::visible_bidi;

/// The formula that an answer has written with its delimiters, as the writer of Markdown leaves it in
/// the page; `None` if it has none.
pub(crate) fn parse_delimiters(source: &str) -> Option<Formula> {
    let source = source.trim();
    let inside = |open, close| source.strip_prefix(open)?.strip_suffix(close);
    let formula = |latex: &str, is_display| Formula { latex: latex.trim().to_owned(), is_display };
    if source.starts_with("\\begin{") {
        return Some(formula(source, true));
    }
    inside("$$", "$$").or_else(|| inside("\\[", "\\]")).map(|latex| formula(latex, true)).or_else(
        || inside("\\(", "\\)").or_else(|| inside("$", "$")).map(|latex| formula(latex, false)),
    )
}

/// The MathML of a formula.
pub(crate) fn mathml(pieces: &[MathPiece], is_display: bool) -> String {
    let mut html = String::from(if is_display { "<math display=\"block\">" } else { "<math>" });
    let mut open: Vec<&str> = Vec::new();
    for piece in pieces {
        match piece {
            MathPiece::Open { tag, attributes } => {
                let name = name(*tag);
                html.push('<');
                html.push_str(name);
                write_attributes(&mut html, attributes);
                html.push('>');
                open.push(name);
            }
            MathPiece::Text { text } => {
                let text: String = text.chars().map(visible_bidi).collect();
                escape_html_body_text(&mut html, &text).expect("writing to a string cannot fail");
            }
            MathPiece::Close => close(&mut html, &mut open),
        }
    }
    while !open.is_empty() {
        close(&mut html, &mut open);
    }
    html.push_str("</math>");
    html
}

fn close(html: &mut String, open: &mut Vec<&str>) {
    if let Some(name) = open.pop() {
        html.push_str("</");
        html.push_str(name);
        html.push('>');
    }
}

fn name(tag: MathTag) -> &'static str {
    match tag {
        MathTag::Mfrac => "mfrac",
        MathTag::Mi => "mi",
        MathTag::Mn => "mn",
        MathTag::Mo => "mo",
        MathTag::Mover => "mover",
        MathTag::Mroot => "mroot",
        MathTag::Mrow => "mrow",
        MathTag::Mspace => "mspace",
        MathTag::Msqrt => "msqrt",
        MathTag::Msub => "msub",
        MathTag::Msubsup => "msubsup",
        MathTag::Msup => "msup",
        MathTag::Mtable => "mtable",
        MathTag::Mtd => "mtd",
        MathTag::Mtext => "mtext",
        MathTag::Mtr => "mtr",
        MathTag::Munder => "munder",
        MathTag::Munderover => "munderover",
    }
}

fn write_attributes(html: &mut String, attributes: &[MathAttribute]) {
    let classes = attributes.iter().filter_map(|attribute| match attribute {
        MathAttribute::Class(class) => Some(class_name(*class)),
        _ => None,
    });
    let classes: Vec<&str> = classes.collect();
    if !classes.is_empty() {
        html.push_str(&format!(" class=\"{}\"", classes.join(" ")));
    }
    for attribute in attributes {
        let written = match *attribute {
            MathAttribute::DisplayStyle(is_on) => write!(html, " displaystyle=\"{is_on}\""),
            MathAttribute::ScriptLevel(level) => write!(html, " scriptlevel=\"{level}\""),
            MathAttribute::Stretchy(is_on) => write!(html, " stretchy=\"{is_on}\""),
            MathAttribute::Symmetric(is_on) => write!(html, " symmetric=\"{is_on}\""),
            MathAttribute::LargeOperator(is_on) => write!(html, " largeop=\"{is_on}\""),
            MathAttribute::MovableLimits(is_on) => write!(html, " movablelimits=\"{is_on}\""),
            MathAttribute::Size(em) => write!(html, " minsize=\"{em}em\" maxsize=\"{em}em\""),
            MathAttribute::LineThickness(em) => write!(html, " linethickness=\"{em}em\""),
            MathAttribute::Width(em) => write!(html, " width=\"{em}em\""),
            MathAttribute::Height(em) => write!(html, " height=\"{em}em\""),
            MathAttribute::Depth(em) => write!(html, " depth=\"{em}em\""),
            MathAttribute::Upright => write!(html, " mathvariant=\"normal\""),
            MathAttribute::Class(_) => Ok(()),
        };
        written.expect("writing to a string cannot fail");
    }
}

fn class_name(class: MathClass) -> &'static str {
    match class {
        MathClass::AlignLike => "align-like",
        MathClass::Align => "align",
        MathClass::ArrayLike => "array-like",
        MathClass::Cases => "cases",
        MathClass::CellsLeft => "cells-left",
        MathClass::CellsRight => "cells-right",
        MathClass::Multiline => "multiline",
        MathClass::CellLeft => "cell-left",
        MathClass::CellRight => "cell-right",
        MathClass::LineLeft => "line-left",
        MathClass::LineRight => "line-right",
        MathClass::LineAbove => "line-above",
        MathClass::Boxed => "boxed",
        MathClass::Small => "small",
        MathClass::Back => "back",
        MathClass::Negated => "negated",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> MathPiece {
        MathPiece::Text { text: text.into() }
    }

    #[test]
    fn delimiters_are_taken_off() {
        let parsed = |source| parse_delimiters(source).map(|it| (it.latex, it.is_display));
        assert_eq!(parsed("$x$"), Some(("x".into(), false)));
        assert_eq!(parsed("\\( x \\)"), Some(("x".into(), false)));
        assert_eq!(parsed("$$\nx\n$$"), Some(("x".into(), true)));
        assert_eq!(parsed("\\[x\\]"), Some(("x".into(), true)));
        let environment = "\\begin{align}a\\end{align}";
        assert_eq!(parsed(environment), Some((environment.into(), true)));
        assert_eq!(parsed("x"), None);
    }

    #[test]
    fn text_is_escaped_and_every_element_is_closed() {
        let open = |tag, attributes: &[MathAttribute]| MathPiece::Open {
            tag,
            attributes: attributes.into(),
        };
        let pieces = [
            open(
                MathTag::Mrow,
                &[MathAttribute::Class(MathClass::Boxed), MathAttribute::ScriptLevel(1)],
            ),
            open(MathTag::Mtext, &[]),
            text("<b>\u{202e}&"),
        ];
        assert_eq!(
            mathml(&pieces, true),
            "<math display=\"block\"><mrow class=\"boxed\" scriptlevel=\"1\"><mtext>&lt;b&gt;\u{fffd}&amp;\
             </mtext></mrow></math>"
        );
        assert_eq!(mathml(&[MathPiece::Close, text("a")], false), "<math>a</math>");
    }
}
