//! What an import took, and what it left out.

use leptos::prelude::*;
use lilims_ipc::ImportReport;

use super::panel::Panel;
use crate::format;
use crate::text::{self, text};

/// The report.
#[component]
pub(crate) fn ImportReportPanel(
    /// What the import took and what not.
    report: ImportReport,
    /// Called to close the report.
    #[prop(into)]
    on_close: Callback<()>,
) -> impl IntoView {
    let ImportReport { conversations, messages, skipped } = report;
    let taken = text!(
        import.taken,
        conversations = format::count(conversations),
        messages = format::count(messages)
    );
    let rows: Vec<_> = skipped
        .into_iter()
        .map(|item| {
            let place = item.conversation.unwrap_or(item.file);
            view! {
                <li>
                    <span>{text::skip_reason(item.reason)}</span>
                    " · "
                    <span class="skipped-count">{format::count(item.count)}</span>
                    " · "
                    <bdi>{format::visible_name(&place)}</bdi>
                </li>
            }
        })
        .collect();
    let has_skipped = !rows.is_empty();
    view! {
        <Panel id="import-report" title=text!(import.title) close_label=text!(button.close) on_close>
            <p>{taken}</p>
            {has_skipped
                .then(|| {
                    view! {
                        <div>
                            <h3 class="skipped-title">{text!(import.left_out)}</h3>
                            <ul class="skipped">{rows}</ul>
                        </div>
                    }
                })}
        </Panel>
    }
}
