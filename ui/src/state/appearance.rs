//! How the page looks on this device: theme, text size and language.

use leptos::prelude::*;

/// The choices of a setting, as they are stored; the first one is the default.
pub(crate) const THEMES: [&str; 3] = ["system", "light", "dark"];
/// Sizes of text, in percent.
pub(crate) const TEXT_SIZES: [&str; 5] = ["100", "90", "115", "130", "150"];

/// The look of the page. Copies share the signals.
#[derive(Clone, Copy)]
pub(crate) struct Appearance {
    /// One of [`THEMES`].
    pub(crate) theme: RwSignal<String>,
    /// One of [`TEXT_SIZES`].
    pub(crate) text_size: RwSignal<String>,
    /// The tag of a language, or `system`.
    pub(crate) language: RwSignal<String>,
    /// The language in which the page is drawn.
    pub(crate) drawn_language: RwSignal<String>,
}

impl Appearance {
    /// What `stored` has under the names of the settings, or the defaults.
    pub(crate) fn new(stored: impl Fn(&str) -> Option<String>) -> Self {
        let signal = |name: &str, default: &str| {
            RwSignal::new(stored(name).unwrap_or_else(|| default.to_owned()))
        };
        let language = signal("language", "system");
        Self {
            drawn_language: RwSignal::new(language.get_untracked()),
            theme: signal("theme", THEMES[0]),
            text_size: signal("text-size", TEXT_SIZES[0]),
            language,
        }
    }
}
