//! Leaves the function names out of the page that ships: they are three quarters of its size.
//!
//! `strip = true` in the profile would also drop the section that tells wasm-bindgen which
//! features the module uses.

use std::env;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let is_page = env::var("CARGO_CFG_TARGET_ARCH").is_ok_and(|arch| arch == "wasm32");
    if is_page && env::var("PROFILE").is_ok_and(|profile| profile == "release") {
        println!("cargo::rustc-link-arg-bins=--strip-all");
        println!("cargo::rustc-link-arg-bins=--keep-section=target_features");
    }
}
