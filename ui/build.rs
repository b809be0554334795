//! Turns the catalogue of texts in `locales/` into code, and strips the page that ships.
//!
//! The function names are three quarters of an unstripped page. `strip = true` in the profile would
//! also drop the section that tells wasm-bindgen which features the module uses.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::{env, fs};

use leptos_i18n_parser::parse_locales::options::{Config, ParseOptions};
use leptos_i18n_parser::parse_locales::parse_locales;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    write_catalogue()?;
    let is_page = env::var("CARGO_CFG_TARGET_ARCH").is_ok_and(|arch| arch == "wasm32");
    if is_page && env::var("PROFILE").is_ok_and(|profile| profile == "release") {
        println!("cargo::rustc-link-arg-bins=--strip-all");
        println!("cargo::rustc-link-arg-bins=--keep-section=target_features");
    }
    Ok(())
}

/// Writes `i18n.rs`, which `src/text/mod.rs` includes. Another language is another file in `locales/` and
/// `add_locale` here.
fn write_catalogue() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=locales");
    // Texts with values are made as strings, not only as views.
    let options = ParseOptions::new().interpolate_display(true);
    let config = Config::new("en")?.add_locale("de")?.add_locale("ar")?.parse_options(options);
    let catalogue = parse_locales(Some(PathBuf::from(env::var("CARGO_MANIFEST_DIR")?)), config)?;
    for warning in catalogue.diag.warnings().iter() {
        println!("cargo::warning={warning}");
    }
    for error in catalogue.diag.errors().iter() {
        println!("cargo::error={error}");
    }
    let code = leptos_i18n_codegen::gen_code(&catalogue, None, false, None, false)?;
    fs::write(Path::new(&env::var("OUT_DIR")?).join("i18n.rs"), code.to_string())?;
    Ok(())
}
