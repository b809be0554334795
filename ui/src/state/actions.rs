//! The actions of the library: what a user requests, the command that it becomes, and what it is about.

use lilims_ipc::{
    Command, ConversationId, ConversionRequest, Error, Limits, Problem, Reply, Search,
};

/// A file of a repository.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct HubFile {
    /// `owner/name`.
    pub(crate) repository: String,
    /// The file in it.
    pub(crate) file: String,
}

/// Something that a user requests.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Action {
    /// Switch to a local model, with another context size if one is given.
    Use { name: String, context_tokens: Option<u32> },
    /// Unload the model.
    Unload,
    /// Pin or unpin a model.
    Pin { name: String, is_pinned: bool },
    /// Compare a model with its hash, and repair it.
    Verify { name: String },
    /// Remove a model.
    Remove { name: String },
    /// Set the quota; `None` is the default.
    SetQuota(Option<u64>),
    /// Set the limits of downloads.
    SetLimits(Limits),
    /// Store the access token of the hub; `None` removes it.
    SetAccessToken(Option<String>),
    /// Choose a file and import it.
    ChooseFile,
    /// Import the files that were dropped.
    ImportFiles(Vec<String>),
    /// Choose a folder whose models are used in place.
    ChooseFolder,
    /// Stop using the models of a folder.
    RemoveFolder(String),
    /// Search the folders for models.
    Scan,
    /// Search the hub.
    Search(Search),
    /// Show a repository of the hub.
    Open(String),
    /// Read a file's header on the hub, to estimate whether it fits.
    ReadHeader(HubFile),
    /// Get the plan of a download.
    Plan(HubFile),
    /// Download, after the user accepted the plan.
    Download {
        /// The file.
        file: HubFile,
        /// Short names of the models that the user agreed to remove.
        agreed_removals: Vec<String>,
    },
    /// Pause a download.
    Pause(i64),
    /// Resume or retry a download.
    Resume(i64),
    /// Remove a download from the list, with its data if it is not complete.
    Cancel(i64),
    /// Get the types that a model can be converted to.
    Offer { name: String, is_weighed: bool },
    /// Convert a model.
    Convert(ConversionRequest),
    /// Cancel the running conversion.
    CancelConversion,
    /// Remove a finished conversion from the list.
    ClearConversion,
}

impl Action {
    /// What the action is about.
    pub(crate) fn concern(&self) -> Concern {
        match self {
            Self::Use { name, .. }
            | Self::Pin { name, .. }
            | Self::Verify { name }
            | Self::Remove { name } => Concern::Model(name.clone()),
            Self::Unload => Concern::Loaded,
            Self::SetQuota(_) => Concern::Quota,
            Self::SetLimits(_) => Concern::Limits,
            Self::SetAccessToken(_) => Concern::AccessToken,
            Self::ChooseFile
            | Self::ImportFiles(_)
            | Self::ChooseFolder
            | Self::RemoveFolder(_)
            | Self::Scan => Concern::Device,
            Self::Search(_) => Concern::Search,
            Self::Open(_) => Concern::Repository,
            Self::ReadHeader(file) | Self::Plan(file) => Concern::File(file.clone()),
            Self::Download { .. } => Concern::Plan,
            Self::Pause(id) | Self::Resume(id) | Self::Cancel(id) => Concern::Download(*id),
            Self::Offer { .. }
            | Self::Convert(_)
            | Self::CancelConversion
            | Self::ClearConversion => Concern::Conversion,
        }
    }

    /// The command of the application that it becomes while this conversation is shown.
    pub(crate) fn command(&self, conversation: Option<ConversationId>) -> Command {
        match self.clone() {
            Self::Use { name, context_tokens } => {
                Command::UseModel { name, context_tokens, conversation }
            }
            Self::Unload => Command::UnloadModel,
            Self::Pin { name, is_pinned } => Command::PinModel { name, is_pinned },
            Self::Verify { name } => Command::VerifyModel { name },
            Self::Remove { name } => Command::RemoveModel { name },
            Self::SetQuota(quota_bytes) => Command::SetQuota { quota_bytes },
            Self::SetLimits(limits) => Command::SetLimits { limits },
            Self::SetAccessToken(token) => Command::SetAccessToken { token },
            Self::ChooseFile => Command::ChooseAndImport,
            Self::ImportFiles(paths) => Command::ImportFiles { paths },
            Self::ChooseFolder => Command::ChooseAndAddFolder,
            Self::RemoveFolder(path) => Command::RemoveFolder { path },
            Self::Scan => Command::Scan,
            Self::Search(search) => Command::SearchHub { search },
            Self::Open(repository) => Command::Repository { repository },
            Self::ReadHeader(file) => {
                let HubFile { repository, file } = file;
                Command::FitOnHub { repository, file }
            }
            Self::Plan(file) => {
                let HubFile { repository, file } = file;
                Command::PlanDownload { repository, file }
            }
            Self::Download { file, agreed_removals } => {
                let HubFile { repository, file } = file;
                Command::Download { repository, file, agreed_removals }
            }
            Self::Pause(id) => Command::PauseDownload { id },
            Self::Resume(id) => Command::ResumeDownload { id },
            Self::Cancel(id) => Command::CancelDownload { id },
            Self::Offer { name, is_weighed } => Command::ConversionOffer { name, is_weighed },
            Self::Convert(request) => Command::Convert { request },
            Self::CancelConversion => Command::CancelConversion,
            Self::ClearConversion => Command::ClearConversion,
        }
    }

    /// The action that shows a changed plan again, after this one failed because of it.
    pub(crate) fn after_plan_changed(&self, reply: &Result<Reply, Error>) -> Option<Self> {
        let is_changed = matches!(reply, Err(error) if error.problem == Problem::PlanChanged);
        match self {
            Self::Download { file, .. } if is_changed => Some(Self::Plan(file.clone())),
            Self::Convert(request) if is_changed => {
                Some(Self::Offer { name: request.name.clone(), is_weighed: request.is_weighed })
            }
            _ => None,
        }
    }
}

/// What an action is about: where its error is shown, and which controls it disables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Concern {
    /// Imports, folders and scans.
    Device,
    /// A local model, by its short name.
    Model(String),
    /// The loaded model.
    Loaded,
    /// The quota.
    Quota,
    /// The limits of downloads.
    Limits,
    /// The access token.
    AccessToken,
    /// The search.
    Search,
    /// The open repository.
    Repository,
    /// A file of the hub.
    File(HubFile),
    /// The shown plan.
    Plan,
    /// A download.
    Download(i64),
    /// The conversion dialog.
    Conversion,
}
