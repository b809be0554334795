//! Parses statements like jinja2's parser; expressions are in the submodule.

mod expression;

use std::sync::Arc;

use crate::ast::{
    CALLER, Expr, Filter, For, KWARGS, Macro, Names, Stmt, StmtKind, Symbol, Target, Uses, VARARGS,
};
use crate::lexer::{Token, TokenKind, tokenize};
use crate::limits::{MAX_NESTING, Stack};
use crate::{Error, Limit};

/// A parsed template.
#[derive(Debug)]
pub(crate) struct Parsed {
    pub(crate) body: Vec<Stmt>,
    pub(crate) names: Names,
    pub(crate) strings: Vec<String>,
}

/// Parses a template.
pub(crate) fn parse(source: &str) -> Result<Parsed, Error> {
    let mut parser = Parser {
        tokens: tokenize(source)?,
        position: 0,
        names: Names::new(),
        strings: Vec::new(),
        nesting: 0,
        stack: Stack::here(),
        is_soft: false,
        unknown: Vec::new(),
        in_loop: false,
        macros: Vec::new(),
        block_names: Vec::new(),
        tags: Vec::new(),
    };
    let body = parser.statements(&[])?;
    if let Some(error) = parser.unknown.into_iter().next() {
        return Err(error);
    }
    Ok(Parsed { body, names: parser.names, strings: parser.strings })
}

struct Parser {
    tokens: Vec<Token>,
    /// The index of the current token.
    position: usize,
    names: Names,
    strings: Vec<String>,
    nesting: usize,
    stack: Stack,
    /// Whether unknown filters and tests are allowed: inside of conditions, jinja2 resolves them
    /// only when they are used.
    is_soft: bool,
    /// Unknown filters and tests that are, as far as known, outside of conditions.
    unknown: Vec<Error>,
    in_loop: bool,
    /// The special variables used by each enclosing macro.
    macros: Vec<SpecialUses>,
    block_names: Vec<String>,
    /// The tags that are open.
    tags: Vec<String>,
}

/// How a macro uses its special variables; the first use decides.
#[derive(Default)]
struct SpecialUses {
    uses: Uses,
    stored: Uses,
}

impl Parser {
    fn token(&self) -> &Token {
        // The last token is `Eof`, and the parser never advances past it.
        &self.tokens[self.position.min(self.tokens.len() - 1)]
    }

    fn kind(&self) -> &TokenKind {
        &self.token().kind
    }

    fn peek(&self) -> &TokenKind {
        &self.tokens[(self.position + 1).min(self.tokens.len() - 1)].kind
    }

    fn line(&self) -> u32 {
        self.token().line
    }

    fn advance(&mut self) {
        self.position = (self.position + 1).min(self.tokens.len() - 1);
    }

    fn is_op(&self, operator: &str) -> bool {
        matches!(self.kind(), TokenKind::Op(op) if *op == operator)
    }

    fn is_name(&self, name: &str) -> bool {
        matches!(self.kind(), TokenKind::Name(found) if found == name)
    }

    fn skip_op(&mut self, operator: &str) -> bool {
        let found = self.is_op(operator);
        if found {
            self.advance();
        }
        found
    }

    fn skip_name(&mut self, name: &str) -> bool {
        let found = self.is_name(name);
        if found {
            self.advance();
        }
        found
    }

    fn expect_op(&mut self, operator: &str) -> Result<(), Error> {
        if self.skip_op(operator) { Ok(()) } else { Err(self.expected(operator)) }
    }

    fn expect(&mut self, kind: TokenKind) -> Result<(), Error> {
        if *self.kind() == kind {
            self.advance();
            return Ok(());
        }
        Err(self.expected(&describe(&kind)))
    }

    fn expect_name(&mut self) -> Result<String, Error> {
        match self.kind() {
            TokenKind::Name(name) => {
                let name = name.clone();
                self.advance();
                Ok(name)
            }
            _ => Err(self.expected("name")),
        }
    }

