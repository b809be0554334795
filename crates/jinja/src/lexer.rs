//! Converts source to tokens like jinja2's lexer with `trim_blocks` and `lstrip_blocks`.

use crate::limits::MAX_SOURCE_BYTES;
use crate::unicode::is_space;
use crate::{Error, Limit, escape};

/// A token and the line on which it starts.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Token {
    pub(crate) line: u32,
    pub(crate) kind: TokenKind,
}

/// The kind of a token.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum TokenKind {
    Data(String),
    VariableBegin,
    VariableEnd,
    BlockBegin,
    BlockEnd,
    Name(String),
    Str(String),
    Int(i128),
    Float(f64),
    Op(&'static str),
    Eof,
}

/// The operators, longest first.
const OPERATORS: &[&str] = &[
    "//", "**", "==", "!=", ">=", "<=", "+", "-", "/", "*", "%", "~", "[", "]", "(", ")", "{", "}",
    ">", "<", "=", ".", ":", "|", ",", ";",
];

/// Returns all tokens; the last one is [`TokenKind::Eof`].
pub(crate) fn tokenize(source: &str) -> Result<Vec<Token>, Error> {
    if source.len() > MAX_SOURCE_BYTES {
        return Err(Error::LimitExceeded { limit: Limit::Source });
    }
    let source = normalise_line_endings(source);
    let mut lexer =
        Lexer { source: &source, offset: 0, line: 1, line_starts: true, tokens: Vec::new() };
    lexer.run()?;
    let line = lexer.line;
    lexer.tokens.push(Token { line, kind: TokenKind::Eof });
    Ok(lexer.tokens)
}

/// Converts line endings to `\n` and removes a final one.
fn normalise_line_endings(source: &str) -> String {
    let mut plain = source.replace("\r\n", "\n").replace('\r', "\n");
    if plain.ends_with('\n') {
        plain.pop();
    }
    plain
}

struct Lexer<'s> {
    source: &'s str,
    /// The byte offset of the next character.
    offset: usize,
    line: u32,
    /// Whether the last token ended a line, so that white space before a block is at the start of
    /// one.
    line_starts: bool,
    tokens: Vec<Token>,
}

/// The kind of tag that starts at a position.
#[derive(Clone, Copy, PartialEq)]
enum TagStart {
    Raw,
    Comment,
    Block,
    Variable,
}

