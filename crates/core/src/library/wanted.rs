//! Which file of a repository is wanted: the usual one, one in a quantisation, or a certain one; or a
//! curated model, whose commit and hash are known.

use std::str::FromStr;

use lilims_hub::{Address, Repository, RepositoryFile};
use lilims_models::{Catalogue, best_matches, unsuitable};

use crate::error::Error;

/// The quantisation that is chosen without a wish: it loses little and is half as large as eight bits.
const USUAL: &str = "Q4_K_M";

/// A repository and which of its files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// `owner/name`.
    pub repository: String,
    /// Which of its files.
    pub pick: Pick,
}

/// Which file of a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pick {
    /// The usual one.
    Usual,
    /// The one that this word means, such as `Q4_K_M`, `ud-q4_k_xl` or `q4`.
    Quantisation(String),
    /// The one at this path.
    File(String),
}

/// A file to download, or to estimate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The repository and which of its files.
    pub target: Target,
    /// The branch, tag or commit.
    pub revision: Option<String>,
    /// The SHA-256 that the file must have.
    pub sha256: Option<String>,
    /// Whether it is the model that ships with the app.
    pub is_bundled: bool,
}

impl FromStr for Target {
    type Err = Error;

    /// Reads an [`Address`]; a revision in it is dropped.
    fn from_str(text: &str) -> Result<Self, Error> {
        Ok(text.parse::<Address>()?.into())
    }
}

impl From<Address> for Target {
    fn from(address: Address) -> Self {
        let pick = match (address.file, address.variant) {
            (Some(file), _) => Pick::File(file),
            (None, Some(word)) => Pick::Quantisation(word),
            (None, None) => Pick::Usual,
        };
        Self { repository: address.repository, pick }
    }
}

impl FromStr for Wanted {
    type Err = Error;

    /// Reads an [`Address`], or the id of a curated model or the beginning of one.
    fn from_str(text: &str) -> Result<Self, Error> {
        if text.contains('/') {
            let address: Address = text.parse()?;
            let revision = address.revision.clone();
            let target = address.into();
            return Ok(Self { target, revision, sha256: None, is_bundled: false });
        }
        let models = Catalogue::curated().models;
        let prefix = format!("{}-", text.to_ascii_lowercase());
        let exact = models.iter().find(|model| model.id.eq_ignore_ascii_case(text));
        let with_prefix: Vec<_> =
            models.iter().filter(|model| model.id.starts_with(&prefix)).collect();
        match (exact, &with_prefix[..]) {
            (Some(model), _) => Ok(Self::curated(model)),
            (None, [model]) => Ok(Self::curated(model)),
            (None, []) => Err(Error::UnknownDownload(text.to_owned())),
            (None, several) => Err(Error::Ambiguous {
                text: text.to_owned(),
                candidates: several.iter().map(|model| model.id.clone()).collect(),
            }),
        }
    }
}

impl Wanted {
    fn curated(model: &lilims_models::Entry) -> Self {
        let bundled = Catalogue::curated().bundled().map(|it| it.id.clone());
        Self {
            target: Target {
                repository: model.repository.clone(),
                pick: Pick::File(model.file.clone()),
            },
            revision: Some(model.revision.clone()),
            sha256: model.sha256.clone(),
            is_bundled: bundled.as_ref() == Some(&model.id),
        }
    }

    /// The `file` of `repository`; a curated one at its own commit.
    pub(crate) fn file(repository: &str, file: &str) -> Self {
        let models = Catalogue::curated().models;
        let curated = models.iter().find(|it| it.repository == repository && it.file == file);
        curated.map_or_else(
            || Self {
                target: Target {
                    repository: repository.to_owned(),
                    pick: Pick::File(file.to_owned()),
                },
                revision: None,
                sha256: None,
                is_bundled: false,
            },
            Self::curated,
        )
    }

    /// The same file at another revision, which may have other contents.
    #[must_use]
    pub fn at_revision(self, revision: String) -> Self {
        Self { revision: Some(revision), sha256: None, ..self }
    }
}

