//! LaTeX formulas as MathML, in pieces that cannot be anything else.
//!
//! `pulldown-latex` writes MathML as text. It is read back here and only elements, attributes and
//! classes of `lilims_ipc`'s lists remain, so nothing rests on how that crate escapes. A formula that
//! is not valid, is too large or takes too long has no pieces, and the page shows its source. Commands
//! that define others are refused: they can make text vanish and expand without end.

use std::io::{self, Write};
use std::thread;
use std::time::{Duration, Instant};

use lilims_ipc::{Error, Formula, MathAttribute, MathClass, MathPiece, MathTag};
use pulldown_latex::config::{DisplayMode, RenderConfig};
use pulldown_latex::{Parser, Storage, write_mathml};

/// Longer formulas stay as they are written.
const MAX_LATEX_BYTES: usize = 4_000;
/// More MathML belongs to no formula that a person can read.
const MAX_MATHML_BYTES: usize = 256 * 1024;
/// The most events of one formula.
const MAX_EVENTS: usize = 10_000;
/// The deepest nesting: browsers lay elements out recursively.
const MAX_DEPTH: usize = 64;
/// Formulas that are not drawn after this time stay as they are written.
const TIME_LIMIT: Duration = Duration::from_secs(2);
/// The parser is recursive: the longest formula nests 2,000 commands, at 2 KiB each in a development
/// build. Pages of the stack take memory when they are first used.
const STACK_BYTES: usize = 32 * 1024 * 1024;
/// The largest distance, in em.
const MAX_EM: f32 = 20.0;

/// Commands that define commands, or assign.
const DEFINITIONS: &[&str] = &[
    "def",
    "gdef",
    "edef",
    "xdef",
    "let",
    "futurelet",
    "newcommand",
    "renewcommand",
    "providecommand",
];

/// A colour that means a frame, since the parser has no command for one in formulas.
const BOX_COLOUR: &str = "color: rgb(1 2 3)";
/// Common commands that the parser does not know, and what is written for them. They are replaced in
/// the text: arguments of defined commands keep their braces in text.
const REPLACEMENTS: &[(&str, &str)] = &[
    ("boxed", r"\textcolor{#010203}"),
    ("bm", r"\boldsymbol"),
    ("mathscr", r"\mathcal"),
    ("mbox", r"\text"),
    ("tag", r"\qquad\text"),
    ("nonumber", ""),
    ("notag", ""),
    ("argmax", r"\operatorname{argmax}"),
    ("argmin", r"\operatorname{argmin}"),
];

/// The pieces of each formula; `None` for one that is shown as it is written. Blocks for about the
/// time limit at most.
///
/// # Errors
/// If the thread for the parser cannot be started.
pub(crate) fn draw(formulas: Vec<Formula>) -> Result<Vec<Option<Vec<MathPiece>>>, Error> {
    let n_formulas = formulas.len();
    let work = move || {
        let deadline = Instant::now() + TIME_LIMIT;
        formulas.iter().map(|formula| pieces(formula, deadline)).collect()
    };
    let thread = thread::Builder::new().name("formulas".to_owned()).stack_size(STACK_BYTES);
    let thread = thread.spawn(work).map_err(|error| Error::internal(error.to_string()))?;
    // A panic of the parser leaves the formulas as they are written.
    Ok(thread.join().unwrap_or_else(|_| vec![None; n_formulas]))
}

fn pieces(formula: &Formula, deadline: Instant) -> Option<Vec<MathPiece>> {
    let latex = formula.latex.trim();
    if latex.is_empty() || latex.len() > MAX_LATEX_BYTES {
        return None;
    }
    let source = prepared(latex)?;
    let storage = Storage::new();
    let mut events = Vec::new();
    for event in Parser::new(&source, &storage) {
        let is_over = events.len() == MAX_EVENTS || Instant::now() > deadline;
        events.push(event.ok().filter(|_| !is_over)?);
    }
    let mut mathml = LimitedText(Vec::new());
    let display_mode = if formula.is_display { DisplayMode::Block } else { DisplayMode::Inline };
    let config = RenderConfig { display_mode, ..RenderConfig::default() };
    write_mathml(&mut mathml, events.into_iter().map(Ok::<_, io::Error>), config).ok()?;
    read(std::str::from_utf8(&mathml.0).ok()?)
}

