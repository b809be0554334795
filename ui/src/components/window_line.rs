//! The line in the conversation above which the model sees nothing any more.

use leptos::prelude::*;

use super::icon::Icon;
use super::tooltip::Tooltip;

/// The element id of the line's explanation. There is one line at most.
const TIP_ID: &str = "window-line-tip";

/// The line.
#[component]
pub(super) fn WindowLine(
    /// The summary that stands for what is above.
    summary: Signal<Option<String>>,
) -> impl IntoView {
    let tip = view! {
        <span>
            "What is above has left the model’s window: it stays here for you to read, but the model "
            "no longer sees it. Only the very beginning, such as the system prompt, stays pinned."
        </span>
        <Show when=move || summary.with(Option::is_some)>
            <span>"This summary, which the model wrote, stands for it:"</span>
            <q>{summary}</q>
        </Show>
    };
    let tip = tip.into_any();
    view! {
        <div class="window-line" data-testid="window-line" role="note">
            <span>"The model sees from here on"</span>
            <Tooltip id=TIP_ID opens_other=false tip>
                <button
                    type="button"
                    class="button quiet small"
                    data-testid="window-line-info"
                    aria-label="About this line"
                    aria-describedby=TIP_ID
                >
                    {Icon::Info.view()}
                </button>
            </Tooltip>
        </div>
    }
}
