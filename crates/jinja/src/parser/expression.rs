//! Parses expressions. Chains are parsed in loops, so that only brackets recurse.

use crate::ast::{Access, Args, Binary, Compare, Condition, Expr, Filter};
use crate::lexer::TokenKind;
use crate::limits::MAX_NESTING;
use crate::{Error, Limit};
use crate::{filters, predicates};

use super::{Parser, describe};

impl Parser {
    /// Parses an expression, or a tuple of several separated by commas.
    pub(super) fn tuple(
        &mut self,
        with_condition: bool,
        in_parentheses: bool,
    ) -> Result<Expr, Error> {
        let mut items = Vec::new();
        let mut is_tuple = false;
        loop {
            if self.is_tuple_end() {
                break;
            }
            items.push(self.expression(with_condition)?);
            if !self.skip_op(",") {
                break;
            }
            is_tuple = true;
        }
        if !is_tuple {
            if let Some(item) = items.pop() {
                return Ok(item);
            }
            if !in_parentheses {
                let what = format!("Expected an expression, got '{}'", describe(self.kind()));
                return Err(self.fail(what));
            }
        }
        Ok(Expr::Tuple(items))
    }

    pub(super) fn expression(&mut self, with_condition: bool) -> Result<Expr, Error> {
        if with_condition { self.condition() } else { self.or() }
    }

    fn condition(&mut self) -> Result<Expr, Error> {
        let line = self.line();
        let n_unknown = self.unknown.len();
        let mut value = self.or()?;
        if !self.is_name("if") {
            return Ok(value);
        }
        let mut branches = Vec::new();
        let mut n_wrapped = 0;
        let mut otherwise = None;
        loop {
            if !self.skip_name("if") {
                otherwise = Some(value);
                break;
            }
            let test = self.or()?;
            if self.skip_name("else") {
                branches.push((value, test));
                value = self.or()?;
            } else if self.is_name("if") {
                // In `a if b if c`, `a if b` is the value of the next condition.
                n_wrapped += 1;
                if n_wrapped > MAX_NESTING {
                    return Err(Error::LimitExceeded { limit: Limit::Nesting });
                }
                let branches = vec![(value, test)];
                let condition = Condition { branches, otherwise: None, line };
                value = Expr::Condition(Box::new(condition));
            } else {
                branches.push((value, test));
                break;
            }
        }
        // Inside of conditions, jinja2 resolves filters and tests only when they are used.
        self.unknown.truncate(n_unknown);
        Ok(Expr::Condition(Box::new(Condition { branches, otherwise, line })))
    }

    fn or(&mut self) -> Result<Expr, Error> {
        let first = self.and()?;
        if !self.is_name("or") {
            return Ok(first);
        }
        let mut items = vec![first];
        while self.skip_name("or") {
            items.push(self.and()?);
        }
        Ok(Expr::Or(items))
    }

    fn and(&mut self) -> Result<Expr, Error> {
        let first = self.not()?;
        if !self.is_name("and") {
            return Ok(first);
        }
        let mut items = vec![first];
        while self.skip_name("and") {
            items.push(self.not()?);
        }
        Ok(Expr::And(items))
    }

    fn not(&mut self) -> Result<Expr, Error> {
        let mut n = 0;
        while self.skip_name("not") {
            n += 1;
        }
        let value = self.comparison()?;
        Ok(if n == 0 { value } else { Expr::Not(n, Box::new(value)) })
    }

    fn comparison(&mut self) -> Result<Expr, Error> {
        let first = self.sum()?;
        let mut rest = Vec::new();
        loop {
            let operator = match self.kind() {
                TokenKind::Op("==") => Compare::Eq,
                TokenKind::Op("!=") => Compare::Ne,
                TokenKind::Op("<") => Compare::Lt,
                TokenKind::Op("<=") => Compare::Le,
                TokenKind::Op(">") => Compare::Gt,
                TokenKind::Op(">=") => Compare::Ge,
                TokenKind::Name(name) if name == "in" => Compare::In,
                TokenKind::Name(name)
                    if name == "not"
                        && matches!(self.peek(), TokenKind::Name(next) if next == "in") =>
                {
                    self.advance();
                    Compare::NotIn
                }
                _ => break,
            };
            self.advance();
            rest.push((operator, self.sum()?));
        }
        Ok(if rest.is_empty() { first } else { Expr::Compare(Box::new(first), rest) })
    }

    fn sum(&mut self) -> Result<Expr, Error> {
        self.binary(Self::concat, |operator| match operator {
            "+" => Some(Binary::Add),
            "-" => Some(Binary::Sub),
            _ => None,
        })
    }

    fn concat(&mut self) -> Result<Expr, Error> {
        let first = self.product()?;
        if !self.is_op("~") {
            return Ok(first);
        }
        let mut items = vec![first];
        while self.skip_op("~") {
            items.push(self.product()?);
        }
        Ok(Expr::Concat(items))
    }

