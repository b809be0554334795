//! From what people call a model to its entry in the library.

use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow, bail};
use lilims_hub::{DownloadRow, DownloadState, Entry, Library};
use lilims_models::{Catalogue, Match, match_file};

use super::target::{Pick, Target};

/// How alike a name has to be to be proposed, between 0 and 1.
const ALIKE: f64 = 0.85;
/// How many names are proposed.
const PROPOSALS: usize = 3;

/// The file of the model that `text` names: a short name of the library, a curated model or
/// `owner/name:QUANT` that is here.
pub(crate) fn named(text: &str) -> Result<PathBuf> {
    if let Some(library) = Library::open_existing()? {
        super::tell_rebuilt(&library);
        if let Some(entry) = find(&library, text)? {
            return Ok(entry.path);
        }
    }
    let is_bundled = Catalogue::curated().bundled().is_some_and(|it| it.id == text);
    if is_bundled && let Ok(path) = lilims_models::bundled_model(None) {
        return Ok(path);
    }
    if looks_like_a_path(Path::new(text)) {
        // Opening it says best what is wrong with it.
        return Ok(text.into());
    }
    let entries = match Library::open_existing()? {
        Some(library) => library.entries()?,
        None => Vec::new(),
    };
    Err(unknown(&entries, text).context("no file and no model has this name"))
}

/// The entry that `text` names.
pub(super) fn entry(library: &Library, text: &str) -> Result<Entry> {
    match find(library, text)? {
        Some(entry) => Ok(entry),
        None => Err(unknown(&library.entries()?, text)),
    }
}

/// The entry that `text` names, if there is one.
pub(super) fn find(library: &Library, text: &str) -> Result<Option<Entry>> {
    let entries = library.entries()?;
    if let Some(entry) = entries.iter().find(|entry| entry.name.eq_ignore_ascii_case(text)) {
        return Ok(Some(entry.clone()));
    }
    let curated = Catalogue::curated().models.into_iter().find(|model| model.id == text);
    let target = match curated {
        Some(model) => {
            Target { repository: model.repository, pick: Pick::File(model.file.clone()) }
        }
        None => match text.parse() {
            Ok(target) => target,
            Err(_) => return Ok(None),
        },
    };
    let matching: Vec<_> = entries.into_iter().filter(|entry| is_meant(entry, &target)).collect();
    match &matching[..] {
        [] => Ok(None),
        [only] => Ok(Some(only.clone())),
        several => {
            let names: Vec<_> = several.iter().map(|entry| entry.name.as_str()).collect();
            bail!("`{text}` could be {}", names.join(", "))
        }
    }
}

/// The unfinished downloads that `text`, a repository or a file of one, means.
pub(super) fn unfinished(library: &Library, text: &str) -> Result<Vec<DownloadRow>> {
    let Ok(target) = text.parse::<Target>() else { return Ok(Vec::new()) };
    let is_meant = |row: &DownloadRow| {
        row.state != DownloadState::Done
            && row.source.repository.eq_ignore_ascii_case(&target.repository)
            && match &target.pick {
                Pick::Usual => true,
                Pick::Quantisation(word) => match_file(&row.source.file, word)
                    .is_some_and(|quality| quality <= Match::Prefix),
                Pick::File(file) => row.source.file == *file,
            }
    };
    Ok(library.downloads()?.into_iter().filter(is_meant).collect())
}

/// What an unfinished download is called.
pub(super) fn name_of(row: &DownloadRow) -> String {
    format!("{}/{}", row.source.repository, row.source.file)
}

fn is_meant(entry: &Entry, target: &Target) -> bool {
    let repository = entry.repository.as_deref().unwrap_or_default();
    if !repository.eq_ignore_ascii_case(&target.repository) {
        return false;
    }
    let path = entry.path.to_string_lossy();
    let file = entry.file.as_deref().unwrap_or(&path);
    match &target.pick {
        Pick::Usual => true,
        Pick::Quantisation(word) => {
            entry.quantisation.eq_ignore_ascii_case(word)
                || match_file(file, word).is_some_and(|quality| quality <= Match::Prefix)
        }
        Pick::File(name) => entry.file.as_ref() == Some(name),
    }
}

fn looks_like_a_path(path: &Path) -> bool {
    let has_ending = path.extension().is_some_and(|it| it.eq_ignore_ascii_case("gguf"));
    has_ending || path.is_absolute() || path.starts_with(".") || path.starts_with("..")
}

/// The error that nothing is called `text`, with what may be meant.
fn unknown(entries: &[Entry], text: &str) -> anyhow::Error {
    let near = near(entries.iter().map(|entry| entry.name.as_str()), text);
    let is_curated = Catalogue::curated().models.iter().any(|model| model.id == text);
    if is_curated {
        anyhow!("{text} is not here yet: `lilims pull {text}` fetches it")
    } else if near.is_empty() {
        anyhow!("there is no model called `{text}` in the library: `lilims list` shows them")
    } else {
        let near = near.join("` or `");
        anyhow!("there is no model called `{text}` in the library; there is `{near}`")
    }
}

/// The names that are most like `text`.
fn near<'a>(names: impl Iterator<Item = &'a str>, text: &str) -> Vec<&'a str> {
    let text = text.to_ascii_lowercase();
    let alike = |name: &str| match name.contains(&text) {
        true => 1.0,
        false => strsim::jaro_winkler(name, &text),
    };
    let mut near: Vec<_> =
        names.map(|name| (alike(name), name)).filter(|(alike, _)| *alike >= ALIKE).collect();
    near.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(b.1)));
    near.into_iter().take(PROPOSALS).map(|(_, name)| name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_are_those_with_the_text_and_those_with_a_slip() {
        let names = ["qwen3-4b-q4_k_m", "smollm2-135m-instruct-q4_1", "gemma-3-270m-q4_k_m"];
        let near = |text| near(names.into_iter(), text);
        assert_eq!(near("QWEN3"), [names[0]]);
        assert_eq!(near("smolm2-135m-instruct-q4_1"), [names[1]]);
        assert_eq!(near("entirely different"), [""; 0]);
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
            assert_eq!(is_meant(&entry, &text.parse().unwrap()), expected, "{text}");
        }
    }

    #[test]
    fn paths_are_told_from_names() {
        for path in ["m.gguf", "a/b.GGUF", "./m", "../m", "/m"] {
            assert!(looks_like_a_path(Path::new(path)), "{path}");
        }
        for name in ["m", "owner/name", "owner/name:Q4_0", "qwen3-0.6b"] {
            assert!(!looks_like_a_path(Path::new(name)), "{name}");
        }
    }
}
