//! Finds the model that a person names: by its short name, as a curated model, or as
//! `owner/name:QUANT`.

use std::path::{Path, PathBuf};

use lilims_hub::{DownloadRow, DownloadState, Entry, Library};
use lilims_ipc::LibraryNote;
use lilims_models::{Catalogue, Match, match_file};

use super::wanted::{Pick, Target};
use crate::error::Error;

/// The least similarity of a name that is proposed, between 0 and 1.
const MIN_SIMILARITY: f64 = 0.85;
/// How many names are proposed.
const MAX_PROPOSALS: usize = 3;

/// The file that `name` means, as a path or as a model of the library; without a name, the bundled
/// model's. `on_note` gets what happened to the library that is looked into.
///
/// # Errors
/// [`Error::UnknownModel`], [`Error::Ambiguous`], [`Error::Bundled`], or the library's.
pub fn model_path(name: Option<&Path>, on_note: &dyn Fn(&LibraryNote)) -> Result<PathBuf, Error> {
    let path = match name {
        None => return Ok(lilims_models::bundled_model(None)?),
        Some(path) if path.exists() => return Ok(path.to_owned()),
        Some(name) => name,
    };
    let text = &*path.to_string_lossy();
    let library = Library::open_existing()?;
    if let Some(library) = &library {
        if let Some(note) = super::rebuilt(library) {
            on_note(&note);
        }
        if let Some(entry) = find(library, text)? {
            return Ok(entry.path);
        }
    }
    let is_bundled = Catalogue::curated().bundled().is_some_and(|it| it.id == text);
    if is_bundled && let Ok(path) = lilims_models::bundled_model(None) {
        return Ok(path);
    }
    if looks_like_a_path(path) {
        // Opening it says best what is wrong with it.
        return Ok(path.to_owned());
    }
    let entries = library.map_or(Ok(Vec::new()), |library| library.entries())?;
    Err(unknown(&entries, text, true))
}

/// The model that `text` names.
///
/// # Errors
/// [`Error::UnknownModel`], [`Error::Ambiguous`], or the library's.
pub(super) fn entry(library: &Library, text: &str) -> Result<Entry, Error> {
    match find(library, text)? {
        Some(entry) => Ok(entry),
        None => Err(unknown(&library.entries()?, text, false)),
    }
}

/// The model that `text` names, if there is one.
///
/// # Errors
/// [`Error::Ambiguous`], or the library's.
pub(super) fn find(library: &Library, text: &str) -> Result<Option<Entry>, Error> {
    let entries = library.entries()?;
    if let Some(entry) = entries.iter().find(|entry| entry.name.eq_ignore_ascii_case(text)) {
        return Ok(Some(entry.clone()));
    }
    let curated = Catalogue::curated().models.into_iter().find(|model| model.id == text);
    let target = match curated {
        Some(model) => Target { repository: model.repository, pick: Pick::File(model.file) },
        None => match text.parse() {
            Ok(target) => target,
            Err(_) => return Ok(None),
        },
    };
    let mut matching = entries.into_iter().filter(|entry| matches(entry, &target));
    let Some(first) = matching.next() else { return Ok(None) };
    let mut candidates: Vec<_> = matching.map(|entry| entry.name).collect();
    if candidates.is_empty() {
        return Ok(Some(first));
    }
    candidates.insert(0, first.name);
    Err(Error::Ambiguous { text: text.to_owned(), candidates })
}

/// The unfinished downloads that `text`, a repository or a file of one, names.
pub(super) fn unfinished(library: &Library, text: &str) -> Result<Vec<DownloadRow>, Error> {
    let Ok(target) = text.parse::<Target>() else { return Ok(Vec::new()) };
    let mut rows = library.downloads()?;
    rows.retain(|row| {
        row.state != DownloadState::Done
            && row.source.repository.eq_ignore_ascii_case(&target.repository)
            && match &target.pick {
                Pick::Usual => true,
                Pick::Quantisation(word) => has_word(&row.source.file, word),
                Pick::File(file) => row.source.file == *file,
            }
    });
    Ok(rows)
}

fn matches(entry: &Entry, target: &Target) -> bool {
    let repository = entry.repository.as_deref().unwrap_or_default();
    if !repository.eq_ignore_ascii_case(&target.repository) {
        return false;
    }
    let path = entry.path.to_string_lossy();
    let file = entry.file.as_deref().unwrap_or(&path);
    match &target.pick {
        Pick::Usual => true,
        Pick::Quantisation(word) => {
            entry.quantisation.eq_ignore_ascii_case(word) || has_word(file, word)
        }
        Pick::File(name) => entry.file.as_ref() == Some(name),
    }
}

fn has_word(file: &str, word: &str) -> bool {
    match_file(file, word).is_some_and(|quality| quality <= Match::Prefix)
}

fn looks_like_a_path(path: &Path) -> bool {
    let is_gguf = path.extension().is_some_and(|it| it.eq_ignore_ascii_case("gguf"));
    is_gguf || path.is_absolute() || path.starts_with(".") || path.starts_with("..")
}

fn unknown(entries: &[Entry], text: &str, may_be_file: bool) -> Error {
    Error::UnknownModel {
        text: text.to_owned(),
        may_be_file,
        is_curated: Catalogue::curated().models.iter().any(|model| model.id == text),
        similar: similar(entries.iter().map(|entry| entry.name.as_str()), text),
    }
}

/// The names that contain `text` or are most similar to it.
fn similar<'a>(names: impl Iterator<Item = &'a str>, text: &str) -> Vec<String> {
    let text = text.to_ascii_lowercase();
    let similarity = |name: &str| match name.contains(&text) {
        true => 1.0,
        false => strsim::jaro_winkler(name, &text),
    };
    let mut similar: Vec<_> = names
        .map(|name| (similarity(name), name))
        .filter(|(similarity, _)| *similarity >= MIN_SIMILARITY)
        .collect();
    similar.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(b.1)));
    similar.into_iter().take(MAX_PROPOSALS).map(|(_, name)| name.to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn similar_names_contain_the_text_or_have_a_typing_error() {
        let names = ["qwen3-4b-q4_k_m", "smollm2-135m-instruct-q4_1", "gemma-3-270m-q4_k_m"];
        let similar = |text| similar(names.into_iter(), text);
        assert_eq!(similar("QWEN3"), [names[0]]);
        assert_eq!(similar("smolm2-135m-instruct-q4_1"), [names[1]]);
        assert_eq!(similar("entirely different"), [""; 0]);
    }

    #[test]
    fn repositories_name_what_came_from_them() {
        let entry = Entry {
            repository: Some("Owner/Name".into()),
            file: Some("m-Q4_0.gguf".into()),
            quantisation: "Q4_0".into(),
            ..Entry::default()
        };
        for (text, expected) in [
            ("owner/name", true),
            ("owner/name:q4_0", true),
            ("owner/name:q8_0", false),
            ("owner/name/m-Q4_0.gguf", true),
            ("owner/name/m.gguf", false),
            ("owner/other", false),
        ] {
            assert_eq!(matches(&entry, &text.parse().unwrap()), expected, "{text}");
        }
    }

    #[test]
    fn paths_are_distinguished_from_names() {
        for path in ["m.gguf", "a/b.GGUF", "./m", "../m", "/m"] {
            assert!(looks_like_a_path(Path::new(path)), "{path}");
        }
        for name in ["m", "owner/name", "owner/name:Q4_0", "qwen3-0.6b"] {
            assert!(!looks_like_a_path(Path::new(name)), "{name}");
        }
    }
}
