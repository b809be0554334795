//! Escape sequences of string literals: Python's `unicode-escape`, as used by jinja2.

/// Decodes the inside of a literal; returns Python's message for an invalid one.
pub(crate) fn unescape(literal: &str) -> Result<String, String> {
    if !literal.contains('\\') {
        return Ok(literal.to_owned());
    }
    let mut text = String::with_capacity(literal.len());
    let mut rest = literal;
    while let Some(at) = rest.find('\\') {
        text.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let Some(c) = rest.chars().next() else {
            return Err("\\ at end of string".to_owned());
        };
        rest = &rest[c.len_utf8()..];
        match c {
            '\n' => {}
            '\\' | '\'' | '"' => text.push(c),
            'a' => text.push('\x07'),
            'b' => text.push('\x08'),
            'f' => text.push('\x0c'),
            'n' => text.push('\n'),
            'r' => text.push('\r'),
            't' => text.push('\t'),
            'v' => text.push('\x0b'),
            '0'..='7' => {
                let more = rest.bytes().take(2).take_while(|b| (b'0'..=b'7').contains(b)).count();
                let digits = format!("{c}{}", &rest[..more]);
                push_code(&mut text, u32::from_str_radix(&digits, 8).unwrap_or_default())?;
                rest = &rest[more..];
            }
            'x' => rest = hexadecimal(&mut text, rest, 2, "truncated \\xXX escape")?,
            'u' => rest = hexadecimal(&mut text, rest, 4, "truncated \\uXXXX escape")?,
            'U' => rest = hexadecimal(&mut text, rest, 8, "truncated \\UXXXXXXXX escape")?,
            'N' => rest = named(&mut text, rest)?,
            // jinja2 escapes non-ASCII characters before decoding. The backslash before one
            // therefore escapes the backslash of that escape, whose text remains.
            c if !c.is_ascii() => {
                let code = u32::from(c);
                text.push_str(&match code {
                    0..=0xff => format!("\\x{code:02x}"),
                    0x100..=0xffff => format!("\\u{code:04x}"),
                    _ => format!("\\U{code:08x}"),
                });
            }
            c => {
                text.push('\\');
                text.push(c);
            }
        }
    }
    text.push_str(rest);
    Ok(text)
}

/// Decodes `n` hexadecimal digits and returns the rest.
fn hexadecimal<'a>(
    text: &mut String,
    rest: &'a str,
    n: usize,
    truncated: &str,
) -> Result<&'a str, String> {
    let digits = rest.get(..n).filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()));
    let digits = digits.ok_or_else(|| truncated.to_owned())?;
    push_code(text, u32::from_str_radix(digits, 16).map_err(|_| truncated.to_owned())?)?;
    Ok(&rest[n..])
}

/// Decodes `{NAME}` and returns the rest.
fn named<'a>(text: &mut String, rest: &'a str) -> Result<&'a str, String> {
    let (name, after) = rest
        .strip_prefix('{')
        .and_then(|rest| rest.split_once('}'))
        .ok_or_else(|| "malformed \\N character escape".to_owned())?;
    let c = unicode_names2::character(name)
        .ok_or_else(|| "unknown Unicode character name".to_owned())?;
    text.push(c);
    Ok(after)
}

fn push_code(text: &mut String, code: u32) -> Result<(), String> {
    text.push(char::from_u32(code).ok_or_else(|| "illegal Unicode character".to_owned())?);
    Ok(())
}
