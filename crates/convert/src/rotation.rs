//! The rotary position embedding of a checkpoint, from either spelling in its `config.json`:
//! `rope_theta` and `rope_scaling`, or `rope_parameters` with both, separately for layers with and
//! without a window where these differ.
//!
//! The factors that follow from it are computed in `metadata.rs`.

use serde_json::Value as Json;

use lilims_engine::spec::Positions;

use crate::Error;
use crate::config_reader::ConfigReader;
use crate::family::Family;
use crate::quote::{quoted, quoted_json};

/// Fields of every type of scaling.
const COMMON_FIELDS: [&str; 4] = ["rope_type", "type", "rope_theta", "partial_rotary_factor"];
/// Fields of some types of scaling; without effect in others.
const SCALING_FIELDS: [&str; 8] = [
    "factor",
    "low_freq_factor",
    "high_freq_factor",
    "original_max_position_embeddings",
    "short_factor",
    "long_factor",
    "attention_factor",
    "finetuned",
];

/// How angles are scaled for long contexts.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum RopeScaling {
    None,
    /// All positions are divided by the factor.
    Linear {
        factor: f64,
    },
    /// Low frequencies are divided by the factor, high ones are kept, others are interpolated.
    Llama3 {
        factor: f64,
        low_freq_factor: f64,
        high_freq_factor: f64,
        original_context: f64,
    },
    /// Each pair has its own factors, one for short and one for long contexts (LongRoPE,
    /// <https://arxiv.org/abs/2402.13753>).
    LongRope {
        short: Vec<f32>,
        long: Vec<f32>,
        original_context: usize,
        attention_factor: f64,
    },
}

/// The fields that describe a model's rotation.
pub(crate) struct Rotation<'a> {
    reader: &'a ConfigReader<'a>,
    family: Family,
    /// `rope_parameters` or `rope_scaling`; where layers differ, of those without a window.
    global: Json,
    /// The same of layers with a window, where they differ.
    local: Json,
}

impl<'a> Rotation<'a> {
    /// Finds the fields.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`] for unknown fields and for scaling in layers with a window,
    /// [`Error::Damaged`].
    pub(crate) fn new(reader: &'a ConfigReader<'a>, family: Family) -> Result<Self, Error> {
        let (new, old) = (reader.get("rope_parameters"), reader.get("rope_scaling"));
        let all = match (new, old) {
            (Some(new), Some(old)) if new != old => {
                let what = "`rope_parameters` and `rope_scaling` that differ".to_owned();
                return Err(Error::Unsupported { what });
            }
            (new, old) => new.or(old).unwrap_or(Json::Null),
        };
        if !all.is_null() && !all.is_object() {
            return Err(reader.damaged(format!("the rotary scaling is {}", quoted_json(&all))));
        }
        let has_local_base = family.model.local_rope_base.is_some();
        let part = |layers: &str| all.get(layers).filter(|_| has_local_base).cloned();
        let (global, local) = match (part("full_attention"), part("sliding_attention")) {
            (None, None) => (all, Json::Null),
            (global, local) => (global.unwrap_or(Json::Null), local.unwrap_or(Json::Null)),
        };
        let rotation = Self { reader, family, global, local };
        for part in [&rotation.global, &rotation.local] {
            let fields = part.as_object().into_iter().flatten();
            let is_known =
                |name: &str| COMMON_FIELDS.contains(&name) || SCALING_FIELDS.contains(&name);
            let mut unknown = fields.filter(|(name, value)| !is_known(name) && !value.is_null());
            if let Some((name, value)) = unknown.next() {
                let name = quoted(name);
                let what = format!(
                    "unknown field `{name}` of the rotary scaling ({})",
                    quoted_json(value)
                );
                return Err(Error::Unsupported { what });
            }
        }
        let local_type = scaling_type(&rotation.local);
        if local_type != "default" {
            let what = format!("rotary scaling `{}` in layers with a window", quoted(local_type));
            return Err(Error::Unsupported { what });
        }
        Ok(rotation)
    }

