//! Executes statements; expressions and calls are in the submodules.

mod call;
mod expression;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use chrono::NaiveDateTime;

use crate::ast::{Filter, For, LOOP, Names, Stmt, StmtKind, Symbol, Target};
use crate::context::Context;
use crate::filters;
use crate::iterate;
use crate::limits::{Budget, MAX_CALLS, MAX_RETAINED};
use crate::ops;
use crate::repr;
use crate::text::{Text, TextBuf};
use crate::value::dict::DictBuilder;
use crate::value::scope::Scope;
use crate::value::{LoopState, MacroValue, Namespace, Seq, Value, check_values};
use crate::{Error, Limit};

/// The state of one rendering.
pub(crate) struct Interpreter<'a> {
    budget: &'a Budget<'a>,
    names: &'a Names,
    strings: &'a [String],
    /// The template's string literals as values, created on first use.
    texts: RefCell<Vec<Option<Text>>>,
    now: &'a dyn Fn() -> NaiveDateTime,
    root: Rc<Scope>,
    context: Context<'a>,
    calls: Cell<usize>,
    /// All namespaces, and the scopes that macros and loops refer to. They may form reference
    /// cycles or chains of any length, whose recursive drop would overflow the stack. Therefore
    /// they are retained until the end and then emptied one by one.
    namespaces: RefCell<Vec<Rc<Namespace>>>,
    scopes: RefCell<Vec<Rc<Scope>>>,
}

impl Drop for Interpreter<'_> {
    fn drop(&mut self) {
        let namespaces = self.namespaces.take();
        for namespace in &namespaces {
            let values = DictBuilder::new(self.budget).finish();
            if let Ok(values) = values {
                drop(namespace.values.replace(values));
            }
        }
        let scopes = self.scopes.take();
        for scope in &scopes {
            drop(scope.clear());
        }
        drop(self.root.clear());
    }
}

/// How execution continues after a statement.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flow {
    Next,
    Break,
    Continue,
}

impl<'a> Interpreter<'a> {
    pub(crate) fn new(
        budget: &'a Budget<'a>,
        names: &'a Names,
        strings: &'a [String],
        now: &'a dyn Fn() -> NaiveDateTime,
    ) -> Self {
        Self {
            budget,
            names,
            strings,
            texts: RefCell::new(vec![None; strings.len()]),
            now,
            root: Scope::new(None),
            context: Context::new(budget),
            calls: Cell::new(0),
            namespaces: RefCell::new(Vec::new()),
            scopes: RefCell::new(Vec::new()),
        }
    }

    /// Sets an input variable.
    pub(crate) fn define(&self, name: &str, value: Value) {
        // A variable that the template never names cannot be read.
        if let Some(symbol) = self.names.find(name) {
            self.root.set(symbol, value);
        }
    }

