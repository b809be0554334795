//! Every text that the page shows, by key, in the language of the user.
//!
//! The texts themselves are in `locales/`; `build.rs` makes a key of each, so that a missing text or value
//! does not compile. [`error`] and the other functions here turn the codes and facts of
//! `lilims_ipc` into sentences. Numbers and sizes are formatted by [`crate::format`].

mod errors;
mod facts;
mod recommended;

pub(crate) use errors::{error, retry_reason};
pub(crate) use facts::{
    attachment_note, attempt, caution, fit_part, good_for, library_note, memory_source, owner,
    prompt_note, report, skip_reason, stay_reason, suggestion, unload_reason, unsuitable,
};
pub(crate) use recommended::good_at;

mod catalogue;

pub(crate) use catalogue::{
    LANGUAGES, choose, chosen, filled, is_right_to_left, key, keys, plain, supported, text,
    text_view, value, views,
};

#[cfg(test)]
mod tests {
    #[test]
    fn texts_name_no_development_tools() {
        let texts = include_str!("../../locales/en.json");
        for word in ["cargo", "xtask", "LILIMS_", "HF_", ".rs", "src/"] {
            assert!(!texts.contains(word), "{word}");
        }
    }
}
