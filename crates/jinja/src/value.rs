//! The values of a template: the subset of Python's types that templates use.
//!
//! Values, dictionaries and scopes contain each other, so their types are one module. Operators are
//! in `ops`, methods in `methods`.

pub(crate) mod dict;
pub(crate) mod equality;
pub(crate) mod scope;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use crate::ast;
use crate::limits::{Budget, Charge, MAX_VALUE_DEPTH};
use crate::text::Text;
use crate::{Error, Limit};

use dict::Dict;
use scope::Scope;

/// A value. All except namespaces, loops and iterators are immutable, as in jinja2's sandbox.
#[derive(Clone)]
pub(crate) enum Value {
    Undefined(Rc<Undefined>),
    None,
    Bool(bool),
    Int(i128),
    Float(f64),
    Str(Text),
    List(Rc<Seq>),
    Tuple(Rc<Seq>),
    Dict(Rc<Dict>),
    Range(Rc<Range>),
    View(View, Rc<Dict>),
    Iter(Rc<Iter>),
    Namespace(Rc<Namespace>),
    Macro(Rc<MacroValue>),
    Loop(Rc<LoopState>),
    Cycler(Rc<Cycler>),
    Joiner(Rc<Joiner>),
    Method(Rc<Method>),
    Function(Function),
}

/// The reason why a value is undefined, for the error when it is used.
pub(crate) enum Undefined {
    Name(Arc<str>),
    Attribute {
        type_name: &'static str,
        name: String,
    },
    Element {
        type_name: &'static str,
        key: String,
    },
    Hint(String),
    /// An attribute that the sandbox hides.
    Unsafe {
        type_name: &'static str,
        name: String,
    },
}

impl Undefined {
    pub(crate) fn error(&self) -> Error {
        match self {
            Self::Name(name) => Error::undefined(format!("'{name}' is undefined")),
            Self::Attribute { type_name, name } => {
                Error::undefined(format!("'{}' has no attribute '{name}'", object(type_name)))
            }
            Self::Element { type_name, key } => {
                Error::undefined(format!("{} has no element {key}", object(type_name)))
            }
            Self::Hint(hint) => Error::undefined(hint.clone()),
            Self::Unsafe { type_name, name } => Error::runtime(
                "SecurityError",
                format!("access to attribute '{name}' of '{type_name}' object is unsafe."),
            ),
        }
    }
}

/// The description of an object of this type in jinja2's messages.
fn object(type_name: &str) -> String {
    match type_name {
        "NoneType" => "None".to_owned(),
        "Namespace" | "Cycler" | "Joiner" => format!("jinja2.utils.{type_name} object"),
        "Macro" | "LoopContext" => format!("jinja2.runtime.{type_name} object"),
        _ => format!("{type_name} object"),
    }
}

/// The items of a list or tuple.
pub(crate) struct Seq {
    pub(crate) items: Vec<Value>,
    depth: u32,
    /// Whether it is one of `groupby`'s pairs, a named tuple.
    pub(crate) is_group: bool,
    _charge: Charge,
}

impl Seq {
    pub(crate) fn new(budget: &Budget<'_>, items: Vec<Value>) -> Result<Rc<Self>, Error> {
        Self::build(budget, items, false)
    }

    pub(crate) fn group(budget: &Budget<'_>, items: Vec<Value>) -> Result<Rc<Self>, Error> {
        Self::build(budget, items, true)
    }

    fn build(budget: &Budget<'_>, items: Vec<Value>, is_group: bool) -> Result<Rc<Self>, Error> {
        let depth = depth_over(items.iter())?;
        let bytes = 64 + items.capacity() * size_of::<Value>();
        budget.check_value(bytes)?;
        budget.tick(items.len() / 8)?;
        Ok(Rc::new(Self { items, depth, is_group, _charge: Charge::new(bytes) }))
    }
}

/// The nesting depth of a container of `items`.
///
/// # Errors
/// [`Error::LimitExceeded`] if it is too deep.
pub(crate) fn depth_over<'v>(items: impl Iterator<Item = &'v Value>) -> Result<u32, Error> {
    let depth = 1 + items.map(Value::depth).max().unwrap_or(0);
    if depth > MAX_VALUE_DEPTH {
        return Err(Error::LimitExceeded { limit: Limit::Nesting });
    }
    Ok(depth)
}

