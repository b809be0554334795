//! The line in the conversation above which the model no longer sees the messages.

use leptos::prelude::*;

use super::icon::Icon;
use super::tooltip::Tooltip;
use super::untrusted::UntrustedText;
use crate::text::text;

/// The element id of the line's tooltip. There is at most one line.
const TIP_ID: &str = "window-line-tip";

/// The line.
#[component]
pub(super) fn WindowLine(
    /// The summary of what is above.
    summary: Signal<Option<String>>,
) -> impl IntoView {
    let tip = view! {
        <span>{text!(context.line_text)}</span>
        <Show when=move || summary.with(Option::is_some)>
            <span>{text!(context.line_summary)}</span>
            <q><UntrustedText text=Signal::derive(move || summary.get().unwrap_or_default())/></q>
        </Show>
    };
    let tip = tip.into_any();
    view! {
        <div class="window-line" data-testid="window-line" role="note">
            <span>{text!(context.line)}</span>
            <Tooltip id=TIP_ID tip>
                <button
                    type="button"
                    class="button quiet small"
                    data-testid="window-line-info"
                    aria-label=text!(context.about_line)
                    aria-describedby=TIP_ID
                >
                    {Icon::Info.view()}
                </button>
            </Tooltip>
        </div>
    }
}
