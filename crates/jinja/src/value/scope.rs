//! Variables and their scopes.

use std::cell::RefCell;
use std::rc::Rc;

use crate::ast::Symbol;
use crate::limits::Charge;

use super::Value;

/// The variables of a block, and its parent scope.
pub(crate) struct Scope {
    variables: RefCell<Vec<(Symbol, Value)>>,
    parent: Option<Rc<Scope>>,
    _charge: Charge,
}

impl Scope {
    pub(crate) fn new(parent: Option<Rc<Scope>>) -> Rc<Self> {
        let variables = RefCell::new(Vec::new());
        Rc::new(Self { variables, parent, _charge: Charge::new(96) })
    }

    pub(crate) fn set(&self, symbol: Symbol, value: Value) {
        let mut variables = self.variables.borrow_mut();
        match variables.iter_mut().find(|(name, _)| *name == symbol) {
            Some((_, place)) => *place = value,
            None => variables.push((symbol, value)),
        }
    }

    pub(crate) fn get(&self, symbol: Symbol) -> Option<Value> {
        let mut scope = self;
        loop {
            let variables = scope.variables.borrow();
            if let Some((_, value)) = variables.iter().find(|(name, _)| *name == symbol) {
                return Some(value.clone());
            }
            drop(variables);
            scope = scope.parent.as_deref()?;
        }
    }

    /// The number of variables in this scope, parents excluded.
    pub(crate) fn len(&self) -> usize {
        self.variables.borrow().len()
    }

    /// Removes all variables, which breaks reference cycles.
    pub(crate) fn clear(&self) -> Vec<(Symbol, Value)> {
        std::mem::take(&mut self.variables.borrow_mut())
    }
}