    /// Reads a number from the scaling's fields, else from the file's.
    fn number(&self, key: &str) -> Result<Option<f64>, Error> {
        match self.global.get(key).filter(|value| !value.is_null()) {
            Some(value) => {
                let wrong = || self.reader.damaged(format!("`{key}` is {}", quoted_json(value)));
                value.as_f64().map(Some).ok_or_else(wrong)
            }
            None => self.reader.number(key),
        }
    }

    /// Checks that a number is there, positive, and a normal f32.
    fn positive(&self, key: &str, number: Option<f64>) -> Result<f64, Error> {
        let missing = || self.reader.damaged(format!("the rotary scaling has no `{key}`"));
        let number = number.ok_or_else(missing)?;
        let is_valid = number > 0.0 && (number as f32).is_normal();
        let wrong = || self.reader.damaged(format!("`{key}` is {number}"));
        if is_valid { Ok(number) } else { Err(wrong()) }
    }

    fn required(&self, key: &str) -> Result<f64, Error> {
        self.positive(key, self.number(key)?)
    }

    /// The number of a head's dimensions that are rotated.
    pub(crate) fn rope_dim(&self, head_dim: usize) -> Result<usize, Error> {
        const KEY: &str = "partial_rotary_factor";
        let may_be_partial = self.family.layout.rotates_partially;
        let part = self.number(KEY)?.unwrap_or(1.0);
        let dim = (head_dim as f64 * part) as usize;
        let is_valid = part > 0.0 && part <= 1.0 && dim >= 2 && dim.is_multiple_of(2);
        if !is_valid || (!may_be_partial && dim != head_dim) {
            let what = format!("`{KEY}` {part} with heads of {head_dim} dimensions");
            return Err(if is_valid {
                Error::Unsupported { what: format!("{what} in this family") }
            } else {
                self.reader.damaged(what)
            });
        }
        Ok(dim)
    }

    /// The base of the angles; of no meaning where positions are learned.
    pub(crate) fn base(&self) -> Result<f64, Error> {
        if self.family.model.positions == Positions::Learned {
            return Ok(1.0);
        }
        self.required("rope_theta")
    }

    /// The base in layers with a window, where it differs.
    pub(crate) fn local_base(&self) -> Result<Option<f64>, Error> {
        if self.family.model.local_rope_base.is_none() {
            return Ok(None);
        }
        let own = self.local.get("rope_theta").and_then(Json::as_f64);
        let base = own.map_or_else(|| self.reader.number("rope_local_base_freq"), |b| Ok(Some(b)));
        self.positive("rope_local_base_freq", base?).map(Some)
    }

    pub(crate) fn scaling(&self, context: usize) -> Result<RopeScaling, Error> {
        Ok(match scaling_type(&self.global) {
            "default" => RopeScaling::None,
            "linear" => RopeScaling::Linear { factor: self.required("factor")? },
            "llama3" => RopeScaling::Llama3 {
                factor: self.required("factor")?,
                low_freq_factor: self.required("low_freq_factor")?,
                high_freq_factor: self.required("high_freq_factor")?,
                original_context: self.required("original_max_position_embeddings")?,
            },
            "longrope" | "su" => self.long_rope(context)?,
            other => {
                let what = format!("rotary scaling `{}`", quoted(other));
                return Err(Error::Unsupported { what });
            }
        })
    }

    /// Reads LongRoPE's factors; the attention factor is computed where it is not given.
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
        let given = self.number("attention_factor")?;
        Ok(RopeScaling::LongRope {
            short: factors("short_factor")?,
            long: factors("long_factor")?,
            original_context: original as usize,
            attention_factor: self.positive("attention_factor", given.or(Some(computed)))?,
        })
    }
}

/// The type of scaling that the fields name.
fn scaling_type(fields: &Json) -> &str {
    let name = fields.get("rope_type").or_else(|| fields.get("type"));
    name.and_then(Json::as_str).unwrap_or("default")
}