impl<'s> Lexer<'s> {
    fn rest(&self) -> &'s str {
        &self.source[self.offset..]
    }

    fn push(&mut self, kind: TokenKind) {
        self.tokens.push(Token { line: self.line, kind });
    }

    /// Consumes `n` bytes and counts their lines.
    fn take(&mut self, n: usize) -> &'s str {
        let taken = &self.source[self.offset..self.offset + n];
        self.offset += n;
        self.line += taken.bytes().filter(|byte| *byte == b'\n').count() as u32;
        if let Some(last) = taken.bytes().last() {
            self.line_starts = last == b'\n';
        }
        taken
    }

    fn run(&mut self) -> Result<(), Error> {
        while self.offset < self.source.len() {
            let rest = self.rest();
            let Some((start, begin, open_len)) = find_tag_start(rest) else {
                let data = self.take(rest.len()).to_owned();
                self.push_data(data);
                return Ok(());
            };
            let sign = match begin {
                // The length of a raw tag includes its sign.
                TagStart::Raw => rest[start + 2..].chars().next(),
                _ => rest[start + open_len..].chars().next(),
            }
            .filter(|sign| matches!(sign, '-' | '+'));
            self.data(start, sign, begin);
            match begin {
                TagStart::Raw => {
                    self.take(open_len);
                    self.raw()?;
                }
                TagStart::Comment => {
                    self.take(open_len + sign.map_or(0, char::len_utf8));
                    self.comment()?;
                }
                TagStart::Block => {
                    self.push(TokenKind::BlockBegin);
                    self.take(open_len + sign.map_or(0, char::len_utf8));
                    self.code(true)?;
                }
                TagStart::Variable => {
                    self.push(TokenKind::VariableBegin);
                    self.take(open_len + sign.map_or(0, char::len_utf8));
                    self.code(false)?;
                }
            }
        }
        Ok(())
    }

    /// Emits the `n` bytes of text before a tag.
    fn data(&mut self, n: usize, sign: Option<char>, begin: TagStart) {
        let line_starts = self.line_starts;
        let line = self.line;
        let text = self.take(n);
        let kept = strip_before(text, sign, begin != TagStart::Variable, line_starts);
        if !kept.is_empty() {
            self.tokens.push(Token { line, kind: TokenKind::Data(kept.to_owned()) });
        }
    }

    fn push_data(&mut self, data: String) {
        if !data.is_empty() {
            self.push(TokenKind::Data(data));
        }
    }

    fn comment(&mut self) -> Result<(), Error> {
        let Some(end) = self.rest().find("#}") else {
            return Err(Error::syntax(self.line, "Missing end of comment tag"));
        };
        let sign = self.rest()[..end].chars().next_back();
        self.take(end + 2);
        self.after_end(sign, true);
        Ok(())
    }

    /// Consumes the white space after the end of a tag that is stripped with it.
    fn after_end(&mut self, sign: Option<char>, trims: bool) {
        match sign {
            Some('-') => {
                let rest = self.rest();
                self.take(rest.len() - rest.trim_start_matches(is_space).len());
            }
            Some('+') => {}
            _ if trims && self.rest().starts_with('\n') => {
                self.take(1);
            }
            _ => {}
        }
    }

    fn raw(&mut self) -> Result<(), Error> {
        let rest = self.rest();
        let mut from = 0;
        while let Some(found) = rest[from..].find("{%") {
            let start = from + found;
            if let Some((sign, end_sign, len)) = match_endraw(&rest[start..]) {
                self.data(start, sign, TagStart::Raw);
                self.take(len);
                self.after_end(end_sign, true);
                return Ok(());
            }
            from = start + 2;
        }
        Err(Error::syntax(self.line, "Missing end of raw directive"))
    }

    /// Tokenises the inside of a tag, up to its end.
    fn code(&mut self, is_block: bool) -> Result<(), Error> {
        let mut brackets: Vec<&'static str> = Vec::new();
        while self.offset < self.source.len() {
            let rest = self.rest();
            if brackets.is_empty()
                && let Some((sign, len)) = match_end(rest, is_block)
            {
                self.push(if is_block { TokenKind::BlockEnd } else { TokenKind::VariableEnd });
                self.take(len);
                self.after_end(sign, is_block);
                return Ok(());
            }
            let spaces = rest.len() - rest.trim_start_matches(is_space).len();
            if spaces > 0 {
                self.take(spaces);
                continue;
            }
            if let Some((kind, len)) = self.number(rest)? {
                self.push(kind);
                self.take(len);
                continue;
            }
            let word = rest.len() - rest.trim_start_matches(is_word).len();
            if word > 0 {
                let name = &rest[..word];
                if name.starts_with(char::is_numeric) {
                    return Err(Error::syntax(self.line, "Invalid character in identifier"));
                }
                self.push(TokenKind::Name(name.to_owned()));
                self.take(word);
                continue;
            }
            if let Some(len) = match_string(rest) {
                let text = escape::unescape(&rest[1..len - 1])
                    .map_err(|what| Error::syntax(self.line, what))?;
                self.push(TokenKind::Str(text));
                self.take(len);
                continue;
            }
            self.operator(rest, &mut brackets)?;
        }
        Ok(())
    }

    fn operator(&mut self, rest: &str, brackets: &mut Vec<&'static str>) -> Result<(), Error> {
        let Some(operator) = OPERATORS.iter().find(|operator| rest.starts_with(**operator)) else {
            let c = rest.chars().next().unwrap_or_default();
            let what = format!("unexpected char {c:?} at {}", self.offset);
            return Err(Error::syntax(self.line, what));
        };
        match *operator {
            "{" => brackets.push("}"),
            "(" => brackets.push(")"),
            "[" => brackets.push("]"),
            "}" | ")" | "]" => match brackets.pop() {
                Some(expected) if expected == *operator => {}
                Some(expected) => {
                    let what = format!("unexpected '{operator}', expected '{expected}'");
                    return Err(Error::syntax(self.line, what));
                }
                None => {
                    return Err(Error::syntax(self.line, format!("unexpected '{operator}'")));
                }
            },
            _ => {}
        }
        self.push(TokenKind::Op(operator));
        self.take(operator.len());
        Ok(())
    }

    /// Parses a number at the start of `rest`; returns it with its length.
    fn number(&self, rest: &str) -> Result<Option<(TokenKind, usize)>, Error> {
        if !rest.starts_with(|c: char| c.is_ascii_digit()) {
            return Ok(None);
        }
        let after_dot = self.source[..self.offset].ends_with('.');
        if !after_dot && let Some(len) = match_float(rest) {
            let number = rest[..len].replace('_', "").parse();
            let number = number.map_err(|_| Error::syntax(self.line, "invalid number"))?;
            return Ok(Some((TokenKind::Float(number), len)));
        }
        let bytes = rest.as_bytes();
        let (radix, prefix) = match bytes.get(1).map(u8::to_ascii_lowercase) {
            Some(b'b') if bytes[0] == b'0' => (2, 2),
            Some(b'o') if bytes[0] == b'0' => (8, 2),
            Some(b'x') if bytes[0] == b'0' => (16, 2),
            _ => (10, 0),
        };
        let digits = match prefix {
            2 => digits(&rest[2..], true, |c| c.is_digit(radix)),
            _ if bytes[0] == b'0' => digits(rest, false, |c| c == '0'),
            _ => digits(rest, false, |c| c.is_ascii_digit()),
        };
        let (radix, start, len) = match (prefix, digits) {
            (2, 0) => (10, 0, 1),
            (prefix, digits) => (radix, prefix, prefix + digits),
        };
        let text = rest[start..len].replace('_', "");
        let number = i128::from_str_radix(&text, radix)
            .map_err(|_| Error::syntax(self.line, "the number is too large"))?;
        Ok(Some((TokenKind::Int(number), len)))
    }
}

