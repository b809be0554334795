//! Reads model file names: derives a short name and the quantisation. Does not open files.

/// The longest short name, in bytes.
const MAX_SHORT_NAME: usize = 80;
/// The short name of a model whose title has no ASCII letter or digit.
const FALLBACK_NAME: &str = "model";

/// Derives a short name, easy to type in a shell, from a title or file name: lower-case letters,
/// digits, `-`, `_` and `.`. Appends `-2`, `-3`, … until the name is not `taken`.
///
/// `SmolLM2-135M-Instruct.Q4_1.gguf` becomes `smollm2-135m-instruct-q4_1`.
pub fn short_name(title_or_file: &str, taken: &dyn Fn(&str) -> bool) -> String {
    let name = normalise(title_or_file);
    if !taken(&name) {
        return name;
    }
    (2u64..)
        .map(|n| format!("{name}-{n}"))
        .find(|name| !taken(name))
        .expect("a library has fewer than 2^64 models")
}

/// Lower-cases the name and replaces each run of other characters by one hyphen.
fn normalise(title_or_file: &str) -> String {
    let lower = title_or_file.trim().to_ascii_lowercase();
    let stem = lower.strip_suffix(".gguf").unwrap_or(&lower);
    let mut name = String::new();
    let mut before = None;
    let mut rest = stem.chars().peekable();
    while let Some(c) = rest.next() {
        if is_kept(c, before, rest.peek().copied()) {
            name.push(c);
        } else if !name.is_empty() && !name.ends_with('-') {
            name.push('-');
        }
        before = Some(c);
    }
    name.truncate(MAX_SHORT_NAME);
    name.truncate(name.trim_end_matches(['-', '_', '.']).len());
    if name.is_empty() { FALLBACK_NAME.to_owned() } else { name }
}

/// Whether a character stays in a short name: letters, digits, `_` between them as in `q4_k_m`, and
/// `.` between digits as in `2.5`. Other dots separate a quantisation or an extension.
fn is_kept(c: char, before: Option<char>, after: Option<char>) -> bool {
    let is_between =
        |of: fn(&char) -> bool| before.as_ref().is_some_and(of) && after.as_ref().is_some_and(of);
    match c {
        '_' => is_between(char::is_ascii_alphanumeric),
        '.' => is_between(char::is_ascii_digit),
        other => other.is_ascii_alphanumeric(),
    }
}

/// The quantisation in a file name, such as `Q4_K_M`, in upper case. If there are several, the last
/// one, since names end in it; `None` if there is none.
pub fn quantisation_of(file_name: &str) -> Option<String> {
    let upper = file_name.to_ascii_uppercase();
    let stem = upper.strip_suffix(".GGUF").unwrap_or(&upper);
    let words = stem.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.rev().find_map(quantisation_in).map(str::to_owned)
}

/// The quantisation that is the whole word, or its end after an underscore.
fn quantisation_in(word: &str) -> Option<&str> {
    let starts = std::iter::once(0).chain(word.match_indices('_').map(|(idx, _)| idx + 1));
    starts.map(|start| &word[start..]).find(|rest| is_quantisation(rest))
}

