//! Compiles `tauri.conf.json`, the icons and the permissions of the shell's commands.

fn main() {
    // The page is compiled into the program, but not as something that cargo watches. Without the
    // feature there need not be a page yet, and a missing path would make every build a new one.
    if std::env::var_os("CARGO_FEATURE_CUSTOM_PROTOCOL").is_some() {
        println!("cargo::rerun-if-changed=../ui/dist");
    }
    let commands = tauri_build::AppManifest::new().commands(&["call", "ask", "subscribe"]);
    let attributes = tauri_build::Attributes::new().app_manifest(commands);
    if let Err(error) = tauri_build::try_build(attributes) {
        println!("cargo::error={error:#}");
    }
}
