//! Why the application could not do something: its own errors, and those of the libraries below.
//!
//! The window gets the code of an error ([`Error::problem`]), the command line also what the library
//! says of it.

use std::io;
use std::path::PathBuf;

use lilims_engine::Error as Engine;
use lilims_gguf::Error as Gguf;
use lilims_hub::RepositoryFile;
use lilims_ipc::{self as ipc, Problem};
use lilims_models::Unsuitable;

use crate::library::Pick;
use crate::problem;

/// Why the application could not do something.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The engine's.
    #[error(transparent)]
    Engine(#[from] Engine),
    /// The library's or the hub's.
    #[error(transparent)]
    Hub(#[from] lilims_hub::Error),
    /// A conversion's.
    #[error(transparent)]
    Convert(#[from] lilims_convert::Error),
    /// That of a perplexity or a comparison.
    #[cfg(not(target_os = "ios"))]
    #[error(transparent)]
    Measure(#[from] lilims_bench::Error),
    /// There is no bundled model.
    #[error(transparent)]
    Bundled(#[from] lilims_models::Error),
    /// A file that others named cannot be read or written.
    #[error(transparent)]
    File(#[from] lilims_files::Error),
    /// A document cannot be read.
    #[error("cannot read the document {name}")]
    Document {
        /// The file's name.
        name: String,
        /// Why.
        #[source]
        source: lilims_documents::Error,
    },
    /// An error that is known by its code alone.
    #[error("{:?}", .0.problem)]
    Problem(ipc::Error),
    /// The model file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: Box<Gguf>,
    },
    /// The model, or its tokenizer, cannot be loaded.
    #[error("cannot load {}{}", if *is_tokenizer { "the tokenizer of " } else { "" }, path.display())]
    Load {
        /// The file.
        path: PathBuf,
        /// Whether only the tokenizer was to be loaded.
        is_tokenizer: bool,
        /// Why.
        #[source]
        source: Box<Engine>,
    },
    /// The model cannot be run.
    #[error("Lilims cannot run {name}")]
    Run {
        /// The model.
        name: String,
        /// Why.
        #[source]
        source: Box<Engine>,
    },
    /// A name means several models or files.
    #[error("`{text}` could be {}", candidates.join(", "))]
    Ambiguous {
        /// The name.
        text: String,
        /// What it may mean.
        candidates: Vec<String>,
    },
    /// No model of the library has this name.
    #[error("no model is called `{text}`")]
    UnknownModel {
        /// The name.
        text: String,
        /// Whether it could also have been a file.
        may_be_file: bool,
        /// Whether it is a curated model that can be downloaded.
        is_curated: bool,
        /// Names like it, the most similar first.
        similar: Vec<String>,
    },
    /// A text is neither a curated model nor a repository.
    #[error("`{0}` is not a curated model or a repository")]
    UnknownDownload(String),
    /// A repository has no file that was asked for.
    #[error("{repository} has no such file")]
    NoSuchFile {
        /// The repository.
        repository: String,
        /// The hub's host name.
        host: String,
        /// What was asked for.
        pick: Pick,
        /// What it has.
        files: Vec<RepositoryFile>,
    },
    /// The file is not a model of its own.
    #[error("{file} is {why}")]
    Unsuitable {
        /// The file.
        file: String,
        /// What it is.
        why: Unsuitable,
    },
    /// The bundled model cannot be removed.
    #[error("{0} ships with Lilims and stays")]
    BundledStays(String),
    /// A file was asked for and there is a folder.
    #[error("{} is a folder", .0.display())]
    IsFolder(PathBuf),
    /// The file to write is one of those that are read.
    #[error("{} is what is read: choose another name to write to", .0.display())]
    OverwritesInput(PathBuf),
    /// The file to write exists.
    #[error("{} exists", .0.display())]
    Exists(PathBuf),
    /// The model has no chat template.
    #[error("{0} has no chat template")]
    NoChatTemplate(String),
    /// The workload is longer than the context that the model was trained for.
    #[error("{needed} tokens are more than the {trained} that the model was trained for")]
    BeyondTraining {
        /// Tokens that are needed.
        needed: usize,
        /// Tokens that the model was trained for.
        trained: usize,
    },
    /// Messages are not a list with roles.
    #[error(transparent)]
    Messages(#[from] MessageFault),
    /// The file of a conversation cannot be read or written.
    #[error("cannot {} the conversation in {}", if *is_write { "keep" } else { "read" }, path.display())]
    Conversation {
        /// The file.
        path: PathBuf,
        /// Whether it was to be written.
        is_write: bool,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// There is no conversation of this id.
    #[error("there is no conversation `{0}`")]
    UnknownConversation(String),
    /// An export of conversations cannot be read.
    #[error("cannot import {}", path.display())]
    Import {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: Box<lilims_interchange::Error>,
    },
    /// A text to calibrate or evaluate with cannot be read.
    #[error("cannot read the text {}", path.display())]
    ReadText {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: Box<lilims_convert::Error>,
    },
    /// A result cannot be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// What is wrong with messages in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MessageFault {
    /// They are not a list.
    #[error("the messages are no list")]
    NotAList,
    /// A message has no role.
    #[error("message {idx} has no `role`")]
    NoRole {
        /// Its index.
        idx: usize,
    },
    /// A role is not a word of letters.
    #[error("the role of message {idx} is no word of letters")]
    Role {
        /// The message's index.
        idx: usize,
    },
}

/// What is wrong with a model file, as far as somebody can do something about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileFault {
    /// It does not exist.
    Missing,
    /// Its permissions do not allow reading it.
    Forbidden,
    /// It is not GGUF.
    NotGguf,
    /// It is damaged or incomplete.
    Damaged,
    /// It is not a whole model.
    Incomplete,
}

impl Error {
    /// Whether the work was cancelled.
    pub fn is_cancelled(&self) -> bool {
        match self {
            Self::Engine(error) => matches!(error, Engine::Cancelled),
            Self::Hub(error) => matches!(error, lilims_hub::Error::Stopped),
            Self::Convert(error) => matches!(error, lilims_convert::Error::Cancelled),
            #[cfg(not(target_os = "ios"))]
            Self::Measure(error) => matches!(error, lilims_bench::Error::Cancelled),
            Self::Document { source, .. } => matches!(source, lilims_documents::Error::Cancelled),
            _ => false,
        }
    }

    /// Whether the same request to the hub may succeed a little later.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Hub(error) if error.is_transient())
    }

    /// Whether the context has no room for the conversation.
    pub fn is_context_full(&self) -> bool {
        matches!(self, Self::Engine(Engine::ContextFull { .. }))
    }

    /// Whether the chat template failed.
    pub fn is_template(&self) -> bool {
        matches!(self, Self::Engine(Engine::Template { .. }))
    }

    /// What is wrong with a model file, if that is the cause.
    pub fn file_fault(&self) -> Option<FileFault> {
        match self {
            Self::Engine(Engine::Damaged { .. }) => Some(FileFault::Damaged),
            Self::Read { source, .. } => gguf_fault(source),
            Self::Engine(Engine::Gguf(error))
            | Self::Hub(lilims_hub::Error::NotAModel { source: error, .. }) => gguf_fault(error),
            Self::Load { source, .. } | Self::Run { source, .. } => match &**source {
                Engine::Damaged { .. } => Some(FileFault::Damaged),
                Engine::Gguf(error) => gguf_fault(error),
                _ => None,
            },
            _ => None,
        }
    }

    /// The code of this error, with its facts.
    pub fn problem(&self) -> Problem {
        ipc::Error::from(self).problem
    }
}

fn gguf_fault(error: &Gguf) -> Option<FileFault> {
    match error {
        Gguf::Io { source, .. } => match source.kind() {
            io::ErrorKind::NotFound => Some(FileFault::Missing),
            io::ErrorKind::PermissionDenied => Some(FileFault::Forbidden),
            _ => None,
        },
        Gguf::Magic { .. } => Some(FileFault::NotGguf),
        Gguf::Truncated { .. } | Gguf::Invalid { .. } => Some(FileFault::Damaged),
        Gguf::MissingKey { .. } | Gguf::MissingTensor { .. } => Some(FileFault::Incomplete),
        _ => None,
    }
}

impl From<&Error> for ipc::Error {
    fn from(error: &Error) -> Self {
        let code = match error {
            Error::Engine(error) => return problem::not_run(error),
            Error::Load { source, .. } | Error::Run { source, .. } => {
                return problem::not_run(source);
            }
            Error::Hub(error) => return error.into(),
            Error::Convert(error) => return problem::not_converted(error),
            Error::Bundled(error) => return problem::not_found(error),
            Error::Problem(error) => return error.clone(),
            Error::Document { name, source } => problem::not_a_document(name, source),
            Error::Read { source, .. } => problem::not_read(source),
            #[cfg(not(target_os = "ios"))]
            Error::Measure(lilims_bench::Error::Engine(error)) => return problem::not_run(error),
            Error::UnknownModel { text, .. } | Error::Ambiguous { text, .. } => {
                Problem::NoSuchModel { name: text.clone() }
            }
            Error::NoSuchFile { repository, pick: Pick::File(file), host, .. } => {
                Problem::NotOnHub { what: format!("{file} in {repository}"), host: host.clone() }
            }
            Error::UnknownConversation(_) => Problem::ConversationGone,
            Error::Import { path, source } => problem::not_imported(path, source),
            Error::Unsuitable { file, why } => {
                Problem::UnsuitableFile { file: file.clone(), why: lilims_hub::unsuitable(*why) }
            }
            _ => Problem::Internal,
        };
        Self::caused_by(code, error)
    }
}

impl From<Error> for ipc::Error {
    fn from(error: Error) -> Self {
        Self::from(&error)
    }
}

impl From<ipc::Error> for Error {
    fn from(error: ipc::Error) -> Self {
        Self::Problem(error)
    }
}

impl From<Gguf> for Error {
    fn from(error: Gguf) -> Self {
        Self::Engine(error.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_of_files_are_found_in_every_error_that_holds_one() {
        let invalid = || Gguf::Invalid { what: "x".into(), offset: 4 };
        let (path, name) = (PathBuf::new(), String::new());
        for error in [
            Error::from(Engine::from(invalid())),
            Error::Read { path: path.clone(), source: invalid().into() },
            Error::Load { path, is_tokenizer: false, source: Engine::from(invalid()).into() },
            Error::Run { name, source: Engine::from(invalid()).into() },
        ] {
            assert_eq!(error.file_fault(), Some(FileFault::Damaged), "{error:?}");
            assert_eq!(error.problem(), Problem::ModelDamaged, "{error:?}");
        }
    }
}
