//! Texts that others wrote: each is isolated, so that none reorders what stands beside it, and
//! shows the characters that would act.

use leptos::prelude::*;

use crate::format;

/// A name, or another short text on one line.
#[component]
pub(crate) fn Foreign(
    /// The text as it came.
    #[prop(into)]
    text: Signal<String>,
) -> impl IntoView {
    view! { <bdi>{move || text.with(|text| format::visible_name(text))}</bdi> }
}

/// A text of any length; its line ends stay.
#[component]
pub(crate) fn ForeignText(
    /// The text as it came.
    #[prop(into)]
    text: Signal<String>,
) -> impl IntoView {
    view! { <bdi class="foreign-text">{move || text.with(|text| format::visible_text(text))}</bdi> }
}
