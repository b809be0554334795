//! The settings of the app on a desktop: the tray, quick ask, notifications.

use leptos::prelude::*;
use lilims_ipc::DesktopSettings;

use crate::state::settings::is_found;
use crate::text::text;

/// The settings, once they are known.
#[component]
pub(crate) fn DesktopSettingsView(
    /// The settings.
    settings: RwSignal<Option<DesktopSettings>>,
    /// Called with changed settings.
    on_change: Callback<DesktopSettings>,
    /// What is searched for.
    query: RwSignal<String>,
) -> impl IntoView {
    let row = move |id: &'static str, label, hint, of: fn(&mut DesktopSettings) -> &mut bool| {
        let is_on = move || settings.get().is_some_and(|mut it| *of(&mut it));
        let set = move |event| {
            if let Some(mut changed) = settings.get_untracked() {
                *of(&mut changed) = event_target_checked(&event);
                on_change.run(changed);
            }
        };
        view! {
            <div class="setting" hidden=move || query.with(|query| !is_found((label, hint), query))>
                <label for=id>{label}</label>
                <input type="checkbox" id=id data-testid=id prop:checked=is_on on:change=set/>
                <p>{hint}</p>
            </div>
        }
    };
    move || {
        settings.with(Option::is_some).then(|| {
            view! {
                {row("desktop-tray", text!(desktop.tray), text!(desktop.tray_hint), |it| &mut it.tray)}
                {row(
                    "desktop-quick-ask",
                    text!(desktop.quick_ask),
                    text!(desktop.quick_ask_hint),
                    |it| &mut it.quick_ask,
                )}
                {row(
                    "desktop-notify",
                    text!(desktop.notify),
                    text!(desktop.notify_hint),
                    |it| &mut it.notify,
                )}
            }
        })
    }
}
