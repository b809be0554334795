//! The commands and events of the model library.

use js_sys::Object;
use lilims_ipc::{Conversion, Download, Error, Library, Recommended, Report};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{decode, encode, invoke, listen, set};
use crate::state::{Action, HubFile, Outcome};

/// Drag events of files over the window.
pub(crate) enum Drag {
    /// Files entered the window.
    Enter,
    /// They left the window, or the drag ended elsewhere.
    Leave,
    /// Files with these paths were dropped.
    Drop(Vec<String>),
}

#[derive(Deserialize)]
struct Dropped {
    paths: Vec<String>,
}

/// Returns the library of this device.
pub(crate) async fn library() -> Result<Library, Error> {
    query("library", &[]).await
}

/// Returns all downloads.
pub(crate) async fn downloads() -> Result<Vec<Download>, Error> {
    query("downloads", &[]).await
}

/// Returns the current or last conversion.
pub(crate) async fn conversion() -> Result<Option<Conversion>, Error> {
    query("conversion", &[]).await
}

/// Returns the recommended models.
pub(crate) async fn catalogue() -> Result<Vec<Recommended>, Error> {
    query("catalogue", &[]).await
}

/// Calls `on_library` whenever the library changes.
pub(crate) async fn on_library_changed(on_library: impl FnMut(Library) + 'static) {
    listen("library-changed", on_library).await;
}

/// Calls `on_downloads` whenever a download changes.
pub(crate) async fn on_downloads_changed(on_downloads: impl FnMut(Vec<Download>) + 'static) {
    listen("downloads-changed", on_downloads).await;
}

/// Calls `on_conversion` whenever the conversion changes.
pub(crate) async fn on_conversion_changed(on_conversion: impl FnMut(Option<Conversion>) + 'static) {
    listen("conversion-changed", on_conversion).await;
}

/// Calls `on_drag` when files are dragged over the window. Only the shell gets their paths from the
/// system; the page's own drag events do not.
pub(crate) async fn on_drag(on_drag: impl Fn(Drag) + Clone + 'static) {
    let (enter, leave) = (on_drag.clone(), on_drag.clone());
    listen("tauri://drag-enter", move |_: serde::de::IgnoredAny| enter(Drag::Enter)).await;
    listen("tauri://drag-leave", move |_: serde::de::IgnoredAny| leave(Drag::Leave)).await;
    listen("tauri://drag-drop", move |dropped: Dropped| on_drag(Drag::Drop(dropped.paths))).await;
}

/// Executes `action` in the shell. Returns when it is done; for a download, when it is queued.
pub(crate) async fn execute(action: &Action) -> Result<Outcome, Error> {
    match action {
        Action::Use { name, context_tokens } => {
            run("use_model", &[("name", name), ("contextTokens", context_tokens)]).await
        }
        Action::Unload => run("unload_model", &[]).await,
        Action::Pin { name, is_pinned } => {
            run("pin_model", &[("name", name), ("isPinned", is_pinned)]).await
        }
        Action::Verify { name } => run_with_report("verify_model", &[("name", name)]).await,
        Action::Remove { name } => run("remove_model", &[("name", name)]).await,
        Action::SetQuota(quota) => run("set_quota", &[("quotaBytes", quota)]).await,
        Action::SetLimits(limits) => run("set_limits", &[("limits", limits)]).await,
        Action::ChooseFile => run_with_report("choose_and_import", &[]).await,
        Action::ImportFiles(paths) => run_with_report("import_files", &[("paths", paths)]).await,
        Action::ChooseFolder => run_with_report("choose_and_add_folder", &[]).await,
        Action::RemoveFolder(folder) => run("remove_folder", &[("folder", folder)]).await,
        Action::Scan => run_with_report("scan", &[]).await,
        Action::Search(search) => {
            query("search_hub", &[("search", search)]).await.map(Outcome::Found)
        }
        Action::Open(repository) => {
            query("repository", &[("repository", repository)]).await.map(Outcome::Repository)
        }
        Action::ReadHeader(file) => query("fit", &file_arguments(file)).await.map(Outcome::Fit),
        Action::Plan(file) => {
            query("plan_download", &file_arguments(file)).await.map(Outcome::Plan)
        }
        Action::Download { file: HubFile { repository, file }, agreed_removals } => {
            let arguments: [(&str, &dyn Argument); 3] =
                [("repository", repository), ("file", file), ("agreedRemovals", agreed_removals)];
            run("download", &arguments).await
        }
        Action::Pause(id) => run("pause_download", &[("id", id)]).await,
        Action::Resume(id) => run("resume_download", &[("id", id)]).await,
        Action::Cancel(id) => run("cancel_download", &[("id", id)]).await,
        Action::Clear(id) => run("clear_download", &[("id", id)]).await,
        Action::Offer { name, is_weighed } => {
            let arguments: [(&str, &dyn Argument); 2] = [("name", name), ("isWeighed", is_weighed)];
            query("conversion_offer", &arguments).await.map(Outcome::Offer)
        }
        Action::Convert(request) => run("convert", &[("request", request)]).await,
        Action::CancelConversion => run("cancel_conversion", &[]).await,
        Action::ClearConversion => run("clear_conversion", &[]).await,
    }
}

fn file_arguments(file: &HubFile) -> [(&'static str, &dyn Argument); 2] {
    [("repository", &file.repository), ("file", &file.file)]
}

async fn run(command: &str, arguments: &[(&str, &dyn Argument)]) -> Result<Outcome, Error> {
    invoke(command, &object(arguments)?).await.map(|_| Outcome::Done)
}

/// Runs a command that returns a report, or nothing if its dialog was dismissed.
async fn run_with_report(
    command: &str,
    arguments: &[(&str, &dyn Argument)],
) -> Result<Outcome, Error> {
    let report: Option<Report> = query(command, arguments).await?;
    Ok(report.map_or(Outcome::Done, Outcome::Report))
}

async fn query<T: DeserializeOwned>(
    command: &str,
    arguments: &[(&str, &dyn Argument)],
) -> Result<T, Error> {
    decode(invoke(command, &object(arguments)?).await?)
}

fn object(arguments: &[(&str, &dyn Argument)]) -> Result<Object, Error> {
    let object = Object::new();
    for (key, argument) in arguments {
        set(&object, key, &argument.value()?)?;
    }
    Ok(object)
}

/// An argument of a command; `Serialize` itself cannot be a trait object.
trait Argument {
    fn value(&self) -> Result<wasm_bindgen::JsValue, Error>;
}

impl<T: Serialize> Argument for T {
    fn value(&self) -> Result<wasm_bindgen::JsValue, Error> {
        encode(self)
    }
}
