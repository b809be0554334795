//! What a door may ask of the application, and what the application reports by itself.

use serde::{Deserialize, Serialize};

use crate::{
    Assistant, AssistantId, Assistants, AttachmentChange, Attachments, BranchNode, CatalogueModel,
    CodeRun, ConnectionLog, Conversation, ConversationChange, ConversationFolder, ConversationHead,
    ConversationId, ConversationList, Conversion, ConversionOffer, ConversionRequest,
    DesktopSettings, Download, DownloadPlan, ExactPrompt, ExportFormat, Fit, FolderId, Formula,
    ImportReport, Library, Limits, MathPiece, MessageId, ModelStatus, Overflow, PageAction,
    Privacy, Report, Repository, Search, SearchHit, SearchResult, Setting, SettingRow,
    SettingScope, SettingValue, TelemetryPreview,
};

/// A request to the application. Each variant names the reply that it gets; without one, that is
/// [`Reply::Done`]. A question is asked apart, since its answer is a stream of [`crate::Event`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Command {
    /// The status of the model: [`Reply::Status`].
    Status,
    /// Stops the answer that is being written, if there is one.
    StopAnswer,
    /// Loads the model again after that failed or was suspended.
    RetryLoad,
    /// Loads another model; the conversation stays.
    UseModel {
        /// Its short name.
        name: String,
        /// The context in tokens; `None` is the model's own.
        context_tokens: Option<u32>,
        /// The conversation that is shown: it keeps the model if a setting would load another one for it.
        conversation: Option<ConversationId>,
    },
    /// Unloads the model; the next question loads it again.
    UnloadModel,

    /// All conversations and their folders: [`Reply::Conversations`].
    Conversations,
    /// Opens a conversation: [`Reply::Conversation`].
    OpenConversation {
        /// Which; `None` is that of the last visit, or a new one.
        conversation: Option<ConversationId>,
        /// A message of the branch to show; `None` is the branch that was shown last.
        message: Option<MessageId>,
    },
    /// Begins a new conversation: [`Reply::Conversation`]. It is listed once something was said in it.
    NewConversation,
    /// Changes a conversation's title or place in the list.
    ChangeConversation {
        /// The conversation.
        conversation: ConversationId,
        /// The change.
        change: ConversationChange,
    },
    /// Deletes a conversation. [`Command::RestoreConversation`] restores it for ten seconds; then it is
    /// gone for good.
    DeleteConversation {
        /// Which.
        conversation: ConversationId,
    },
    /// Restores a conversation that was just deleted.
    RestoreConversation {
        /// Which.
        conversation: ConversationId,
    },
    /// Deletes all conversations for good, at once, and begins a new one: [`Reply::Conversation`].
    DeleteAllConversations,
    /// About how much disk space all conversations take: [`Reply::SizeBytes`].
    ConversationsSize,
    /// Finds messages by their words, in all branches of all conversations: [`Reply::SearchHits`].
    SearchConversations {
        /// The words; the last one may be the beginning of a word.
        query: String,
    },
    /// All messages of a conversation as a tree: [`Reply::BranchMap`].
    BranchMap {
        /// Which conversation.
        conversation: ConversationId,
    },
    /// Adds another version of a message beside it and shows it: [`Reply::Conversation`]. What follows
    /// the message stays with the old version. A question is better asked again with [`crate::Request`].
    EditMessage {
        /// The message.
        message: MessageId,
        /// The text of the new version.
        text: String,
    },
    /// Copies the branch up to a message to a new conversation: [`Reply::Conversation`].
    ForkConversation {
        /// The message.
        message: MessageId,
    },
    /// Deletes a message and what follows it, as [`Command::DeleteConversation`] deletes a conversation:
    /// [`Reply::Conversation`].
    DeleteMessage {
        /// Which.
        message: MessageId,
    },
    /// Restores a message that was just deleted, and shows the branch that ends with `leaf`:
    /// [`Reply::Conversation`].
    RestoreMessage {
        /// Which.
        message: MessageId,
        /// The end of the branch that was shown.
        leaf: MessageId,
    },
    /// Stores what is typed into a conversation and not sent.
    SetDraft {
        /// The conversation.
        conversation: ConversationId,
        /// The text; an empty one removes the draft.
        text: String,
    },
    /// Changes or lists the documents that are attached to the draft of a conversation:
    /// [`Reply::Attachments`].
    Attachments {
        /// The conversation.
        conversation: ConversationId,
        /// The change.
        change: AttachmentChange,
    },
    /// Lets the user choose files, and attaches them: [`Reply::Attachments`], or [`Reply::Done`] if none
    /// were chosen. Doors without dialogs do not have it.
    ChooseAndAttach {
        /// The conversation.
        conversation: ConversationId,
    },
    /// Creates a folder of conversations: [`Reply::ConversationFolder`].
    CreateConversationFolder {
        /// Its name.
        name: String,
    },
    /// Renames a folder of conversations.
    RenameConversationFolder {
        /// Which.
        folder: FolderId,
        /// Its new name.
        name: String,
    },
    /// Removes a folder of conversations, which stay.
    RemoveConversationFolder {
        /// Which.
        folder: FolderId,
    },
    /// Lets the user choose a file, and exports conversations to it: [`Reply::Exported`], or
    /// [`Reply::Done`] if none was chosen. Doors without dialogs do not have it.
    ChooseAndExport {
        /// Which; `None` exports all.
        conversation: Option<ConversationId>,
        /// The format.
        format: ExportFormat,
        /// The proposed name of the file, without an extension.
        name: String,
    },
    /// Exports conversations to a file, which is replaced if it is there: [`Reply::Exported`].
    ExportConversations {
        /// Which; `None` exports all.
        conversation: Option<ConversationId>,
        /// The format.
        format: ExportFormat,
        /// The file.
        path: String,
    },
    /// Lets the user choose files, and imports the conversations in them: [`Reply::Imported`], or
    /// [`Reply::Done`] if none were chosen. Doors without dialogs do not have it.
    ChooseAndImportConversations,
    /// Imports the conversations of files that Lilims or other programs exported: [`Reply::Imported`].
    ImportConversations {
        /// The files.
        paths: Vec<String>,
    },
    /// What the model read before it wrote an answer: [`Reply::ExactPrompt`]. Needs a loaded model.
    ExactPrompt {
        /// The answer.
        message: MessageId,
    },
    /// Sets what happens when a conversation outgrows the context.
    SetOverflow {
        /// The conversation.
        conversation: ConversationId,
        /// What happens.
        overflow: Overflow,
    },

    /// All settings of a level: [`Reply::Settings`].
    Settings {
        /// Which.
        scope: SettingScope,
    },
    /// Sets a setting of a level: [`Reply::Settings`]. Numbers are brought within their limits.
    SetSetting {
        /// The level.
        scope: SettingScope,
        /// Which.
        setting: Setting,
        /// Its value; `None` leaves it to the levels below.
        value: Option<SettingValue>,
    },
    /// The assistants and presets: [`Reply::Assistants`].
    Assistants,
    /// Creates an assistant, as a copy of another one if one is given: [`Reply::Assistant`].
    CreateAssistant {
        /// The other one.
        like: Option<AssistantId>,
        /// Its name.
        name: String,
    },
    /// Changes the name and the look of an assistant.
    ChangeAssistant {
        /// Which.
        assistant: AssistantId,
        /// Its name.
        name: String,
        /// Its look.
        look: String,
    },
    /// Deletes an assistant; conversations that use it keep its settings. One that comes with Lilims
    /// becomes as it came.
    RemoveAssistant {
        /// Which.
        assistant: AssistantId,
    },
    /// Sets the assistant of a conversation.
    UseAssistant {
        /// The conversation.
        conversation: ConversationId,
        /// The assistant; `None` for none.
        assistant: Option<AssistantId>,
    },
    /// Saves what a conversation has set itself as a preset, in place of one of this name.
    SavePreset {
        /// The conversation.
        conversation: ConversationId,
        /// The name.
        name: String,
    },
    /// Copies the settings of a preset into a conversation: [`Reply::Settings`].
    UsePreset {
        /// The conversation.
        conversation: ConversationId,
        /// The preset.
        preset: AssistantId,
    },
    /// Deletes a preset.
    RemovePreset {
        /// Which.
        preset: AssistantId,
    },
    /// Lets the user choose a file, and exports all own and changed assistants to it:
    /// [`Reply::Exported`], or [`Reply::Done`] if none was chosen. Doors without dialogs do not have it.
    ChooseAndExportAssistants,
    /// Exports all own and changed assistants to a file, which is replaced if it is there:
    /// [`Reply::Exported`].
    ExportAssistants {
        /// The file.
        path: String,
    },
    /// Lets the user choose files, and imports the assistants in them: [`Reply::Exported`], or
    /// [`Reply::Done`] if none were chosen. Doors without dialogs do not have it.
    ChooseAndImportAssistants,
    /// Imports the assistants of files: [`Reply::Exported`] says how many.
    ImportAssistants {
        /// The files.
        paths: Vec<String>,
    },

    /// How the app lives on a desktop: [`Reply::Desktop`].
    Desktop,
    /// Sets how the app lives on a desktop.
    SetDesktop {
        /// How.
        settings: DesktopSettings,
    },
    /// What menus, links and opened files asked of the page before it listened:
    /// [`Reply::PageActions`]. Later ones are events. Doors without a window do not have it.
    PendingActions,
    /// Asks in a new conversation of the main window, and closes the quick-ask window; a blank text
    /// only closes it. Doors without a window do not have it.
    AskQuickly {
        /// The question.
        text: String,
    },

    /// The models on this device: [`Reply::Library`].
    Library,
    /// The models that Lilims recommends: [`Reply::Catalogue`].
    Catalogue,
    /// Whether a model of the library will run: [`Reply::Fit`].
    Fit {
        /// Its short name.
        name: String,
        /// The context in tokens; `None` is the model's own.
        context_tokens: Option<u32>,
    },
    /// Removes a model.
    RemoveModel {
        /// Its short name.
        name: String,
    },
    /// Pins a model, or unpins it.
    PinModel {
        /// Its short name.
        name: String,
        /// Whether it is never removed to make room.
        is_pinned: bool,
    },
    /// Hashes a model again and repairs it if possible: [`Reply::Report`].
    VerifyModel {
        /// Its short name.
        name: String,
    },
    /// Lets the user choose files, and copies them into the library: [`Reply::Report`], or
    /// [`Reply::Done`] if none were chosen. Doors without dialogs do not have it.
    ChooseAndImport,
    /// Copies files into the library: [`Reply::Report`].
    ImportFiles {
        /// The files.
        paths: Vec<String>,
    },
    /// Lets the user choose a folder whose models are used in place: as [`Command::ChooseAndImport`].
    ChooseAndAddFolder,
    /// Uses the models of a folder in place: [`Reply::Report`].
    AddFolder {
        /// The folder.
        path: String,
    },
    /// Removes a folder, whose models leave the library; its files stay.
    RemoveFolder {
        /// The folder.
        path: String,
    },
    /// Searches the folders of other programs for models: [`Reply::Report`].
    Scan,
    /// Sets the quota; `None` is the default.
    SetQuota {
        /// Bytes.
        quota_bytes: Option<u64>,
    },

    /// Searches the hub: [`Reply::SearchResults`]. Uses the network.
    SearchHub {
        /// For what.
        search: Search,
    },
    /// A repository of the hub: [`Reply::Repository`]. Uses the network.
    Repository {
        /// `owner/name`.
        repository: String,
    },
    /// Whether a file of the hub will run, by its header: [`Reply::Fit`]. Uses the network.
    FitOnHub {
        /// `owner/name`.
        repository: String,
        /// The file in it.
        file: String,
    },
    /// What a download would take: [`Reply::Plan`]. Uses the network.
    PlanDownload {
        /// `owner/name`.
        repository: String,
        /// The file in it.
        file: String,
    },
    /// Makes room as agreed and queues the download. Uses the network. If other models would have to
    /// be removed now, [`crate::Problem::PlanChanged`], and nothing has changed.
    Download {
        /// `owner/name`.
        repository: String,
        /// The file in it.
        file: String,
        /// Short names of the models that the user agreed to remove.
        agreed_removals: Vec<String>,
    },
    /// All downloads: [`Reply::Downloads`].
    Downloads,
    /// Pauses a download.
    PauseDownload {
        /// Its number.
        id: i64,
    },
    /// Resumes a download that was paused or failed.
    ResumeDownload {
        /// Its number.
        id: i64,
    },
    /// Takes a download out of the queue and deletes what is here of it. A model that it became stays.
    CancelDownload {
        /// Its number.
        id: i64,
    },
    /// Stores the access token of Hugging Face in the system's keychain; `None` removes it.
    SetAccessToken {
        /// The token.
        token: Option<String>,
    },
    /// Bounds downloads.
    SetLimits {
        /// How.
        limits: Limits,
    },

    /// What left this device and what may leave it: [`Reply::Privacy`].
    Privacy,
    /// The log of connections: [`Reply::Connections`].
    Connections {
        /// Words that a host or a subject has; empty for all.
        filter: String,
    },
    /// Deletes the log of connections: [`Reply::Privacy`].
    ClearConnections,
    /// Lets the user choose a file, and exports the log of connections to it: as
    /// [`Command::ChooseAndExport`].
    ChooseAndExportConnections {
        /// The proposed name of the file, without an extension.
        name: String,
    },
    /// Exports the log of connections to a file, as comma-separated values: [`Reply::Exported`].
    ExportConnections {
        /// The file.
        path: String,
    },
    /// Seals Lilims or opens it: [`Reply::Privacy`]. Sealed, it makes no connection.
    SetSealed {
        /// Whether it is sealed.
        is_sealed: bool,
    },
    /// Switches telemetry on or off: [`Reply::Privacy`]. Off deletes what waits to be sent.
    SetTelemetry {
        /// Whether it is on.
        is_on: bool,
    },
    /// The page panicked: recorded for as long as telemetry is on.
    PagePanicked {
        /// The source file, as the panic states it.
        file: Option<String>,
        /// The line in it.
        line: Option<u32>,
    },
    /// What telemetry sends next, or an example of it: [`Reply::TelemetryPreview`].
    TelemetryPreview,

    /// The types that a model can be converted to: [`Reply::Offer`].
    ConversionOffer {
        /// Its short name.
        name: String,
        /// Whether an importance matrix is measured first.
        is_weighed: bool,
    },
    /// Makes room as agreed and starts a conversion. [`crate::Problem::PlanChanged`] as for
    /// [`Command::Download`].
    Convert {
        /// Of what, to what.
        request: ConversionRequest,
    },
    /// The running or last conversion: [`Reply::Conversion`].
    Conversion,
    /// Cancels the running conversion.
    CancelConversion,
    /// Forgets a conversion that has ended. Its model stays.
    ClearConversion,

    /// The classes of code: [`Reply::Highlighted`].
    Highlight {
        /// The language, as the answer names it.
        language: String,
        /// The code.
        code: String,
    },
    /// Formulas as MathML: [`Reply::Formulas`].
    Formulas {
        /// Their LaTeX, without delimiters.
        formulas: Vec<Formula>,
    },
    /// Opens an address in the browser or the mail program. Only http, https and mailto addresses
    /// are opened. Doors without a browser do not have it.
    OpenLink {
        /// The address.
        address: String,
    },
}

