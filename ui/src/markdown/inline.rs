//! Corrects the parser's events for a run of inline text, where CommonMark misreads it.
//!
//! LaTeX between `\(…\)`, `\[…\]` or `\begin{…}…\end{…}` is kept verbatim: CommonMark would read its
//! backslashes as escapes and its stars as emphasis. `**strong**` next to Chinese, Japanese or Korean
//! is strong: these scripts have no spaces around words, so CommonMark's flanking rules would leave
//! `**重点。**后` as text.

use std::ops::Range;

use pulldown_cmark::{CowStr, Event, Tag, TagEnd};

/// An event and its range in the source.
pub(super) type Located<'a> = (Event<'a>, Range<usize>);

/// A part of a corrected run.
#[derive(Clone)]
pub(super) enum Piece<'a> {
    /// An event of the parser, or a corrected one.
    Event(Event<'a>),
    /// Mathematics including its delimiters.
    Latex(String),
}

/// The number of events that mathematics may span. Without a limit, looking for missing ends would
/// take quadratic time.
const MAX_MATH_EVENTS: usize = 1024;

/// Whether `event` is inline. All others are blocks, or begin or end one.
pub(super) fn is_inline(event: &Event<'_>) -> bool {
    match event {
        Event::Start(tag) => matches!(
            tag,
            Tag::Emphasis | Tag::Strong | Tag::Strikethrough | Tag::Link { .. } | Tag::Image { .. }
        ),
        Event::End(tag) => matches!(
            tag,
            TagEnd::Emphasis
                | TagEnd::Strong
                | TagEnd::Strikethrough
                | TagEnd::Link
                | TagEnd::Image
        ),
        Event::Html(_) | Event::Rule | Event::TaskListMarker(_) => false,
        _ => true,
    }
}

/// The corrected events of `run`. Their ranges refer to `source`.
pub(super) fn correct<'a>(source: &str, run: Vec<Located<'a>>) -> Vec<Piece<'a>> {
    let text = run.first().zip(run.last()).map(|(first, last)| first.1.start..last.1.end);
    let text = text.and_then(|range| source.get(range)).unwrap_or_default();
    let run = if text.contains('\\') { with_math(source, &run) } else { as_pieces(run) };
    if text.contains("**") && !text.contains("***") && text.chars().any(is_cjk) {
        return with_cjk_strong(source, run);
    }
    run.into_iter().map(|(piece, _)| piece).collect()
}

fn as_pieces(run: Vec<Located<'_>>) -> Vec<(Piece<'_>, Range<usize>)> {
    run.into_iter().map(|(event, range)| (Piece::Event(event), range)).collect()
}

fn with_math<'a>(source: &str, run: &[Located<'a>]) -> Vec<(Piece<'a>, Range<usize>)> {
    let text = |range: Range<usize>| {
        let text = source.get(range.clone()).unwrap_or_default().to_owned();
        (Piece::Event(Event::Text(text.into())), range)
    };
    let ends = [')', ']'].map(|c| {
        let is_end = |at: &usize| {
            let text = verbatim(source, &run[*at].0, &run[*at].1);
            text.is_some_and(|text| text.starts_with(c)) && is_escape(source, run[*at].1.start)
        };
        (0..run.len()).filter(is_end).collect::<Vec<_>>()
    });
    // Rejects openings without an end early, however many there are.
    let may_end = |close: &Close, first: usize| {
        let ends = match close {
            Close::Escaped(')') => &ends[0],
            Close::Escaped(_) => &ends[1],
            Close::Environment(_) => return true,
        };
        let next = ends.get(ends.partition_point(|&at| at < first));
        next.is_some_and(|&at| at < first + MAX_MATH_EVENTS)
    };
    let mut corrected = Vec::with_capacity(run.len());
    let mut at = 0;
    while at < run.len() {
        let Some(math) = Math::at(source, run, at, &may_end) else {
            let (event, range) = run[at].clone();
            corrected.push((Piece::Event(event), range));
            at += 1;
            continue;
        };
        let Math { bytes, last, latex } = math;
        let (first, end) = (run[at].1.start, run[last].1.end);
        if first < bytes.start {
            corrected.push(text(first..bytes.start));
        }
        corrected.push((Piece::Latex(latex), bytes.clone()));
        at = last + 1;
        if bytes.end < end {
            corrected.push(text(bytes.end..end));
        }
    }
    corrected
}

