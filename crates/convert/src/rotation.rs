//! How a checkpoint rotates queries and keys, wherever its `config.json` says it: `rope_theta` and
//! `rope_scaling`, or `rope_parameters` with both, for each kind of layers where they differ.

use serde_json::Value as Json;

use crate::Error;
use crate::config::{Reader, RopeScaling};
use crate::family::Family;
use crate::fields::{quoted, shown};

/// What every kind of scaling may say.
const OF_ALL: [&str; 4] = ["rope_type", "type", "rope_theta", "partial_rotary_factor"];
/// What the one or the other may say; where it is another's, it does nothing.
const OF_SOME: [&str; 8] = [
    "factor",
    "low_freq_factor",
    "high_freq_factor",
    "original_max_position_embeddings",
    "short_factor",
    "long_factor",
    "attention_factor",
    "finetuned",
];

/// The rotation of a model.
pub(crate) struct Rotation<'a> {
    reader: &'a Reader<'a>,
    family: Family,
    /// `rope_parameters`, or `rope_scaling`; of layers that see all, where kinds of layers differ.
    global: Json,
    local: Json,
}

impl<'a> Rotation<'a> {
    /// *Errors*: fields that are not known, [`Error::Unsupported`].
    pub(crate) fn new(reader: &'a Reader<'a>, family: Family) -> Result<Self, Error> {
        let (new, old) = (reader.get("rope_parameters"), reader.get("rope_scaling"));
        let all = match (new, old) {
            (Some(new), Some(old)) if new != old => {
                let what = "`rope_parameters` beside another `rope_scaling`".to_owned();
                return Err(Error::Unsupported { what });
            }
            (new, old) => new.or(old).unwrap_or(Json::Null),
        };
        if !all.is_null() && !all.is_object() {
            return Err(reader.damaged(format!("the rotary scaling is {}", shown(&all))));
        }
        let of_kind = |kind: &str| all.get(kind).filter(|_| family == Family::Gemma3).cloned();
        let kinds = (of_kind("full_attention"), of_kind("sliding_attention"));
        let (global, local) = match kinds {
            (None, None) => (all, Json::Null),
            (global, local) => (global.unwrap_or(Json::Null), local.unwrap_or(Json::Null)),
        };
        let rotation = Self { reader, family, global, local };
        for part in [&rotation.global, &rotation.local] {
            let fields = part.as_object().into_iter().flatten();
            let is_known = |name: &str| OF_ALL.contains(&name) || OF_SOME.contains(&name);
            let mut unknown = fields.filter(|(name, value)| !is_known(name) && !value.is_null());
            if let Some((name, value)) = unknown.next() {
                let name = quoted(name);
                let what = format!("the rotary scaling's field `{name}` ({})", shown(value));
                return Err(Error::Unsupported { what });
            }
        }
        let local_kind = kind(&rotation.local);
        if local_kind != "default" {
            let what = format!("rotary scaling `{}` in layers with a window", quoted(local_kind));
            return Err(Error::Unsupported { what });
        }
        Ok(rotation)
    }

    /// A number that the scaling says, else the file.
    fn number(&self, key: &str) -> Result<Option<f64>, Error> {
        match self.global.get(key).filter(|value| !value.is_null()) {
            Some(value) => {
                let wrong = || self.reader.damaged(format!("`{key}` is {}", shown(value)));
                value.as_f64().map(Some).ok_or_else(wrong)
            }
            None => self.reader.number(key),
        }
    }

    /// A number that must be there, above 0, and one that a file can hold.
    fn positive(&self, key: &str, number: Option<f64>) -> Result<f64, Error> {
        let missing = || self.reader.damaged(format!("the rotary scaling has no `{key}`"));
        let number = number.ok_or_else(missing)?;
        let is_sound = number > 0.0 && (number as f32).is_normal();
        let wrong = || self.reader.damaged(format!("`{key}` is {number}"));
        if is_sound { Ok(number) } else { Err(wrong()) }
    }

