//! What `pull` and `fit` are to take: a repository and which of its files, or a curated model.

use std::fmt::Write;
use std::path::Path;
use std::str::FromStr;

use anyhow::{Result, anyhow, bail};
use lilims_hub::{Repository, RepositoryFile};
use lilims_models::{Catalogue, quantisation_of};

use crate::output;

/// What is taken where nothing is said: it loses little and is half as large as eight bits.
const USUAL: &str = "Q4_K_M";

/// A repository and which of its files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    /// `owner/name`.
    pub(super) repository: String,
    pub(super) pick: Pick,
}

/// Which file of a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Pick {
    /// The usual one.
    Usual,
    /// The one with this quantisation.
    Quantisation(String),
    /// The one at this path.
    File(String),
}

/// A target, with what is known of it beforehand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) target: Target,
    /// The commit to take it from, where a certain one is wanted.
    pub(super) revision: Option<String>,
    /// The SHA-256 that the file must have.
    pub(super) sha256: Option<String>,
    /// The curated model's id.
    pub(super) curated: Option<String>,
}

impl FromStr for Target {
    type Err = anyhow::Error;

    /// Reads `owner/name`, `owner/name:QUANT` or `owner/name/file.gguf`.
    fn from_str(text: &str) -> Result<Self> {
        let wrong = || anyhow!("`{text}` is not a repository: write owner/name");
        let (owner, rest) = text.split_once('/').ok_or_else(wrong)?;
        let end = rest.find(['/', ':']).unwrap_or(rest.len());
        let (name, pick) = rest.split_at(end);
        if owner.is_empty() || name.is_empty() {
            return Err(wrong());
        }
        let pick = match (pick.get(..1), pick.get(1..).unwrap_or_default()) {
            (None, _) => Pick::Usual,
            (Some(_), "") => bail!("`{text}` ends where a file or a quantisation should follow"),
            (Some(":"), quantisation) => Pick::Quantisation(quantisation.to_owned()),
            (Some(_), file) => Pick::File(file.to_owned()),
        };
        Ok(Self { repository: format!("{owner}/{name}"), pick })
    }
}

impl FromStr for Wanted {
    type Err = anyhow::Error;

    /// Reads a [`Target`], or the id of a curated model or the beginning of one.
    fn from_str(text: &str) -> Result<Self> {
        if text.contains('/') {
            let target = text.parse()?;
            return Ok(Self { target, revision: None, sha256: None, curated: None });
        }
        let models = Catalogue::curated().models;
        let beginning = format!("{}-", text.to_ascii_lowercase());
        let exact = models.iter().find(|model| model.id.eq_ignore_ascii_case(text));
        let beginning_so: Vec<_> =
            models.iter().filter(|model| model.id.starts_with(&beginning)).collect();
        let model = match (exact, &beginning_so[..]) {
            (Some(model), _) => model,
            (None, [model]) => *model,
            (None, []) => bail!(
                "`{text}` is no curated model and no repository: write owner/name; \
                 `lilims search {text}` finds some"
            ),
            (None, several) => {
                let ids: Vec<_> = several.iter().map(|model| model.id.as_str()).collect();
                bail!("`{text}` could be {}", ids.join(", "))
            }
        };
        let pick = Pick::File(model.file.clone());
        Ok(Self {
            target: Target { repository: model.repository.clone(), pick },
            revision: Some(model.revision.clone()),
            sha256: model.sha256.clone(),
            curated: Some(model.id.clone()),
        })
    }
}

/// The file of `repository` that `pick` means, where a model may take `available_bytes` of memory.
pub(super) fn choose<'a>(
    repository: &'a Repository,
    pick: &Pick,
    available_bytes: u64,
) -> Result<&'a RepositoryFile> {
    let files = &repository.files;
    let runs = || files.iter().filter(|file| refusal(&file.file).is_none());
    let of = |quantisation: &str| {
        // Some repositories have variants beside it, whose names are longer.
        runs()
            .filter(|file| is_of(&file.file, quantisation))
            .min_by_key(|file| (file.file.len(), file.file.clone()))
    };
    let chosen = match pick {
        Pick::File(name) => files.iter().find(|file| file.file == *name),
        Pick::Quantisation(quantisation) => {
            of(quantisation).or_else(|| files.iter().find(|file| is_of(&file.file, quantisation)))
        }
        Pick::Usual => {
            let only = || runs().next().filter(|_| runs().count() == 1);
            let fits = |file: &&RepositoryFile| file.size_bytes < available_bytes;
            only().or_else(|| of(USUAL)).or_else(|| runs().rfind(fits))
        }
    };
    let Some(chosen) = chosen else { bail!("{}", nothing_chosen(repository, pick)) };
    match refusal(&chosen.file) {
        Some(why) => bail!("{}: {why}", chosen.file),
        None => Ok(chosen),
    }
}

/// Why a file is no model that Lilims can run by itself.
fn refusal(file: &str) -> Option<&'static str> {
    let lower = file.to_ascii_lowercase();
    if lower.contains("-of-") && is_split(&lower) {
        Some("it is one of several parts, which Lilims cannot join yet; take a file in one piece")
    } else if lower.contains("mmproj") {
        Some("it holds only what another model sees pictures with; take the model itself")
    } else {
        None
    }
}

/// Whether a name in lower case ends in `-00001-of-00003.gguf`.
fn is_split(lower: &str) -> bool {
    let is_number = |text: &str| text.len() == 5 && text.bytes().all(|byte| byte.is_ascii_digit());
    let Some((rest, n)) = lower.strip_suffix(".gguf").and_then(|stem| stem.rsplit_once("-of-"))
    else {
        return false;
    };
    is_number(n) && rest.rsplit_once('-').is_some_and(|(_, part)| is_number(part))
}