/// Mathematics in LaTeX's own delimiters.
struct Math {
    /// Its range in the source, including the delimiters.
    bytes: Range<usize>,
    /// The index of the event that it ends in.
    last: usize,
    /// Its source, without quote and list markers at the beginning of its lines.
    latex: String,
}

impl Math {
    /// The mathematics that begins in the event `first` of `run`. `may_end` returns whether its end may
    /// be in one of the next events.
    fn at(
        source: &str,
        run: &[Located<'_>],
        first: usize,
        may_end: &dyn Fn(&Close, usize) -> bool,
    ) -> Option<Self> {
        let text = verbatim(source, &run[first].0, &run[first].1)?;
        let range = &run[first].1;
        let (start, close) = if is_escape(source, range.start) && text.starts_with('(') {
            (range.start - 1, Close::Escaped(')'))
        } else if is_escape(source, range.start) && text.starts_with('[') {
            (range.start - 1, Close::Escaped(']'))
        } else {
            let begin = text.find("\\begin{")?;
            let name = &text[begin + "\\begin{".len()..];
            let name = name.split_once('}').map(|(name, _)| name)?;
            let is_name = |c: char| c.is_ascii_alphabetic() || c == '*';
            if name.is_empty() || !name.chars().all(is_name) {
                return None;
            }
            (range.start + begin, Close::Environment(format!("\\end{{{name}}}")))
        };
        if !may_end(&close, first) {
            return None;
        }
        let mut depth = 0_i32;
        for (last, (event, range)) in run.iter().enumerate().skip(first).take(MAX_MATH_EVENTS) {
            match event {
                Event::Start(_) => depth += 1,
                Event::End(_) => depth -= 1,
                Event::Text(_) if depth == 0 => {
                    let text = verbatim(source, event, range).unwrap_or_default();
                    if let Some(end) = close.end(source, range, text) {
                        let bytes = start..end;
                        if matches!(close, Close::Escaped(']')) && !is_display(source, &bytes) {
                            return None;
                        }
                        let latex = latex(source, &run[first..=last], &bytes);
                        return Some(Self { bytes, last, latex });
                    }
                }
                _ => {}
            }
            if depth < 0 {
                return None;
            }
        }
        None
    }
}

/// The closing delimiter of mathematics.
enum Close {
    /// This character after a backslash.
    Escaped(char),
    /// The end of the environment.
    Environment(String),
}

impl Close {
    /// The end of the delimiter in the source, if it is in the `text` at `range`.
    fn end(&self, source: &str, range: &Range<usize>, text: &str) -> Option<usize> {
        match self {
            Self::Escaped(c) => (is_escape(source, range.start) && text.starts_with(*c))
                .then_some(range.start + c.len_utf8()),
            Self::Environment(end) => text.find(end).map(|at| range.start + at + end.len()),
        }
    }
}

/// The text of an event, if the source has it verbatim.
fn verbatim<'t>(source: &'t str, event: &Event<'_>, range: &Range<usize>) -> Option<&'t str> {
    let Event::Text(text) = event else { return None };
    source.get(range.clone()).filter(|written| *written == &**text)
}

/// Whether the character at `at` was escaped: its backslash belongs to no event.
fn is_escape(source: &str, at: usize) -> bool {
    source[..at].ends_with('\\')
}

/// Whether `\[…\]` is a formula and not an escaped bracket: `\[1\]`, `\[INST\]`, `\[a\](b)`.
fn is_display(source: &str, bytes: &Range<usize>) -> bool {
    let inside = &source[bytes.start + 2..bytes.end - 2];
    let is_plain = inside.chars().all(|c| c.is_alphanumeric() || " .,:;!?'’-".contains(c));
    let is_tight = inside.trim() == inside;
    let is_single = inside.chars().count() == 1 && inside.chars().all(char::is_alphabetic);
    !(source[bytes.end..].starts_with('(') || is_plain && is_tight && !is_single)
}

/// The source at `bytes`, split into lines at the breaks in `events`. Each line begins after its
/// quote and list markers.
fn latex(source: &str, events: &[Located<'_>], bytes: &Range<usize>) -> String {
    let mut latex = String::with_capacity(bytes.len());
    let mut line_start = bytes.start;
    let mut is_at_break = false;
    for (event, range) in events {
        if is_at_break {
            line_start = range.start - usize::from(is_escape(source, range.start));
            is_at_break = false;
        }
        if matches!(event, Event::SoftBreak | Event::HardBreak) {
            let newline = source[range.start..].find('\n').map_or(range.end, |at| range.start + at);
            latex.push_str(source[line_start..newline].trim_end());
            latex.push('\n');
            is_at_break = true;
        }
    }
    if line_start < bytes.end {
        latex.push_str(&source[line_start..bytes.end]);
    }
    latex
}

/// A part of a run in which `**` is paired again.
enum Item<'a> {
    Piece(Piece<'a>),
    Stars(Stars),
}

/// A `**`.
#[derive(Clone, Copy)]
struct Stars {
    can_open: bool,
    can_close: bool,
    /// Its role after pairing; text if it has no partner.
    role: Role,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Text,
    Opens,
    Closes,
}

/// Pairs the `**` of a run again if the parser left some as text: an unpaired one may have made it
/// pair the wrong ones. Runs with `***` are unchanged.
fn with_cjk_strong<'a>(source: &str, run: Vec<(Piece<'a>, Range<usize>)>) -> Vec<Piece<'a>> {
    let run = with_text_joined(source, run);
    let is_left_over = |(piece, range): &(Piece<'_>, Range<usize>)| {
        let Piece::Event(event) = piece else { return false };
        verbatim(source, event, range).is_some_and(|text| text.contains("**"))
    };
    if !run.iter().any(is_left_over) {
        return run.into_iter().map(|(piece, _)| piece).collect();
    }
    let mut items = items(source, run);
    pair(&mut items);
    let piece = |item| match item {
        Item::Piece(piece) => piece,
        Item::Stars(Stars { role: Role::Opens, .. }) => Piece::Event(Event::Start(Tag::Strong)),
        Item::Stars(Stars { role: Role::Closes, .. }) => Piece::Event(Event::End(TagEnd::Strong)),
        Item::Stars(Stars { role: Role::Text, .. }) => Piece::Event(Event::Text("**".into())),
    };
    items.into_iter().map(piece).collect()
}

