//! The commands and events of the model library.

use js_sys::Object;
use lilims_ipc::{Conversion, Download, Error, Library, Recommended, Report};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{decode, encode, invoke, listen, set};
use crate::state::{Action, HubFile, Outcome};

/// What is dragged over the window.
pub(crate) enum Drag {
    /// Files came over the window.
    Enter,
    /// They left it, or the drag ended elsewhere.
    Leave,
    /// They were let go here.
    Drop(Vec<String>),
}

#[derive(Deserialize)]
struct Dropped {
    paths: Vec<String>,
}

/// Asks what is on this device.
pub(crate) async fn library() -> Result<Library, Error> {
    ask("library", &[]).await
}

/// Asks for all downloads.
pub(crate) async fn downloads() -> Result<Vec<Download>, Error> {
    ask("downloads", &[]).await
}

/// Asks for the conversion that runs, or ended last.
pub(crate) async fn conversion() -> Result<Option<Conversion>, Error> {
    ask("conversion", &[]).await
}

/// Asks what Lilims recommends.
pub(crate) async fn catalogue() -> Result<Vec<Recommended>, Error> {
    ask("catalogue", &[]).await
}

/// Calls `on_library` whenever the library changes.
pub(crate) async fn on_library_changed(on_library: impl FnMut(Library) + 'static) {
    listen("library-changed", on_library).await;
}

/// Calls `on_downloads` whenever a download moves on.
pub(crate) async fn on_downloads_changed(on_downloads: impl FnMut(Vec<Download>) + 'static) {
    listen("downloads-changed", on_downloads).await;
}

/// Calls `on_conversion` whenever a conversion moves on.
pub(crate) async fn on_conversion_changed(on_conversion: impl FnMut(Option<Conversion>) + 'static) {
    listen("conversion-changed", on_conversion).await;
}

/// Calls `on_drag` as files are dragged over the window. The system hands their paths to the shell
/// alone, so that the page's own drag events would know none.
pub(crate) async fn on_drag(on_drag: impl Fn(Drag) + Clone + 'static) {
    let (enter, leave) = (on_drag.clone(), on_drag.clone());
    listen("tauri://drag-enter", move |_: serde::de::IgnoredAny| enter(Drag::Enter)).await;
    listen("tauri://drag-leave", move |_: serde::de::IgnoredAny| leave(Drag::Leave)).await;
    listen("tauri://drag-drop", move |dropped: Dropped| on_drag(Drag::Drop(dropped.paths))).await;
}

/// Has the shell carry out `action`. Returns when that is done, or for a download when it is queued.
pub(crate) async fn carry_out(action: &Action) -> Result<Outcome, Error> {
    match action {
        Action::Use { name, context_tokens } => {
            tell("use_model", &[("name", name), ("contextTokens", context_tokens)]).await
        }
        Action::Unload => tell("unload_model", &[]).await,
        Action::Pin { name, is_pinned } => {
            tell("pin_model", &[("name", name), ("isPinned", is_pinned)]).await
        }
        Action::Verify { name } => report("verify_model", &[("name", name)]).await,
        Action::Remove { name } => tell("remove_model", &[("name", name)]).await,
        Action::SetQuota(quota) => tell("set_quota", &[("quotaBytes", quota)]).await,
        Action::SetLimits(limits) => tell("set_limits", &[("limits", limits)]).await,
        Action::ChooseFile => report("choose_and_import", &[]).await,
        Action::ImportFiles(paths) => report("import_files", &[("paths", paths)]).await,
        Action::ChooseFolder => report("choose_and_add_folder", &[]).await,
        Action::RemoveFolder(folder) => tell("remove_folder", &[("folder", folder)]).await,
        Action::Scan => report("scan", &[]).await,
        Action::Search(search) => {
            ask("search_hub", &[("search", search)]).await.map(Outcome::Found)
        }
        Action::Open(repository) => {
            ask("repository", &[("repository", repository)]).await.map(Outcome::Repository)
        }
        Action::ReadHeader(file) => ask("fit", &of_file(file)).await.map(Outcome::Fit),
        Action::Plan(file) => ask("plan_download", &of_file(file)).await.map(Outcome::Plan),
        Action::Download(file) => tell("download", &of_file(file)).await,
        Action::Pause(id) => tell("pause_download", &[("id", id)]).await,
        Action::Resume(id) => tell("resume_download", &[("id", id)]).await,
        Action::Cancel(id) => tell("cancel_download", &[("id", id)]).await,
        Action::Clear(id) => tell("clear_download", &[("id", id)]).await,
        Action::Offer { name, is_weighed } => {
            let arguments: [(&str, &dyn Argument); 2] = [("name", name), ("isWeighed", is_weighed)];
            ask("conversion_offer", &arguments).await.map(Outcome::Offer)
        }
        Action::Convert(request) => tell("convert", &[("request", request)]).await,
        Action::CancelConversion => tell("cancel_conversion", &[]).await,
        Action::ClearConversion => tell("clear_conversion", &[]).await,
    }
}

fn of_file(file: &HubFile) -> [(&'static str, &dyn Argument); 2] {
    [("repository", &file.repository), ("file", &file.file)]
}

async fn tell(command: &str, arguments: &[(&str, &dyn Argument)]) -> Result<Outcome, Error> {
    invoke(command, &object(arguments)?).await.map(|_| Outcome::Nothing)
}

/// Of a command that tells what it has found, or nothing where a dialogue was dismissed.
async fn report(command: &str, arguments: &[(&str, &dyn Argument)]) -> Result<Outcome, Error> {
    let report: Option<Report> = ask(command, arguments).await?;
    Ok(report.map_or(Outcome::Nothing, Outcome::Report))
}

async fn ask<T: DeserializeOwned>(
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

/// What a command takes; `Serialize` itself cannot be behind a `dyn`.
trait Argument {
    fn value(&self) -> Result<wasm_bindgen::JsValue, Error>;
}

impl<T: Serialize> Argument for T {
    fn value(&self) -> Result<wasm_bindgen::JsValue, Error> {
        encode(self)
    }
}
