//! Python's `==`, and numbers of either type. Other comparisons are in `ops`.

use std::cmp::Ordering;

use crate::Error;
use crate::limits::Budget;

use super::{Value, View};

/// An integer or a float.
#[derive(Clone, Copy)]
pub(crate) enum Number {
    Int(i128),
    Float(f64),
}

impl Number {
    pub(crate) fn of(value: &Value) -> Option<Self> {
        match value {
            Value::Float(number) => Some(Self::Float(*number)),
            _ => value.as_index().map(Self::Int),
        }
    }

    pub(crate) fn to_float(self) -> f64 {
        match self {
            Self::Int(number) => number as f64,
            Self::Float(number) => number,
        }
    }

    pub(crate) fn compare(self, other: Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Int(a), Self::Int(b)) => Some(a.cmp(&b)),
            (a, b) => a.to_float().partial_cmp(&b.to_float()),
        }
    }
}

/// Evaluates `left == right`.
pub(crate) fn equals(budget: &Budget<'_>, left: &Value, right: &Value) -> Result<bool, Error> {
    budget.tick(1)?;
    if let (Some(left), Some(right)) = (Number::of(left), Number::of(right)) {
        return Ok(left.compare(right) == Some(Ordering::Equal));
    }
    Ok(match (left, right) {
        (Value::Str(left), Value::Str(right)) => {
            budget.tick(left.len().min(right.len()) / 64)?;
            left.as_str() == right.as_str()
        }
        (Value::List(left), Value::List(right)) | (Value::Tuple(left), Value::Tuple(right)) => {
            equal_items(budget, &left.items, &right.items)?
        }
        (Value::Dict(left), Value::Dict(right)) => {
            if left.len() != right.len() {
                return Ok(false);
            }
            budget.check_stack()?;
            for (key, value) in left.entries() {
                match right.get(budget, key)? {
                    Some(other) if value.is_same(other) || equals(budget, value, other)? => {}
                    _ => return Ok(false),
                }
            }
            true
        }
        (Value::Range(left), Value::Range(right)) => {
            let n = left.len();
            n == right.len()
                && (n == 0 || left.start == right.start)
                && (n <= 1 || left.step == right.step)
        }
        (Value::View(View::Keys, left), Value::View(View::Keys, right)) => {
            let mut is_equal = left.len() == right.len();
            for (key, _) in left.entries() {
                is_equal = is_equal && right.get(budget, key)?.is_some();
            }
            is_equal
        }
        (Value::Undefined(_), Value::Undefined(_)) => true,
        _ => left.is_same(right),
    })
}

fn equal_items(budget: &Budget<'_>, left: &[Value], right: &[Value]) -> Result<bool, Error> {
    if left.len() != right.len() {
        return Ok(false);
    }
    budget.check_stack()?;
    for (left, right) in left.iter().zip(right) {
        budget.tick(1)?;
        if !left.is_same(right) && !equals(budget, left, right)? {
            return Ok(false);
        }
    }
    Ok(true)
}
