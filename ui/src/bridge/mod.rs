//! The only module that uses JavaScript and Tauri: commands, events, clipboard and storage.
//!
//! The shell provides its interface as `window.__TAURI__`. In a plain browser it is missing:
//! [`is_available`] returns false, and the page shows a notice.

mod desktop;
mod drag;

pub(crate) use desktop::{ask_quickly, desktop, is_quick, pending_actions, set_title};
pub(crate) use drag::{Drag, on_drag};

use js_sys::{Array, Object, Reflect, Uint8Array};
use lilims_ipc::{
    AppEvent, BranchNode, CatalogueModel, Command, Conversation, ConversationId, ConversationList,
    Conversion, Download, Error, Event, Library, ModelStatus, Overflow, Reply, Request, SearchHit,
    Setting, SettingValue, wire,
};
use serde::{Serialize, de::DeserializeOwned};
use wasm_bindgen::prelude::*;
use wasm_bindgen::{JsCast, closure::Closure};
use wasm_bindgen_futures::JsFuture;

use crate::format::Clock;

/// The key under which an earlier version stored the sampling options.
const OPTIONS_KEY: &str = "lilims.options";

/// Whether the page runs inside the shell.
pub(crate) fn is_available() -> bool {
    interface("core").is_ok()
}

/// Executes a command. Returns when it is done; for a download, when it is queued.
pub(crate) async fn call(command: &Command) -> Result<Reply, Error> {
    decode::<Result<Reply, Error>>(&invoke("call", &bytes(command)).await?)?
}

/// Calls `on_event` whenever something changes in the application. Events are received from when this
/// returns.
pub(crate) async fn on_changed(mut on_event: impl FnMut(AppEvent) + 'static) {
    let subscribe = async {
        let channel = channel(move |message| {
            if let Ok(event) = decode(&message) {
                on_event(event);
            }
        })?;
        let arguments = Object::new();
        set(&arguments, "channel", &channel)?;
        invoke("subscribe", &arguments).await
    };
    // Without events, the page still gets the answers to its commands.
    let _ = subscribe.await;
}

/// Sends a question. Returns when it was accepted; the answer arrives through `on_event`.
pub(crate) async fn ask(
    request: &Request,
    mut on_event: impl FnMut(Event) + 'static,
) -> Result<(), Error> {
    let channel = channel(move |message| {
        on_event(decode(&message).unwrap_or_else(|error| Event::Failed { error }));
    })?;
    let arguments = Object::new();
    // Arguments beside bytes must be JSON, which has bytes as numbers.
    set(&arguments, "request", &Array::from(&bytes(request)))?;
    set(&arguments, "channel", &channel)?;
    decode::<Result<(), Error>>(&invoke("ask", &arguments).await?)?
}

/// Returns the status of the model.
pub(crate) async fn status() -> Result<ModelStatus, Error> {
    match call(&Command::Status).await? {
        Reply::Status(status) => Ok(status),
        _ => Err(unexpected()),
    }
}

/// Stops the answer that is being written.
pub(crate) async fn stop() -> Result<(), Error> {
    call(&Command::StopAnswer).await.map(drop)
}

/// Loads the model again, after an error or after it was unloaded.
pub(crate) async fn retry_load() -> Result<(), Error> {
    call(&Command::RetryLoad).await.map(drop)
}

/// Executes a command that opens a conversation, and returns it.
pub(crate) async fn conversation(command: &Command) -> Result<Conversation, Error> {
    match call(command).await? {
        Reply::Conversation(conversation) => Ok(conversation),
        _ => Err(unexpected()),
    }
}

/// Returns all conversations and their folders.
pub(crate) async fn conversations() -> Result<ConversationList, Error> {
    match call(&Command::Conversations).await? {
        Reply::Conversations(list) => Ok(list),
        _ => Err(unexpected()),
    }
}

/// Returns the messages that have the words of `query`.
pub(crate) async fn search(query: String) -> Result<Vec<SearchHit>, Error> {
    match call(&Command::SearchConversations { query }).await? {
        Reply::SearchHits(hits) => Ok(hits),
        _ => Err(unexpected()),
    }
}

