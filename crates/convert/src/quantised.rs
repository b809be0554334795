//! Recognises checkpoints that are already quantised, by the fields, files and tensor names that
//! quantisers leave. They cannot be converted, and without this check the error would be about a
//! shape or a missing tensor.

use std::path::Path;

use serde_json::Value as Json;

use crate::input_file::optional_json;
use crate::quote::quoted;
use crate::{Error, input_file};

/// Fields of `config.json`, and the quantiser that writes them.
const FIELDS: [(&str, &str); 5] = [
    ("quantization_config", "unknown method"),
    ("quantization", "MLX"),
    ("compression_config", "compressed-tensors"),
    ("hqq_config", "HQQ"),
    ("bitnet_config", "BitNet"),
];
/// Files beside the weights, and the quantiser that writes them.
const FILES: [(&str, &str); 4] = [
    ("quantize_config.json", "GPTQ"),
    ("quant_config.json", "AWQ"),
    ("hf_quant_config.json", "ModelOpt"),
    ("quantization_config.json", "Quanto or other"),
];
/// Suffixes of tensor names that only quantised matrices have, and the quantiser that writes them.
const SUFFIXES: [(&str, &str); 25] = [
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

fn already_quantised(mark: &str, writer: &str) -> Error {
    let what = format!(
        "a checkpoint that is already quantised (`{}`, {writer}): convert the original one",
        quoted(mark)
    );
    Error::Unsupported { what }
}

/// Checks the configuration and the files beside the weights.
///
/// # Errors
///
/// [`Error::Unsupported`], naming the field or file.
pub(crate) fn check_folder(folder: &Path, config: &Json) -> Result<(), Error> {
    let parts = [Some(config), config.get("text_config")];
    for (field, writer) in FIELDS {
        let mut found = parts.into_iter().flatten().filter_map(|part| part.get(field));
        if let Some(value) = found.find(|value| !value.is_null() && **value != Json::Bool(false)) {
            let method = ["quant_method", "quant_algo"].iter().find_map(|key| value.get(key));
            let method = method.and_then(Json::as_str).map(quoted);
            return Err(already_quantised(field, method.as_deref().unwrap_or(writer)));
        }
    }
    for (name, writer) in FILES {
        if input_file::find(folder, name)?.is_some() && optional_json(folder, name)?.is_some() {
            return Err(already_quantised(name, writer));
        }
    }
    Ok(())
}

/// Checks a tensor's name and, for a type that is not floating-point, the type's name.
///
/// # Errors
///
/// [`Error::Unsupported`], naming the tensor.
pub(crate) fn check_tensor(name: &str, type_name: Option<&str>) -> Result<(), Error> {
    if let Some((_, writer)) = SUFFIXES.iter().find(|(suffix, _)| name.ends_with(suffix)) {
        return Err(already_quantised(name, writer));
    }
    if name.contains(".quant_state.") {
        return Err(already_quantised(name, "bitsandbytes"));
    }
    match type_name {
        Some(type_name) if name.ends_with(".weight") => Err(already_quantised(name, type_name)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c7_quantised_tensors_are_recognised() {
        for name in [
            "model.layers.0.mlp.up_proj.qweight",
            "model.layers.0.mlp.up_proj.scales",
            "model.layers.0.mlp.up_proj.weight_scale_inv",
            "model.layers.0.mlp.up_proj.weight.quant_state.bitsandbytes__nf4",
            "model.layers.0.mlp.up_proj.weight.absmax",
        ] {
            let error = check_tensor(name, None).unwrap_err().to_string();
            assert!(error.contains("already quantised") && error.contains(name), "{error}");
        }
        check_tensor("model.layers.0.mlp.up_proj.weight", None).unwrap();
        let error = check_tensor("model.embed_tokens.weight", Some("F8_E4M3")).unwrap_err();
        assert!(error.to_string().contains("F8_E4M3"), "{error}");
        check_tensor("transformer.h.0.attn.bias", Some("BOOL")).unwrap();
    }
}