/// The reply to a [`Command`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reply {
    /// It is done; there is nothing to say.
    Done,
    /// The status of the model.
    Status(ModelStatus),
    /// All conversations and their folders.
    Conversations(ConversationList),
    /// The conversation.
    Conversation(Conversation),
    /// The messages that were found, the best first.
    SearchHits(Vec<SearchHit>),
    /// The messages of a conversation, each after the one that it follows.
    BranchMap(Vec<BranchNode>),
    /// The documents that are attached to a draft.
    Attachments(Attachments),
    /// The folder.
    ConversationFolder(ConversationFolder),
    /// How many conversations or assistants were exported, or assistants imported.
    Exported(u64),
    /// What an import took, and what it did not.
    Imported(ImportReport),
    /// A size in bytes.
    SizeBytes(u64),
    /// What the model read.
    ExactPrompt(ExactPrompt),
    /// All settings of a level.
    Settings(Vec<SettingRow>),
    /// The assistants and presets.
    Assistants(Assistants),
    /// The assistant.
    Assistant(Assistant),
    /// How the app lives on a desktop.
    Desktop(DesktopSettings),
    /// What the page shall do, in this order.
    PageActions(Vec<PageAction>),
    /// The library.
    Library(Library),
    /// The recommended models.
    Catalogue(Vec<CatalogueModel>),
    /// Whether a model fits.
    Fit(Fit),
    /// What a verification, an import or a scan has found.
    Report(Report),
    /// The repositories that a search has found.
    SearchResults(Vec<SearchResult>),
    /// A repository.
    Repository(Repository),
    /// What a download would take.
    Plan(DownloadPlan),
    /// All downloads.
    Downloads(Vec<Download>),
    /// What left this device and what may leave it.
    Privacy(Privacy),
    /// The log of connections.
    Connections(ConnectionLog),
    /// What telemetry sends.
    TelemetryPreview(TelemetryPreview),
    /// What a model could become.
    Offer(ConversionOffer),
    /// The running or last conversion.
    Conversion(Option<Conversion>),
    /// The pieces of the code in order; empty if the language is unknown.
    Highlighted(Vec<CodeRun>),
    /// The pieces of each formula, in the order of the command; `None` for one that is not valid LaTeX
    /// or exceeds a limit.
    Formulas(Vec<Option<Vec<MathPiece>>>),
}

/// Something that changed in the application.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AppEvent {
    /// The status of the model.
    Status(ModelStatus),
    /// A conversation that is new in the list or has changed there.
    Conversation(ConversationHead),
    /// A conversation that has left the list.
    ConversationGone(ConversationId),
    /// The folders of conversations.
    ConversationFolders(Vec<ConversationFolder>),
    /// The assistants and presets.
    Assistants(Assistants),
    /// Something that the page shall do.
    Do(PageAction),
    /// The library.
    Library(Library),
    /// The downloads, at most four times a second.
    Downloads(Vec<Download>),
    /// The conversion, at most four times a second.
    Conversion(Option<Conversion>),
    /// A connection was made, or what may leave the device has changed.
    Privacy(Privacy),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_and_replies_have_a_fixed_json_form() {
        let command = Command::PinModel { name: "m".into(), is_pinned: true };
        let json = r#"{"pin-model":{"name":"m","is_pinned":true}}"#;
        assert_eq!(serde_json::to_string(&command).unwrap(), json);
        assert_eq!(serde_json::from_str::<Command>(json).unwrap(), command);
        assert_eq!(serde_json::to_string(&Reply::Done).unwrap(), r#""done""#);
    }
}
