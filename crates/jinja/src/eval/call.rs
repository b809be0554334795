//! Evaluates calls of macros, functions, methods and loops.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use crate::Error;
use crate::args::CallArgs;
use crate::ast::{Access, CALLER, Expr, KWARGS, VARARGS};
use crate::iterate;
use crate::methods;
use crate::ops;
use crate::repr;
use crate::text::{Text, TextBuf};
use crate::time;
use crate::value::dict::DictBuilder;
use crate::value::scope::Scope;
use crate::value::{Cycler, Function, Joiner, MacroValue, Namespace, Range, Seq, Value};

use super::Interpreter;

/// Maximum length of a range, as in jinja2's sandbox.
const MAX_RANGE: usize = 100_000;
/// Maximum number of paragraphs of `lipsum`.
const MAX_PARAGRAPHS: usize = 100;
/// Maximum length of a message of `raise_exception` in characters.
const MAX_RAISED_CHARS: usize = 2000;

impl Interpreter<'_> {
    /// Evaluates `value(args)`.
    pub(super) fn call(&self, value: &Value, args: CallArgs) -> Result<Value, Error> {
        self.budget.tick(1)?;
        match value {
            Value::Macro(definition) => self.with_call_depth(|| self.call_macro(definition, args)),
            Value::Method(method) => methods::call(self.budget, method, args),
            Value::Function(function) => self.call_function(*function, args),
            Value::Loop(state) => {
                let Some((node, scope)) = &state.recursion else {
                    return Err(Error::type_error(
                        "The loop must have the 'recursive' marker to be called recursively.",
                    ));
                };
                let [iterable] = args.bind("loop", ["iterable"], 1)?;
                let iterable = iterable.unwrap_or(Value::None);
                let mut out = TextBuf::new(self.budget);
                self.with_call_depth(|| {
                    self.for_loop(node, &iterable, scope, state.depth + 1, &mut out)
                })?;
                Ok(Value::Str(out.finish_markup(self.context.escapes())))
            }
            Value::Joiner(joiner) => {
                args.expect_none("joiner")?;
                let is_first = !joiner.used.replace(true);
                Ok(if is_first { Value::str("") } else { joiner.separator.clone() })
            }
            Value::Undefined(undefined) => Err(undefined.error()),
            _ => Err(Error::type_error(format!("'{}' object is not callable", value.type_name()))),
        }
    }

    /// Evaluates the call of a call block, whose body is passed as `caller`.
    pub(super) fn call_with_caller(
        &self,
        call: &Expr,
        caller: Value,
        scope: &Rc<Scope>,
    ) -> Result<Value, Error> {
        // The parser guarantees that the last access is a call.
        let Expr::Access(base, accesses) = call else { return Ok(Value::None) };
        let mut value = self.value(base, scope)?;
        let Some((Access::Call(args), before)) = accesses.split_last() else {
            return Ok(Value::None);
        };
        for access in before {
            value = self.access(value, access, scope)?;
        }
        let mut args = self.args(args, scope)?;
        args.named.push(("caller".into(), caller));
        self.call(&value, args)
    }

    fn call_macro(&self, value: &Rc<MacroValue>, args: CallArgs) -> Result<Value, Error> {
        let definition = &*value.definition;
        let name = definition.name.as_deref().unwrap_or("caller");
        let scope = Scope::new(Some(value.scope.clone()));
        let n_params = definition.params.len();
        let CallArgs { mut positional, mut named, names_mark } = args;
        let rest = positional.split_off(n_params.min(positional.len()));
        let first_default = n_params - definition.defaults.len();
        let mut positional = positional.into_iter();
        let mut found_caller = false;
        for (at, param) in definition.params.iter().enumerate() {
            self.budget.tick(1)?;
            let param_name = self.names.name(*param);
            let given = positional.next().or_else(|| {
                let at = named.iter().position(|(name, _)| name == param_name)?;
                Some(named.remove(at).1)
            });
            found_caller |= *param == CALLER;
            let value = match given {
                Some(value) => value,
                None if at >= first_default => {
                    self.value(&definition.defaults[at - first_default], &scope)?
                }
                None => Value::hint(format!("parameter '{param_name}' was not provided")),
            };
            self.set(&scope, *param, value)?;
        }
        if definition.uses.caller && !found_caller {
            let at = named.iter().position(|(name, _)| &**name == "caller");
            let caller = match at.map(|at| named.remove(at).1) {
                None | Some(Value::None) => Value::hint("No caller defined"),
                Some(caller) => caller,
            };
            self.set(&scope, CALLER, caller)?;
        }
        if definition.uses.kwargs {
            let mut kwargs = DictBuilder::new(self.budget);
            for (name, value) in named {
                kwargs.insert(Value::Str(Text::marked(&*name, names_mark)), value)?;
            }
            self.set(&scope, KWARGS, Value::Dict(kwargs.finish()?))?;
        } else if let Some((keyword, _)) = named.first() {
            let what = format!("macro '{name}' takes no keyword argument '{keyword}'");
            return Err(Error::type_error(what));
        }
        if definition.uses.varargs {
            self.set(&scope, VARARGS, Value::Tuple(Seq::new(self.budget, rest)?))?;
        } else if !rest.is_empty() {
            let what = format!("macro '{name}' takes not more than {n_params} argument(s)");
            return Err(Error::type_error(what));
        }
        let (_, text) =
            self.capture(&definition.body, &scope).map_err(|error| error.at(definition.line))?;
        Ok(Value::Str(text.with_markup(self.context.escapes())))
    }

    fn call_function(&self, function: Function, args: CallArgs) -> Result<Value, Error> {
        match function {
            Function::Range => range(args),
            Function::Dict => Ok(Value::Dict(self.dict(args)?.finish()?)),
            Function::Namespace => {
                let values = RefCell::new(self.dict(args)?.finish()?);
                let namespace = Rc::new(Namespace { values });
                self.retain_namespace(&namespace)?;
                Ok(Value::Namespace(namespace))
            }
            Function::Cycler => {
                if args.positional.is_empty() {
                    let what = "at least one item has to be provided";
                    return Err(Error::runtime("RuntimeError", what));
                }
                let items = Seq::new(self.budget, args.positional)?;
                Ok(Value::Cycler(Rc::new(Cycler { items, idx: Cell::new(0) })))
            }
            Function::Joiner => {
                let [separator] = args.bind("joiner", ["sep"], 0)?;
                let separator = separator.unwrap_or_else(|| Value::str(", "));
                crate::value::depth_over(std::iter::once(&separator))?;
                Ok(Value::Joiner(Rc::new(Joiner { separator, used: Cell::new(false) })))
            }
            Function::Lipsum => {
                let [n, html, _, _] = args.bind("lipsum", ["n", "html", "min", "max"], 0)?;
                let n = n.map_or(Ok(5), |n| ops::small_size(&n, MAX_PARAGRAPHS))?;
                let html = html.is_none_or(|html| html.is_true());
                let paragraph = "Lorem ipsum dolor sit amet, consectetuer adipiscing elit.";
                let paragraphs: Vec<String> = (0..n)
                    .map(|_| match html {
                        true => format!("<p>{paragraph}</p>"),
                        false => paragraph.to_owned(),
                    })
                    .collect();
                let text = Text::plain(paragraphs.join(if html { "\n" } else { "\n\n" }));
                Ok(Value::Str(text.with_markup(html)))
            }
            Function::RaiseException => {
                let [message] = args.bind("raise_exception", ["message"], 1)?;
                let message = repr::text(self.budget, &message.unwrap_or(Value::None))?;
                let message = message.as_str().chars().take(MAX_RAISED_CHARS).collect();
                Err(Error::Raised { message })
            }
            Function::StrftimeNow => {
                let [format] = args.bind("strftime_now", ["format"], 1)?;
                let Some(Value::Str(format)) = format else {
                    return Err(Error::type_error("strftime() argument 1 must be str"));
                };
                // A directive of three bytes may produce 256.
                self.budget.check_value(format.len().saturating_mul(100))?;
                Ok(Value::Str(Text::mixed(
                    time::strftime(format.as_str(), &(self.now)()),
                    &[&format],
                )))
            }
        }
    }

    /// Evaluates Python's `dict(mapping, **named)`.
    fn dict(&self, args: CallArgs) -> Result<DictBuilder<'_>, Error> {
        if args.positional.len() > 1 {
            let what = format!("dict expected at most 1 argument, got {}", args.positional.len());
            return Err(Error::type_error(what));
        }
        let mut dict = match args.positional.first() {
            None => DictBuilder::new(self.budget),
            Some(Value::Dict(dict)) => DictBuilder::from(self.budget, dict)?,
            Some(pairs) => {
                let mut dict = DictBuilder::new(self.budget);
                for pair in &iterate::items(self.budget, pairs)?.items {
                    let pair = iterate::items(self.budget, pair)?;
                    let [key, value] = pair.items.as_slice() else {
                        let what = "dictionary update sequence element has not length 2";
                        return Err(Error::value_error(what));
                    };
                    dict.insert(key.clone(), value.clone())?;
                }
                dict
            }
        };
        for (name, value) in args.named {
            dict.insert(Value::Str(Text::marked(&*name, args.names_mark)), value)?;
        }
        Ok(dict)
    }
}

fn range(args: CallArgs) -> Result<Value, Error> {
    if !args.named.is_empty() || args.positional.is_empty() || args.positional.len() > 3 {
        return Err(Error::type_error("range expected 1 to 3 arguments"));
    }
    let mut numbers = Vec::with_capacity(3);
    for value in &args.positional {
        let number = value.as_index().ok_or_else(|| {
            let name = value.type_name();
            Error::type_error(format!("'{name}' object cannot be interpreted as an integer"))
        })?;
        numbers.push(number);
    }
    let range = match *numbers.as_slice() {
        [start, stop] => Range { start, stop, step: 1 },
        [start, stop, step] => Range { start, stop, step },
        _ => Range { start: 0, stop: numbers[0], step: 1 },
    };
    if range.step == 0 {
        return Err(Error::value_error("range() arg 3 must not be zero"));
    }
    if range.len() > MAX_RANGE {
        return Err(Error::overflow(format!(
            "Range too big. The sandbox blocks ranges larger than MAX_RANGE ({MAX_RANGE})."
        )));
    }
    Ok(Value::Range(Rc::new(range)))
}