    fn expected(&self, what: &str) -> Error {
        let what = match self.kind() {
            TokenKind::Eof => format!("unexpected end of template, expected '{what}'"),
            kind => format!("expected token '{what}', got '{}'", describe(kind)),
        };
        self.fail(what)
    }

    fn fail(&self, what: impl Into<String>) -> Error {
        Error::syntax(self.line(), what)
    }

    /// Runs `inner` one nesting level deeper.
    fn nested<T>(&mut self, inner: impl FnOnce(&mut Self) -> Result<T, Error>) -> Result<T, Error> {
        if self.nesting >= MAX_NESTING {
            return Err(Error::LimitExceeded { limit: Limit::Nesting });
        }
        self.stack.check()?;
        self.nesting += 1;
        let result = inner(self);
        self.nesting -= 1;
        result
    }

    /// Parses statements up to one of the tags `ends`, whose name is then the current token; if
    /// `ends` is empty, up to the end of the template.
    fn statements(&mut self, ends: &[&str]) -> Result<Vec<Stmt>, Error> {
        let mut body = Vec::new();
        loop {
            let line = self.line();
            match self.kind() {
                TokenKind::Data(_) => {
                    let position = self.position;
                    self.advance();
                    if let TokenKind::Data(data) = &mut self.tokens[position].kind {
                        let data = std::mem::take(data);
                        body.push(Stmt { line, kind: StmtKind::Data(data) });
                    }
                }
                TokenKind::VariableBegin => {
                    self.advance();
                    let value = self.tuple(true, false)?;
                    self.expect(TokenKind::VariableEnd)?;
                    body.push(Stmt { line, kind: StmtKind::Print(vec![value]) });
                }
                TokenKind::BlockBegin => {
                    self.advance();
                    if let TokenKind::Name(name) = self.kind()
                        && ends.contains(&name.as_str())
                    {
                        return Ok(body);
                    }
                    let line = self.line();
                    let kind = self.nested(Self::statement)?;
                    body.push(Stmt { line, kind });
                    self.expect(TokenKind::BlockEnd)?;
                }
                TokenKind::Eof if ends.is_empty() => return Ok(body),
                TokenKind::Eof => return Err(self.unexpected_end(ends)),
                _ => return Err(self.fail("unexpected token")),
            }
        }
    }

    fn unexpected_end(&self, ends: &[&str]) -> Error {
        let ends: Vec<_> = ends.iter().map(|end| format!("'{end}'")).collect();
        let mut what = format!(
            "Unexpected end of template. Jinja was looking for the following tags: {}.",
            ends.join(" or ")
        );
        if let Some(tag) = self.tags.last() {
            what.push_str(&format!(" The innermost block that needs to be closed is '{tag}'."));
        }
        self.fail(what)
    }

    /// Parses the body of a block tag, up to one of `ends`.
    fn body(&mut self, ends: &[&str]) -> Result<Vec<Stmt>, Error> {
        self.skip_op(":");
        self.expect(TokenKind::BlockEnd)?;
        self.statements(ends)
    }

    /// Parses the body of a block tag and its end tag.
    fn whole_body(&mut self, end: &str) -> Result<Vec<Stmt>, Error> {
        let body = self.body(&[end])?;
        self.advance();
        Ok(body)
    }

    /// Parses a body in which all filters must exist.
    fn hard_body(&mut self, end: &str) -> Result<Vec<Stmt>, Error> {
        let was_soft = std::mem::replace(&mut self.is_soft, false);
        let body = self.whole_body(end);
        self.is_soft = was_soft;
        body
    }

    /// Parses a body that jinja2 compiles to a function, from which outer loops cannot be left.
    fn function_body(&mut self, end: &str) -> Result<Vec<Stmt>, Error> {
        let in_loop = std::mem::replace(&mut self.in_loop, false);
        let body = self.hard_body(end);
        self.in_loop = in_loop;
        body
    }