/// Whether a word is a quantisation name as llama.cpp writes it.
fn is_quantisation(word: &str) -> bool {
    const FLOATS: &[&str] = &["F16", "F32", "BF16", "FP16", "FP32", "MXFP4", "MXFP4_MOE"];
    if FLOATS.contains(&word) {
        return true;
    }
    let (kind, rest) = match word.split_once('Q') {
        Some((kind @ ("" | "I" | "T"), rest)) => (kind, rest),
        _ => return false,
    };
    let Some((bits, variant)) = rest.split_once('_') else { return false };
    if bits.len() != 1 || !bits.bytes().all(|b| (b'1'..=b'8').contains(&b)) {
        return false;
    }
    let sizes = ["XXS", "XS", "S", "M", "L", "XL"];
    match kind {
        "" => {
            matches!(variant, "0" | "1" | "K" | "0_4_4" | "0_4_8" | "0_8_8")
                || variant.strip_prefix("K_").is_some_and(|size| sizes.contains(&size))
        }
        "I" => variant == "NL" || sizes.contains(&variant),
        _ => variant == "0",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn free(_: &str) -> bool {
        false
    }

    #[test]
    fn short_names_are_easy_to_type() {
        for (from, expected) in [
            ("SmolLM2-135M-Instruct.Q4_1.gguf", "smollm2-135m-instruct-q4_1"),
            ("qwen2.5-0.5b-instruct-q4_k_m.gguf", "qwen2.5-0.5b-instruct-q4_k_m"),
            ("Mistral-7B-Instruct-v0.3-Q4_K_M.GGUF", "mistral-7b-instruct-v0.3-q4_k_m"),
            ("smollm2:135m", "smollm2-135m"),
            ("hf.co/maker/Tiny-GGUF:Q4_0", "hf-co-maker-tiny-gguf-q4_0"),
            ("  Gemma 3 -- 1B (it)  ", "gemma-3-1b-it"),
            ("../../etc/passwd", "etc-passwd"),
            ("-rf", "rf"),
            ("a\nb;c$(d)", "a-b-c-d"),
            ("Modèle français", "mod-le-fran-ais"),
            ("模型.gguf", "model"),
            ("__x__.gguf", "x"),
            ("", "model"),
            (".gguf", "model"),
        ] {
            assert_eq!(short_name(from, &free), expected, "{from:?}");
        }
    }

    #[test]
    fn short_names_are_bounded() {
        let name = short_name(&format!("{}-b", "a".repeat(MAX_SHORT_NAME - 1)), &free);
        assert_eq!(name, "a".repeat(MAX_SHORT_NAME - 1));
        assert_eq!(short_name(&"é".repeat(1000), &free), "model");
    }

    #[test]
    fn taken_names_get_a_number() {
        let taken = ["tiny", "tiny-2", "tiny-3"];
        assert_eq!(short_name("Tiny", &|name| taken.contains(&name)), "tiny-4");
        assert_eq!(short_name("Tiny-5", &|name| taken.contains(&name)), "tiny-5");
    }

    #[test]
    fn quantisations_are_read_from_names() {
        for (file, expected) in [
            ("SmolLM2-135M-Instruct.Q4_1.gguf", "Q4_1"),
            ("qwen2.5-0.5b-instruct-q4_k_m.gguf", "Q4_K_M"),
            ("model-IQ4_XS.gguf", "IQ4_XS"),
            ("model-iq4_nl.gguf", "IQ4_NL"),
            ("model.IQ2_XXS.gguf", "IQ2_XXS"),
            ("Llama-3.2-1B-Instruct-f16.gguf", "F16"),
            ("gemma-3-1b-it-BF16.gguf", "BF16"),
            ("qwen2.5-0.5b-instruct-fp16.gguf", "FP16"),
            ("Qwen3-0.6B-Q8_0.gguf", "Q8_0"),
            ("Llama-3.2-1B-Instruct-UD-Q4_K_XL.gguf", "Q4_K_XL"),
            ("Qwen2.5-0.5B-Instruct_Q5_K_M.gguf", "Q5_K_M"),
            ("phi-4-Q6_K.gguf", "Q6_K"),
            ("gpt-oss-20b-MXFP4.gguf", "MXFP4"),
            ("phi-4-TQ1_0.gguf", "TQ1_0"),
            ("Q4_0-from-F16-Q5_1.gguf", "Q5_1"),
            ("model-q4_k_m-00001-of-00002.gguf", "Q4_K_M"),
            ("hf.co/maker/Tiny-GGUF:Q4_0", "Q4_0"),
        ] {
            assert_eq!(quantisation_of(file).as_deref(), Some(expected), "{file}");
        }
        for file in ["model.gguf", "Q9_0.gguf", "q4.gguf", "Qwen3-4B.gguf", "IQ4_K_M.gguf", ""] {
            assert_eq!(quantisation_of(file), None, "{file}");
        }
    }
}
