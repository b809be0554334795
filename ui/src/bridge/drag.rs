//! Files that are dragged over the window.

use js_sys::Array;

use super::{get, listen};

/// A drag event.
pub(crate) enum Drag {
    /// Files entered the window.
    Enter,
    /// They left the window, or the drag ended elsewhere.
    Leave,
    /// Files with these paths were dropped.
    Drop(Vec<String>),
}

/// Calls `on_drag` when files are dragged over the window. Only the shell gets their paths from the
/// system; the page's own drag events do not.
pub(crate) async fn on_drag(on_drag: impl Fn(Drag) + Clone + 'static) {
    let (enter, leave) = (on_drag.clone(), on_drag.clone());
    listen("tauri://drag-enter", move |_| enter(Drag::Enter)).await;
    listen("tauri://drag-leave", move |_| leave(Drag::Leave)).await;
    listen("tauri://drag-drop", move |payload| {
        let paths = get(&payload, "paths").map(|paths| Array::from(&paths)).unwrap_or_default();
        on_drag(Drag::Drop(paths.iter().filter_map(|path| path.as_string()).collect()));
    })
    .await;
}
