//! What a model is made of, read from GGUF metadata.

/// A model's architecture as data.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelSpec {
    /// Family, such as `llama` (`general.architecture`).
    pub family: String,
    /// Tokens in the vocabulary.
    pub n_vocab: usize,
    /// The context it was trained for, in tokens.
    pub context: usize,
}

impl ModelSpec {
    /// Reads the specification, or says why Lilims cannot run the model.
    ///
    /// *Errors*: [`crate::Error::Unsupported`], [`crate::Error::Gguf`], [`crate::Error::Damaged`].
    pub fn from_gguf(_file: &lilims_gguf::File) -> Result<Self, crate::Error> {
        unimplemented!()
    }
}
