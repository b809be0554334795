//! `'{}'.format(value)`, as in jinja2's sandbox.

use crate::Error;
use crate::args::CallArgs;
use crate::attribute;
use crate::limits::Budget;
use crate::ops;
use crate::repr;
use crate::text::{Text, TextBuf};
use crate::value::Value;

use super::spec;

/// Maximum nesting of fields in format specifications.
const MAX_NESTED: i32 = 2;

/// Formats `template` with `args`.
pub(crate) fn brace(budget: &Budget<'_>, template: &Text, args: &CallArgs) -> Result<Text, Error> {
    let mut format = Brace { budget, args, next: Some(0), is_markup: template.is_markup() };
    let mut out = TextBuf::new(budget);
    format.write(&mut out, template, MAX_NESTED)?;
    Ok(out.finish_markup(template.is_markup()))
}

struct Brace<'b> {
    budget: &'b Budget<'b>,
    args: &'b CallArgs,
    /// The index for the next automatically numbered field; `None` once a field has an explicit
    /// index.
    next: Option<usize>,
    is_markup: bool,
}

impl Brace<'_> {
    fn write(&mut self, out: &mut TextBuf<'_>, template: &Text, depth: i32) -> Result<(), Error> {
        if depth < 0 {
            return Err(Error::value_error("Max string recursion exceeded"));
        }
        let text = template.as_str();
        let mut at = 0;
        while let Some(found) = text[at..].find(['{', '}']) {
            let brace = at + found;
            out.push_slice(template, at..brace)?;
            let rest = &text[brace..];
            if rest.starts_with("{{") || rest.starts_with("}}") {
                out.push_slice(template, brace..brace + 1)?;
                at = brace + 2;
                continue;
            }
            if rest.starts_with('}') {
                return Err(Error::value_error("Single '}' encountered in format string"));
            }
            let end = self.field_end(&text[brace + 1..])?;
            self.field(out, template, brace + 1, brace + 1 + end, depth)?;
            at = brace + 1 + end + 1;
        }
        out.push_slice(template, at..text.len())
    }

    /// The length of a field, up to its closing brace.
    fn field_end(&self, text: &str) -> Result<usize, Error> {
        let mut open = 1;
        let mut in_brackets = false;
        for (at, c) in text.char_indices() {
            match c {
                '[' if open == 1 => in_brackets = true,
                ']' => in_brackets = false,
                '{' if !in_brackets => open += 1,
                '}' if !in_brackets => open -= 1,
                _ => {}
            }
            if open == 0 {
                return Ok(at);
            }
        }
        self.budget.tick(text.len() / 8)?;
        Err(Error::value_error("expected '}' before end of string"))
    }

    fn field(
        &mut self,
        out: &mut TextBuf<'_>,
        template: &Text,
        start: usize,
        end: usize,
        depth: i32,
    ) -> Result<(), Error> {
        let field = &template.as_str()[start..end];
        let name_end = field.find(['!', ':']).unwrap_or(field.len());
        let (name, mut rest) = field.split_at(name_end);
        let mut conversion = None;
        if let Some(after) = rest.strip_prefix('!') {
            let c = after.chars().next();
            conversion = Some(c.ok_or_else(|| {
                Error::value_error("end of string while looking for conversion specifier")
            })?);
            rest = &after[c.map_or(0, char::len_utf8)..];
            if !rest.is_empty() && !rest.starts_with(':') {
                return Err(Error::value_error("expected ':' after conversion specifier"));
            }
        }
        let mut value = self.value(name)?;
        match conversion {
            None => {}
            Some('s') => value = Value::Str(repr::text(self.budget, &value)?),
            Some('r' | 'a') => value = Value::Str(repr::repr(self.budget, &value)?),
            Some(c) => {
                let what = format!("Unknown conversion specifier {c}");
                return Err(Error::value_error(what));
            }
        }
        let spec_start = end - rest.strip_prefix(':').map_or(0, str::len);
        let mut spec = TextBuf::new(self.budget);
        self.write(&mut spec, &template.slice(spec_start..end), depth - 1)?;
        let spec = spec.finish();
        if self.is_markup {
            let mut plain = TextBuf::new(self.budget);
            spec::write(&mut plain, self.budget, &value, spec.as_str())?;
            let is_markup = matches!(&value, Value::Str(text) if text.is_markup());
            return out.push(&ops::escape(self.budget, &plain.finish_markup(is_markup))?);
        }
        spec::write(out, self.budget, &value, spec.as_str())
    }

    /// Evaluates a field name such as `0.a[b]`.
    fn value(&mut self, name: &str) -> Result<Value, Error> {
        let first_end = name.find(['.', '[']).unwrap_or(name.len());
        let (first, mut rest) = name.split_at(first_end);
        let mut value = if first.is_empty() || first.bytes().all(|b| b.is_ascii_digit()) {
            let at = match (first.parse::<usize>(), self.next) {
                (Ok(at), None | Some(0)) => {
                    self.next = None;
                    at
                }
                (Err(_), Some(next)) if first.is_empty() => {
                    self.next = Some(next + 1);
                    next
                }
                _ => {
                    let what = "cannot switch between manual and automatic field numbering";
                    return Err(Error::value_error(what));
                }
            };
            let value = self.args.positional.get(at).cloned();
            value.ok_or_else(|| {
                let what = "Replacement index out of range for positional args tuple";
                Error::runtime("IndexError", what)
            })?
        } else {
            let found = self.args.named.iter().find(|(key, _)| **key == *first);
            let found = found.map(|(_, value)| value.clone());
            found.ok_or_else(|| Error::runtime("KeyError", format!("'{first}'")))?
        };
        while !rest.is_empty() {
            self.budget.tick(1)?;
            if let Some(after) = rest.strip_prefix('.') {
                let end = after.find(['.', '[']).unwrap_or(after.len());
                if end == 0 {
                    return Err(Error::value_error("Empty attribute in format string"));
                }
                value = attribute::attribute(self.budget, &value, &after[..end])?;
                rest = &after[end..];
            } else {
                let (key, after) = rest
                    .strip_prefix('[')
                    .and_then(|inside| inside.split_once(']'))
                    .ok_or_else(|| Error::value_error("Missing ']' in format string"))?;
                let key = match key.parse::<i128>() {
                    Ok(number) if key.bytes().all(|b| b.is_ascii_digit()) => Value::Int(number),
                    _ => Value::str(key),
                };
                value = attribute::item(self.budget, &value, &key)?;
                rest = after;
            }
        }
        Ok(value)
    }
}
