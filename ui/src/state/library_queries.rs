//! Queries on a [`Library`] and its downloads: models to pick, local files, open downloads.

use lilims_ipc::{Attempt, Condition, Download, DownloadState, Library, LibraryModel};

use super::actions::HubFile;

/// The models to pick from: the loaded one, then the most recently used.
pub(crate) fn pickable_models(library: &Library) -> Vec<LibraryModel> {
    let usable = library.models.iter().filter(|model| model.condition == Condition::Good);
    let mut models: Vec<_> = usable.cloned().collect();
    models.sort_by_key(|model| library.loaded.as_ref() != Some(&model.name));
    models
}

/// The short name of the model that is not loaded again. The attempt has only its display name.
pub(crate) fn suspended_model(library: &Library, attempt: &Attempt) -> Option<String> {
    let titled = library.models.iter().find(|model| model.title == attempt.name);
    titled.map(|model| model.name.clone()).or_else(|| library.loaded.clone())
}

/// The short name of the local model that was downloaded from `file`. `known` is its name when the
/// hub was queried; it may have been added or removed since.
pub(crate) fn local_model(
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
                && file_name(&model.path) == file_name(&file.file)
        })
    };
    known
        .filter(|name| exists(name))
        .map(str::to_owned)
        .or_else(|| of_download.cloned())
        .or_else(|| of_model().map(|model| model.name.clone()))
}

/// The unfinished download of a file, if there is one.
pub(crate) fn open_download(downloads: &[Download], file: &HubFile) -> Option<Download> {
    downloads.iter().find(|download| is_of(download, file) && is_open(download)).cloned()
}

/// The number of unfinished downloads.
pub(crate) fn count_open(downloads: &[Download]) -> usize {
    downloads.iter().filter(|download| is_open(download)).count()
}

/// Whether a download runs or will run without the user.
pub(crate) fn is_active(download: &Download) -> bool {
    use DownloadState::{Checking, Queued, Retrying, Running};
    matches!(download.state, Queued | Running | Retrying { .. } | Checking)
}

fn is_open(download: &Download) -> bool {
    !matches!(download.state, DownloadState::Done { .. })
}

fn is_of(download: &Download, file: &HubFile) -> bool {
    download.repository == file.repository && download.file == file.file
}

/// The name of a file without its folders, separated by either kind of slash.
pub(crate) fn file_name(path: &str) -> &str {
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
            conversion: None,
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
    fn the_loaded_model_is_the_first_to_pick() {
        let all = ["a", "b", "c"];
        assert_eq!(names(&pickable_models(&library(&all, Some("b")))), ["b", "a", "c"]);
        assert_eq!(names(&pickable_models(&library(&all, None))), all);
    }

    #[test]
    fn models_to_pick_are_usable() {
        let mut library = library(&["a", "b"], None);
        library.models[0].condition = Condition::Missing;
        assert_eq!(names(&pickable_models(&library)), ["b"]);
    }

    #[test]
    fn finds_a_suspended_model_by_its_title() {
        let attempt = Attempt {
            name: "Model b".into(),
            context_tokens: 8192,
            needed_bytes: 2,
            available_bytes: 1,
            safer_context_tokens: 2048,
        };
        assert_eq!(suspended_model(&library(&["a", "b"], None), &attempt).as_deref(), Some("b"));
        assert_eq!(suspended_model(&library(&["a"], Some("a")), &attempt).as_deref(), Some("a"));
        assert_eq!(suspended_model(&library(&["a"], None), &attempt), None);
    }

    #[test]
    fn file_is_local_while_its_model_exists() {
        let library = library(&["a"], None);
        let local = |known, name, downloads: &[Download]| {
            local_model(known, &file(name), &library, downloads)
        };
        assert_eq!(local(Some("a"), "x.gguf", &[]).as_deref(), Some("a"));
        assert_eq!(local(Some("gone"), "x.gguf", &[]), None);
        assert_eq!(local(None, "folder/a.gguf", &[]).as_deref(), Some("a"));
        let done = |name: &str| download("x.gguf", DownloadState::Done { name: name.into() });
        assert_eq!(local(None, "x.gguf", &[done("a")]).as_deref(), Some("a"));
        assert_eq!(local(None, "x.gguf", &[done("gone")]), None);
        assert_eq!(local(None, "y.gguf", &[done("a")]), None);
    }

    #[test]
    fn finished_download_is_not_open() {
        let paused = download("x.gguf", DownloadState::Paused);
        let done = download("y.gguf", DownloadState::Done { name: "y".into() });
        let downloads = [paused.clone(), done];
        assert_eq!(open_download(&downloads, &file("x.gguf")), Some(paused));
        assert_eq!(open_download(&downloads, &file("y.gguf")), None);
        assert_eq!(count_open(&downloads), 1);
        assert!(!downloads.iter().any(is_active), "a paused download is not active");
        assert!(is_active(&download("z.gguf", DownloadState::Queued)));
    }
}
