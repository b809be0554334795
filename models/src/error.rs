//! The errors of this crate: an invalid catalogue, or a folder or model file that cannot be found.

use std::path::PathBuf;

/// An invalid catalogue, or a folder or model file that cannot be found.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The catalogue is not TOML, or a field is missing, unknown or of the wrong type.
    #[error("the model catalogue cannot be read")]
    Catalogue(#[from] toml::de::Error),
    /// The catalogue has another format version than this program reads.
    #[error("the model catalogue has format {format}, this version of Lilims reads 2")]
    Format {
        /// The format that the catalogue states.
        format: u32,
    },
    /// An entry violates a rule of the catalogue.
    #[error("the model catalogue's entry `{id}` {what}")]
    Entry {
        /// The entry's id.
        id: String,
        /// The violated rule, completing “the entry …”.
        what: &'static str,
    },
    /// The system reports no data folder for this user.
    #[error("no home folder found to store data in")]
    NoHome,
    /// `LILIMS_MODEL` does not name a file.
    #[error("LILIMS_MODEL names {}, which is not a file", path.display())]
    NamedModelMissing {
        /// The path that the variable names.
        path: PathBuf,
    },
    /// The bundled model is in none of the searched folders.
    #[error("the model {file} did not come with this program (looked in {})", join(looked_in))]
    BundledModelMissing {
        /// The file name.
        file: String,
        /// The searched folders.
        looked_in: Vec<PathBuf>,
    },
}

fn join(folders: &[PathBuf]) -> String {
    let folders: Vec<_> = folders.iter().map(|folder| folder.display().to_string()).collect();
    folders.join(", ")
}