    fn needed(&self, key: &str) -> Result<f64, Error> {
        self.positive(key, self.number(key)?)
    }

    /// Dimensions of a head that are rotated.
    pub(crate) fn rope_dim(&self, head_dim: usize) -> Result<usize, Error> {
        const KEY: &str = "partial_rotary_factor";
        let is_partial = matches!(self.family, Family::Phi2 | Family::Phi3);
        let part = self.number(KEY)?.unwrap_or(1.0);
        let dim = (head_dim as f64 * part) as usize;
        let is_sound = part > 0.0 && part <= 1.0 && dim >= 2 && dim.is_multiple_of(2);
        if !is_sound || (!is_partial && dim != head_dim) {
            let what = format!("`{KEY}` {part} of heads of {head_dim} dimensions");
            return Err(if is_sound {
                Error::Unsupported { what: format!("{what} in this family") }
            } else {
                self.reader.damaged(what)
            });
        }
        Ok(dim)
    }

    pub(crate) fn base(&self) -> Result<f64, Error> {
        if self.family == Family::Gpt2 {
            return Ok(1.0);
        }
        self.needed("rope_theta")
    }

    /// The base in layers with a window.
    pub(crate) fn local_base(&self) -> Result<Option<f64>, Error> {
        if self.family != Family::Gemma3 {
            return Ok(None);
        }
        let own = self.local.get("rope_theta").and_then(Json::as_f64);
        let base = own.map_or_else(|| self.reader.number("rope_local_base_freq"), |b| Ok(Some(b)));
        self.positive("rope_local_base_freq", base?).map(Some)
    }

    pub(crate) fn scaling(&self, context: usize) -> Result<RopeScaling, Error> {
        Ok(match kind(&self.global) {
            "default" => RopeScaling::None,
            "linear" => RopeScaling::Linear { factor: self.needed("factor")? },
            "llama3" => RopeScaling::Llama3 {
                factor: self.needed("factor")?,
                low_freq_factor: self.needed("low_freq_factor")?,
                high_freq_factor: self.needed("high_freq_factor")?,
                original_context: self.needed("original_max_position_embeddings")?,
            },
            "longrope" | "su" => self.long_rope(context)?,
            other => {
                let what = format!("rotary scaling `{}`", quoted(other));
                return Err(Error::Unsupported { what });
            }
        })
    }

    fn long_rope(&self, context: usize) -> Result<RopeScaling, Error> {
        let factors = |key: &str| -> Result<Vec<f32>, Error> {
            let factors = self.global.get(key).and_then(Json::as_array);
            let factor = |factor: &Json| {
                let factor = factor.as_f64().map(|factor| factor as f32);
                factor.filter(|factor| factor.is_normal() && *factor > 0.0)
            };
            let factors = factors.and_then(|factors| factors.iter().map(factor).collect());
            factors.ok_or_else(|| self.reader.damaged(format!("the rotary scaling has no `{key}`")))
        };
        let original = self.number("original_max_position_embeddings")?;
        let scale = match original {
            Some(original) => context as f64 / original,
            None => self.number("factor")?.unwrap_or(1.0),
        };
        let original =
            self.positive("original_max_position_embeddings", original.or(Some(context as f64)))?;
        let computed = if scale > 1.0 { (1.0 + scale.ln() / original.ln()).sqrt() } else { 1.0 };
        let asked = self.number("attention_factor")?;
        Ok(RopeScaling::LongRope {
            short: factors("short_factor")?,
            long: factors("long_factor")?,
            original_context: original as usize,
            attention_factor: self.positive("attention_factor", asked.or(Some(computed)))?,
        })
    }
}

/// The scaling's kind.
fn kind(part: &Json) -> &str {
    let kind = part.get("rope_type").or_else(|| part.get("type"));
    kind.and_then(Json::as_str).unwrap_or("default")
}