    fn statement(&mut self) -> Result<StmtKind, Error> {
        let line = self.line();
        let TokenKind::Name(tag) = self.kind() else { return Err(self.fail("tag name expected")) };
        let tag = tag.clone();
        self.tags.push(tag.clone());
        let statement = self.statement_of(&tag, line)?;
        self.tags.pop();
        Ok(statement)
    }

    fn statement_of(&mut self, tag: &str, line: u32) -> Result<StmtKind, Error> {
        self.advance();
        match tag {
            "for" => self.for_loop(),
            "if" => self.condition_block(),
            "set" => self.set(),
            "macro" => {
                let name = self.expect_name()?;
                let symbol = self.names.intern(&name);
                self.note_store(symbol);
                let definition = self.macro_of(Some(name.into()), "endmacro", line)?;
                Ok(StmtKind::Macro(Arc::new(definition)))
            }
            "call" => self.call_block(line),
            "filter" => {
                let filters = self.filters(true)?;
                let body = self.hard_body("endfilter")?;
                Ok(StmtKind::FilterBlock { filters, body })
            }
            "with" => self.with(),
            "autoescape" => {
                let enabled = self.expression(true)?;
                let body = self.hard_body("endautoescape")?;
                Ok(StmtKind::Autoescape { enabled, body })
            }
            "generation" => Ok(StmtKind::Generation(self.function_body("endgeneration")?)),
            "block" => self.block(),
            "print" => {
                let mut values = Vec::new();
                while *self.kind() != TokenKind::BlockEnd {
                    if !values.is_empty() {
                        self.expect_op(",")?;
                    }
                    values.push(self.expression(true)?);
                }
                Ok(StmtKind::Print(values))
            }
            "break" | "continue" if !self.in_loop => {
                Err(Error::syntax(line, format!("'{tag}' outside loop")))
            }
            "break" => Ok(StmtKind::Break),
            "continue" => Ok(StmtKind::Continue),
            "include" => self.load("include"),
            "import" => self.load("import"),
            "from" => self.load("import"),
            "extends" => self.load("extends"),
            _ => Err(Error::syntax(line, format!("Encountered unknown tag '{tag}'."))),
        }
    }

    /// Parses a tag that would load another template; its arguments are skipped.
    fn load(&mut self, tag: &'static str) -> Result<StmtKind, Error> {
        while !matches!(self.kind(), TokenKind::BlockEnd | TokenKind::Eof) {
            self.advance();
        }
        Ok(StmtKind::Load(tag))
    }

    fn for_loop(&mut self) -> Result<StmtKind, Error> {
        let target = self.target(false)?;
        if !self.skip_name("in") {
            return Err(self.expected("in"));
        }
        let iterable = self.tuple(false, false)?;
        let test = match self.skip_name("if") {
            true => Some(self.expression(true)?),
            false => None,
        };
        let is_recursive = self.skip_name("recursive");
        let was_soft = std::mem::replace(&mut self.is_soft, false);
        let was_in_loop = std::mem::replace(&mut self.in_loop, true);
        let body = self.body(&["endfor", "else"])?;
        self.in_loop = was_in_loop && !is_recursive;
        let otherwise = match self.skip_name("else") {
            true => self.whole_body("endfor")?,
            false => {
                self.advance();
                Vec::new()
            }
        };
        self.in_loop = was_in_loop;
        self.is_soft = was_soft;
        if assigns_loop(&target) {
            return Err(self.fail("Can't assign to special loop variable in for-loop target"));
        }
        Ok(StmtKind::For(Arc::new(For { target, iterable, test, is_recursive, body, otherwise })))
    }

    fn condition_block(&mut self) -> Result<StmtKind, Error> {
        let was_soft = std::mem::replace(&mut self.is_soft, true);
        let mut branches = Vec::new();
        let mut otherwise = Vec::new();
        loop {
            let test = self.tuple(false, false)?;
            let body = self.body(&["elif", "else", "endif"])?;
            branches.push((test, body));
            if self.skip_name("elif") {
                continue;
            }
            if self.skip_name("else") {
                otherwise = self.whole_body("endif")?;
            } else {
                self.advance();
            }
            break;
        }
        self.is_soft = was_soft;
        Ok(StmtKind::If { branches, otherwise })
    }