/// Joins adjacent texts of the run: the parser emits each unpaired star separately.
fn with_text_joined<'a>(
    source: &str,
    run: Vec<(Piece<'a>, Range<usize>)>,
) -> Vec<(Piece<'a>, Range<usize>)> {
    let mut joined: Vec<(Piece<'a>, Range<usize>)> = Vec::with_capacity(run.len());
    let mut from = 0;
    let is_text = |(piece, range): &(Piece<'a>, Range<usize>)| matches!(piece, Piece::Event(event) if verbatim(source, event, range).is_some());
    while from < run.len() {
        let mut to = from + 1;
        while to < run.len()
            && is_text(&run[to - 1])
            && is_text(&run[to])
            && run[to - 1].1.end == run[to].1.start
        {
            to += 1;
        }
        let range = run[from].1.start..run[to - 1].1.end;
        let piece = match to - from {
            1 => run[from].0.clone(),
            _ => Piece::Event(Event::Text(source[range.clone()].to_owned().into())),
        };
        joined.push((piece, range));
        from = to;
    }
    joined
}

/// Splits the run at each `**`, whether it is text or the parser's strong tag.
fn items<'a>(source: &str, run: Vec<(Piece<'a>, Range<usize>)>) -> Vec<Item<'a>> {
    let mut items = Vec::with_capacity(run.len());
    for (piece, range) in run {
        let is_strong =
            matches!(piece, Piece::Event(Event::Start(Tag::Strong) | Event::End(TagEnd::Strong)));
        // `__strong__` is not affected.
        if is_strong && source[range.clone()].starts_with("**") {
            let is_end = matches!(piece, Piece::Event(Event::End(_)));
            let at = if is_end { range.end - 2 } else { range.start };
            items.push(Item::Stars(Stars::at(source, at)));
            continue;
        }
        let text = match &piece {
            Piece::Event(event) => verbatim(source, event, &range).filter(|it| it.contains("**")),
            Piece::Latex(_) => None,
        };
        let Some(text) = text else {
            items.push(Item::Piece(piece));
            continue;
        };
        let mut from = 0;
        for (at, _) in text.match_indices("**") {
            // An escaped star is text.
            if source[..range.start + at].ends_with('\\') {
                continue;
            }
            push_text(&mut items, &text[from..at]);
            items.push(Item::Stars(Stars::at(source, range.start + at)));
            from = at + 2;
        }
        push_text(&mut items, &text[from..]);
    }
    items
}

