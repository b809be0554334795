//! Chooses the type of each tensor: by a mix, as llama.cpp's quantiser does, with its fallbacks for
//! rows that are not whole blocks, or by an override for the tensor's name.

use std::fmt;
use std::str::FromStr;

use lilims_gguf::TensorType;
use regex_automata::meta::Regex;

use crate::Error;

/// A type for all matrices, or a mix of types, by llama.cpp's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(non_camel_case_types, reason = "the names are llama.cpp's own")]
#[expect(missing_docs, reason = "the names are llama.cpp's own")]
pub enum Mix {
    F32,
    F16,
    BF16,
    Q8_0,
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q2_K,
    Q3_K_S,
    Q3_K_M,
    Q3_K_L,
    Q4_K_S,
    Q4_K_M,
    Q5_K_S,
    Q5_K_M,
    Q6_K,
    IQ4_NL,
}

/// Each mix, its number in `general.file_type`, and the type of most of its matrices.
const MIXES: [(Mix, u32, TensorType); 18] = [
    (Mix::F32, 0, TensorType::F32),
    (Mix::F16, 1, TensorType::F16),
    (Mix::BF16, 32, TensorType::BF16),
    (Mix::Q8_0, 7, TensorType::Q8_0),
    (Mix::Q4_0, 2, TensorType::Q4_0),
    (Mix::Q4_1, 3, TensorType::Q4_1),
    (Mix::Q5_0, 8, TensorType::Q5_0),
    (Mix::Q5_1, 9, TensorType::Q5_1),
    (Mix::Q2_K, 10, TensorType::Q2_K),
    (Mix::Q3_K_S, 11, TensorType::Q3_K),
    (Mix::Q3_K_M, 12, TensorType::Q3_K),
    (Mix::Q3_K_L, 13, TensorType::Q3_K),
    (Mix::Q4_K_S, 14, TensorType::Q4_K),
    (Mix::Q4_K_M, 15, TensorType::Q4_K),
    (Mix::Q5_K_S, 16, TensorType::Q5_K),
    (Mix::Q5_K_M, 17, TensorType::Q5_K),
    (Mix::Q6_K, 18, TensorType::Q6_K),
    (Mix::IQ4_NL, 25, TensorType::IQ4_NL),
];

impl Mix {
    /// All mixes.
    pub fn all() -> impl Iterator<Item = Self> {
        MIXES.iter().map(|row| row.0)
    }

    fn row(self) -> &'static (Mix, u32, TensorType) {
        MIXES.iter().find(|row| row.0 == self).expect("the table has every mix")
    }

    /// The value of `general.file_type`.
    pub(crate) fn file_type(self) -> u32 {
        self.row().1
    }

    /// The type of most matrices.
    pub(crate) fn base(self) -> TensorType {
        self.row().2
    }
}

impl fmt::Display for Mix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

impl FromStr for Mix {
    type Err = Error;

    /// Parses a name such as `Q4_K_M`, ignoring case. `Q3_K`, `Q4_K` and `Q5_K` mean their `_M`
    /// mixes.
    fn from_str(name: &str) -> Result<Self, Error> {
        let upper = name.to_ascii_uppercase();
        let full = match &*upper {
            "Q3_K" | "Q4_K" | "Q5_K" => format!("{upper}_M"),
            _ => upper,
        };
        Self::all().find(|mix| mix.to_string() == full).ok_or_else(|| {
            let known: Vec<_> = Self::all().map(|mix| mix.to_string()).collect();
            Error::UnknownType { name: name.to_owned(), known: known.join(", ") }
        })
    }
}

/// The type of all tensors whose names match a regular expression.
#[derive(Clone, Debug)]
pub struct Override {
    text: String,
    regex: Regex,
    tensor_type: TensorType,
}

impl fmt::Display for Override {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for Override {
    type Err = Error;

    /// Parses `REGEX=TYPE`.
    fn from_str(text: &str) -> Result<Self, Error> {
        let fault = |what: String| Error::Override { text: text.to_owned(), what };
        let (regex, name) = text.rsplit_once('=').ok_or_else(|| fault("there is no `=`".into()))?;
        let regex = Regex::new(regex).map_err(|error| {
            fault(error.syntax_error().map_or_else(|| error.to_string(), ToString::to_string))
        })?;
        let mut types = MIXES.iter().map(|row| row.2);
        let tensor_type = types.find(|ty| ty.to_string().eq_ignore_ascii_case(name));
        let tensor_type = tensor_type.ok_or_else(|| fault(format!("unknown type `{name}`")))?;
        Ok(Self { text: text.to_owned(), regex, tensor_type })
    }
}

/// The properties of a model that mixes depend on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Traits {
    pub(crate) n_layers: usize,
    /// The number of query heads that share a key-value head.
    pub(crate) group_size: usize,
    /// Whether the embedding is also the output head.
    pub(crate) is_tied: bool,
    /// Whether it is a Llama 70B, whose value matrices are small and get more bits.
    pub(crate) is_70b: bool,
    /// Whether columns are weighted by importance.
    pub(crate) has_importance: bool,
}

