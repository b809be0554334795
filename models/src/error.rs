//! Why the catalogue or a file could not be used.

use std::path::PathBuf;

/// Why the catalogue or a file could not be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The catalogue is not TOML, or a field is missing, unknown or of the wrong type.
    #[error("the model catalogue cannot be read")]
    Catalogue(#[from] toml::de::Error),
    /// The catalogue's format is not the one that this program reads.
    #[error("the model catalogue has format {format}, this version of Lilims reads 2")]
    Format {
        /// The format that the catalogue states.
        format: u32,
    },
    /// An entry breaks a rule of the catalogue.
    #[error("the model catalogue's entry `{id}` {what}")]
    Entry {
        /// The entry.
        id: String,
        /// What is wrong with it.
        what: &'static str,
    },
    /// The system does not say where this user's data belongs.
    #[error(
        "this user has no home folder: set LILIMS_HOME to a folder where Lilims may keep its data"
    )]
    NoHome,
    /// `LILIMS_MODEL` names something that is not a file.
    #[error("LILIMS_MODEL names {}, which is not a file", path.display())]
    NamedModelMissing {
        /// What it names.
        path: PathBuf,
    },
    /// The bundled model is in none of the places where it may be.
    #[error(
        "the bundled model {file} is missing: `cargo xtask app` fetches it, or set LILIMS_MODEL \
         to a GGUF file (looked in {})",
        join(looked_in)
    )]
    BundledModelMissing {
        /// The file's name.
        file: String,
        /// The folders where it may be.
        looked_in: Vec<PathBuf>,
    },
}

fn join(folders: &[PathBuf]) -> String {
    let folders: Vec<_> = folders.iter().map(|folder| folder.display().to_string()).collect();
    folders.join(", ")
}
