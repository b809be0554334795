//! Checkpoints that are quantised already, recognised by their marks: what another quantiser left cannot be
//! converted, and no error about a shape or a missing tensor would say why.

use std::path::Path;

use serde_json::Value as Json;

use crate::config::optional_json;
use crate::fields::quoted;
use crate::{Error, input_file};

/// Fields of `config.json`, and what writes them.
const FIELDS: [(&str, &str); 5] = [
    ("quantization_config", "its method is not named"),
    ("quantization", "MLX"),
    ("compression_config", "compressed-tensors"),
    ("hqq_config", "HQQ"),
    ("bitnet_config", "BitNet"),
];
/// Files beside the weights, and what writes them.
const FILES: [(&str, &str); 4] = [
    ("quantize_config.json", "GPTQ"),
    ("quant_config.json", "AWQ"),
    ("hf_quant_config.json", "ModelOpt"),
    ("quantization_config.json", "Quanto or another"),
];
/// How names of tensors end that only quantised matrices have, and what writes them.
const ENDINGS: [(&str, &str); 25] = [
    (".qweight", "GPTQ or AWQ"),
    (".qzeros", "GPTQ or AWQ"),
    (".g_idx", "GPTQ"),
    (".scales", "GPTQ, AWQ or MLX"),
    (".biases", "MLX"),
    (".weight_scale_inv", "FP8"),
    (".weight_scale", "FP8"),
    (".weight_scale_2", "NVFP4"),
    (".input_scale", "FP8"),
    (".activation_scale", "FP8"),
    (".weight_packed", "compressed-tensors"),
    (".weight_zero_point", "compressed-tensors"),
    (".weight_shape", "compressed-tensors"),
    (".absmax", "bitsandbytes"),
    (".quant_map", "bitsandbytes"),
    (".nested_absmax", "bitsandbytes"),
    (".SCB", "bitsandbytes"),
    (".weight_format", "bitsandbytes"),
    (".q_weight", "EXL2"),
    (".q_invperm", "EXL2"),
    (".trellis", "EXL3"),
    (".W_q", "HQQ"),
    ("._data", "Quanto"),
    ("_blocks", "MXFP4"),
    (".codebooks", "AQLM"),
];

/// What the error says.
fn error(mark: &str, writer: &str) -> Error {
    let what = format!(
        "a checkpoint that is quantised already (`{}`, {writer}): convert the original one",
        quoted(mark)
    );
    Error::Unsupported { what }
}

/// Looks at the configuration and at the files beside the weights.
///
/// *Errors*: [`Error::Unsupported`], naming the mark.
pub(crate) fn check_folder(folder: &Path, config: &Json) -> Result<(), Error> {
    let parts = [Some(config), config.get("text_config")];
    for (field, writer) in FIELDS {
        let mut found = parts.into_iter().flatten().filter_map(|part| part.get(field));
        if let Some(value) = found.find(|value| !value.is_null() && **value != Json::Bool(false)) {
            let method = ["quant_method", "quant_algo"].iter().find_map(|key| value.get(key));
            let method = method.and_then(Json::as_str).map(quoted);
            return Err(error(field, method.as_deref().unwrap_or(writer)));
        }
    }
    for (name, writer) in FILES {
        if input_file::find(folder, name)?.is_some() && optional_json(folder, name)?.is_some() {
            return Err(error(name, writer));
        }
    }
    Ok(())
}

/// Looks at a tensor's name, and at its type where that is none of floats: `type_name` then.
///
/// *Errors*: [`Error::Unsupported`], naming the tensor.
pub(crate) fn check_tensor(name: &str, type_name: Option<&str>) -> Result<(), Error> {
    if let Some((_, writer)) = ENDINGS.iter().find(|(ending, _)| name.ends_with(ending)) {
        return Err(error(name, writer));
    }
    if name.contains(".quant_state.") {
        return Err(error(name, "bitsandbytes"));
    }
    match type_name {
        Some(type_name) if name.ends_with(".weight") => Err(error(name, type_name)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c7_marks_are_told() {
        for name in [
            "model.layers.0.mlp.up_proj.qweight",
            "model.layers.0.mlp.up_proj.scales",
            "model.layers.0.mlp.up_proj.weight_scale_inv",
            "model.layers.0.mlp.up_proj.weight.quant_state.bitsandbytes__nf4",
            "model.layers.0.mlp.up_proj.weight.absmax",
        ] {
            let error = check_tensor(name, None).unwrap_err().to_string();
            assert!(error.contains("quantised already") && error.contains(name), "{error}");
        }
        check_tensor("model.layers.0.mlp.up_proj.weight", None).unwrap();
        let error = check_tensor("model.embed_tokens.weight", Some("F8_E4M3")).unwrap_err();
        assert!(error.to_string().contains("F8_E4M3"), "{error}");
        check_tensor("transformer.h.0.attn.bias", Some("BOOL")).unwrap();
    }
}