/// Chooses the types of a model's tensors.
pub(crate) struct Chooser<'a> {
    pub(crate) mix: Mix,
    pub(crate) overrides: &'a [Override],
    pub(crate) traits: Traits,
}

impl Chooser<'_> {
    /// Returns the type of a tensor by its name and its dimensions, the fastest first.
    pub(crate) fn choose(&self, name: &str, dims: &[u64]) -> TensorType {
        if dims.len() < 2 || !is_quantised(name) {
            return TensorType::F32;
        }
        let columns = dims[0];
        let own = self.overrides.iter().find(|own| own.regex.is_match(name));
        let chosen = match own {
            Some(own) => own.tensor_type,
            None => self.mix_type(name, columns),
        };
        fall_back(chosen, columns)
    }

    fn mix_type(&self, name: &str, columns: u64) -> TensorType {
        let base = self.mix.base();
        if matches!(base, TensorType::F32 | TensorType::F16 | TensorType::BF16) {
            return base;
        }
        let is_head =
            name == "output.weight" || (self.traits.is_tied && name == "token_embd.weight");
        if is_head {
            return match base {
                TensorType::Q8_0 => TensorType::Q8_0,
                _ if !is_whole(base, columns) => TensorType::Q8_0,
                _ => TensorType::Q6_K,
            };
        }
        let layer_idx = name.strip_prefix("blk.").and_then(|rest| rest.split('.').next());
        let layer_idx = layer_idx.and_then(|idx| idx.parse().ok()).unwrap_or(0);
        if name.contains("attn_v.weight") || name.contains("attn_qkv.weight") {
            self.value_type(layer_idx)
        } else if name.contains("ffn_down") {
            self.down_type(layer_idx)
        } else if name.contains("attn_output.weight") {
            match self.mix {
                Mix::Q2_K => TensorType::Q3_K,
                Mix::Q3_K_M => TensorType::Q4_K,
                Mix::Q3_K_L => TensorType::Q5_K,
                _ => base,
            }
        } else {
            base
        }
    }

    /// The type of value matrices, and of matrices with queries, keys and values.
    fn value_type(&self, layer_idx: usize) -> TensorType {
        let Traits { n_layers, group_size, is_70b, .. } = self.traits;
        let chosen = match self.mix {
            Mix::Q2_K if group_size >= 4 => TensorType::Q4_K,
            Mix::Q2_K => TensorType::Q3_K,
            Mix::Q3_K_M if layer_idx < 2 => TensorType::Q5_K,
            Mix::Q3_K_M => TensorType::Q4_K,
            Mix::Q3_K_L => TensorType::Q5_K,
            Mix::IQ4_NL if group_size >= 4 => TensorType::Q5_K,
            Mix::Q4_K_M | Mix::Q5_K_M if has_more_bits(layer_idx, n_layers) => TensorType::Q6_K,
            Mix::Q4_K_S if layer_idx < 4 => TensorType::Q5_K,
            mix => mix.base(),
        };
        match chosen {
            TensorType::Q3_K | TensorType::Q4_K if is_70b => TensorType::Q5_K,
            chosen => chosen,
        }
    }

    /// The type of the feed-forward layer's down projection.
    fn down_type(&self, layer_idx: usize) -> TensorType {
        let Traits { n_layers, has_importance, .. } = self.traits;
        let is_early = layer_idx < n_layers / 8;
        match self.mix {
            Mix::Q2_K => TensorType::Q3_K,
            Mix::Q3_K_M if layer_idx < n_layers / 16 => TensorType::Q5_K,
            Mix::Q3_K_M => TensorType::Q4_K,
            Mix::Q3_K_L => TensorType::Q5_K,
            Mix::Q4_K_M | Mix::Q5_K_M if has_more_bits(layer_idx, n_layers) => TensorType::Q6_K,
            Mix::IQ4_NL if is_early && !has_importance => TensorType::Q5_K,
            Mix::Q4_K_S if is_early => TensorType::Q5_K,
            Mix::Q4_0 if is_early && has_importance => TensorType::Q4_1,
            Mix::Q5_0 if is_early && has_importance => TensorType::Q5_1,
            mix => mix.base(),
        }
    }
}

