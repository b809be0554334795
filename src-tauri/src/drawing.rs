//! How WebKitGTK draws where there is no graphics card.
//!
//! By itself it lets the processor emulate a card, which draws the whole window for each change. Without that, it
//! draws what has changed: less than half the work for each frame of a growing answer (`docs/benchmarks.md`).

/// The folder of the devices that draw.
const CARDS: &str = "/dev/dri";
/// WebKitGTK's switch against drawing through a card.
const SWITCH: &str = "WEBKIT_DISABLE_DMABUF_RENDERER";

/// Makes WebKitGTK draw by itself if there is no graphics card, unless the user has chosen.
///
/// The switch must be set before the first thread starts, since it belongs to the whole process. The same
/// setting of a web view ends the page when it is changed (WebKitGTK 2.50).
#[expect(unsafe_code, reason = "changes the environment of the process")]
pub(crate) fn avoid_emulated_card() {
    if std::env::var_os(SWITCH).is_none() && !has_card() {
        // SAFETY: `run` calls this before it starts a thread, so no other thread reads the environment.
        unsafe { std::env::set_var(SWITCH, "1") };
    }
}

/// Whether the system has a device that draws.
fn has_card() -> bool {
    let devices = std::fs::read_dir(CARDS).into_iter().flatten().flatten();
    devices.map(|it| it.file_name()).any(|name| name.as_encoded_bytes().starts_with(b"renderD"))
}
