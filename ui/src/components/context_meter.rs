//! The context meter: a small bar with figures that shows how full the model's context is.

use leptos::prelude::*;
use lilims_ipc::ContextView;

use crate::format::{self, number};
use crate::text::text;

/// The meter; it is a button that opens the context panel.
#[component]
pub(crate) fn ContextMeter(
    /// What the model sees; nothing used before the first answer, `None` before the context's size
    /// is known.
    #[prop(into)]
    view: Signal<Option<ContextView>>,
    /// Whether the panel is shown; the meter toggles it.
    panel_open: RwSignal<bool>,
) -> impl IntoView {
    let known = Memo::new(move |_| view.get().unwrap_or_default());
    let wide = move || known.with(figures);
    let narrow = move || known.with(short_figures);
    let label = move || text!(context.meter, figures = known.with(figures));
    view! {
        <Show when=move || view.with(Option::is_some)>
            // No tooltip: it would repeat the figures and cover the send button.
            <button
                type="button"
                class="meter"
                data-testid="context-meter"
                aria-label=label
                aria-haspopup="dialog"
                aria-expanded=move || panel_open.get().to_string()
                on:click=move |_| panel_open.update(|open| *open = !*open)
            >
                <ContextBar view=known/>
                <span class="meter-wide">{wide}</span>
                <span class="meter-narrow">{narrow}</span>
            </button>
        </Show>
    }
}

/// The context as a bar of pinned, window and free tokens.
#[component]
pub(super) fn ContextBar(
    /// What the model sees.
    view: Memo<ContextView>,
) -> impl IntoView {
    let share = move |tokens: fn(&ContextView) -> u32| {
        view.with(|view| {
            let whole = f64::from(view.context_tokens.max(1));
            let share = 100.0 * f64::from(tokens(view)) / whole;
            format!("{}%", number::fixed(share.min(100.0), 3))
        })
    };
    view! {
        <span class="context-bar" aria-hidden="true">
            <i class="pinned" style=("--share", move || share(|view| view.pinned_tokens))></i>
            <i class="window" style=("--share", move || share(window_tokens))></i>
        </span>
    }
}

/// The number of tokens in the window: used and not pinned.
pub(super) fn window_tokens(view: &ContextView) -> u32 {
    view.used_tokens.saturating_sub(view.pinned_tokens)
}

/// The meter's figures: the capacity alone while nothing is used.
fn figures(view: &ContextView) -> String {
    match view.used_tokens {
        0 => format::tokens(view.context_tokens),
        used => format::tokens_of(used, view.context_tokens),
    }
}

/// The figures for narrow windows.
fn short_figures(view: &ContextView) -> String {
    match view.used_tokens {
        0 => format::tokens(view.context_tokens),
        used => format::percent_text(format::percent(used.into(), view.context_tokens.into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unused_context_shows_only_its_capacity() {
        let mut view = ContextView { context_tokens: 8192, ..ContextView::default() };
        assert_eq!(figures(&view), "8,192 tokens");
        assert_eq!(short_figures(&view), "8,192 tokens");
        (view.used_tokens, view.pinned_tokens) = (1204, 35);
        assert_eq!(figures(&view), "1,204 of 8,192 tokens");
        assert_eq!(short_figures(&view), "14%");
        assert_eq!(window_tokens(&view), 1169);
        view.used_tokens = 20;
        assert_eq!(window_tokens(&view), 0);
    }
}