    fn product(&mut self) -> Result<Expr, Error> {
        self.binary(Self::power, |operator| match operator {
            "*" => Some(Binary::Mul),
            "/" => Some(Binary::Div),
            "//" => Some(Binary::FloorDiv),
            "%" => Some(Binary::Mod),
            _ => None,
        })
    }

    fn power(&mut self) -> Result<Expr, Error> {
        self.binary(Self::unary, |operator| (operator == "**").then_some(Binary::Pow))
    }

    /// Parses a chain of operators of one precedence between operands.
    fn binary(
        &mut self,
        operand: fn(&mut Self) -> Result<Expr, Error>,
        find: fn(&str) -> Option<Binary>,
    ) -> Result<Expr, Error> {
        let first = operand(self)?;
        let mut rest = Vec::new();
        while let TokenKind::Op(operator) = self.kind()
            && let Some(operator) = find(operator)
        {
            self.advance();
            rest.push((operator, operand(self)?));
        }
        Ok(if rest.is_empty() { first } else { Expr::Binary(Box::new(first), rest) })
    }

    fn unary(&mut self) -> Result<Expr, Error> {
        let mut signs = Vec::new();
        while let TokenKind::Op(operator @ ("-" | "+")) = self.kind() {
            signs.push(*operator == "-");
            self.advance();
        }
        let value = self.nested(Self::primary)?;
        let mut value = self.postfix(value)?;
        if !signs.is_empty() {
            value = Expr::Sign(signs, Box::new(value));
        }
        let mut accesses = Vec::new();
        loop {
            match self.kind() {
                TokenKind::Op("|") => {
                    self.advance();
                    accesses.push(Access::Filter(self.filter()?));
                }
                TokenKind::Op("(") => accesses.push(Access::Call(self.args()?)),
                TokenKind::Name(name) if name == "is" => accesses.push(self.test()?),
                _ => break,
            }
        }
        Ok(with_accesses(value, accesses))
    }

    /// Parses postfix operations, as in `value.a[b](c)`.
    fn postfix(&mut self, value: Expr) -> Result<Expr, Error> {
        let mut accesses = Vec::new();
        loop {
            match self.kind() {
                TokenKind::Op(".") => {
                    self.advance();
                    let access = match self.kind() {
                        TokenKind::Name(name) => Access::Attribute(name.as_str().into()),
                        TokenKind::Int(number) => Access::Item(Expr::Int(*number)),
                        _ => return Err(self.fail("expected name or number")),
                    };
                    self.advance();
                    accesses.push(access);
                }
                TokenKind::Op("[") => accesses.push(self.nested(Self::subscript)?),
                TokenKind::Op("(") => accesses.push(Access::Call(self.args()?)),
                _ => break,
            }
        }
        Ok(with_accesses(value, accesses))
    }

    fn subscript(&mut self) -> Result<Access, Error> {
        self.expect_op("[")?;
        let mut items = Vec::new();
        while !self.is_op("]") {
            if !items.is_empty() {
                self.expect_op(",")?;
            }
            items.push(self.subscribed()?);
        }
        self.expect_op("]")?;
        match (items.pop(), items.is_empty()) {
            (Some(access), true) => Ok(access),
            (None, _) => Ok(Access::Item(Expr::Tuple(Vec::new()))),
            (Some(last), false) => {
                items.push(last);
                let items = items.into_iter().map(|item| match item {
                    Access::Item(item) => Ok(item),
                    _ => Err(self.fail("slices cannot be items of a tuple")),
                });
                Ok(Access::Item(Expr::Tuple(items.collect::<Result<_, _>>()?)))
            }
        }
    }

    fn subscribed(&mut self) -> Result<Access, Error> {
        let start = if self.is_op(":") {
            None
        } else {
            let item = self.expression(true)?;
            if !self.is_op(":") {
                return Ok(Access::Item(item));
            }
            Some(item)
        };
        self.advance();
        let bound = |parser: &mut Self| {
            let is_absent = matches!(parser.kind(), TokenKind::Op(":" | "]" | ","));
            if is_absent { Ok(None) } else { parser.expression(true).map(Some) }
        };
        let stop = bound(self)?;
        let step = if self.skip_op(":") { bound(self)? } else { None };
        Ok(Access::Slice(Box::new([start, stop, step])))
    }

    fn primary(&mut self) -> Result<Expr, Error> {
        match self.kind() {
            TokenKind::Name(name) => {
                let value = match name.as_str() {
                    "true" | "True" => Expr::Bool(true),
                    "false" | "False" => Expr::Bool(false),
                    "none" | "None" => Expr::None,
                    _ => {
                        let name = name.clone();
                        let symbol = self.names.intern(&name);
                        self.note_load(symbol);
                        Expr::Name(symbol)
                    }
                };
                self.advance();
                Ok(value)
            }
            TokenKind::Str(_) => {
                let mut text = String::new();
                while let TokenKind::Str(part) = self.kind() {
                    text.push_str(part);
                    self.advance();
                }
                let index = self.strings.len() as u32;
                self.strings.push(text);
                Ok(Expr::Str(index))
            }
            TokenKind::Int(number) => {
                let number = *number;
                self.advance();
                Ok(Expr::Int(number))
            }
            TokenKind::Float(number) => {
                let number = *number;
                self.advance();
                Ok(Expr::Float(number))
            }
            TokenKind::Op("(") => {
                self.advance();
                let value = self.tuple(true, true)?;
                self.expect_op(")")?;
                Ok(value)
            }
            TokenKind::Op("[") => self.list(),
            TokenKind::Op("{") => self.dict(),
            kind => Err(self.fail(format!("unexpected '{}'", describe(kind)))),
        }
    }

