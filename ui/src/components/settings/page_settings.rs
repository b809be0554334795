//! The settings of the page itself: how it looks on this device.

use leptos::prelude::*;

use crate::state::appearance::{Appearance, TEXT_SIZES, THEMES};
use crate::state::settings::is_found;
use crate::text::{self, text};

/// Theme, text size and language.
#[component]
pub(crate) fn PageSettings(
    /// The look of the page.
    appearance: Appearance,
    /// What is searched for.
    query: RwSignal<String>,
    /// More settings below.
    children: Children,
) -> impl IntoView {
    let themes = THEMES.map(|theme| {
        let name = match theme {
            "light" => text!(appearance.light),
            "dark" => text!(appearance.dark),
            _ => text!(appearance.system),
        };
        (theme.to_owned(), name.to_owned())
    });
    let mut sizes = TEXT_SIZES
        .map(|size| (size.to_owned(), crate::format::percent_text(size.parse().unwrap_or(100))));
    sizes.sort_by_key(|(size, _)| size.parse::<u32>().unwrap_or(100));
    let system = [("system".to_owned(), text!(appearance.system).to_owned())];
    let named = text::LANGUAGES.map(|(tag, name)| (tag.to_owned(), name.to_owned()));
    let languages = system.into_iter().chain(named).collect();
    view! {
        <section class="settings-rows" aria-labelledby="appearance-title">
            <h2 id="appearance-title">{text!(appearance.title)}</h2>
            {choice("theme", text!(appearance.theme), themes.into(), appearance.theme, query)}
            {choice("text-size", text!(appearance.text_size), sizes.into(), appearance.text_size, query)}
            {choice("language", text!(appearance.language), languages, appearance.language, query)}
            {children()}
        </section>
    }
}

fn choice(
    id: &'static str,
    label: &'static str,
    options: Vec<(String, String)>,
    chosen: RwSignal<String>,
    query: RwSignal<String>,
) -> AnyView {
    let option = move |(value, name): (String, String)| {
        let is_chosen = chosen.with_untracked(|chosen| *chosen == value);
        view! { <option value=value.clone() selected=is_chosen>{name}</option> }
    };
    view! {
        <div class="setting" hidden=move || query.with(|query| !is_found((label, ""), query))>
            <label for=id>{label}</label>
            <select
                id=id
                data-testid=id
                on:change:target=move |event| chosen.set(event.target().value())
            >
                {options.into_iter().map(option).collect_view()}
            </select>
        </div>
    }
    .into_any()
}
