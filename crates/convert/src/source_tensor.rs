//! One tensor of a checkpoint as its file describes it: name, shape, type and where its bytes are.
//!
//! Reading files is left to `source.rs` and `pickle.rs`.

use lilims_gguf::TensorType;

/// The most dimensions of a tensor that are accepted.
pub(crate) const MAX_DIMENSIONS: usize = 8;
/// The longest name of a tensor that is accepted, in bytes.
pub(crate) const MAX_NAME_BYTES: usize = 1024;

/// A tensor of a checkpoint.
pub(crate) struct SourceTensor {
    /// Its name as the file writes it.
    pub(crate) name: String,
    /// The slowest dimension first.
    pub(crate) shape: Vec<usize>,
    /// `None` for a type that cannot be decoded.
    pub(crate) tensor_type: Option<TensorType>,
    /// The type as its file names it.
    pub(crate) type_name: String,
    /// The index of the file that holds it.
    pub(crate) file_idx: usize,
    pub(crate) location: DataLocation,
}

/// Where a tensor's bytes are in its file.
pub(crate) enum DataLocation {
    /// At this byte offset of the file.
    File { offset: u64 },
    /// At this byte offset of an archive's entry.
    ArchiveEntry { entry: String, offset: u64 },
}

/// Strips the prefixes that only some checkpoints put in front of a tensor's name.
pub(crate) fn plain_name(name: &str) -> &str {
    let mut name = name;
    while let Some(rest) = ["model.", "language_model.", "transformer."]
        .iter()
        .find_map(|prefix| name.strip_prefix(prefix))
    {
        name = rest;
    }
    name
}

/// Whether a tensor is a buffer that older versions of transformers saved; its values follow from
/// the configuration.
pub(crate) fn is_buffer(name: &str) -> bool {
    let buffers =
        [".attn.bias", ".attn.masked_bias", ".rotary_emb.inv_freq", ".attention.masked_bias"];
    buffers.iter().any(|end| name.ends_with(end))
}

/// The part of a multimodal model that a tensor belongs to: the vision encoder or its projector.
/// `None` for tensors of the text model.
pub(crate) fn vision_part(name: &str) -> Option<&'static str> {
    let plain = plain_name(name);
    ["vision_tower.", "multi_modal_projector."].into_iter().find(|part| plain.starts_with(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_are_stripped() {
        for name in [
            "model.layers.0.mlp.up_proj.weight",
            "language_model.model.layers.0.mlp.up_proj.weight",
            "model.language_model.layers.0.mlp.up_proj.weight",
            "layers.0.mlp.up_proj.weight",
        ] {
            assert_eq!(plain_name(name), "layers.0.mlp.up_proj.weight");
        }
        assert_eq!(plain_name("transformer.h.3.ln_1.bias"), "h.3.ln_1.bias");
    }

    #[test]
    fn buffers_and_vision_tensors_are_recognised() {
        assert!(is_buffer("transformer.h.3.attn.bias") && !is_buffer("h.3.attn.c_attn.bias"));
        let vision = "model.vision_tower.vision_model.embeddings.patch_embedding.weight";
        assert_eq!(vision_part(vision), Some("vision_tower."));
    }
}
