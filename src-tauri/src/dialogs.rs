//! The commands that begin with a dialog of the system, or that the system carries out.

use lilims_ipc::{AttachmentChange, Command, Error, ExportFormat};
use tauri::{AppHandle, Wry};
use tauri_plugin_dialog::{DialogExt, FileDialogBuilder, FilePath};

use crate::links;

/// The command to carry out: one with what the user chose in a dialog, or the command itself. `None`
/// if the user chose nothing, or if nothing remains to be done.
pub(crate) async fn answered(app: &AppHandle, command: Command) -> Result<Option<Command>, Error> {
    let dialog = app.dialog().file();
    match command {
        Command::ChooseAndImport => {
            let dialog = dialog.add_filter("GGUF", &["gguf"]);
            let paths = pick_files(dialog).await?;
            Ok(paths.map(|paths| Command::ImportFiles { paths }))
        }
        Command::ChooseAndAddFolder => {
            let folder = in_background(move || pick_folder(dialog)).await?;
            Ok(folder.and_then(path).map(|path| Command::AddFolder { path }))
        }
        Command::ChooseAndExport { conversation, format, name } => {
            let extension = match format {
                ExportFormat::Json => "json",
                ExportFormat::Markdown => "md",
                ExportFormat::Text => "txt",
            };
            let dialog = dialog.set_file_name(file_name(&name, extension));
            let file = in_background(move || dialog.blocking_save_file()).await?;
            let path = file.and_then(path);
            Ok(path.map(|path| Command::ExportConversations { conversation, format, path }))
        }
        Command::ChooseAndExportConnections { name } => {
            let dialog = dialog.set_file_name(file_name(&name, "csv"));
            let file = in_background(move || dialog.blocking_save_file()).await?;
            Ok(file.and_then(path).map(|path| Command::ExportConnections { path }))
        }
        Command::ChooseAndImportConversations => {
            let dialog = dialog.add_filter("JSON, ZIP", &["json", "jsonl", "zip"]);
            let paths = pick_files(dialog).await?;
            Ok(paths.map(|paths| Command::ImportConversations { paths }))
        }
        Command::ChooseAndExportAssistants => {
            let dialog = dialog.set_file_name("assistants.json");
            let file = in_background(move || dialog.blocking_save_file()).await?;
            Ok(file.and_then(path).map(|path| Command::ExportAssistants { path }))
        }
        Command::ChooseAndImportAssistants => {
            let paths = pick_files(dialog.add_filter("JSON", &["json"])).await?;
            Ok(paths.map(|paths| Command::ImportAssistants { paths }))
        }
        Command::ChooseAndAttach { conversation } => {
            let paths = pick_files(dialog).await?;
            let change = paths.map(|paths| AttachmentChange::Files { paths });
            Ok(change.map(|change| Command::Attachments { conversation, change }))
        }
        Command::OpenLink { address } => {
            in_background(move || links::open(&address)).await??;
            Ok(None)
        }
        command => Ok(Some(command)),
    }
}

/// Runs what waits for the user or the system: not on an async worker.
async fn in_background<T: Send + 'static>(
    show: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Error> {
    let shown = tauri::async_runtime::spawn_blocking(show).await;
    shown.map_err(|error| Error::internal(error.to_string()))
}

/// The files that the user chose, if any were.
async fn pick_files(dialog: FileDialogBuilder<Wry>) -> Result<Option<Vec<String>>, Error> {
    let files = in_background(move || dialog.blocking_pick_files()).await?;
    Ok(files.map(|files| files.into_iter().filter_map(path).collect()))
}

#[cfg(desktop)]
fn pick_folder(dialog: FileDialogBuilder<Wry>) -> Option<FilePath> {
    dialog.blocking_pick_folder()
}

/// Phones have no folders to choose.
#[cfg(mobile)]
fn pick_folder(_dialog: FileDialogBuilder<Wry>) -> Option<FilePath> {
    None
}

fn path(chosen: FilePath) -> Option<String> {
    chosen.into_path().ok()?.into_os_string().into_string().ok()
}

/// The proposed name of a file: a title may have signs that file systems reject.
fn file_name(name: &str, extension: &str) -> String {
    let is_safe = |c: char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
    let name: String = name.chars().filter(|&c| is_safe(c)).take(80).collect();
    let name = name.trim();
    format!("{}.{extension}", if name.is_empty() { "Lilims" } else { name })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proposed_names_are_safe() {
        assert_eq!(file_name("Why? ../../etc: größer", "md"), "Why etc größer.md");
        assert_eq!(file_name("..", "json"), "Lilims.json");
        assert_eq!(file_name(&"a".repeat(300), "txt").len(), 84);
    }
}