/// The formula for the parser; `None` if it defines commands.
///
/// `%` becomes a sign: a comment would make the rest vanish, and models write `50%`. The star of
/// `\operatorname*` goes, which the parser takes for the name.
fn prepared(latex: &str) -> Option<String> {
    let mut prepared = String::with_capacity(latex.len());
    let mut rest = latex;
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        if c != '\\' {
            prepared.push_str(if c == '%' { r"\%" } else { "" });
            prepared.extend((c != '%').then_some(c));
            continue;
        }
        let end = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
        if end == 0 {
            // An escaped sign.
            let sign = rest.chars().next().unwrap_or(' ');
            prepared.extend(['\\', sign]);
            rest = rest.get(sign.len_utf8()..).unwrap_or_default();
            continue;
        }
        let (name, after) = rest.split_at(end);
        if DEFINITIONS.contains(&name) {
            return None;
        }
        match REPLACEMENTS.iter().find(|(command, _)| *command == name) {
            Some((_, replacement)) => prepared.push_str(replacement),
            None => prepared.extend(["\\", name]),
        }
        rest =
            if name == "operatorname" { after.strip_prefix('*').unwrap_or(after) } else { after };
    }
    Some(prepared)
}

/// Collects bytes up to the limit.
struct LimitedText(Vec<u8>);