/// Returns all messages of a conversation as a tree.
pub(crate) async fn branch_map(conversation: ConversationId) -> Result<Vec<BranchNode>, Error> {
    match call(&Command::BranchMap { conversation }).await? {
        Reply::BranchMap(nodes) => Ok(nodes),
        _ => Err(unexpected()),
    }
}

/// Returns about how much disk space all conversations take, in bytes.
pub(crate) async fn conversations_size() -> Result<u64, Error> {
    match call(&Command::ConversationsSize).await? {
        Reply::SizeBytes(size_bytes) => Ok(size_bytes),
        _ => Err(unexpected()),
    }
}

/// Stores what is typed into a conversation and not sent.
pub(crate) async fn set_draft(conversation: ConversationId, text: String) -> Result<(), Error> {
    call(&Command::SetDraft { conversation, text }).await.map(drop)
}

/// Saves what happens when a conversation outgrows the context.
pub(crate) async fn set_overflow(
    conversation: ConversationId,
    overflow: Overflow,
) -> Result<(), Error> {
    call(&Command::SetOverflow { conversation, overflow }).await.map(drop)
}

/// Returns the models on this device.
pub(crate) async fn library() -> Result<Library, Error> {
    match call(&Command::Library).await? {
        Reply::Library(library) => Ok(library),
        _ => Err(unexpected()),
    }
}

/// Returns all downloads.
pub(crate) async fn downloads() -> Result<Vec<Download>, Error> {
    match call(&Command::Downloads).await? {
        Reply::Downloads(downloads) => Ok(downloads),
        _ => Err(unexpected()),
    }
}

/// Returns the current or last conversion.
pub(crate) async fn conversion() -> Result<Option<Conversion>, Error> {
    match call(&Command::Conversion).await? {
        Reply::Conversion(conversion) => Ok(conversion),
        _ => Err(unexpected()),
    }
}

/// Returns the recommended models.
pub(crate) async fn catalogue() -> Result<Vec<CatalogueModel>, Error> {
    match call(&Command::Catalogue).await? {
        Reply::Catalogue(models) => Ok(models),
        _ => Err(unexpected()),
    }
}

/// Puts `text` on the clipboard and returns whether that worked.
pub(crate) async fn copy(text: &str) -> bool {
    let clipboard = window().navigator().clipboard();
    // Outside a secure context the property is undefined, despite its type.
    if !clipboard.is_undefined() && JsFuture::from(clipboard.write_text(text)).await.is_ok() {
        return true;
    }
    copy_by_selection(text).unwrap_or(false)
}

/// Puts `html` on the clipboard, with `text` for programs that take no HTML, and returns whether that
/// worked.
pub(crate) async fn copy_rich(html: &str, text: &str) -> bool {
    if let Ok(written) = write_rich(html, text)
        && JsFuture::from(written).await.is_ok()
    {
        return true;
    }
    copy_by_event(html, text).unwrap_or(false)
}

/// Takes the sampling options that an earlier version kept in the page's storage.
pub(crate) fn take_stored_options() -> Vec<(Setting, SettingValue)> {
    stored_options().unwrap_or_default()
}

fn stored_options() -> Option<Vec<(Setting, SettingValue)>> {
    let storage = window().local_storage().ok()??;
    let json = storage.get_item(OPTIONS_KEY).ok()??;
    let _ = storage.remove_item(OPTIONS_KEY);
    let stored = js_sys::JSON::parse(&json).ok()?;
    let names = [
        ("temperature", Setting::Temperature),
        ("top_p", Setting::TopP),
        ("max_tokens", Setting::MaxTokens),
    ];
    let value = |(name, setting)| {
        let number = get(&stored, name).ok()?.as_f64()?;
        Some((setting, SettingValue::Number(number)))
    };
    Some(names.into_iter().filter_map(value).collect())
}

/// The value that the page stored under `key` on this device.
pub(crate) fn stored(key: &str) -> Option<String> {
    window().local_storage().ok()??.get_item(key).ok()?
}

