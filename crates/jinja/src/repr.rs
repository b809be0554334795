//! Python's `str` and `repr`.

use std::rc::Rc;

use crate::Error;
use crate::limits::Budget;
use crate::number::float_repr;
use crate::text::{Text, TextBuf};
use crate::unicode::is_printable;
use crate::value::{Function, Namespace, Value, View};

/// Python's `str(value)`.
pub(crate) fn text(budget: &Budget<'_>, value: &Value) -> Result<Text, Error> {
    if let Value::Str(text) = value {
        return Ok(text.clone());
    }
    let mut out = TextBuf::new(budget);
    write_str(&mut out, budget, value)?;
    Ok(out.finish())
}

/// Appends `str(value)`.
pub(crate) fn write_str(
    out: &mut TextBuf<'_>,
    budget: &Budget<'_>,
    value: &Value,
) -> Result<(), Error> {
    match value {
        Value::Undefined(_) => Ok(()),
        Value::Str(text) => out.push(text),
        _ => write_repr(out, budget, value, &mut Vec::new()),
    }
}

/// Python's `repr(value)`.
pub(crate) fn repr(budget: &Budget<'_>, value: &Value) -> Result<Text, Error> {
    let mut out = TextBuf::new(budget);
    write_repr(&mut out, budget, value, &mut Vec::new())?;
    Ok(out.finish())
}

/// Appends `repr(value)`; `open` are the enclosing namespaces, for detecting cycles.
fn write_repr(
    out: &mut TextBuf<'_>,
    budget: &Budget<'_>,
    value: &Value,
    open: &mut Vec<Rc<Namespace>>,
) -> Result<(), Error> {
    budget.tick(1)?;
    match value {
        Value::Undefined(_) => out.push_str("Undefined", None),
        Value::None => out.push_str("None", None),
        Value::Bool(true) => out.push_str("True", None),
        Value::Bool(false) => out.push_str("False", None),
        Value::Int(number) => out.push_str(&number.to_string(), None),
        Value::Float(number) => out.push_str(&float_repr(*number), None),
        Value::Str(text) => write_quoted(out, text),
        Value::List(seq) => {
            out.push_str("[", None)?;
            write_items(out, budget, &seq.items, open)?;
            out.push_str("]", None)
        }
        Value::Tuple(seq) => {
            out.push_str("(", None)?;
            write_items(out, budget, &seq.items, open)?;
            out.push_str(if seq.items.len() == 1 { ",)" } else { ")" }, None)
        }
        Value::Dict(dict) => write_entries(out, budget, dict.entries(), open),
        Value::Range(range) => {
            let (start, stop, step) = (range.start, range.stop, range.step);
            let text = match step {
                1 => format!("range({start}, {stop})"),
                _ => format!("range({start}, {stop}, {step})"),
            };
            out.push_str(&text, None)
        }
        Value::View(view, dict) => {
            let name = value.type_name();
            out.push_str(name, None)?;
            out.push_str("([", None)?;
            for (at, (key, value)) in dict.entries().iter().enumerate() {
                if at > 0 {
                    out.push_str(", ", None)?;
                }
                match view {
                    View::Keys => write_repr(out, budget, key, open)?,
                    View::Values => write_repr(out, budget, value, open)?,
                    View::Items => {
                        out.push_str("(", None)?;
                        write_repr(out, budget, key, open)?;
                        out.push_str(", ", None)?;
                        write_repr(out, budget, value, open)?;
                        out.push_str(")", None)?;
                    }
                }
            }
            out.push_str("])", None)
        }
        Value::Namespace(namespace) => write_namespace(out, budget, namespace, open),
        Value::Macro(definition) => match &definition.definition.name {
            Some(name) => out.push_str(&format!("<Macro '{name}'>"), None),
            None => out.push_str("<Macro anonymous>", None),
        },
        Value::Loop(state) => {
            let (at, n) = (state.idx.get() + 1, state.items.items.len());
            out.push_str(&format!("<LoopContext {at}/{n}>"), None)
        }
        Value::Function(Function::Dict) => out.push_str("<class 'dict'>", None),
        Value::Function(Function::Namespace) => {
            out.push_str("<class 'jinja2.utils.Namespace'>", None)
        }
        _ => out.push_str(&format!("<{} object>", value.type_name()), None),
    }
}

fn write_namespace(
    out: &mut TextBuf<'_>,
    budget: &Budget<'_>,
    namespace: &Rc<Namespace>,
    open: &mut Vec<Rc<Namespace>>,
) -> Result<(), Error> {
    budget.check_stack()?;
    if open.iter().any(|other| Rc::ptr_eq(other, namespace)) {
        return out.push_str("<Namespace {...}>", None);
    }
    budget.tick(open.len())?;
    open.push(namespace.clone());
    out.push_str("<Namespace ", None)?;
    let values = namespace.values.borrow().clone();
    write_entries(out, budget, values.entries(), open)?;
    open.pop();
    out.push_str(">", None)
}

fn write_items(
    out: &mut TextBuf<'_>,
    budget: &Budget<'_>,
    items: &[Value],
    open: &mut Vec<Rc<Namespace>>,
) -> Result<(), Error> {
    budget.check_stack()?;
    for (at, item) in items.iter().enumerate() {
        if at > 0 {
            out.push_str(", ", None)?;
        }
        write_repr(out, budget, item, open)?;
    }
    Ok(())
}

fn write_entries(
    out: &mut TextBuf<'_>,
    budget: &Budget<'_>,
    entries: &[(Value, Value)],
    open: &mut Vec<Rc<Namespace>>,
) -> Result<(), Error> {
    budget.check_stack()?;
    out.push_str("{", None)?;
    for (at, (key, value)) in entries.iter().enumerate() {
        if at > 0 {
            out.push_str(", ", None)?;
        }
        write_repr(out, budget, key, open)?;
        out.push_str(": ", None)?;
        write_repr(out, budget, value, open)?;
    }
    out.push_str("}", None)
}

/// Appends a string with Python's choice of quotes and its escapes.
fn write_quoted(out: &mut TextBuf<'_>, text: &Text) -> Result<(), Error> {
    if text.is_markup() {
        out.push_str("Markup(", None)?;
    }
    let has_single = text.as_str().contains('\'');
    let quote = if has_single && !text.as_str().contains('"') { '"' } else { '\'' };
    out.push_char(quote, None)?;
    for (part, mark) in text.segments() {
        let mut plain = 0;
        for (at, c) in part.char_indices() {
            if c != quote && c != '\\' && is_printable(c) {
                continue;
            }
            out.push_str(&part[plain..at], mark)?;
            plain = at + c.len_utf8();
            let code = u32::from(c);
            let escaped = match c {
                '\n' => "\\n".to_owned(),
                '\r' => "\\r".to_owned(),
                '\t' => "\\t".to_owned(),
                c if c == quote || c == '\\' => format!("\\{c}"),
                _ if code < 0x100 => format!("\\x{code:02x}"),
                _ if code < 0x10000 => format!("\\u{code:04x}"),
                _ => format!("\\U{code:08x}"),
            };
            out.push_str(&escaped, mark)?;
        }
        out.push_str(&part[plain..], mark)?;
    }
    out.push_char(quote, None)?;
    if text.is_markup() {
        out.push_str(")", None)?;
    }
    Ok(())
}