/// Checks that a container of `n` values may be allocated.
pub(crate) fn check_values(budget: &Budget<'_>, n: usize) -> Result<(), Error> {
    budget.check_value(n.saturating_mul(size_of::<Value>()))
}

#[derive(Clone, Copy, PartialEq)]
pub(crate) struct Range {
    pub(crate) start: i128,
    pub(crate) stop: i128,
    pub(crate) step: i128,
}

impl Range {
    pub(crate) fn len(&self) -> usize {
        let distance = if self.step > 0 {
            self.stop.saturating_sub(self.start)
        } else {
            self.start.saturating_sub(self.stop)
        };
        if distance <= 0 {
            return 0;
        }
        let step = self.step.unsigned_abs().max(1);
        usize::try_from((distance as u128).div_ceil(step)).unwrap_or(usize::MAX)
    }

    pub(crate) fn get(&self, idx: usize) -> Value {
        Value::Int(self.start.saturating_add(self.step.saturating_mul(idx as i128)))
    }
}

/// The kind of a dictionary view.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum View {
    Keys,
    Values,
    Items,
}

/// A single-pass iterator: the result of `map`, `select` and similar filters.
pub(crate) struct Iter {
    items: Rc<Seq>,
    idx: Cell<usize>,
    /// The error to raise after the last item: Python's generators are lazy and raise it only then.
    error: RefCell<Option<Error>>,
    pub(crate) type_name: &'static str,
}

impl Iter {
    pub(crate) fn value(items: Rc<Seq>, error: Option<Error>, type_name: &'static str) -> Value {
        let (idx, error) = (Cell::new(0), RefCell::new(error));
        Value::Iter(Rc::new(Self { items, idx, error, type_name }))
    }

    pub(crate) fn next(&self) -> Result<Option<Value>, Error> {
        if let Some(item) = self.items.items.get(self.idx.get()) {
            self.idx.set(self.idx.get() + 1);
            return Ok(Some(item.clone()));
        }
        match self.error.borrow_mut().take() {
            Some(error) => Err(error),
            None => Ok(None),
        }
    }

    pub(crate) fn rest(&self, budget: &Budget<'_>) -> Result<Rc<Seq>, Error> {
        let idx = self.idx.replace(self.items.items.len());
        if let Some(error) = self.error.borrow_mut().take() {
            return Err(error);
        }
        if idx == 0 {
            return Ok(self.items.clone());
        }
        check_values(budget, self.items.items.len() - idx.min(self.items.items.len()))?;
        Seq::new(budget, self.items.items[idx.min(self.items.items.len())..].to_vec())
    }
}

/// The result of `namespace()`: the only mutable value.
pub(crate) struct Namespace {
    pub(crate) values: RefCell<Rc<Dict>>,
}

pub(crate) struct MacroValue {
    pub(crate) definition: Arc<ast::Macro>,
    /// The scope in which it was defined.
    pub(crate) scope: Rc<Scope>,
}

/// The variable `loop`.
pub(crate) struct LoopState {
    pub(crate) items: Rc<Seq>,
    pub(crate) idx: Cell<usize>,
    pub(crate) depth: usize,
    pub(crate) last_changed: RefCell<Option<Vec<Value>>>,
    /// The loop's statement and scope, if it is recursive.
    pub(crate) recursion: Option<(Arc<ast::For>, Rc<Scope>)>,
}

pub(crate) struct Cycler {
    pub(crate) items: Rc<Seq>,
    pub(crate) idx: Cell<usize>,
}

pub(crate) struct Joiner {
    pub(crate) separator: Value,
    pub(crate) used: Cell<bool>,
}

/// A bound method.
pub(crate) struct Method {
    pub(crate) object: Value,
    pub(crate) name: &'static str,
}

/// The global functions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Function {
    Range,
    Dict,
    Namespace,
    Cycler,
    Joiner,
    Lipsum,
    RaiseException,
    StrftimeNow,
}

impl Value {
    pub(crate) fn str(text: impl Into<String>) -> Self {
        Self::Str(Text::plain(text))
    }

    pub(crate) fn hint(hint: impl Into<String>) -> Self {
        Self::Undefined(Rc::new(Undefined::Hint(hint.into())))
    }

    pub(crate) fn is_undefined(&self) -> bool {
        matches!(self, Self::Undefined(_))
    }