/// Stores a value under `key` on this device. What cannot be stored is forgotten.
pub(crate) fn store(key: &str, value: &str) {
    if let Ok(Some(storage)) = window().local_storage() {
        let _ = storage.set_item(key, value);
    }
}

/// The languages that the user prefers, most preferred first, such as `en-GB`.
pub(crate) fn preferred_languages() -> Vec<String> {
    window().navigator().languages().iter().filter_map(|tag| tag.as_string()).collect()
}

/// Loads the texts of a language in the order of its catalogue; none if it cannot be read.
pub(crate) async fn texts(tag: &str) -> Vec<String> {
    let load = async {
        let load = function("lilimsTexts")?;
        let texts: js_sys::Promise = load.call1(&JsValue::UNDEFINED, &tag.into())?.dyn_into()?;
        JsFuture::from(texts).await
    };
    let texts = load.await.map(|texts| Array::from(&texts)).unwrap_or_default();
    texts.iter().filter_map(|text| text.as_string()).collect()
}

/// A function of the page's own scripts.
fn function(name: &str) -> Result<js_sys::Function, JsValue> {
    Reflect::get(&window(), &name.into())?.dyn_into()
}

/// Takes away what was painted before the page had started, and returns what was typed into it.
pub(crate) fn take_frame() -> String {
    let typed = function("lilimsTakeFrame").and_then(|it| it.call0(&JsValue::UNDEFINED));
    typed.ok().and_then(|typed| typed.as_string()).unwrap_or_default()
}

/// Shows in place of a page that panicked what was kept, and reports where it panicked. `texts` are a title,
/// a sentence and the label of the button that loads the page again. Nothing of the page runs afterwards.
pub(crate) fn panicked(at: Option<&std::panic::Location<'_>>, texts: [&str; 3]) {
    let (file, line) = (at.map(|it| it.file().to_owned()), at.map(std::panic::Location::line));
    // A callback of a view that is gone has read one of its signals: it ends, and the page goes on.
    let is_of_gone_view = at.is_some_and(|it| it.file().contains("/reactive_graph-"));
    if let Some(show) = function("lilimsPanicked").ok().filter(|_| !is_of_gone_view) {
        let [title, text, label] = texts.map(JsValue::from);
        let _ = show.call3(&JsValue::UNDEFINED, &title, &text, &label);
    }
    let _ = promise("core", "invoke", "call", &bytes(&Command::PagePanicked { file, line }));
}

/// Makes the content of `element` that of `html`, and keeps what stays the same.
pub(crate) fn patch(element: &web_sys::Element, html: &str) {
    let patch = function("lilimsPatch");
    let _ = patch.and_then(|it| it.call2(&JsValue::UNDEFINED, element, &html.into()));
}

/// A date with its time of day in a language.
#[cfg(target_arch = "wasm32")]
pub(crate) fn date_time(ms: f64, language: &str) -> String {
    let options = Object::new();
    let set = |name: &str, style: &str| Reflect::set(&options, &name.into(), &style.into());
    let _ = set("dateStyle", "medium").and_then(|_| set("timeStyle", "short"));
    js_sys::Date::new(&ms.into()).to_locale_string(language, &options).into()
}

/// Scrolls to the element with this id, once it is drawn.
pub(crate) fn scroll_to(id: &'static str) {
    leptos::prelude::request_animation_frame(move || {
        if let Some(element) = window().document().and_then(|it| it.get_element_by_id(id)) {
            element.scroll_into_view();
        }
    });
}

/// Returns the current time and time zone.
pub(crate) fn clock() -> Clock {
    let now = js_sys::Date::new_0();
    // The browser reports how far local time is behind UTC.
    Clock { now_ms: now.get_time() as i64, ahead_minutes: -(now.get_timezone_offset() as i64) }
}

/// Whether the device has a mouse or touchpad: then focusing a field opens no on-screen keyboard.
pub(crate) fn has_fine_pointer() -> bool {
    let query = window().match_media("(hover: hover) and (pointer: fine)");
    query.ok().flatten().is_some_and(|query| query.matches())
}

/// Whether the window is wide enough for a column beside the conversation.
pub(crate) fn is_wide() -> bool {
    let query = window().match_media("(min-width: 52rem)");
    query.ok().flatten().is_some_and(|query| query.matches())
}