/// Whether a layer is in the first or last eighth of the layers, or every third between.
fn has_more_bits(layer_idx: usize, n_layers: usize) -> bool {
    let eighth = n_layers / 8;
    layer_idx < eighth || layer_idx >= 7 * n_layers / 8 || (layer_idx - eighth) % 3 == 2
}

/// Whether a matrix may be quantised; norms and position embeddings are not.
fn is_quantised(name: &str) -> bool {
    name.ends_with("weight") && !name.contains("_norm.weight") && name != "position_embd.weight"
}

fn is_whole(tensor_type: TensorType, columns: u64) -> bool {
    tensor_type.size_bytes(columns).is_some()
}

/// Returns `chosen`, or the nearest type that rows of `columns` values are whole blocks of.
fn fall_back(chosen: TensorType, columns: u64) -> TensorType {
    if is_whole(chosen, columns) {
        return chosen;
    }
    let nearest = match chosen {
        TensorType::Q2_K | TensorType::Q3_K => TensorType::Q4_0,
        TensorType::Q4_K => TensorType::Q5_0,
        TensorType::Q5_K => TensorType::Q5_1,
        TensorType::Q6_K => TensorType::Q8_0,
        other => other,
    };
    if is_whole(nearest, columns) { nearest } else { TensorType::F16 }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRAITS: Traits = Traits {
        n_layers: 32,
        group_size: 4,
        is_tied: false,
        is_70b: false,
        has_importance: false,
    };

    fn choose(mix: Mix, traits: Traits, name: &str, dims: &[u64]) -> TensorType {
        Chooser { mix, overrides: &[], traits }.choose(name, dims)
    }

    #[test]
    fn mixes_give_sensitive_tensors_more_bits() {
        let of = |name: &str| choose(Mix::Q4_K_M, TRAITS, name, &[4096, 4096]);
        assert_eq!(of("blk.0.attn_v.weight"), TensorType::Q6_K);
        assert_eq!(of("blk.4.attn_v.weight"), TensorType::Q4_K);
        assert_eq!(of("blk.6.ffn_down.weight"), TensorType::Q6_K);
        assert_eq!(of("blk.6.ffn_up.weight"), TensorType::Q4_K);
        assert_eq!(of("output.weight"), TensorType::Q6_K);
        assert_eq!(of("token_embd.weight"), TensorType::Q4_K);
        assert_eq!(of("blk.0.attn_norm.weight"), TensorType::F32);
        let tied = Traits { is_tied: true, ..TRAITS };
        let embedding = choose(Mix::Q4_K_M, tied, "token_embd.weight", &[4096, 32000]);
        assert_eq!(embedding, TensorType::Q6_K);
    }

    #[test]
    fn partial_blocks_fall_back_to_other_types() {
        let of = |mix, columns| choose(mix, TRAITS, "blk.9.attn_q.weight", &[columns, 64]);
        assert_eq!(of(Mix::Q4_K_M, 576), TensorType::Q5_0);
        assert_eq!(of(Mix::Q5_K_M, 576), TensorType::Q5_1);
        assert_eq!(of(Mix::Q6_K, 576), TensorType::Q8_0);
        assert_eq!(of(Mix::Q2_K, 576), TensorType::Q4_0);
        assert_eq!(of(Mix::Q6_K, 80), TensorType::F16);
        assert_eq!(of(Mix::Q8_0, 80), TensorType::F16);
        let head = choose(Mix::Q4_K_M, TRAITS, "output.weight", &[576, 64]);
        assert_eq!(head, TensorType::Q8_0);
    }

    #[test]
    fn overrides_take_precedence() {
        let overrides = ["attn_(q|k)=q8_0".parse().unwrap(), "ffn=F16".parse().unwrap()];
        let chooser = Chooser { mix: Mix::Q4_0, overrides: &overrides, traits: TRAITS };
        assert_eq!(chooser.choose("blk.0.attn_q.weight", &[64, 64]), TensorType::Q8_0);
        assert_eq!(chooser.choose("blk.0.ffn_up.weight", &[64, 64]), TensorType::F16);
        assert_eq!(chooser.choose("blk.0.ffn_norm.weight", &[64]), TensorType::F32);
        for (text, fault) in [("x", "no `=`"), ("(=Q8_0", "unclosed"), ("x=Q9", "`Q9`")] {
            let error = text.parse::<Override>().unwrap_err().to_string();
            assert!(error.contains(fault), "{error}");
        }
        assert_eq!("q4_k".parse::<Mix>().unwrap(), Mix::Q4_K_M);
        assert!("Q4_X".parse::<Mix>().unwrap_err().to_string().contains("IQ4_NL"));
    }
}