    fn set(&mut self) -> Result<StmtKind, Error> {
        let target = self.target(true)?;
        if self.skip_op("=") {
            let value = self.tuple(true, false)?;
            return Ok(StmtKind::Set { target, value });
        }
        let filters = self.filters(false)?;
        let body = self.hard_body("endset")?;
        Ok(StmtKind::SetBlock { target, filters, body })
    }

    fn with(&mut self) -> Result<StmtKind, Error> {
        let mut variables = Vec::new();
        while *self.kind() != TokenKind::BlockEnd {
            if !variables.is_empty() {
                self.expect_op(",")?;
            }
            let target = self.target(false)?;
            self.expect_op("=")?;
            variables.push((target, self.expression(true)?));
        }
        let body = self.hard_body("endwith")?;
        Ok(StmtKind::With { variables, body })
    }

    fn block(&mut self) -> Result<StmtKind, Error> {
        let name = self.expect_name()?;
        if self.block_names.contains(&name) {
            return Err(self.fail(format!("block '{name}' defined twice")));
        }
        self.block_names.push(name.clone());
        let is_scoped = self.skip_name("scoped");
        let is_required = self.skip_name("required");
        let body = self.function_body("endblock")?;
        self.skip_name(&name);
        Ok(StmtKind::Block { is_scoped, is_required, name, body })
    }

    fn call_block(&mut self, line: u32) -> Result<StmtKind, Error> {
        // The parameters precede the call, and the body follows it.
        let (params, defaults) =
            if self.is_op("(") { self.signature()? } else { (Vec::new(), Vec::new()) };
        let call = self.expression(true)?;
        if !matches!(&call, Expr::Access(_, access)
            if matches!(access.last(), Some(crate::ast::Access::Call(_))))
        {
            return Err(Error::syntax(line, "expected call"));
        }
        let caller = self.finish_macro(None, params, defaults, "endcall", line)?;
        Ok(StmtKind::CallBlock { caller: Arc::new(caller), call })
    }

    fn macro_of(&mut self, name: Option<Arc<str>>, end: &str, line: u32) -> Result<Macro, Error> {
        let (params, defaults) = self.signature()?;
        self.finish_macro(name, params, defaults, end, line)
    }

    fn finish_macro(
        &mut self,
        name: Option<Arc<str>>,
        params: Vec<Symbol>,
        defaults: Vec<Expr>,
        end: &str,
        line: u32,
    ) -> Result<Macro, Error> {
        self.macros.push(SpecialUses::default());
        let body = self.function_body(end)?;
        let mut uses = self.macros.pop().unwrap_or_default().uses;
        if let Some(at) = params.iter().position(|param| *param == CALLER) {
            if uses.caller && at + defaults.len() < params.len() {
                let what = "When defining macros or call blocks the special \"caller\" argument \
                            must be omitted or be given a default.";
                return Err(Error::syntax(line, what));
            }
            uses.caller = false;
        }
        uses.kwargs &= !params.contains(&KWARGS);
        uses.varargs &= !params.contains(&VARARGS);
        Ok(Macro { name, params, defaults, body, line, uses })
    }

    fn signature(&mut self) -> Result<(Vec<Symbol>, Vec<Expr>), Error> {
        self.expect_op("(")?;
        let mut params = Vec::new();
        let mut defaults = Vec::new();
        while !self.is_op(")") {
            if !params.is_empty() {
                self.expect_op(",")?;
            }
            let name = self.expect_name()?;
            if is_constant(&name) {
                return Err(self.fail("can't assign to 'const'"));
            }
            if self.skip_op("=") {
                defaults.push(self.expression(true)?);
            } else if !defaults.is_empty() {
                return Err(self.fail("non-default argument follows default argument"));
            }
            let param = self.names.intern(&name);
            if params.contains(&param) {
                return Err(self.fail(format!("duplicate argument '{name}'")));
            }
            params.push(param);
        }
        self.expect_op(")")?;
        Ok((params, defaults))
    }