/// Focuses the element that a selector finds, if there is one.
pub(crate) fn focus(selector: &str) {
    let found = window().document().and_then(|document| document.query_selector(selector).ok()?);
    if let Some(element) = found.and_then(|it| it.dyn_into::<web_sys::HtmlElement>().ok()) {
        let _ = element.focus();
    }
}

/// Whether the focus is in a field that takes text.
pub(crate) fn is_typing() -> bool {
    let focused = window().document().and_then(|document| document.active_element());
    focused.is_some_and(|it| matches!(&*it.tag_name(), "INPUT" | "TEXTAREA" | "SELECT"))
}

/// Sets an attribute of the document's root element, such as its theme.
pub(crate) fn set_root(name: &str, value: &str) {
    if let Some(root) = window().document().and_then(|document| document.document_element()) {
        let _ = root.set_attribute(name, value);
    }
}

/// Whether a finger caused the event.
pub(crate) fn is_touch(event: &web_sys::MouseEvent) -> bool {
    let pointer = Reflect::get(event, &"pointerType".into());
    pointer.is_ok_and(|pointer| pointer.as_string().as_deref() == Some("touch"))
}

/// Selects the text of the message with this key: on touch, text of messages is selected in no other way.
pub(crate) fn select_message(key: u64) {
    let select = || {
        let document = window().document()?;
        let message = document.query_selector(&format!(".message[data-key='{key}']")).ok()??;
        message.class_list().add_1("selectable").ok()?;
        let text = message.query_selector(".prose, .bubble").ok()??;
        window().get_selection().ok()??.select_all_children(&text).ok()
    };
    let _: Option<()> = select();
}

/// Whether the system is Apple's, where shortcuts use the Command key.
pub(crate) fn is_apple() -> bool {
    let platform = window().navigator().platform().unwrap_or_default();
    platform.starts_with("Mac") || platform.starts_with("iP")
}

/// Copies through the older clipboard interface, by selecting an invisible text field.
fn copy_by_selection(text: &str) -> Option<bool> {
    let document = window().document()?.dyn_into::<web_sys::HtmlDocument>().ok()?;
    let focused = document.active_element()?.dyn_into::<web_sys::HtmlElement>().ok();
    let field = document.create_element("textarea").ok()?;
    let field = field.dyn_into::<web_sys::HtmlTextAreaElement>().ok()?;
    field.set_class_name("visually-hidden");
    field.set_value(text);
    document.body()?.append_child(&field).ok()?;
    field.select();
    let copied = document.exec_command("copy").unwrap_or(false);
    field.remove();
    if let Some(focused) = focused {
        let _ = focused.focus();
    }
    Some(copied)
}

/// Writes to the clipboard through its asynchronous interface.
fn write_rich(html: &str, text: &str) -> Result<js_sys::Promise, Error> {
    let clipboard = window().navigator().clipboard();
    if clipboard.is_undefined() {
        return Err(broken("the clipboard is missing"));
    }
    let constructor = |name| {
        let found = get(&window(), name)?.dyn_into::<js_sys::Function>();
        found.map_err(|_| broken(name))
    };
    let content = Object::new();
    for (kind, text) in [("text/html", html), ("text/plain", text)] {
        let options = Object::new();
        set(&options, "type", &kind.into())?;
        let parts = Array::of2(&Array::of1(&text.into()), &options);
        let blob = Reflect::construct(&constructor("Blob")?, &parts).map_err(rejection)?;
        set(&content, kind, &blob)?;
    }
    let item = Reflect::construct(&constructor("ClipboardItem")?, &Array::of1(&content));
    let arguments = Array::of1(&Array::of1(&item.map_err(rejection)?));
    let write: js_sys::Function =
        get(&clipboard, "write")?.dyn_into().map_err(|_| broken("clipboard.write"))?;
    Ok(js_sys::Promise::resolve(&write.apply(&clipboard, &arguments).map_err(rejection)?))
}

