//! The model library: a view with three tabs, in place of the conversation.

mod access_token;
mod conversion_row;
mod convert_choice;
mod convert_dialog;
mod discover;
mod downloads;
mod figures;
mod file_offer;
mod fit_badge;
mod model_card;
mod model_details;
mod on_this_device;
mod parts;
mod plan_dialog;
mod quota;
mod repository_view;

pub(crate) use fit_badge::FitMark;

use leptos::{ev, html, prelude::*};
use lilims_ipc::ModelStatus;

use self::convert_dialog::ConvertDialog;
use self::discover::Discover;
use self::downloads::Downloads;
use self::on_this_device::OnThisDevice;
use self::plan_dialog::PlanDialog;
use super::icon::Icon;
use crate::format::Clock;
use crate::state::{Action, LibraryState, Tab, count_open};
use crate::text::text;

/// The library view.
#[component]
pub(crate) fn LibraryView(
    /// Its state.
    state: LibraryState,
    /// The status of the loaded model.
    #[prop(into)]
    status: Signal<Option<ModelStatus>>,
    /// The time when the view was opened.
    clock: Clock,
    /// Called with the requested action.
    act: Callback<Action>,
) -> impl IntoView {
    let title = NodeRef::<html::H1>::new();
    Effect::new(move || {
        if let Some(title) = title.get() {
            let _ = title.focus();
        }
    });
    let body = move || match state.tab.get() {
        Tab::Device => view! { <OnThisDevice state status clock act/> }.into_any(),
        Tab::Discover => view! { <Discover state act/> }.into_any(),
        Tab::Downloads => view! { <Downloads state act/> }.into_any(),
    };
    view! {
        <main class="library" data-testid="library" aria-labelledby="library-title">
            <div class="library-top">
                <button
                    type="button"
                    class="button quiet"
                    data-testid="library-back"
                    aria-label=text!(library.back)
                    title=text!(library.back_hint)
                    on:click=move |_| state.is_open.set(false)
                >
                    {Icon::Back.view()}
                </button>
                <h1 id="library-title" tabindex="-1" node_ref=title>{text!(library.title)}</h1>
                <Tabs state/>
            </div>
            <div
                class="library-body"
                role="tabpanel"
                id="library-panel"
                tabindex="0"
                aria-labelledby=move || tab_id(state.tab.get())
            >
                <div class="library-column">{body}</div>
            </div>
            {move || state.plan.get().map(|plan| view! { <PlanDialog plan state clock act/> })}
            <Show when=move || state.convert_view.with(Option::is_some)>
                <ConvertDialog state clock act/>
            </Show>
            <Show when=move || state.is_dragging.get()>
                <div class="drop-target" data-testid="drop-target" aria-hidden="true">
                    <div>
                        {Icon::Import.view()}
                        <strong>{text!(library.drop)}</strong>
                        <span>{text!(library.drop_hint)}</span>
                    </div>
                </div>
            </Show>
        </main>
    }
}

/// The tabs. The selected one takes the focus, and arrow keys move to the others.
#[component]
fn Tabs(state: LibraryState) -> impl IntoView {
    let list = NodeRef::<html::Div>::new();
    let count = Memo::new(move |_| {
        let downloads = state.downloads.with(|downloads| count_open(downloads));
        downloads + usize::from(state.is_converting())
    });
    let on_keydown = move |event: ev::KeyboardEvent| {
        let Some(tab) = state.tab.get_untracked().after_key(&event.key()) else { return };
        event.prevent_default();
        state.tab.set(tab);
        let selector = format!("#{}", tab_id(tab));
        let button =
            list.get_untracked().and_then(|list| list.query_selector(&selector).ok().flatten());
        focus(button);
    };
    let tab = move |tab: Tab| {
        let is_selected = move || state.tab.get() == tab;
        let badge = move || {
            (tab == Tab::Downloads && count.get() > 0).then(|| {
                view! {
                    <span class="tab-count">{count}</span>
                    <span class="visually-hidden">" " {text!(library.not_finished)}</span>
                }
            })
        };
        view! {
            <button
                type="button"
                role="tab"
                id=tab_id(tab)
                data-testid=tab_id(tab)
                aria-selected=move || is_selected().to_string()
                aria-controls="library-panel"
                tabindex=move || if is_selected() { "0" } else { "-1" }
                on:click=move |_| state.tab.set(tab)
            >
                {tab_label(tab)}
                {badge}
            </button>
        }
    };
    view! {
        <div class="tabs" role="tablist" aria-label=text!(library.title) node_ref=list on:keydown=on_keydown>
            {Tab::ALL.map(tab).collect_view()}
        </div>
    }
}

fn focus(element: Option<web_sys::Element>) {
    use wasm_bindgen::JsCast;
    if let Some(element) = element.and_then(|it| it.dyn_into::<web_sys::HtmlElement>().ok()) {
        let _ = element.focus();
    }
}

/// The element id and test id of a tab.
fn tab_id(tab: Tab) -> &'static str {
    match tab {
        Tab::Device => "library-tab-device",
        Tab::Discover => "library-tab-discover",
        Tab::Downloads => "library-tab-downloads",
    }
}

fn tab_label(tab: Tab) -> &'static str {
    match tab {
        Tab::Device => text!(library.on_this_device),
        Tab::Discover => text!(library.discover),
        Tab::Downloads => text!(library.downloads),
    }
}
