//! Which model is loaded, how, and when it is unloaded.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use lilims_ipc::{Error, ModelStatus, Setting, Settings};
use lilims_models::Catalogue;

use crate::chat::{Chat, load_options};
use crate::conversations::Conversations;
use crate::library::{LibraryHandle, fit, gone, machine};
use crate::model_host::{ChatBackend, Idle, Loaded, ModelHost, Target};
use crate::problem;
use crate::settings;

/// When an idle model gives its memory back, unless `LILIMS_IDLE_SECONDS` is set.
const IDLE_AFTER: Duration = Duration::from_secs(600);

/// When an idle model is unloaded.
pub(super) fn idle() -> Idle {
    let seconds = std::env::var("LILIMS_IDLE_SECONDS").ok().and_then(|text| text.parse().ok());
    let is_short = || fit::budget().available_bytes == 0;
    Idle { after: seconds.map_or(IDLE_AFTER, Duration::from_secs), is_short }
}

/// The model that `settings` want, if it is another one than the loaded one, or wants another context or
/// draft model. A model that is not in the library is not wanted.
pub(super) fn wanted(
    settings: &Settings,
    host: &ModelHost,
    library: &LibraryHandle,
) -> Option<Target> {
    let loaded = library.loaded();
    let name = settings::text(settings, Setting::Model)
        .filter(|name| loaded.as_deref() != Some(*name) && library.path(Some(name)).is_some());
    let context_tokens = settings::count(settings, Setting::ContextTokens);
    let is_other_context = context_tokens.is_some_and(|it| match host.status() {
        // A model may have been loaded with less than was wanted.
        ModelStatus::Ready { model } => {
            it != model.context_tokens && host.target().context_tokens != Some(it)
        }
        _ => true,
    });
    let draft = settings::text(settings, Setting::DraftModel).map(str::to_owned);
    let is_other = is_other_context || draft != host.target().draft;
    let name = name.map(str::to_owned).or(loaded.filter(|_| is_other))?;
    Some(Target { name: Some(name), context_tokens, draft })
}

/// What is loaded at the start: the last model used, as the conversation of the last visit wants it.
pub(super) fn first_target(conversations: &Conversations) -> Target {
    let settings = conversations.latest_settings();
    Target {
        name: None,
        context_tokens: settings::count(&settings, Setting::ContextTokens),
        draft: settings::text(&settings, Setting::DraftModel).map(str::to_owned),
    }
}

/// Loads the target, or the last model used, or the bundled one.
pub(super) fn loader(
    library: Arc<LibraryHandle>,
    conversations: Arc<Conversations>,
    resource_dir: Option<PathBuf>,
) -> impl FnMut(&Target, &dyn Fn(String)) -> Result<Loaded, Error> + Send + 'static {
    move |target, on_name| {
        let path = find(&library, target, resource_dir.as_deref())?;
        load(&library, &conversations, &path, target, on_name)
    }
}

/// The file of the target.
fn find(
    library: &LibraryHandle,
    target: &Target,
    resource_dir: Option<&Path>,
) -> Result<PathBuf, Error> {
    // A model that is named in the environment goes before the last one used.
    let is_named = std::env::var_os("LILIMS_MODEL").is_some_and(|value| !value.is_empty());
    let known = match &target.name {
        Some(name) => Some(library.path(Some(name)).ok_or_else(|| gone(name))?),
        None if is_named => None,
        None => library.path(None),
    };
    if let Some(path) = known {
        return Ok(path);
    }
    let path =
        lilims_models::bundled_model(resource_dir).map_err(|error| problem::not_found(&error))?;
    library.add_given(&path);
    Ok(path)
}

fn load(
    library: &Arc<LibraryHandle>,
    conversations: &Conversations,
    path: &Path,
    target: &Target,
    on_name: &dyn Fn(String),
) -> Result<Loaded, Error> {
    let title = library.begin_use(path).or_else(|| curated_name(path));
    let name = title.clone().unwrap_or_else(|| file_name(path));
    on_name(name.clone());
    let options = load_options(target.context_tokens);
    let attempt = fit::attempt(path, &name, &options)?;
    // If the note cannot be written, the load goes on without it.
    let marker =
        lilims_models::data_dir().ok().and_then(|folder| attempt.write_marker(&folder).ok());
    let taken_before = machine::resident_bytes();
    let draft = target.draft.as_deref().map(|name| library.path(Some(name)));
    let (library, file) = (Arc::clone(library), path.to_owned());
    let on_idle = move |n_tokens: usize| {
        let taken = machine::resident_bytes().saturating_sub(taken_before);
        library.note_peak(&file, n_tokens, taken);
    };
    let mut chat = Chat::load(path, &options, conversations.latest_session(), on_idle)?;
    if let Some(path) = draft {
        chat.load_draft(path.as_deref());
    }
    chat.guard_first_answer(attempt);
    let mut info = chat.info();
    drop(marker);
    // The names in files are often ones that only their authors understand.
    info.name = title.unwrap_or(info.name);
    Ok((info, Box::new(chat) as Box<dyn ChatBackend>))
}

/// The name that the catalogue has for the file at `path`.
fn curated_name(path: &Path) -> Option<String> {
    let models = Catalogue::curated().models;
    models.into_iter().find(|entry| path.ends_with(&entry.file)).map(|entry| entry.name)
}

fn file_name(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use lilims_ipc::{SettingScope, SettingValue};

    use super::*;
    use crate::database::Database;

    #[test]
    fn the_first_model_is_loaded_as_the_last_conversation_wants_it() {
        let conversations = Conversations::new(Arc::new(|_| {}));
        conversations.provide(Database::temporary(None));
        assert_eq!(first_target(&conversations), Target::default());
        let set = |setting, value| {
            conversations.set_setting(&SettingScope::Everywhere, setting, Some(value)).unwrap();
        };
        conversations.begin().unwrap();
        set(Setting::ContextTokens, SettingValue::Number(2048.0));
        set(Setting::DraftModel, SettingValue::Text("small".to_owned()));
        let wanted = Target {
            context_tokens: Some(2048),
            draft: Some("small".to_owned()),
            ..Target::default()
        };
        assert_eq!(first_target(&conversations), wanted);
    }

    #[test]
    fn curated_files_have_their_names_from_the_catalogue() {
        let entry = Catalogue::curated().models.remove(0);
        assert_eq!(curated_name(&Path::new("models").join(entry.file)), Some(entry.name));
        assert_eq!(curated_name(Path::new("models/other.gguf")), None);
        assert_eq!(file_name(Path::new("models/other.gguf")), "other");
    }
}
