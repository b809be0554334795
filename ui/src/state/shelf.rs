//! Questions to a [`Library`] and its downloads: what is recent, what is here, what is held.

use lilims_ipc::{Attempt, Condition, Download, DownloadState, Library, LibraryModel};

use super::library::HubFile;

/// How many models the picker shows.
const RECENT: usize = 6;

/// The models to pick from: those used last, the loaded one always among them.
pub(crate) fn recent(library: &Library) -> Vec<LibraryModel> {
    let is_loaded = |model: &LibraryModel| library.loaded.as_ref() == Some(&model.name);
    let usable = || library.models.iter().filter(|model| model.condition == Condition::Good);
    let mut recent: Vec<_> = usable().take(RECENT).cloned().collect();
    if !recent.iter().any(is_loaded)
        && let Some(loaded) = usable().find(|model| is_loaded(model))
    {
        recent.truncate(RECENT - 1);
        recent.push(loaded.clone());
    }
    recent
}

/// The short name of the model whose load was held, which is told by its display name.
pub(crate) fn held_name(library: &Library, attempt: &Attempt) -> Option<String> {
    let titled = library.models.iter().find(|model| model.title == attempt.name);
    titled.map(|model| model.name.clone()).or_else(|| library.loaded.clone())
}

/// The short name of the model that a file of the hub is on this device, `known` from when the hub
/// was asked. It may have come or gone since.
pub(crate) fn here(
    known: Option<&str>,
    file: &HubFile,
    library: &Library,
    downloads: &[Download],
) -> Option<String> {
    let exists = |name: &str| library.models.iter().any(|model| model.name == name);
    let of_download = downloads.iter().find_map(|download| match &download.state {
        DownloadState::Done { name } if is_of(download, file) && exists(name) => Some(name),
        _ => None,
    });
    let of_model = || {
        library.models.iter().find(|model| {
            model.repository.as_ref() == Some(&file.repository)
                && last_part(&model.path) == last_part(&file.file)
        })
    };
    known
        .filter(|name| exists(name))
        .map(str::to_owned)
        .or_else(|| of_download.cloned())
        .or_else(|| of_model().map(|model| model.name.clone()))
}

/// The download of a file that has not ended.
pub(crate) fn under_way(downloads: &[Download], file: &HubFile) -> Option<Download> {
    downloads.iter().find(|download| is_of(download, file) && is_open(download)).cloned()
}

/// How many downloads have not ended.
pub(crate) fn open_count(downloads: &[Download]) -> usize {
    downloads.iter().filter(|download| is_open(download)).count()
}

/// Whether a download goes on by itself.
pub(crate) fn is_moving(download: &Download) -> bool {
    use DownloadState::{Checking, Queued, Retrying, Running};
    matches!(download.state, Queued | Running | Retrying { .. } | Checking)
}

fn is_open(download: &Download) -> bool {
    !matches!(download.state, DownloadState::Done { .. })
}

fn is_of(download: &Download, file: &HubFile) -> bool {
    download.repository == file.repository && download.file == file.file
}

/// The name of a file without its folders, whichever way the system parts them.
pub(crate) fn last_part(path: &str) -> &str {
    path.rsplit(['/', '\\']).next().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use lilims_ipc::Place;

    use super::*;

    fn model(name: &str) -> LibraryModel {
        LibraryModel {
            name: name.into(),
            title: format!("Model {name}"),
            path: format!("/models/{name}.gguf"),
            place: Place::Ours,
            size_bytes: 1,
            disk_bytes: 1,
            quantisation: "Q4_K_M".into(),
            family: "llama".into(),
            context_tokens: None,
            licence: None,
            repository: Some("owner/repository".into()),
            revision: None,
            sha256: None,
            is_pinned: false,
            last_used_ms: None,
            condition: Condition::Good,
            fit: None,
            made: None,
        }
    }

    fn library(names: &[&str], loaded: Option<&str>) -> Library {
        let models = names.iter().map(|name| model(name)).collect();
        Library { models, loaded: loaded.map(str::to_owned), ..Library::default() }
    }

    fn file(file: &str) -> HubFile {
        HubFile { repository: "owner/repository".into(), file: file.into() }
    }

    fn download(file: &str, state: DownloadState) -> Download {
        Download {
            id: 1,
            repository: "owner/repository".into(),
            file: file.into(),
            state,
            done_bytes: 0,
            total_bytes: 0,
            bytes_per_second: None,
            seconds_left: None,
        }
    }

    fn names(models: &[LibraryModel]) -> Vec<&str> {
        models.iter().map(|model| &*model.name).collect()
    }

    #[test]
    fn the_picker_shows_the_loaded_model_even_if_it_is_not_recent() {
        let all = ["a", "b", "c", "d", "e", "f", "g", "h"];
        assert_eq!(names(&recent(&library(&all, Some("b")))), ["a", "b", "c", "d", "e", "f"]);
        assert_eq!(names(&recent(&library(&all, Some("h")))), ["a", "b", "c", "d", "e", "h"]);
        assert_eq!(names(&recent(&library(&all, None))).len(), 6);
    }

    #[test]
    fn the_picker_leaves_out_what_cannot_be_used() {
        let mut library = library(&["a", "b"], None);
        library.models[0].condition = Condition::Missing;
        assert_eq!(names(&recent(&library)), ["b"]);
    }

    #[test]
    fn a_held_model_is_found_by_its_title() {
        let attempt = Attempt {
            name: "Model b".into(),
            context_tokens: 8192,
            needed_bytes: 2,
            available_bytes: 1,
            message: "It ended.".into(),
            safer_context_tokens: 2048,
        };
        assert_eq!(held_name(&library(&["a", "b"], None), &attempt).as_deref(), Some("b"));
        assert_eq!(held_name(&library(&["a"], Some("a")), &attempt).as_deref(), Some("a"));
        assert_eq!(held_name(&library(&["a"], None), &attempt), None);
    }

    #[test]
    fn a_file_is_here_as_long_as_its_model_is() {
        let library = library(&["a"], None);
        let here =
            |known, name, downloads: &[Download]| here(known, &file(name), &library, downloads);
        assert_eq!(here(Some("a"), "x.gguf", &[]).as_deref(), Some("a"));
        assert_eq!(here(Some("gone"), "x.gguf", &[]), None);
        assert_eq!(here(None, "folder/a.gguf", &[]).as_deref(), Some("a"));
        let done = |name: &str| download("x.gguf", DownloadState::Done { name: name.into() });
        assert_eq!(here(None, "x.gguf", &[done("a")]).as_deref(), Some("a"));
        assert_eq!(here(None, "x.gguf", &[done("gone")]), None);
        assert_eq!(here(None, "y.gguf", &[done("a")]), None);
    }

    #[test]
    fn a_download_that_has_ended_is_not_under_way() {
        let paused = download("x.gguf", DownloadState::Paused);
        let done = download("y.gguf", DownloadState::Done { name: "y".into() });
        let downloads = [paused.clone(), done];
        assert_eq!(under_way(&downloads, &file("x.gguf")), Some(paused));
        assert_eq!(under_way(&downloads, &file("y.gguf")), None);
        assert_eq!(open_count(&downloads), 1);
        assert!(!downloads.iter().any(is_moving), "a paused one stands still");
        assert!(is_moving(&download("z.gguf", DownloadState::Queued)));
    }
}
