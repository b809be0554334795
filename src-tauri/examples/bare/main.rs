//! A Tauri window with one word in it: what the start of Lilims is compared with by `cargo xtask bench --ui`.

fn main() -> tauri::Result<()> {
    tauri::Builder::default().run(tauri::generate_context!("examples/bare/tauri.conf.json"))
}
