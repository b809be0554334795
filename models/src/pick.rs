//! Which files of a repository the word after its name means, as in `owner/name:Q4_K_M`.

use std::path::Path;

use crate::quantisation_of;

/// Words before a quantisation that make it another one: Unsloth's dynamic types, mradermacher's
/// types with an importance matrix.
const VARIANTS: [&str; 2] = ["ud", "i1"];

/// How well a file fits a word, the best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Match {
    /// Its name ends in exactly this quantisation.
    Exact,
    /// Its name ends in the word, or states this quantisation.
    Name,
    /// A folder that it is in is called so.
    Folder,
    /// Its quantisation begins so, as `Q4_K_M` does with `q4`.
    Beginning,
    /// The word is somewhere in its name.
    Within,
}

/// How `file`, a path in a repository, fits `word`; `None` where it does not. Case is ignored, and so
/// is which of `-`, `_` and `.` stands between words.
pub fn fits(file: &str, word: &str) -> Option<Match> {
    let word = plain(word);
    if word.is_empty() {
        return None;
    }
    let path = Path::new(file);
    let stem = plain(&path.file_stem().unwrap_or_default().to_string_lossy());
    let ends_in = |text: &str| text == word || text.ends_with(&format!("-{word}"));
    let label = quantisation_of(path.file_name().unwrap_or_default().to_string_lossy().as_ref());
    if let Some(label) = label.map(|label| plain(&label)) {
        let before = stem.strip_suffix(&label).map(|before| before.trim_end_matches('-'));
        let variant = before.and_then(|before| before.rsplit('-').next());
        let variant = variant.filter(|it| VARIANTS.contains(it));
        let is_exact = before.is_some()
            && match variant {
                Some(variant) => word == format!("{variant}-{label}"),
                None => word == label,
            };
        if is_exact {
            return Some(Match::Exact);
        }
        if ends_in(&stem) || label == word {
            return Some(Match::Name);
        }
        if label.starts_with(&format!("{word}-")) {
            return Some(Match::Beginning);
        }
    }
    if ends_in(&stem) {
        return Some(Match::Name);
    }
    let mut folders = path.iter().rev().skip(1).map(|it| plain(&it.to_string_lossy()));
    let has_digit = word.contains(|c: char| c.is_ascii_digit());
    if folders.clone().any(|folder| ends_in(&folder)) {
        Some(Match::Folder)
    } else if has_digit && folders.any(|folder| folder.starts_with(&format!("{word}-"))) {
        Some(Match::Beginning)
    } else if format!("-{stem}-").contains(&format!("-{word}-")) {
        Some(Match::Within)
    } else {
        None
    }
}

/// Those of `files` that fit `word` best.
pub fn best<'a>(files: impl Iterator<Item = &'a str>, word: &str) -> Vec<&'a str> {
    let fitting: Vec<_> = files.filter_map(|file| Some((fits(file, word)?, file))).collect();
    let best = fitting.iter().map(|(fit, _)| *fit).min();
    fitting.into_iter().filter(|(fit, _)| Some(*fit) == best).map(|(_, file)| file).collect()
}

/// Lower case, with one hyphen between words and none around them.
fn plain(text: &str) -> String {
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
    fn l13_words_are_matched_against_names_and_folders_in_any_case() {
        for (word, expected) in [
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
            assert_eq!(best(FILES.into_iter(), word), expected, "{word}");
        }
    }
}
