//! The state of a rendering that filters and tests need; they do not see the interpreter.

use std::cell::Cell;

use crate::limits::Budget;

/// The context in which filters and tests are called.
pub(crate) struct Context<'a> {
    pub(crate) budget: &'a Budget<'a>,
    escapes: Cell<bool>,
}

impl<'a> Context<'a> {
    pub(crate) fn new(budget: &'a Budget<'a>) -> Self {
        Self { budget, escapes: Cell::new(false) }
    }

    /// Whether automatic escaping is on.
    pub(crate) fn escapes(&self) -> bool {
        self.escapes.get()
    }

    /// Turns automatic escaping on or off and returns the previous setting.
    pub(crate) fn set_escapes(&self, escapes: bool) -> bool {
        self.escapes.replace(escapes)
    }
}
