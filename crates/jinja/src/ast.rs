//! The syntax tree of a template. Chains of operators, accesses and filters are lists, so that only
//! brackets and blocks are nested.

use std::collections::HashMap;
use std::sync::Arc;

/// An interned variable name: an index into [`Names`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Symbol(pub(crate) u32);

/// Names with a special meaning, which [`Names::new`] interns first, in this order.
pub(crate) const CALLER: Symbol = Symbol(0);
pub(crate) const KWARGS: Symbol = Symbol(1);
pub(crate) const VARARGS: Symbol = Symbol(2);
pub(crate) const LOOP: Symbol = Symbol(3);

/// All variable names of a template, interned.
#[derive(Debug)]
pub(crate) struct Names {
    names: Vec<Arc<str>>,
    index: HashMap<Arc<str>, Symbol>,
}

impl Names {
    pub(crate) fn new() -> Self {
        let mut names = Self { names: Vec::new(), index: HashMap::new() };
        for known in ["caller", "kwargs", "varargs", "loop"] {
            names.intern(known);
        }
        names
    }

    pub(crate) fn intern(&mut self, name: &str) -> Symbol {
        if let Some(symbol) = self.index.get(name) {
            return *symbol;
        }
        // No overflow: sources are limited to far less than 4 GiB.
        let symbol = Symbol(self.names.len() as u32);
        let name: Arc<str> = name.into();
        self.names.push(name.clone());
        self.index.insert(name, symbol);
        symbol
    }

    pub(crate) fn find(&self, name: &str) -> Option<Symbol> {
        self.index.get(name).copied()
    }

    pub(crate) fn name(&self, symbol: Symbol) -> &Arc<str> {
        &self.names[symbol.0 as usize]
    }
}

/// A statement and its line.
#[derive(Debug)]
pub(crate) struct Stmt {
    pub(crate) line: u32,
    pub(crate) kind: StmtKind,
}

#[derive(Debug)]
pub(crate) enum StmtKind {
    Data(String),
    Print(Vec<Expr>),
    If {
        branches: Vec<(Expr, Vec<Stmt>)>,
        otherwise: Vec<Stmt>,
    },
    For(Arc<For>),
    Set {
        target: Target,
        value: Expr,
    },
    SetBlock {
        target: Target,
        filters: Vec<Filter>,
        body: Vec<Stmt>,
    },
    Macro(Arc<Macro>),
    CallBlock {
        caller: Arc<Macro>,
        call: Expr,
    },
    /// `{% generation %}`: only opens a scope.
    Generation(Vec<Stmt>),
    FilterBlock {
        filters: Vec<Filter>,
        body: Vec<Stmt>,
    },
    With {
        variables: Vec<(Target, Expr)>,
        body: Vec<Stmt>,
    },
    Autoescape {
        enabled: Expr,
        body: Vec<Stmt>,
    },
    Block {
        is_scoped: bool,
        is_required: bool,
        name: String,
        body: Vec<Stmt>,
    },
    Break,
    Continue,
    /// `include`, `import`, `extends`: always an error, because there are no other templates.
    Load(&'static str),
}

#[derive(Debug)]
pub(crate) struct For {
    pub(crate) target: Target,
    pub(crate) iterable: Expr,
    pub(crate) test: Option<Expr>,
    pub(crate) is_recursive: bool,
    pub(crate) body: Vec<Stmt>,
    pub(crate) otherwise: Vec<Stmt>,
}

/// A macro, or the body of a call block.
#[derive(Debug)]
pub(crate) struct Macro {
    /// `None` for a call block.
    pub(crate) name: Option<Arc<str>>,
    pub(crate) params: Vec<Symbol>,
    /// Defaults of the last parameters.
    pub(crate) defaults: Vec<Expr>,
    pub(crate) body: Vec<Stmt>,
    pub(crate) line: u32,
    pub(crate) uses: Uses,
}

/// The special variables that a macro reads.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Uses {
    pub(crate) caller: bool,
    pub(crate) kwargs: bool,
    pub(crate) varargs: bool,
}

/// The target of an assignment.
#[derive(Debug)]
pub(crate) enum Target {
    Name(Symbol),
    /// `namespace.attribute`.
    Attribute(Symbol, Arc<str>),
    Tuple(Vec<Target>),
}

#[derive(Debug)]
pub(crate) enum Expr {
    None,
    Bool(bool),
    Int(i128),
    Float(f64),
    /// An index into the template's string literals.
    Str(u32),
    Name(Symbol),
    List(Vec<Expr>),
    Tuple(Vec<Expr>),
    Dict(Vec<(Expr, Expr)>),
    /// Signs, outermost first; `true` is a minus.
    Sign(Vec<bool>, Box<Expr>),
    /// A number of `not` operators.
    Not(u32, Box<Expr>),
    /// Operators of one precedence, left-associative.
    Binary(Box<Expr>, Vec<(Binary, Expr)>),
    And(Vec<Expr>),
    Or(Vec<Expr>),
    Compare(Box<Expr>, Vec<(Compare, Expr)>),
    Concat(Vec<Expr>),
    Condition(Box<Condition>),
    Access(Box<Expr>, Vec<Access>),
}

/// `value if test else otherwise`.
#[derive(Debug)]
pub(crate) struct Condition {
    /// Values with their tests, in source order.
    pub(crate) branches: Vec<(Expr, Expr)>,
    pub(crate) otherwise: Option<Expr>,
    pub(crate) line: u32,
}

/// A postfix operation: `.a`, `[b]`, `(c)`, `| d`, `is e`.
#[derive(Debug)]
pub(crate) enum Access {
    Attribute(Arc<str>),
    Item(Expr),
    Slice(Box<[Option<Expr>; 3]>),
    Call(Args),
    Filter(Filter),
    Test { name: Arc<str>, args: Args, is_negated: bool },
}

#[derive(Debug)]
pub(crate) struct Filter {
    pub(crate) name: Arc<str>,
    pub(crate) args: Args,
}

#[derive(Debug, Default)]
pub(crate) struct Args {
    pub(crate) positional: Vec<Expr>,
    pub(crate) named: Vec<(Arc<str>, Expr)>,
    pub(crate) star: Option<Box<Expr>>,
    pub(crate) double_star: Option<Box<Expr>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Binary {
    Add,
    Sub,
    Mul,
    Div,
    FloorDiv,
    Mod,
    Pow,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compare {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
    In,
    NotIn,
}