fn push_text(items: &mut Vec<Item<'_>>, text: &str) {
    if !text.is_empty() {
        let text = CowStr::from(text.to_owned());
        items.push(Item::Piece(Piece::Event(Event::Text(text))));
    }
}

impl Stars {
    /// The `**` at `at`. Flanking follows CommonMark, except that Chinese, Japanese and Korean
    /// characters and punctuation count as letters that may be next to punctuation.
    fn at(source: &str, at: usize) -> Self {
        let before = source[..at].chars().next_back().unwrap_or('\n');
        let after = source[at + 2..].chars().next().unwrap_or('\n');
        let is_mark = |c: char| !c.is_alphanumeric() && !c.is_whitespace() && !is_cjk(c);
        let flanks = |inside: char, outside: char| {
            !inside.is_whitespace()
                && (!is_mark(inside)
                    || outside.is_whitespace()
                    || is_mark(outside)
                    || is_cjk(outside))
        };
        Self { can_open: flanks(after, before), can_close: flanks(before, after), role: Role::Text }
    }
}

/// Pairs the stars inside the same tags, innermost first.
fn pair(items: &mut [Item<'_>]) {
    let mut open: Vec<(usize, i32)> = Vec::new();
    let mut depth = 0;
    for at in 0..items.len() {
        match &items[at] {
            Item::Piece(Piece::Event(Event::Start(_))) => depth += 1,
            Item::Piece(Piece::Event(Event::End(_))) => {
                depth -= 1;
                open.retain(|(_, of)| *of <= depth);
            }
            Item::Piece(_) => {}
            Item::Stars(stars) => {
                let stars = *stars;
                let partner = open.last().filter(|(_, of)| stars.can_close && *of == depth);
                if let Some(&(partner, _)) = partner {
                    open.pop();
                    set_role(&mut items[partner], Role::Opens);
                    set_role(&mut items[at], Role::Closes);
                } else if stars.can_open {
                    open.push((at, depth));
                }
            }
        }
    }
}

fn set_role(item: &mut Item<'_>, role: Role) {
    if let Item::Stars(stars) = item {
        stars.role = role;
    }
}

/// Whether `c` is a Chinese, Japanese or Korean character or punctuation mark.
fn is_cjk(c: char) -> bool {
    matches!(c,
        '\u{1100}'..='\u{11ff}' | '\u{2e80}'..='\u{a4cf}' | '\u{a960}'..='\u{a97f}'
        | '\u{ac00}'..='\u{d7ff}' | '\u{f900}'..='\u{faff}' | '\u{fe30}'..='\u{fe4f}'
        | '\u{ff00}'..='\u{ffef}' | '\u{20000}'..='\u{3fffd}')
}
