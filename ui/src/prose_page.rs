//! Connects rendered Markdown with the shell: highlighting, formulas, links and the clipboard.

use leptos::{prelude::*, task::spawn_local};
use lilims_ipc::{CodeRun, Command, Formula, Reply};

use crate::bridge;
use crate::components::{Code, Drawings, ProseServices};
use crate::text::text;

/// What the shell does for rendered Markdown. `announcement` is for screen readers.
pub(crate) fn prose_services(
    announcement: RwSignal<String>,
    copy: Callback<String>,
) -> ProseServices {
    type Highlight = (Code, Callback<Option<Vec<CodeRun>>>);
    type Draw = (Vec<Formula>, Callback<Option<Drawings>>);
    ProseServices {
        highlight: Callback::new(move |(code, on_reply): Highlight| {
            spawn_local(async move {
                let Code { language, text } = code;
                let reply = bridge::call(&Command::Highlight { language, code: text }).await;
                on_reply.run(match reply {
                    Ok(Reply::Highlighted(runs)) => Some(runs),
                    _ => None,
                });
            });
        }),
        draw: Callback::new(move |(formulas, on_reply): Draw| {
            spawn_local(async move {
                on_reply.run(match bridge::call(&Command::Formulas { formulas }).await {
                    Ok(Reply::Formulas(drawings)) => Some(drawings),
                    _ => None,
                });
            });
        }),
        open: Callback::new(move |address| {
            spawn_local(async move {
                if bridge::call(&Command::OpenLink { address }).await.is_err() {
                    announcement.set(text!(prose.link_failed).into());
                }
            });
        }),
        copy,
        copy_rich: Callback::new(move |(html, plain): (String, String)| {
            spawn_local(async move {
                let is_copied = bridge::copy_rich(&html, &plain).await;
                announcement.set(
                    if is_copied { text!(announce.copied) } else { text!(announce.copy_failed) }
                        .into(),
                );
            });
        }),
    }
}