    fn list(&mut self) -> Result<Expr, Error> {
        self.expect_op("[")?;
        let mut items = Vec::new();
        while !self.is_op("]") {
            if !items.is_empty() {
                self.expect_op(",")?;
            }
            if self.is_op("]") {
                break;
            }
            items.push(self.expression(true)?);
        }
        self.expect_op("]")?;
        Ok(Expr::List(items))
    }

    fn dict(&mut self) -> Result<Expr, Error> {
        self.expect_op("{")?;
        let mut items = Vec::new();
        while !self.is_op("}") {
            if !items.is_empty() {
                self.expect_op(",")?;
            }
            if self.is_op("}") {
                break;
            }
            let key = self.expression(true)?;
            self.expect_op(":")?;
            items.push((key, self.expression(true)?));
        }
        self.expect_op("}")?;
        Ok(Expr::Dict(items))
    }

    fn args(&mut self) -> Result<Args, Error> {
        self.nested(Self::args_inside)
    }

    fn args_inside(&mut self) -> Result<Args, Error> {
        let line = self.line();
        let invalid = || Error::syntax(line, "invalid syntax for function call expression");
        self.expect_op("(")?;
        let mut args = Args::default();
        let mut is_first = true;
        while !self.is_op(")") {
            if !is_first {
                self.expect_op(",")?;
                if self.is_op(")") {
                    break;
                }
            }
            is_first = false;
            if self.skip_op("*") {
                if args.star.is_some() || args.double_star.is_some() {
                    return Err(invalid());
                }
                args.star = Some(Box::new(self.expression(true)?));
            } else if self.skip_op("**") {
                if args.double_star.is_some() {
                    return Err(invalid());
                }
                args.double_star = Some(Box::new(self.expression(true)?));
            } else if matches!(self.kind(), TokenKind::Name(_))
                && *self.peek() == TokenKind::Op("=")
            {
                if args.double_star.is_some() {
                    return Err(invalid());
                }
                let name = self.expect_name()?;
                self.advance();
                if args.named.iter().any(|(other, _)| **other == *name) {
                    let what = format!("keyword argument repeated: {name}");
                    return Err(Error::syntax(line, what));
                }
                args.named.push((name.into(), self.expression(true)?));
            } else {
                if args.star.is_some() || args.double_star.is_some() || !args.named.is_empty() {
                    return Err(invalid());
                }
                args.positional.push(self.expression(true)?);
            }
        }
        self.expect_op(")")?;
        Ok(args)
    }

    fn dotted_name(&mut self) -> Result<String, Error> {
        let mut name = self.expect_name()?;
        while self.skip_op(".") {
            name.push('.');
            name.push_str(&self.expect_name()?);
        }
        Ok(name)
    }

    pub(super) fn filter(&mut self) -> Result<Filter, Error> {
        let name = self.dotted_name()?;
        if !self.is_soft && !filters::names::exists(&name) {
            let error = self.fail(format!("No filter named '{name}'."));
            self.unknown.push(error);
        }
        let args = if self.is_op("(") { self.args()? } else { Args::default() };
        Ok(Filter { name: name.into(), args })
    }

    fn test(&mut self) -> Result<Access, Error> {
        self.advance();
        let is_negated = self.skip_name("not");
        let name = self.dotted_name()?;
        if !self.is_soft && !predicates::exists(&name) {
            let error = self.fail(format!("No test named '{name}'."));
            self.unknown.push(error);
        }
        let mut args = Args::default();
        let takes_arg = match self.kind() {
            TokenKind::Name(name) => !matches!(name.as_str(), "else" | "or" | "and"),
            TokenKind::Str(_)
            | TokenKind::Int(_)
            | TokenKind::Float(_)
            | TokenKind::Op("[" | "{") => true,
            _ => false,
        };
        if self.is_op("(") {
            args = self.args()?;
        } else if takes_arg {
            if self.is_name("is") {
                return Err(self.fail("You cannot chain multiple tests with is"));
            }
            let arg = self.nested(Self::primary)?;
            args.positional.push(self.postfix(arg)?);
        }
        Ok(Access::Test { name: name.into(), args, is_negated })
    }
}

fn with_accesses(value: Expr, accesses: Vec<Access>) -> Expr {
    if accesses.is_empty() { value } else { Expr::Access(Box::new(value), accesses) }
}
