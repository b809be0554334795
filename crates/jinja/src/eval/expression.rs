//! Evaluates expressions.

use std::rc::Rc;

use crate::Error;
use crate::args::CallArgs;
use crate::ast::{Access, Args, Compare, Expr, Symbol};
use crate::attribute;
use crate::filters;
use crate::iterate;
use crate::ops;
use crate::predicates;
use crate::repr;
use crate::slice;
use crate::text::{Text, TextBuf};
use crate::value::dict::{DictBuilder, text_key};
use crate::value::scope::Scope;
use crate::value::{Function, Seq, Undefined, Value};

use super::Interpreter;

impl Interpreter<'_> {
    /// Evaluates an expression.
    pub(super) fn value(&self, expression: &Expr, scope: &Rc<Scope>) -> Result<Value, Error> {
        self.budget.tick(1)?;
        match expression {
            Expr::None => Ok(Value::None),
            Expr::Bool(truth) => Ok(Value::Bool(*truth)),
            Expr::Int(number) => Ok(Value::Int(*number)),
            Expr::Float(number) => Ok(Value::Float(*number)),
            Expr::Str(index) => Ok(Value::Str(self.text(*index as usize))),
            Expr::Name(symbol) => Ok(self.variable(*symbol, scope)),
            _ => {
                self.budget.check_stack()?;
                self.composite(expression, scope)
            }
        }
    }

    fn composite(&self, expression: &Expr, scope: &Rc<Scope>) -> Result<Value, Error> {
        let budget = self.budget;
        match expression {
            Expr::List(items) => Ok(Value::List(Seq::new(budget, self.values(items, scope)?)?)),
            Expr::Tuple(items) => Ok(Value::Tuple(Seq::new(budget, self.values(items, scope)?)?)),
            Expr::Dict(entries) => {
                let mut dict = DictBuilder::new(budget);
                for (key, value) in entries {
                    let key = self.value(key, scope)?;
                    dict.insert(key, self.value(value, scope)?)?;
                }
                Ok(Value::Dict(dict.finish()?))
            }
            Expr::Sign(signs, value) => {
                let mut value = self.value(value, scope)?;
                for is_minus in signs.iter().rev() {
                    budget.tick(1)?;
                    value = ops::sign(&value, *is_minus)?;
                }
                Ok(value)
            }
            Expr::Not(n, value) => {
                let truth = self.value(value, scope)?.is_true();
                Ok(Value::Bool(truth == (n % 2 == 0)))
            }
            Expr::Binary(first, rest) => {
                let mut value = self.value(first, scope)?;
                for (operator, operand) in rest {
                    let operand = self.value(operand, scope)?;
                    value = ops::binary(budget, *operator, &value, &operand)?;
                }
                Ok(value)
            }
            Expr::And(items) => self.first_where(items, scope, false),
            Expr::Or(items) => self.first_where(items, scope, true),
            Expr::Compare(first, rest) => {
                let mut left = self.value(first, scope)?;
                for (operator, right) in rest {
                    let right = self.value(right, scope)?;
                    if !self.compare(*operator, &left, &right)? {
                        return Ok(Value::Bool(false));
                    }
                    left = right;
                }
                Ok(Value::Bool(true))
            }
            Expr::Concat(items) => self.concat(items, scope),
            Expr::Condition(condition) => {
                for (value, test) in &condition.branches {
                    if self.value(test, scope)?.is_true() {
                        return self.value(value, scope);
                    }
                }
                match &condition.otherwise {
                    Some(value) => self.value(value, scope),
                    None => Ok(Value::hint(format!(
                        "the inline if-expression on line {} evaluated to false and no else \
                         section was defined.",
                        condition.line
                    ))),
                }
            }
            Expr::Access(value, accesses) => {
                let mut value = self.value(value, scope)?;
                for access in accesses {
                    value = self.access(value, access, scope)?;
                }
                Ok(value)
            }
            // The caller has evaluated all other kinds.
            _ => Ok(Value::None),
        }
    }

    fn text(&self, index: usize) -> Text {
        let mut texts = self.texts.borrow_mut();
        let made = || Text::plain(self.strings[index].as_str());
        texts[index].get_or_insert_with(made).clone()
    }

    pub(super) fn variable(&self, symbol: Symbol, scope: &Rc<Scope>) -> Value {
        if let Some(value) = scope.get(symbol) {
            return value;
        }
        let name = self.names.name(symbol);
        Value::Function(match &**name {
            "range" => Function::Range,
            "dict" => Function::Dict,
            "namespace" => Function::Namespace,
            "cycler" => Function::Cycler,
            "joiner" => Function::Joiner,
            "lipsum" => Function::Lipsum,
            "raise_exception" => Function::RaiseException,
            "strftime_now" => Function::StrftimeNow,
            _ => return Value::Undefined(Rc::new(Undefined::Name(name.clone()))),
        })
    }

    fn values(&self, items: &[Expr], scope: &Rc<Scope>) -> Result<Vec<Value>, Error> {
        items.iter().map(|item| self.value(item, scope)).collect()
    }

    /// Evaluates items until one has the truth value `wanted`; returns the last evaluated one.
    fn first_where(&self, items: &[Expr], scope: &Rc<Scope>, wanted: bool) -> Result<Value, Error> {
        let mut value = Value::None;
        for item in items {
            value = self.value(item, scope)?;
            if value.is_true() == wanted {
                break;
            }
        }
        Ok(value)
    }

    fn compare(&self, operator: Compare, left: &Value, right: &Value) -> Result<bool, Error> {
        let budget = self.budget;
        let order = |operator| ops::order(budget, operator, left, right);
        Ok(match operator {
            Compare::Eq => ops::equals(budget, left, right)?,
            Compare::Ne => !ops::equals(budget, left, right)?,
            Compare::Lt => order("<")?.is_some_and(|order| order.is_lt()),
            Compare::Le => order("<=")?.is_some_and(|order| order.is_le()),
            Compare::Gt => order(">")?.is_some_and(|order| order.is_gt()),
            Compare::Ge => order(">=")?.is_some_and(|order| order.is_ge()),
            Compare::In => ops::contains(budget, right, left)?,
            Compare::NotIn => !ops::contains(budget, right, left)?,
        })
    }

    fn concat(&self, items: &[Expr], scope: &Rc<Scope>) -> Result<Value, Error> {
        let budget = self.budget;
        let mut out = TextBuf::new(budget);
        if !self.context.escapes() {
            for item in items {
                repr::write_str(&mut out, budget, &self.value(item, scope)?)?;
            }
            return Ok(Value::Str(out.finish()));
        }
        let mut texts = Vec::with_capacity(items.len());
        for item in items {
            texts.push(repr::text(budget, &self.value(item, scope)?)?);
        }
        let is_markup = texts.iter().any(Text::is_markup);
        for text in &texts {
            if is_markup {
                out.push(&ops::escape(budget, text)?)?;
            } else {
                out.push(text)?;
            }
        }
        Ok(Value::Str(out.finish_markup(is_markup)))
    }

    pub(super) fn access(
        &self,
        value: Value,
        access: &Access,
        scope: &Rc<Scope>,
    ) -> Result<Value, Error> {
        match access {
            Access::Attribute(name) => attribute::attribute(self.budget, &value, name),
            Access::Item(key) => {
                let key = self.value(key, scope)?;
                attribute::item(self.budget, &value, &key)
            }
            Access::Slice(bounds) => {
                let mut values = [None, None, None];
                for (value, bound) in values.iter_mut().zip(bounds.iter()) {
                    *value = match bound {
                        Some(bound) => Some(self.value(bound, scope)?),
                        None => None,
                    };
                }
                slice::slice(self.budget, &value, values)
            }
            Access::Call(args) => {
                let args = self.args(args, scope)?;
                self.call(&value, args)
            }
            Access::Filter(filter) => {
                let args = self.args(&filter.args, scope)?;
                filters::call(&self.context, &filter.name, &value, args)
            }
            Access::Test { name, args, is_negated } => {
                let args = self.args(args, scope)?;
                let truth = predicates::call(&self.context, name, &value, args)?;
                Ok(Value::Bool(truth != *is_negated))
            }
        }
    }

    pub(super) fn args(&self, args: &Args, scope: &Rc<Scope>) -> Result<CallArgs, Error> {
        let mut positional = self.values(&args.positional, scope)?;
        let mut named = Vec::with_capacity(args.named.len());
        for (name, value) in &args.named {
            named.push((name.clone(), self.value(value, scope)?));
        }
        if let Some(star) = &args.star {
            let star = self.value(star, scope)?;
            let items = iterate::items(self.budget, &star)?;
            crate::value::check_values(self.budget, items.items.len())?;
            positional.extend_from_slice(&items.items);
        }
        let mut names_mark = None;
        if let Some(double_star) = &args.double_star {
            let Value::Dict(dict) = self.value(double_star, scope)? else {
                return Err(Error::type_error("argument after ** must be a mapping"));
            };
            crate::value::check_values(self.budget, 2 * dict.len())?;
            for (key, value) in dict.entries() {
                self.budget.tick(1)?;
                let name = text_key(key)?;
                names_mark = names_mark.or(name.first_mark());
                named.push((name.as_str().into(), value.clone()));
            }
        }
        Ok(CallArgs { positional, named, names_mark })
    }
}
