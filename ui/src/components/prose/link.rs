//! Shows where a link leads: in a bar while it has the pointer or the focus, and in a dialog before an
//! address is opened that its text does not promise.

use leptos::{ev, prelude::*};
use wasm_bindgen::JsCast;
use web_sys::{Element, HtmlAnchorElement};

use super::ProseServices;
use super::address::Address;
use crate::components::panel::Panel;
use crate::text::text;

/// A link in rendered Markdown.
const LINK: &str = ".prose a[href]";

/// The link that `target` is in.
pub(super) fn link_of(target: &Element) -> Option<HtmlAnchorElement> {
    target.closest(LINK).ok()??.dyn_into().ok()
}

/// The link's address, as the browser understands it.
pub(super) fn address_of(link: &HtmlAnchorElement) -> Address {
    Address::of(&link.href())
}

/// Tracks the link that has the pointer or the focus.
pub(super) fn listen(pointed: RwSignal<Option<Address>>) {
    let enter = move |event: &web_sys::Event| {
        let target = event.target().and_then(|target| target.dyn_into::<Element>().ok());
        let address = target.as_ref().and_then(link_of).map(|link| address_of(&link));
        if pointed.with_untracked(|pointed| *pointed != address) {
            pointed.set(address);
        }
    };
    let handles = [
        window_event_listener(ev::mouseover, move |event| enter(&event)),
        window_event_listener(ev::focusin, move |event| enter(&event)),
        window_event_listener(ev::focusout, move |_| pointed.set(None)),
    ];
    on_cleanup(move || handles.into_iter().for_each(|handle| handle.remove()));
}

/// The bar and the dialog.
#[component]
pub(super) fn LinkView(
    /// The link that has the pointer or the focus.
    pointed: RwSignal<Option<Address>>,
    /// The address that is to be confirmed.
    asked: RwSignal<Option<Address>>,
    /// Opens or copies it.
    services: ProseServices,
) -> impl IntoView {
    let close = Callback::new(move |()| asked.set(None));
    let dialog = move |address: Address| {
        let whole = address.whole();
        let (to_open, to_copy) = (whole.clone(), whole);
        view! {
            <Panel
                id="link-dialog"
                title=text!(prose.open_link)
                close_label=text!(button.close)
                on_close=close
            >
                <p class="link-address" data-testid="link-dialog-address" dir="ltr">{address_view(address)}</p>
                <p class="link-hint">{text!(prose.open_link_hint)}</p>
                <div class="link-buttons">
                    <button
                        type="button"
                        class="button"
                        data-testid="link-copy"
                        on:click=move |_| {
                            services.copy.run(to_copy.clone());
                            close.run(());
                        }
                    >
                        {text!(prose.copy_address)}
                    </button>
                    <button
                        type="button"
                        class="button primary"
                        data-testid="link-open"
                        on:click=move |_| {
                            services.open.run(to_open.clone());
                            close.run(());
                        }
                    >
                        {text!(prose.open)}
                    </button>
                </div>
            </Panel>
        }
    };
    view! {
        // Screen readers have the address from the link itself.
        <div
            class="link-bar"
            data-testid="link-bar"
            dir="ltr"
            aria-hidden="true"
            hidden=move || pointed.with(Option::is_none)
        >
            {move || pointed.get().map(address_view)}
        </div>
        {move || asked.get().map(dialog)}
    }
}

fn address_view(address: Address) -> impl IntoView {
    let Address { before, host, after } = address;
    view! {
        <span>{before}</span>
        <strong>{host}</strong>
        <span>{after}</span>
    }
}