impl Write for LimitedText {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > MAX_MATHML_BYTES {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Reads what `write_mathml` has written; `None` if it has anything but elements of the list, each
/// closed, with text in those that hold text.
fn read(mathml: &str) -> Option<Vec<MathPiece>> {
    let inside = mathml.strip_prefix("<math ")?.split_once('>')?.1.strip_suffix("</math>")?;
    let mut pieces = Vec::new();
    let mut open: Vec<(&str, MathTag)> = Vec::new();
    let mut rest = inside;
    while !rest.is_empty() {
        if let Some((name, attributes, after)) = opening(rest) {
            let tag = tag(name)?;
            pieces.push(MathPiece::Open { tag, attributes: read_attributes(attributes) });
            if attributes.ends_with('/') {
                pieces.push(MathPiece::Close);
            } else {
                open.push((name, tag));
            }
            if open.len() > MAX_DEPTH {
                return None;
            }
            rest = after;
        } else if let Some((name, after)) = closing(rest) {
            if open.pop()?.0 != name {
                return None;
            }
            pieces.push(MathPiece::Close);
            rest = after;
        } else {
            // The sign "<" is written as it is: it is text unless a tag follows.
            let is_tag =
                |at: &usize| opening(&rest[*at..]).or(closing_only(&rest[*at..])).is_some();
            let end = rest.match_indices('<').map(|(at, _)| at).filter(|at| *at > 0).find(is_tag);
            let (text, after) = rest.split_at(end.unwrap_or(rest.len()));
            let holds_text = |(_, tag): &(&str, MathTag)| {
                matches!(tag, MathTag::Mi | MathTag::Mn | MathTag::Mo | MathTag::Mtext)
            };
            let (_, tag) = open.last().filter(|element| holds_text(element))?;
            let text = unescaped(text);
            let text = if *tag == MathTag::Mtext { without_escapes(&text) } else { text };
            pieces.push(MathPiece::Text { text });
            rest = after;
        }
    }
    open.is_empty().then_some(pieces)
}

/// The name, the attributes and what follows, if the text begins with an opening tag.
fn opening(text: &str) -> Option<(&str, &str, &str)> {
    let inside = text.strip_prefix('<')?;
    let end = inside.find(|c: char| !c.is_ascii_lowercase())?;
    let (name, rest) = inside.split_at(end);
    if name.is_empty() || !rest.starts_with([' ', '>', '/']) {
        return None;
    }
    let (attributes, after) = rest.split_once('>')?;
    Some((name, attributes, after))
}

/// The name and what follows, if the text begins with a closing tag.
fn closing(text: &str) -> Option<(&str, &str)> {
    let (name, after) = text.strip_prefix("</")?.split_once('>')?;
    name.bytes().all(|byte| byte.is_ascii_lowercase()).then_some((name, after))
}

/// As [`opening`], for a closing tag.
fn closing_only(text: &str) -> Option<(&str, &str, &str)> {
    closing(text).map(|(name, after)| (name, "", after))
}

fn unescaped(text: &str) -> String {
    let text = text.replace("&nbsp;", "\u{a0}").replace("&lt;", "<").replace("&gt;", ">");
    text.replace("&quot;", "\"").replace("&#x27;", "'").replace("&amp;", "&")
}

/// The parser keeps the backslashes of `\text{50\%}`.
fn without_escapes(text: &str) -> String {
    let signs = ["%", "&", "#", "_", "$", "{", "}"];
    signs.iter().fold(text.to_owned(), |text, sign| text.replace(&format!("\\{sign}"), sign))
}

fn tag(name: &str) -> Option<MathTag> {
    Some(match name {
        "mfrac" => MathTag::Mfrac,
        "mi" => MathTag::Mi,
        "mn" => MathTag::Mn,
        "mo" => MathTag::Mo,
        "mover" => MathTag::Mover,
        "mroot" => MathTag::Mroot,
        "mrow" => MathTag::Mrow,
        "mspace" => MathTag::Mspace,
        "msqrt" => MathTag::Msqrt,
        "msub" => MathTag::Msub,
        "msubsup" => MathTag::Msubsup,
        "msup" => MathTag::Msup,
        "mtable" => MathTag::Mtable,
        "mtd" => MathTag::Mtd,
        "mtext" => MathTag::Mtext,
        "mtr" => MathTag::Mtr,
        "munder" => MathTag::Munder,
        "munderover" => MathTag::Munderover,
        _ => return None,
    })
}

/// The attributes of the list; others are left out. Not every one is separated by a space.
fn read_attributes(text: &str) -> Vec<MathAttribute> {
    let mut attributes = Vec::new();
    let mut rest = text;
    while let Some((name, after)) = rest.split_once("=\"") {
        let Some((value, after)) = after.split_once('"') else { break };
        match name.trim() {
            "class" => {
                let classes = value.split(' ').filter_map(class);
                attributes.extend(classes.map(MathAttribute::Class));
            }
            "style" if value.contains(BOX_COLOUR) => {
                attributes.push(MathAttribute::Class(MathClass::Boxed));
            }
            name => attributes.extend(attribute(name, value)),
        }
        rest = after;
    }
    attributes
}

fn attribute(name: &str, value: &str) -> Option<MathAttribute> {
    let is_true = || value.parse::<bool>().ok();
    Some(match name {
        "displaystyle" => MathAttribute::DisplayStyle(is_true()?),
        "scriptlevel" => {
            MathAttribute::ScriptLevel(value.parse().ok().filter(|level| *level <= 2)?)
        }
        "stretchy" => MathAttribute::Stretchy(is_true()?),
        "symmetric" => MathAttribute::Symmetric(is_true()?),
        "largeop" => MathAttribute::LargeOperator(is_true()?),
        "movablelimits" => MathAttribute::MovableLimits(is_true()?),
        "minsize" => MathAttribute::Size(em(value)?.max(0.0)),
        "linethickness" => MathAttribute::LineThickness(em(value)?.max(0.0)),
        // Elements have no negative width, and a larger one than this would lay text over other text.
        "width" if em(value)? < 0.0 => MathAttribute::Class(MathClass::Back),
        "width" => MathAttribute::Width(em(value)?),
        "height" => MathAttribute::Height(em(value)?.max(0.0)),
        "depth" => MathAttribute::Depth(em(value)?.max(0.0)),
        "mathvariant" if value == "normal" => MathAttribute::Upright,
        _ => return None,
    })
}

/// A length in em, within bounds.
fn em(value: &str) -> Option<f32> {
    let number = value.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = &value[number.len()..];
    let number: f32 = number.trim().parse().ok()?;
    let per_unit = match unit {
        // The crate has converted the number already.
        "em" | "mu" | "pc" => 1.0,
        "ex" => 0.45,
        "pt" => 1.0 / 12.0,
        "mm" => 0.236,
        "cm" => 2.36,
        "in" => 6.0,
        _ => return None,
    };
    let em = number * per_unit;
    em.is_finite().then(|| em.clamp(-MAX_EM, MAX_EM))
}

fn class(name: &str) -> Option<MathClass> {
    Some(match name {
        "menv-alignlike" => MathClass::AlignLike,
        "menv-align" => MathClass::Align,
        "menv-arraylike" => MathClass::ArrayLike,
        "menv-cases" => MathClass::Cases,
        "menv-cells-left" => MathClass::CellsLeft,
        "menv-cells-right" => MathClass::CellsRight,
        "menv-multline" => MathClass::Multiline,
        "cell-left" => MathClass::CellLeft,
        "cell-right" => MathClass::CellRight,
        "menv-left-solid" | "menv-left-dashed" => MathClass::LineLeft,
        "menv-right-solid" | "menv-right-dashed" => MathClass::LineRight,
        "menv-hline" | "menv-hdashline" => MathClass::LineAbove,
        "small" => MathClass::Small,
        "mop-negated" => MathClass::Negated,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draw_one(latex: &str) -> Option<Vec<MathPiece>> {
        let formula = Formula { latex: latex.to_owned(), is_display: false };
        draw(vec![formula]).expect("a thread starts").remove(0)
    }

    /// The formula as elements with their text, to compare.
    fn shown(latex: &str) -> Option<String> {
        let mut shown = String::new();
        for piece in draw_one(latex)? {
            match piece {
                MathPiece::Open { tag, .. } => shown.push_str(&format!("{tag:?}(").to_lowercase()),
                MathPiece::Text { text } => shown.push_str(&text),
                MathPiece::Close => shown.push(')'),
            }
        }
        Some(shown)
    }

    #[test]
    fn formulas_have_the_expected_elements() {
        assert_eq!(shown("x^2 < y").as_deref(), Some("msup(mi(x)mn(2))mo(<)mi(y)"));
        assert_eq!(
            shown(r"\frac{1}{\sqrt{n}}").as_deref(),
            Some("mfrac(mrow(mn(1))mrow(msqrt(mrow(mi(n)))))")
        );
        assert_eq!(shown(r"\text{a <b> \& c}").as_deref(), Some("mtext(a <b> & c)"));
        assert_eq!(shown(r"\operatorname*{ab}").as_deref(), Some("mi(ab)"));
        assert_eq!(shown(r"\mbox{a b}").as_deref(), Some("mtext(a b)"));
        assert_eq!(shown(r"x\nonumber y").as_deref(), Some("mi(x)mi(y)"));
        assert_eq!(shown(r"\text{50% a\_b}").as_deref(), Some("mtext(50% a_b)"));
        assert_eq!(shown("50% x").as_deref(), shown(r"50\% x").as_deref());
        assert!(shown(r"\begin{pmatrix}a & b \\ c & d\end{pmatrix}").is_some());
        assert!(shown("\\begin{align}\na &= b \\\\\nc &= d\n\\end{align}").is_some());
    }

    #[test]
    fn common_commands_are_known() {
        for latex in [
            r"\boxed{x = 4}",
            r"\bm{x}",
            r"\mathscr{L}",
            r"\mbox{if } x",
            r"\begin{align} a &= b \tag{1} \\ c &= d \nonumber \end{align}",
            r"\operatorname{argmax}_x",
            r"\argmax_x",
            r"\mathbb{R}",
            r"\mathcal{O}(n \log n)",
            r"\sum_{i=0}^{n} i",
            r"\int_0^1 x\,dx",
            r"\left( \frac{a}{b} \right)",
            r"\vec{v} \cdot \hat{u}",
            r"\binom{n}{k}",
            r"a \equiv b \pmod{n}",
            r"\begin{cases} 1 & x > 0 \\ 0 & \text{otherwise} \end{cases}",
            r"\lim_{x \to 0} f(x)",
            r"\underbrace{a + b}_{c}",
            r"\overline{x}",
            r"x \in \{1, 2\}",
            r"\Big( x \Big)",
            r"90^\circ",
            r"\xrightarrow{f}",
            r"\not\in",
            r"\lVert x \rVert",
            r"\substack{a \\ b}",
            r"\displaystyle\sum",
        ] {
            assert!(draw_one(latex).is_some(), "{latex}");
        }
        let boxed = draw_one(r"\boxed{x}").unwrap();
        let is_box = |piece: &MathPiece| matches!(piece, MathPiece::Open { attributes, .. } if *attributes == [MathAttribute::Class(MathClass::Boxed)]);
        assert!(boxed.iter().any(is_box), "{boxed:?}");
    }

    #[test]
    fn sizes_are_read_and_bounded() {
        let attributes =
            read_attributes(r#" symmetric="true" stretchy="true"minsize="1.2em" maxsize="1.2em""#);
        assert_eq!(
            attributes,
            [
                MathAttribute::Symmetric(true),
                MathAttribute::Stretchy(true),
                MathAttribute::Size(1.2)
            ]
        );
        assert_eq!(read_attributes(r#"width="1e9em""#), [MathAttribute::Width(MAX_EM)]);
        assert_eq!(read_attributes(r#"width="-3em""#), [MathAttribute::Class(MathClass::Back)]);
        assert_eq!(read_attributes(r#"onclick="x" href="https://a" style="color: red""#), []);
    }

    #[test]
    fn commands_that_link_load_or_define_are_not_drawn() {
        for latex in [
            r"\href{https://a.example}{x}",
            r"\href{javascript:alert(1)}{x}",
            r"\url{https://a.example}",
            r"\includegraphics{https://a.example/b.png}",
            r"\style{color:red}{x}",
            r"\class{a}{x}",
            r"\htmlData{a=b}{x}",
            r"\htmlId{a}{x}",
            r"\html{<b>}",
            r"\require{html}",
            r"\input{/etc/passwd}",
            r"\def\a{\a\a}\a",
            r"\newcommand{\a}{\a}\a",
            r"\let\a\b x",
            r"\def\a#1{}\a{gone}",
            r"\unicode{x3c}",
            "",
            " ",
            r"\frac{",
            r"\left(",
            r"}",
            r"\end{align}",
            r"\unknown",
            "&",
        ] {
            assert_eq!(draw_one(latex), None, "{latex}");
        }
    }

    #[test]
    fn markup_in_a_formula_stays_text_or_source() {
        for latex in [
            r"\operatorname{<script>alert(1)</script>}",
            r"\operatorname{</mi></math><img src=x onerror=y>}",
            r"\text{</mtext></math><script>alert(1)</script>}",
            r"\text{<mtext style=x>}",
        ] {
            for piece in draw_one(latex).into_iter().flatten() {
                if let MathPiece::Open { attributes, .. } = piece {
                    let is_class = |it: &MathAttribute| matches!(it, MathAttribute::Class(_));
                    assert!(!attributes.iter().any(is_class), "{latex}");
                }
            }
        }
        assert_eq!(
            shown(r"\text{</mtext><img src=x>}").as_deref(),
            Some("mtext(</mtext><img src=x>)")
        );
    }

    #[test]
    fn bombs_are_bounded() {
        let started = Instant::now();
        let cut = |text: String| text[..MAX_LATEX_BYTES.min(text.len())].to_owned();
        for latex in [
            cut(r"\sqrt".repeat(1000) + "x"),
            cut(r"\not".repeat(1000)),
            cut(r"\bm".repeat(1300)),
            cut("{".repeat(2000) + &"}".repeat(2000)),
            cut("x^{".repeat(1000) + &"}".repeat(1000)),
            cut(r"\left(".repeat(300) + &r"\right)".repeat(300)),
            cut("a_b^c ".repeat(600)),
            cut("x'".repeat(2000)),
            cut(r"\begin{matrix}".repeat(140) + &r"\end{matrix}".repeat(140)),
            cut(r"\boxed{".repeat(500) + &"}".repeat(500)),
            cut(r"\tag".repeat(1000)),
            cut(r"\hat".repeat(1000) + "x"),
            cut(r"\frac".repeat(800)),
            cut("&".repeat(4000)),
            cut(r"\\".repeat(2000)),
            cut("^".repeat(4000)),
            "x".repeat(MAX_LATEX_BYTES + 1),
        ] {
            let pieces = draw_one(&latex).unwrap_or_default();
            assert!(pieces.len() <= MAX_MATHML_BYTES / 4, "{}", &latex[..8]);
        }
        assert!(started.elapsed() < TIME_LIMIT * 17, "{:?}", started.elapsed());
    }
}