    pub(crate) fn as_str(&self) -> Option<&str> {
        if let Self::Str(text) = self { Some(text.as_str()) } else { None }
    }

    /// The integer value, like Python's `__index__`.
    pub(crate) fn as_index(&self) -> Option<i128> {
        match self {
            Self::Int(number) => Some(*number),
            Self::Bool(truth) => Some((*truth).into()),
            _ => None,
        }
    }

    /// The nesting depth of the value. Namespaces are not counted, because they are mutable.
    pub(crate) fn depth(&self) -> u32 {
        match self {
            Self::List(seq) | Self::Tuple(seq) => seq.depth,
            Self::Dict(dict) | Self::View(_, dict) => dict.depth(),
            Self::Iter(iter) => iter.items.depth,
            Self::Loop(state) => state.items.depth,
            Self::Cycler(cycler) => cycler.items.depth,
            Self::Method(method) => 1 + method.object.depth(),
            Self::Joiner(joiner) => 1 + joiner.separator.depth(),
            _ => 0,
        }
    }

    /// Python's truth value.
    pub(crate) fn is_true(&self) -> bool {
        match self {
            Self::Undefined(_) | Self::None => false,
            Self::Bool(truth) => *truth,
            Self::Int(number) => *number != 0,
            Self::Float(number) => *number != 0.0,
            Self::Str(text) => !text.is_empty(),
            Self::List(seq) | Self::Tuple(seq) => !seq.items.is_empty(),
            Self::Dict(dict) | Self::View(_, dict) => dict.len() > 0,
            Self::Range(range) => range.len() > 0,
            Self::Loop(state) => !state.items.items.is_empty(),
            _ => true,
        }
    }

    /// The name of the Python type.
    pub(crate) fn type_name(&self) -> &'static str {
        match self {
            Self::Undefined(_) => "Undefined",
            Self::None => "NoneType",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Float(_) => "float",
            Self::Str(text) if text.is_markup() => "Markup",
            Self::Str(_) => "str",
            Self::List(_) => "list",
            Self::Tuple(_) => "tuple",
            Self::Dict(_) => "dict",
            Self::Range(_) => "range",
            Self::View(View::Keys, _) => "dict_keys",
            Self::View(View::Values, _) => "dict_values",
            Self::View(View::Items, _) => "dict_items",
            Self::Iter(iter) => iter.type_name,
            Self::Namespace(_) => "Namespace",
            Self::Macro(_) => "Macro",
            Self::Loop(_) => "LoopContext",
            Self::Cycler(_) => "Cycler",
            Self::Joiner(_) => "Joiner",
            Self::Method(_) => "builtin_function_or_method",
            Self::Function(Function::Dict | Function::Namespace) => "type",
            Self::Function(Function::Cycler | Function::Joiner) => "type",
            Self::Function(_) => "function",
        }
    }

    /// Whether both are the same object, like Python's `is`.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::None, Self::None) => true,
            (Self::Bool(a), Self::Bool(b)) => a == b,
            (Self::Int(a), Self::Int(b)) => a == b,
            (Self::Float(a), Self::Float(b)) => a.to_bits() == b.to_bits(),
            (Self::Str(a), Self::Str(b)) => a.is_same(b) || a.as_str() == b.as_str(),
            (Self::List(a), Self::List(b)) | (Self::Tuple(a), Self::Tuple(b)) => Rc::ptr_eq(a, b),
            (Self::Dict(a), Self::Dict(b)) => Rc::ptr_eq(a, b),
            (Self::Range(a), Self::Range(b)) => Rc::ptr_eq(a, b),
            (Self::Iter(a), Self::Iter(b)) => Rc::ptr_eq(a, b),
            (Self::Namespace(a), Self::Namespace(b)) => Rc::ptr_eq(a, b),
            (Self::Macro(a), Self::Macro(b)) => Rc::ptr_eq(a, b),
            (Self::Loop(a), Self::Loop(b)) => Rc::ptr_eq(a, b),
            (Self::Cycler(a), Self::Cycler(b)) => Rc::ptr_eq(a, b),
            (Self::Joiner(a), Self::Joiner(b)) => Rc::ptr_eq(a, b),
            (Self::Function(a), Self::Function(b)) => a == b,
            (Self::Undefined(a), Self::Undefined(b)) => Rc::ptr_eq(a, b),
            _ => false,
        }
    }
}
