//! Selects the files of a repository that a tag means, as in `owner/name:Q4_K_M`. Works on names
//! only.

use std::path::Path;

use crate::quantisation_of;

/// Prefixes that make a quantisation a variant of its own: Unsloth's dynamic types (`UD-`) and
/// mradermacher's types with an importance matrix (`i1-`).
const VARIANT_PREFIXES: [&str; 2] = ["ud", "i1"];

/// How well a file matches a tag, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Match {
    /// The file name ends in exactly this quantisation.
    Exact,
    /// The file name ends in the tag, or has this quantisation.
    Name,
    /// The name of one of its folders ends in the tag.
    Folder,
    /// The quantisation starts with the tag, as `Q4_K_M` does with `q4`.
    Prefix,
    /// The tag is somewhere in the file name.
    Substring,
}

/// Compares `file`, a path in a repository, with a tag; `None` if they do not match. Ignores case
/// and treats `-`, `_` and `.` as equal.
pub fn match_file(file: &str, tag: &str) -> Option<Match> {
    let tag = normalise(tag);
    if tag.is_empty() {
        return None;
    }
    let path = Path::new(file);
    let stem = normalise(&path.file_stem().unwrap_or_default().to_string_lossy());
    let ends_in = |text: &str| text == tag || text.ends_with(&format!("-{tag}"));
    let label = quantisation_of(path.file_name().unwrap_or_default().to_string_lossy().as_ref());
    if let Some(label) = label.map(|label| normalise(&label)) {
        let before = stem.strip_suffix(&label).map(|before| before.trim_end_matches('-'));
        let variant = before.and_then(|before| before.rsplit('-').next());
        let variant = variant.filter(|it| VARIANT_PREFIXES.contains(it));
        let is_exact = before.is_some()
            && match variant {
                Some(variant) => tag == format!("{variant}-{label}"),
                None => tag == label,
            };
        if is_exact {
            return Some(Match::Exact);
        }
        if ends_in(&stem) || label == tag {
            return Some(Match::Name);
        }
        if label.starts_with(&format!("{tag}-")) {
            return Some(Match::Prefix);
        }
    }
    if ends_in(&stem) {
        return Some(Match::Name);
    }
    let mut folders = path.iter().rev().skip(1).map(|it| normalise(&it.to_string_lossy()));
    let has_digit = tag.contains(|c: char| c.is_ascii_digit());
    if folders.clone().any(|folder| ends_in(&folder)) {
        Some(Match::Folder)
    } else if has_digit && folders.any(|folder| folder.starts_with(&format!("{tag}-"))) {
        Some(Match::Prefix)
    } else if format!("-{stem}-").contains(&format!("-{tag}-")) {
        Some(Match::Substring)
    } else {
        None
    }
}

/// The files that match `tag` best; several if they match equally well.
pub fn best_matches<'a>(files: impl Iterator<Item = &'a str>, tag: &str) -> Vec<&'a str> {
    let matches: Vec<_> = files.filter_map(|file| Some((match_file(file, tag)?, file))).collect();
    let best = matches.iter().map(|(quality, _)| *quality).min();
    matches
        .into_iter()
        .filter(|(quality, _)| Some(*quality) == best)
        .map(|(_, file)| file)
        .collect()
}

/// Lower-cases the text and joins its words by single hyphens.
fn normalise(text: &str) -> String {
    let lower = text.trim().to_ascii_lowercase();
    let stem = lower.strip_suffix(".gguf").unwrap_or(&lower);
    let words = stem.split(['-', '_', '.', ' ']).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILES: [&str; 8] = [
        "m-Q4_K_M.gguf",
        "m-UD-Q4_K_XL.gguf",
        "m.i1-Q4_K_M.gguf",
        "m-Q8_0.gguf",
        "m-IQ3_XS.gguf",
        "Q5_K_M/model.gguf",
        "UD-Q2_K_XL/model-00001-of-00001.gguf",
        "BF16/m-BF16.gguf",
    ];

    #[test]
    fn l13_tags_match_names_and_folders_in_any_case() {
        for (tag, expected) in [
            ("Q4_K_M", &["m-Q4_K_M.gguf"][..]),
            ("q4-k-m", &["m-Q4_K_M.gguf"]),
            ("UD-Q4_K_XL", &["m-UD-Q4_K_XL.gguf"]),
            ("ud_q4_k_xl", &["m-UD-Q4_K_XL.gguf"]),
            ("Q4_K_XL", &["m-UD-Q4_K_XL.gguf"]),
            ("i1-Q4_K_M", &["m.i1-Q4_K_M.gguf"]),
            ("q8", &["m-Q8_0.gguf"]),
            ("iq3", &["m-IQ3_XS.gguf"]),
            ("q4", &["m-Q4_K_M.gguf", "m-UD-Q4_K_XL.gguf", "m.i1-Q4_K_M.gguf"]),
            ("Q5_K_M", &["Q5_K_M/model.gguf"]),
            ("q5", &["Q5_K_M/model.gguf"]),
            ("UD-Q2_K_XL", &["UD-Q2_K_XL/model-00001-of-00001.gguf"]),
            ("bf16", &["BF16/m-BF16.gguf"]),
            ("f16", &[]),
            ("q", &[]),
            ("", &[]),
            ("Q6_K", &[]),
        ] {
            assert_eq!(best_matches(FILES.into_iter(), tag), expected, "{tag}");
        }
    }
}
