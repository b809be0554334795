//! Evaluated arguments of calls, and binding them to parameter names.

use std::sync::Arc;

use crate::Error;
use crate::text::Mark;
use crate::value::Value;

/// The arguments of one call.
#[derive(Default, Clone)]
pub(crate) struct CallArgs {
    pub(crate) positional: Vec<Value>,
    pub(crate) named: Vec<(Arc<str>, Value)>,
    /// The mark of the keyword names, if any of them comes from a message.
    pub(crate) names_mark: Option<Mark>,
}

impl CallArgs {
    /// Binds the arguments to the parameters `names` of `function`; the first `n_required` are
    /// required.
    pub(crate) fn bind<const N: usize>(
        self,
        function: &str,
        names: [&str; N],
        n_required: usize,
    ) -> Result<[Option<Value>; N], Error> {
        let mut bound: [Option<Value>; N] = [const { None }; N];
        if self.positional.len() > N {
            let what = format!(
                "{function}() takes at most {N} arguments ({} given)",
                self.positional.len()
            );
            return Err(Error::type_error(what));
        }
        for (slot, value) in bound.iter_mut().zip(self.positional) {
            *slot = Some(value);
        }
        for (name, value) in self.named {
            let Some(idx) = names.iter().position(|known| *known == &*name) else {
                let what = format!("{function}() got an unexpected keyword argument '{name}'");
                return Err(Error::type_error(what));
            };
            if bound[idx].replace(value).is_some() {
                let what = format!("{function}() got multiple values for argument '{name}'");
                return Err(Error::type_error(what));
            }
        }
        for (name, value) in names.iter().zip(&bound).take(n_required) {
            if value.is_none() {
                let what = format!("{function}() missing required argument: '{name}'");
                return Err(Error::type_error(what));
            }
        }
        Ok(bound)
    }

    /// Checks that there are no arguments.
    pub(crate) fn expect_none(self, function: &str) -> Result<(), Error> {
        self.bind(function, [], 0).map(|[]| ())
    }
}
