//! Compiles `tauri.conf.json`, the icons and the permissions of the shell's commands.

fn main() {
    // The page is compiled into the program, but not as something that cargo watches. Without the
    // feature there need not be a page yet, and a missing path would make every build a new one.
    if std::env::var_os("CARGO_FEATURE_CUSTOM_PROTOCOL").is_some() {
        println!("cargo::rerun-if-changed=../ui/dist");
    }
    let commands = tauri_build::AppManifest::new().commands(&[
        "status",
        "send",
        "stop",
        "retry_load",
        "conversation",
        "forget",
        "set_overflow",
        "library",
        "downloads",
        "catalogue",
        "search_hub",
        "repository",
        "fit",
        "plan_download",
        "download",
        "pause_download",
        "resume_download",
        "cancel_download",
        "clear_download",
        "set_limits",
        "set_quota",
        "use_model",
        "unload_model",
        "remove_model",
        "pin_model",
        "verify_model",
        "choose_and_import",
        "import_files",
        "choose_and_add_folder",
        "remove_folder",
        "scan",
        "conversion_offer",
        "convert",
        "conversion",
        "cancel_conversion",
        "clear_conversion",
    ]);
    let attributes = tauri_build::Attributes::new().app_manifest(commands);
    if let Err(error) = tauri_build::try_build(attributes) {
        println!("cargo::error={error:#}");
    }
}