    /// Parses the filters of a block.
    fn filters(&mut self, starts_at_once: bool) -> Result<Vec<Filter>, Error> {
        let mut filters = Vec::new();
        if starts_at_once {
            filters.push(self.filter()?);
        }
        while self.skip_op("|") {
            filters.push(self.filter()?);
        }
        Ok(filters)
    }

    /// Parses an assignment target: names, tuples, and with `with_namespace` attributes of
    /// namespaces.
    fn target(&mut self, with_namespace: bool) -> Result<Target, Error> {
        let mut targets = Vec::new();
        let mut is_tuple = false;
        loop {
            if self.is_tuple_end() {
                break;
            }
            targets.push(self.nested(|parser| parser.one_target(with_namespace))?);
            if !self.skip_op(",") {
                break;
            }
            is_tuple = true;
        }
        match targets.pop() {
            Some(target) if !is_tuple => Ok(target),
            Some(target) => {
                targets.push(target);
                Ok(Target::Tuple(targets))
            }
            None => {
                Err(self.fail(format!("Expected an expression, got '{}'", describe(self.kind()))))
            }
        }
    }

    fn one_target(&mut self, with_namespace: bool) -> Result<Target, Error> {
        if self.skip_op("(") {
            let target = self.target(false)?;
            self.expect_op(")")?;
            return Ok(target);
        }
        if !matches!(self.kind(), TokenKind::Name(_)) {
            return Err(self.fail(format!("can't assign to '{}'", describe(self.kind()))));
        }
        let name = self.expect_name()?;
        if is_constant(&name) {
            return Err(self.fail("can't assign to 'const'"));
        }
        let symbol = self.names.intern(&name);
        if with_namespace && self.skip_op(".") {
            return Ok(Target::Attribute(symbol, self.expect_name()?.into()));
        }
        self.note_store(symbol);
        Ok(Target::Name(symbol))
    }

    fn is_tuple_end(&self) -> bool {
        matches!(self.kind(), TokenKind::VariableEnd | TokenKind::BlockEnd | TokenKind::Op(")"))
    }

    fn note_store(&mut self, symbol: Symbol) {
        for special in &mut self.macros {
            if let Some(stored) = special_flag(&mut special.stored, symbol) {
                *stored = true;
            }
        }
    }

    fn note_load(&mut self, symbol: Symbol) {
        for special in &mut self.macros {
            if special_flag(&mut special.stored, symbol).is_some_and(|stored| !*stored)
                && let Some(used) = special_flag(&mut special.uses, symbol)
            {
                *used = true;
            }
        }
    }
}

fn special_flag(uses: &mut Uses, symbol: Symbol) -> Option<&mut bool> {
    match symbol {
        CALLER => Some(&mut uses.caller),
        KWARGS => Some(&mut uses.kwargs),
        VARARGS => Some(&mut uses.varargs),
        _ => None,
    }
}

fn assigns_loop(target: &Target) -> bool {
    match target {
        Target::Name(symbol) => *symbol == crate::ast::LOOP,
        Target::Attribute(..) => false,
        Target::Tuple(targets) => targets.iter().any(assigns_loop),
    }
}

fn is_constant(name: &str) -> bool {
    matches!(name, "true" | "false" | "none" | "True" | "False" | "None")
}

/// The name of a token in error messages.
fn describe(kind: &TokenKind) -> String {
    match kind {
        TokenKind::Data(_) => "template data / text",
        TokenKind::VariableBegin => "begin of print statement",
        TokenKind::VariableEnd => "end of print statement",
        TokenKind::BlockBegin => "begin of statement block",
        TokenKind::BlockEnd => "end of statement block",
        TokenKind::Name(name) => name,
        TokenKind::Str(_) => "string",
        TokenKind::Int(_) => "integer",
        TokenKind::Float(_) => "float",
        TokenKind::Op(operator) => operator,
        TokenKind::Eof => "end of template",
    }
    .to_owned()
}
