//! Untrusted text: isolated in a `bdi` element, so that it cannot reorder the text beside it, with
//! control characters made visible.

use leptos::prelude::*;

use crate::format;

/// A name, or another short text on one line.
#[component]
pub(crate) fn UntrustedName(
    /// The original text.
    #[prop(into)]
    text: Signal<String>,
) -> impl IntoView {
    view! { <bdi>{move || text.with(|text| format::visible_name(text))}</bdi> }
}

/// A text of any length; its line breaks stay.
#[component]
pub(crate) fn UntrustedText(
    /// The original text.
    #[prop(into)]
    text: Signal<String>,
) -> impl IntoView {
    view! { <bdi class="untrusted-text">{move || text.with(|text| format::visible_text(text))}</bdi> }
}