    /// Executes the template.
    pub(crate) fn run(&self, body: &[Stmt]) -> Result<TextBuf<'a>, Error> {
        let mut out = TextBuf::new(self.budget);
        self.body(body, &self.root, &mut out)?;
        Ok(out)
    }

    fn retain_scope(&self, scope: &Rc<Scope>) -> Result<(), Error> {
        let mut scopes = self.scopes.borrow_mut();
        if scopes.last().is_some_and(|last| Rc::ptr_eq(last, scope)) {
            return Ok(());
        }
        if scopes.len() >= MAX_RETAINED {
            return Err(Error::LimitExceeded { limit: Limit::Memory });
        }
        scopes.push(scope.clone());
        Ok(())
    }

    fn retain_namespace(&self, namespace: &Rc<Namespace>) -> Result<(), Error> {
        let mut namespaces = self.namespaces.borrow_mut();
        if namespaces.len() >= MAX_RETAINED {
            return Err(Error::LimitExceeded { limit: Limit::Memory });
        }
        namespaces.push(namespace.clone());
        Ok(())
    }

    /// Runs `inner` one call level deeper.
    fn with_call_depth<T>(&self, inner: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
        let calls = self.calls.get();
        if calls >= MAX_CALLS {
            return Err(Error::LimitExceeded { limit: Limit::Nesting });
        }
        self.budget.check_stack()?;
        self.calls.set(calls + 1);
        let result = inner();
        self.calls.set(calls);
        result
    }

    fn body(&self, body: &[Stmt], scope: &Rc<Scope>, out: &mut TextBuf<'_>) -> Result<Flow, Error> {
        self.budget.check_stack()?;
        for statement in body {
            let flow = self
                .statement(&statement.kind, scope, out)
                .map_err(|error| error.at(statement.line))?;
            if flow != Flow::Next {
                return Ok(flow);
            }
        }
        Ok(Flow::Next)
    }

    fn statement(
        &self,
        statement: &StmtKind,
        scope: &Rc<Scope>,
        out: &mut TextBuf<'_>,
    ) -> Result<Flow, Error> {
        self.budget.tick(1)?;
        match statement {
            StmtKind::Data(data) => out.push_str(data, None)?,
            StmtKind::Print(values) => {
                for value in values {
                    let value = self.value(value, scope)?;
                    self.print(&value, out)?;
                }
            }
            StmtKind::If { branches, otherwise } => {
                for (test, body) in branches {
                    if self.value(test, scope)?.is_true() {
                        return self.body(body, scope, out);
                    }
                }
                return self.body(otherwise, scope, out);
            }
            StmtKind::For(node) => {
                let iterable = self.value(&node.iterable, scope)?;
                return self.with_call_depth(|| self.for_loop(node, &iterable, scope, 0, out));
            }
            StmtKind::Set { target, value } => {
                self.check_target(target, scope)?;
                let value = self.value(value, scope)?;
                self.assign(target, value, scope)?;
            }
            StmtKind::SetBlock { target, filters, body } => {
                let (flow, text) = self.capture(body, &Scope::new(Some(scope.clone())))?;
                if flow != Flow::Next {
                    return Ok(flow);
                }
                let mut value = self.filtered(Value::Str(text), filters, scope)?;
                if self.context.escapes() {
                    value = Value::Str(repr::text(self.budget, &value)?.with_markup(true));
                }
                self.check_target(target, scope)?;
                self.assign(target, value, scope)?;
            }
            StmtKind::Macro(definition) => {
                self.retain_scope(scope)?;
                let name = definition.name.as_deref().and_then(|name| self.names.find(name));
                let value = MacroValue { definition: definition.clone(), scope: scope.clone() };
                if let Some(name) = name {
                    self.set(scope, name, Value::Macro(Rc::new(value)))?;
                }
            }
            StmtKind::CallBlock { caller, call } => {
                self.retain_scope(scope)?;
                let value = MacroValue { definition: caller.clone(), scope: scope.clone() };
                let value = self.call_with_caller(call, Value::Macro(Rc::new(value)), scope)?;
                repr::write_str(out, self.budget, &value)?;
            }
            StmtKind::Generation(body) => {
                return self.body(body, &Scope::new(Some(scope.clone())), out);
            }
            StmtKind::FilterBlock { filters, body } => {
                let inner = Scope::new(Some(scope.clone()));
                let (flow, text) = self.capture(body, &inner)?;
                if flow != Flow::Next {
                    return Ok(flow);
                }
                let value = self.filtered(Value::Str(text), filters, &inner)?;
                repr::write_str(out, self.budget, &value)?;
            }
            StmtKind::With { variables, body } => {
                let inner = Scope::new(Some(scope.clone()));
                for (target, value) in variables {
                    let value = self.value(value, scope)?;
                    self.assign(target, value, &inner)?;
                }
                return self.body(body, &inner, out);
            }
            StmtKind::Autoescape { enabled, body } => {
                let enabled = self.value(enabled, scope)?.is_true();
                let before = self.context.set_escapes(enabled);
                let flow = self.body(body, &Scope::new(Some(scope.clone())), out);
                self.context.set_escapes(before);
                return flow;
            }
            StmtKind::Block { is_scoped, is_required, name, body } => {
                if *is_required {
                    let what = format!("Required block '{name}' not found");
                    return Err(Error::runtime("TemplateRuntimeError", what));
                }
                // A block sees the template's top-level variables, and those of enclosing loops
                // only if it is `scoped`.
                let outer = if *is_scoped { scope } else { &self.root };
                return self.body(body, &Scope::new(Some(outer.clone())), out);
            }
            StmtKind::Break => return Ok(Flow::Break),
            StmtKind::Continue => return Ok(Flow::Continue),
            StmtKind::Load(tag) => {
                let what = format!("chat templates cannot load other templates with `{tag}`");
                return Err(Error::type_error(what));
            }
        }
        Ok(Flow::Next)
    }

    /// Writes a value like `{{ value }}`.
    fn print(&self, value: &Value, out: &mut TextBuf<'_>) -> Result<(), Error> {
        if self.context.escapes() {
            let text = repr::text(self.budget, value)?;
            return out.push(&ops::escape(self.budget, &text)?);
        }
        repr::write_str(out, self.budget, value)
    }

    /// Executes a body and returns its output.
    fn capture(&self, body: &[Stmt], scope: &Rc<Scope>) -> Result<(Flow, Text), Error> {
        let mut out = TextBuf::new(self.budget);
        let flow = self.body(body, scope, &mut out)?;
        Ok((flow, out.finish_markup(self.context.escapes())))
    }

    fn filtered(
        &self,
        mut value: Value,
        filters: &[Filter],
        scope: &Rc<Scope>,
    ) -> Result<Value, Error> {
        for filter in filters {
            let args = self.args(&filter.args, scope)?;
            value = filters::call(&self.context, &filter.name, &value, args)?;
        }
        Ok(value)
    }

    /// Executes a loop over the items of `iterable`.
    fn for_loop(
        &self,
        node: &Arc<For>,
        iterable: &Value,
        scope: &Rc<Scope>,
        depth: usize,
        out: &mut TextBuf<'_>,
    ) -> Result<Flow, Error> {
        let mut items = iterate::items(self.budget, iterable)?;
        if let Some(test) = &node.test {
            let mut chosen = Vec::new();
            for item in &items.items {
                let inner = Scope::new(Some(scope.clone()));
                self.assign(&node.target, item.clone(), &inner)?;
                if self.value(test, &inner)?.is_true() {
                    if chosen.len() == chosen.capacity() {
                        check_values(self.budget, 2 * chosen.len())?;
                    }
                    chosen.push(item.clone());
                }
            }
            items = Seq::new(self.budget, chosen)?;
        }
        let recursion = match node.is_recursive {
            true => {
                self.retain_scope(scope)?;
                Some((node.clone(), scope.clone()))
            }
            false => None,
        };
        let state = Rc::new(LoopState {
            items: items.clone(),
            idx: Cell::new(0),
            depth,
            last_changed: RefCell::new(None),
            recursion,
        });
        // For jinja2's `else`, a loop counts as empty until an iteration has reached its end.
        let mut is_empty = true;
        let mut result = Ok(Flow::Next);
        for (at, item) in items.items.iter().enumerate() {
            state.idx.set(at);
            match self.iteration(node, &state, item, scope, out) {
                Ok(Flow::Next) => is_empty = false,
                Ok(Flow::Continue) => {}
                Ok(Flow::Break) => break,
                Err(error) => {
                    result = Err(error);
                    break;
                }
            }
        }
        // Breaks a reference cycle: it may contain the loop itself.
        drop(state.last_changed.take());
        if result.is_ok() && is_empty && !node.otherwise.is_empty() {
            return self.body(&node.otherwise, &Scope::new(Some(scope.clone())), out);
        }
        result
    }

    fn iteration(
        &self,
        node: &Arc<For>,
        state: &Rc<LoopState>,
        item: &Value,
        scope: &Rc<Scope>,
        out: &mut TextBuf<'_>,
    ) -> Result<Flow, Error> {
        self.budget.tick(1)?;
        let inner = Scope::new(Some(scope.clone()));
        inner.set(LOOP, Value::Loop(state.clone()));
        self.assign(&node.target, item.clone(), &inner)?;
        self.body(&node.body, &inner, out)
    }

    fn set(&self, scope: &Rc<Scope>, symbol: Symbol, value: Value) -> Result<(), Error> {
        self.budget.tick(scope.len() / 8)?;
        scope.set(symbol, value);
        Ok(())
    }

    /// Checks that attributes are assigned to namespaces only.
    fn check_target(&self, target: &Target, scope: &Rc<Scope>) -> Result<(), Error> {
        match target {
            Target::Name(_) => Ok(()),
            Target::Attribute(name, _) => match scope.get(*name) {
                Some(Value::Namespace(_)) => Ok(()),
                _ => Err(Error::runtime(
                    "TemplateRuntimeError",
                    "cannot assign attribute on non-namespace object",
                )),
            },
            Target::Tuple(targets) => {
                targets.iter().try_for_each(|target| self.check_target(target, scope))
            }
        }
    }

    fn assign(&self, target: &Target, value: Value, scope: &Rc<Scope>) -> Result<(), Error> {
        match target {
            Target::Name(symbol) => self.set(scope, *symbol, value),
            Target::Attribute(name, attribute) => {
                let Some(Value::Namespace(namespace)) = scope.get(*name) else {
                    return Err(Error::runtime(
                        "TemplateRuntimeError",
                        "cannot assign attribute on non-namespace object",
                    ));
                };
                let values = namespace.values.borrow().clone();
                let mut changed = DictBuilder::from(self.budget, &values)?;
                changed.insert(Value::str(&**attribute), value)?;
                namespace.values.replace(changed.finish()?);
                Ok(())
            }
            Target::Tuple(targets) => {
                let items = iterate::items(self.budget, &value).map_err(|error| match error {
                    Error::Runtime { class: "TypeError", .. } => Error::type_error(format!(
                        "cannot unpack non-iterable {} object",
                        value.type_name()
                    )),
                    error => error,
                })?;
                let (n, expected) = (items.items.len(), targets.len());
                if n < expected {
                    let what =
                        format!("not enough values to unpack (expected {expected}, got {n})");
                    return Err(Error::value_error(what));
                }
                if n > expected {
                    let what = format!("too many values to unpack (expected {expected})");
                    return Err(Error::value_error(what));
                }
                for (target, item) in targets.iter().zip(&items.items) {
                    self.assign(target, item.clone(), scope)?;
                }
                Ok(())
            }
        }
    }
}