/// The file of `repository` that `pick` means, where a model may take `available_bytes` of memory.
pub(super) fn choose<'a>(
    repository: &'a Repository,
    pick: &Pick,
    available_bytes: u64,
    host: &str,
) -> Result<&'a RepositoryFile, Error> {
    let files = &repository.files;
    let runs = || files.iter().filter(|file| file.unsuitable().is_none());
    let named = |name: &str| files.iter().find(|file| file.file == name);
    let names = || runs().map(|file| file.file.as_str());
    let chosen = match pick {
        Pick::File(name) => named(name),
        Pick::Quantisation(word) => match &best_matches(names(), word)[..] {
            [] => best_matches(files.iter().map(|file| file.file.as_str()), word)
                .first()
                .and_then(|name| named(name)),
            [only] => named(only),
            several => {
                return Err(Error::Ambiguous {
                    text: word.clone(),
                    candidates: several.iter().map(|&name| name.to_owned()).collect(),
                });
            }
        },
        Pick::Usual => {
            let only = || runs().next().filter(|_| runs().count() == 1);
            let fits = |file: &&RepositoryFile| file.size_bytes < available_bytes;
            // Some repositories have variants beside it, whose names are longer.
            let usual = best_matches(names(), USUAL).into_iter().min_by_key(|it| (it.len(), *it));
            only().or_else(|| usual.and_then(named)).or_else(|| runs().rfind(fits))
        }
    };
    let Some(chosen) = chosen else {
        return Err(Error::NoSuchFile {
            repository: repository.repository.clone(),
            host: host.to_owned(),
            pick: pick.clone(),
            files: files.clone(),
        });
    };
    match unsuitable(&chosen.file, None) {
        Some(why) => Err(Error::Unsuitable { file: chosen.file.clone(), why }),
        None => Ok(chosen),
    }
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
        for text in ["", "a", "a/", "/b", "a/:Q4_0", "a/b:"] {
            assert!(text.parse::<Target>().is_err(), "{text}");
        }
    }

    #[test]
    fn l18_pasted_addresses_are_targets_with_their_revision() {
        let wanted: Wanted = "https://huggingface.co/a/b/blob/v1/c.gguf".parse().unwrap();
        assert_eq!(wanted.target, target("a/b", Pick::File("c.gguf".to_owned())));
        assert_eq!(wanted.revision.as_deref(), Some("v1"));
        let wanted: Wanted = "ollama run hf.co/a/b:Q4_0".parse().unwrap();
        assert_eq!(wanted.target, target("a/b", Pick::Quantisation("Q4_0".to_owned())));
        let error = "https://example.org/a/b".parse::<Wanted>().unwrap_err().to_string();
        assert!(error.contains("example.org is not the hub"), "{error}");
    }

    #[test]
    fn l13_words_choose_one_file_or_list_the_candidates() {
        let files = [
            ("m-Q4_K_M.gguf", 3),
            ("m-UD-Q4_K_XL.gguf", 4),
            ("m-i1-Q6_K.gguf", 5),
            ("Q8_0/model.gguf", 6),
            ("m-Q5_K_M-imatrix.gguf", 4),
            ("m-imatrix.gguf", 1),
        ];
        let of = |word: &str| chosen(&files, &Pick::Quantisation(word.to_owned()));
        for (word, expected) in [
            ("UD-Q4_K_XL", files[1].0),
            ("i1-q6_k", files[2].0),
            ("q8_0", files[3].0),
            ("q8", files[3].0),
            ("Q4_K_M", files[0].0),
            ("q5_k_m", files[4].0),
        ] {
            assert_eq!(of(word).unwrap(), expected, "{word}");
        }
        let several = of("q4").unwrap_err().to_string();
        assert!(several.contains(files[0].0) && several.contains(files[1].0), "{several}");
        let matrix = chosen(&files, &Pick::File("m-imatrix.gguf".to_owned())).unwrap_err();
        assert!(matrix.to_string().contains("importance matrix"), "{matrix}");
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
        assert!(none.contains("no-such"), "{none}");
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

    fn chosen(files: &[(&str, u64)], pick: &Pick) -> Result<String, Error> {
        choose(&repository(files), pick, 6_000_000_000, "hub").map(|file| file.file.clone())
    }

    #[test]
    fn the_usual_file_is_the_only_one_or_q4_k_m_or_the_largest_that_fits() {
        let usual = |files: &[(&str, u64)]| chosen(files, &Pick::Usual);
        assert_eq!(usual(&[("x-F16.gguf", 9), ("mmproj-x.gguf", 1)]).unwrap(), "x-F16.gguf");
        let files = [("x-Q8_0.gguf", 5), ("ud/x-UD-Q4_K_M.gguf", 2), ("x-q4_k_m.gguf", 3)];
        assert_eq!(usual(&files).unwrap(), "x-q4_k_m.gguf");
        let files = [("x-Q8_0.gguf", 5), ("x-F16.gguf", 9), ("x-Q2_K.gguf", 1)];
        assert_eq!(usual(&files).unwrap(), "x-Q8_0.gguf");
        let n_files = |error| match error {
            Error::NoSuchFile { files, .. } => files.len(),
            error => panic!("{error:?}"),
        };
        assert_eq!(n_files(usual(&[("x-F16.gguf", 9), ("x-BF16.gguf", 9)]).unwrap_err()), 2);
        assert_eq!(n_files(usual(&[]).unwrap_err()), 0);
    }

    #[test]
    fn parts_and_projectors_are_refused_with_their_kind() {
        let files = [("x-Q8_0-00001-of-00002.gguf", 9), ("mmproj-x-F16.gguf", 1)];
        let by_name = |name: &str| chosen(&files, &Pick::File(name.to_owned())).unwrap_err();
        assert!(by_name(files[0].0).to_string().contains("part 1 of 2"));
        assert!(by_name(files[1].0).to_string().contains("a projector"));
        let of = |it: &str| chosen(&files, &Pick::Quantisation(it.to_owned())).unwrap_err();
        assert!(of("q8_0").to_string().contains("part 1 of 2"));
        assert!(matches!(of("Q4_0"), Error::NoSuchFile { .. }));
    }
}