/// Whether the file's name states the quantisation.
pub(super) fn is_of(file: &str, quantisation: &str) -> bool {
    let name = Path::new(file).file_name().unwrap_or_default().to_string_lossy();
    quantisation_of(&name).is_some_and(|it| it.eq_ignore_ascii_case(quantisation))
}

/// The sentence that no file was chosen, and what there is.
fn nothing_chosen(repository: &Repository, pick: &Pick) -> String {
    let name = &repository.repository;
    if repository.files.is_empty() {
        return format!("{name} has no GGUF file");
    }
    let mut text = match pick {
        Pick::Usual => format!("{name} has no {USUAL} and no file that fits the memory"),
        Pick::Quantisation(quantisation) => format!("{name} has no file in {quantisation}"),
        Pick::File(file) => format!("{name} has no file {file}"),
    };
    text.push_str("; it has:");
    for file in &repository.files {
        let size = output::disk_size(file.size_bytes);
        // Writing to a text does not fail.
        let _ = write!(text, "\n  {size:>9}  {}", file.file);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(repository: &str, pick: Pick) -> Target {
        Target { repository: repository.to_owned(), pick }
    }

    #[test]
    fn targets_are_repositories_with_a_quantisation_or_a_file() {
        let quantisation = Pick::Quantisation("q4_k_m".to_owned());
        let file = |file: &str| Pick::File(file.to_owned());
        for (text, expected) in [
            ("a/b", target("a/b", Pick::Usual)),
            ("a/b:q4_k_m", target("a/b", quantisation)),
            ("a/b/c.gguf", target("a/b", file("c.gguf"))),
            ("a/b/Q4/c:d.gguf", target("a/b", file("Q4/c:d.gguf"))),
        ] {
            assert_eq!(text.parse::<Target>().unwrap(), expected, "{text}");
        }
        for text in ["", "a", "a/", "/b", "a/:Q4_0", "a/b:", "a/b/"] {
            assert!(text.parse::<Target>().is_err(), "{text}");
        }
    }

    #[test]
    fn curated_models_are_pinned() {
        let wanted: Wanted = "Qwen3-0.6B-Q8_0".parse().unwrap();
        assert_eq!(wanted, "qwen3-0.6b".parse().unwrap());
        assert!(wanted.sha256.is_some() && wanted.revision.is_some());
        assert!(matches!(wanted.target.pick, Pick::File(_)));
        let several = "qwen3-4b".parse::<Wanted>().unwrap_err().to_string();
        assert!(several.contains("qwen3-4b-instruct-2507-q4_k_m"), "{several}");
        let none = "no-such".parse::<Wanted>().unwrap_err().to_string();
        assert!(none.contains("lilims search no-such"), "{none}");
    }

    fn repository(files: &[(&str, u64)]) -> Repository {
        let mut files: Vec<_> = files
            .iter()
            .map(|&(file, gigabytes)| RepositoryFile {
                file: file.to_owned(),
                size_bytes: gigabytes * 1_000_000_000,
                sha256: None,
            })
            .collect();
        files.sort_by_key(|file| file.size_bytes);
        Repository {
            repository: "a/b".to_owned(),
            revision: "main".to_owned(),
            licence: None,
            is_gated: false,
            files,
        }
    }

    fn chosen(files: &[(&str, u64)], pick: &Pick) -> Result<String> {
        choose(&repository(files), pick, 6_000_000_000).map(|file| file.file.clone())
    }

    #[test]
    fn the_usual_file_is_the_only_one_or_q4_k_m_or_the_largest_that_fits() {
        let usual = |files: &[(&str, u64)]| chosen(files, &Pick::Usual);
        assert_eq!(usual(&[("x-F16.gguf", 9), ("mmproj-x.gguf", 1)]).unwrap(), "x-F16.gguf");
        let files = [("x-Q8_0.gguf", 5), ("ud/x-UD-Q4_K_M.gguf", 2), ("x-q4_k_m.gguf", 3)];
        assert_eq!(usual(&files).unwrap(), "x-q4_k_m.gguf");
        let files = [("x-Q8_0.gguf", 5), ("x-F16.gguf", 9), ("x-Q2_K.gguf", 1)];
        assert_eq!(usual(&files).unwrap(), "x-Q8_0.gguf");
        let error = usual(&[("x-F16.gguf", 9), ("x-BF16.gguf", 9)]).unwrap_err().to_string();
        assert!(error.contains("9.0 GB  x-BF16.gguf"), "{error}");
        assert!(usual(&[]).unwrap_err().to_string().contains("no GGUF file"));
    }

    #[test]
    fn parts_and_projectors_are_refused_with_a_reason() {
        let files = [("x-Q8_0-00001-of-00002.gguf", 9), ("mmproj-x-F16.gguf", 1)];
        let by_name = |name: &str| chosen(&files, &Pick::File(name.to_owned())).unwrap_err();
        assert!(by_name(files[0].0).to_string().contains("several parts"));
        assert!(by_name(files[1].0).to_string().contains("pictures"));
        let of = |it: &str| chosen(&files, &Pick::Quantisation(it.to_owned())).unwrap_err();
        assert!(of("q8_0").to_string().contains("several parts"));
        assert!(of("Q4_0").to_string().contains("has no file in Q4_0; it has:"));
        assert!(!is_split("best-of-5.gguf") && !is_split("x-1-of-00002.gguf"));
    }
}
