//! Compiles `tauri.conf.json`, the icons and the permissions of the shell's commands.

fn main() {
    let commands =
        tauri_build::AppManifest::new().commands(&["status", "send", "stop", "retry_load"]);
    let attributes = tauri_build::Attributes::new().app_manifest(commands);
    if let Err(error) = tauri_build::try_build(attributes) {
        println!("cargo::error={error:#}");
    }
}