/// Copies through the older clipboard interface, which asks a listener for the content.
fn copy_by_event(html: &str, text: &str) -> Option<bool> {
    let document = window().document()?.dyn_into::<web_sys::HtmlDocument>().ok()?;
    let (html, text) = (html.to_owned(), text.to_owned());
    let on_copy = Closure::<dyn FnMut(web_sys::ClipboardEvent)>::new(
        move |event: web_sys::ClipboardEvent| {
            if let Some(data) = event.clipboard_data() {
                let _ = data.set_data("text/html", &html);
                let _ = data.set_data("text/plain", &text);
                event.prevent_default();
                event.stop_immediate_propagation();
            }
        },
    );
    let listener = on_copy.as_ref().unchecked_ref();
    window().add_event_listener_with_callback_and_bool("copy", listener, true).ok()?;
    let copied = document.exec_command("copy").unwrap_or(false);
    let _ = window().remove_event_listener_with_callback_and_bool("copy", listener, true);
    Some(copied)
}

fn window() -> web_sys::Window {
    web_sys::window().expect("the page runs in a window")
}

/// Part `name` of the shell's interface.
fn interface(name: &str) -> Result<JsValue, Error> {
    let tauri = get(&window(), "__TAURI__")?;
    let part = if tauri.is_object() { get(&tauri, name)? } else { JsValue::UNDEFINED };
    if part.is_object() { Ok(part) } else { Err(broken("window.__TAURI__ is missing")) }
}

/// Calls `on_payload` with the payload of each event of the window called `name`.
async fn listen(name: &str, on_payload: impl Fn(JsValue) + 'static) {
    let handler = Closure::<dyn Fn(JsValue)>::new(move |event: JsValue| {
        on_payload(get(&event, "payload").unwrap_or_default());
    });
    // Without these events, files can still be chosen.
    let _ = call_function("event", "listen", name, &handler.into_js_value()).await;
}

/// Calls a command of the shell.
async fn invoke(command: &str, arguments: &JsValue) -> Result<JsValue, Error> {
    call_function("core", "invoke", command, arguments).await
}

/// Calls a function of the shell's interface, and waits for its result.
async fn call_function(
    part: &str,
    function: &str,
    name: &str,
    argument: &JsValue,
) -> Result<JsValue, Error> {
    JsFuture::from(promise(part, function, name, argument)?).await.map_err(rejection)
}

/// Calls a function of the shell's interface.
fn promise(
    part: &str,
    function: &str,
    name: &str,
    argument: &JsValue,
) -> Result<js_sys::Promise, Error> {
    let part = interface(part)?;
    let function: js_sys::Function =
        get(&part, function)?.dyn_into().map_err(|_| broken("a function is missing"))?;
    let promise = function.call2(&part, &name.into(), argument).map_err(rejection)?;
    Ok(js_sys::Promise::resolve(&promise))
}

/// A channel of the shell that passes its messages to `handler`.
fn channel(handler: impl FnMut(JsValue) + 'static) -> Result<JsValue, Error> {
    let handler = Closure::<dyn FnMut(JsValue)>::new(handler).into_js_value();
    let constructor: js_sys::Function = get(&interface("core")?, "Channel")?
        .dyn_into()
        .map_err(|_| broken("the channel is missing"))?;
    Reflect::construct(&constructor, &Array::of1(&handler)).map_err(rejection)
}

/// What JavaScript threw.
fn rejection(value: JsValue) -> Error {
    broken(&format!("{value:?}"))
}

fn unexpected() -> Error {
    broken("the reply is of another command")
}

fn broken(detail: &str) -> Error {
    Error::internal(detail)
}

fn get(object: &JsValue, key: &str) -> Result<JsValue, Error> {
    Reflect::get(object, &key.into()).map_err(|_| broken(key))
}

fn set(object: &JsValue, key: &str, value: &JsValue) -> Result<(), Error> {
    Reflect::set(object, &key.into(), value).map(drop).map_err(|_| broken(key))
}

fn bytes(value: &impl Serialize) -> Uint8Array {
    Uint8Array::from(&*wire::encode(value))
}

fn decode<T: DeserializeOwned>(value: &JsValue) -> Result<T, Error> {
    wire::decode(&Uint8Array::new(value).to_vec())
}