fn is_word(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}

/// The length of digits that may be separated by single underscores.
fn digits(text: &str, leading: bool, is_digit: impl Fn(char) -> bool) -> usize {
    let mut len = 0;
    let mut may_separate = leading;
    for (at, c) in text.char_indices() {
        if is_digit(c) {
            len = at + 1;
            may_separate = true;
        } else if c == '_' && may_separate {
            may_separate = false;
        } else {
            break;
        }
    }
    len
}

/// The length of a float: digits with a fraction, an exponent or both.
fn match_float(text: &str) -> Option<usize> {
    let decimal = |text: &str| digits(text, false, |c| c.is_ascii_digit());
    let whole = decimal(text);
    let mut len = whole;
    let mut is_float = false;
    if text[len..].starts_with('.') {
        let fraction = decimal(&text[len + 1..]);
        if fraction > 0 {
            len += 1 + fraction;
            is_float = true;
        }
    }
    if text[len..].starts_with(['e', 'E']) {
        let sign = usize::from(text[len + 1..].starts_with(['+', '-']));
        let exponent = decimal(&text[len + 1 + sign..]);
        if exponent > 0 {
            len += 1 + sign + exponent;
            is_float = true;
        }
    }
    (whole > 0 && is_float).then_some(len)
}

/// The length of a quoted string, quotes included.
fn match_string(text: &str) -> Option<usize> {
    let quote = text.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return Some(at + 1),
            _ => {}
        }
    }
    None
}

/// Matches the end of a tag at the start of `rest`; returns its sign and length.
fn match_end(rest: &str, is_block: bool) -> Option<(Option<char>, usize)> {
    let close = if is_block { "%}" } else { "}}" };
    if rest.starts_with(close) {
        return Some((None, 2));
    }
    let sign = rest.chars().next()?;
    let is_sign = sign == '-' || (sign == '+' && is_block);
    (is_sign && rest[1..].starts_with(close)).then_some((Some(sign), 3))
}

/// Finds the first tag of the text; returns its position, kind and the length of its opening.
fn find_tag_start(text: &str) -> Option<(usize, TagStart, usize)> {
    let mut from = 0;
    while let Some(found) = text[from..].find('{') {
        let start = from + found;
        match text.as_bytes().get(start + 1) {
            Some(b'%') => {
                return Some(match match_raw(&text[start..]) {
                    Some(len) => (start, TagStart::Raw, len),
                    None => (start, TagStart::Block, 2),
                });
            }
            Some(b'{') => return Some((start, TagStart::Variable, 2)),
            Some(b'#') => return Some((start, TagStart::Comment, 2)),
            _ => from = start + 1,
        }
    }
    None
}

/// The length of `{% raw %}` at the start of `text`.
fn match_raw(text: &str) -> Option<usize> {
    let rest = text.strip_prefix("{%")?;
    let rest = rest.strip_prefix(['-', '+']).unwrap_or(rest).trim_start_matches(is_space);
    let rest = rest.strip_prefix("raw")?.trim_start_matches(is_space);
    let rest = match rest.strip_prefix("-%}") {
        Some(rest) => rest.trim_start_matches(is_space),
        None => rest.strip_prefix("%}")?,
    };
    Some(text.len() - rest.len())
}

/// Matches `{% endraw %}` at the start of `text`; returns its opening and closing signs and its
/// length.
fn match_endraw(text: &str) -> Option<(Option<char>, Option<char>, usize)> {
    let rest = text.strip_prefix("{%")?;
    let sign = rest.chars().next().filter(|sign| matches!(sign, '-' | '+'));
    let rest = rest.strip_prefix(['-', '+']).unwrap_or(rest).trim_start_matches(is_space);
    let rest = rest.strip_prefix("endraw")?.trim_start_matches(is_space);
    let (end_sign, len) = match_end(rest, true)?;
    Some((sign, end_sign, text.len() - rest.len() + len))
}

/// Strips white space before a tag, according to the tag's sign and `lstrip_blocks`.
fn strip_before(text: &str, sign: Option<char>, is_block: bool, line_starts: bool) -> &str {
    match sign {
        Some('-') => text.trim_end_matches(is_space),
        Some('+') => text,
        _ if is_block => {
            let line = text.rfind('\n').map_or(0, |newline| newline + 1);
            if (line > 0 || line_starts) && text[line..].chars().all(is_space) {
                &text[..line]
            } else {
                text
            }
        }
        _ => text,
    }
}
