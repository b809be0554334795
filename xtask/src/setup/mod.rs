//! Makes the machine ready: system packages, the WebAssembly toolchain, build tools, models.
//!
//! Each part first looks whether its work is done, so that a second run costs a few processes and
//! no root, and says plainly what a person has to do where it may not or cannot do it itself.

pub(crate) mod model;
mod system;
pub(crate) mod tools;
pub(crate) mod wasm;

use std::path::PathBuf;

use anyhow::Result;

use crate::emulation;
use crate::places::Places;
use crate::report::step;
use crate::setup::system::Purpose;
use crate::setup::tools::Tool;
use crate::setup::wasm::Toolchain;

/// What building the page needs, found or installed.
#[derive(Debug)]
pub(crate) struct PageTools {
    /// The compiler that makes WebAssembly.
    pub(crate) toolchain: Toolchain,
    /// Folders that have to come first on `PATH` to find Trunk and wasm-bindgen.
    pub(crate) folders: Vec<PathBuf>,
}

/// What building and opening the app needs.
#[derive(Debug)]
pub(crate) struct AppTools {
    /// To build the page with.
    pub(crate) page: PageTools,
    /// The bundled model's file.
    pub(crate) model: PathBuf,
}

/// Sets up what the page needs.
pub(crate) fn for_page(places: &Places) -> Result<PageTools> {
    let toolchain = toolchain_and_packages(places, vec![Purpose::Page])?;
    step("set-up: build tools", || page_tools(places, toolchain))
}

/// Sets up what the app needs.
pub(crate) fn for_app(places: &Places) -> Result<AppTools> {
    set_up(places, &[&model::SMOLLM2], &[Purpose::Page, Purpose::App], &[])
}

/// Sets up what the tests need: the app's needs, a driver for its window, a second model, an emulator
/// for the kernels of other processors.
pub(crate) fn for_tests(places: &Places) -> Result<AppTools> {
    let mut purposes = vec![Purpose::Page, Purpose::App, Purpose::Tests];
    if emulation::is_possible() {
        purposes.push(Purpose::Emulation);
        purposes.extend(emulation::needs_debian_rust().then_some(Purpose::DebianRust));
    }
    let drivers = if cfg!(target_os = "linux") { vec![tools::tauri_driver()] } else { Vec::new() };
    set_up(places, &[&model::SMOLLM2, &model::GEMMA3], &purposes, &drivers)
}

/// The files of the models that the benchmark runs.
#[derive(Debug)]
pub(crate) struct BenchModels {
    pub(crate) smollm2: PathBuf,
    pub(crate) gemma3: PathBuf,
}

/// Makes sure that the models of the benchmark are there.
pub(crate) fn for_bench(places: &Places) -> Result<BenchModels> {
    let models = [&model::SMOLLM2, &model::GEMMA3];
    if models.iter().any(|model| model::is_missing(places, model)) {
        step("set-up: system packages", || system::ensure(&[Purpose::Download]))?;
    }
    step("set-up: models", || {
        Ok(BenchModels {
            smollm2: model::ensure_cached(places, &model::SMOLLM2)?,
            gemma3: model::ensure_cached(places, &model::GEMMA3)?,
        })
    })
}

/// Makes sure that what llama.cpp is fetched and built with is there.
pub(crate) fn for_peer() -> Result<()> {
    step("set-up: system packages", || system::ensure(&[Purpose::Download, Purpose::Peer]))
}

fn set_up(
    places: &Places,
    models: &[&model::Model],
    purposes: &[Purpose],
    more_tools: &[Tool],
) -> Result<AppTools> {
    let mut purposes = purposes.to_vec();
    if models.iter().any(|model| model::is_missing(places, model)) {
        purposes.push(Purpose::Download);
    }
    let toolchain = toolchain_and_packages(places, purposes)?;
    let page = step("set-up: build tools", || {
        let mut page = page_tools(places, toolchain)?;
        for tool in more_tools {
            page.folders.extend(tools::ensure(places, tool)?);
        }
        tools::forget_build_files(places)?;
        page.folders.dedup();
        Ok(page)
    })?;
    let bundled = step("set-up: models", || {
        for model in models {
            model::ensure_cached(places, model)?;
        }
        model::ensure_bundled(places)
    })?;
    Ok(AppTools { page, model: bundled })
}

/// Chooses the compiler of the page and makes sure that its packages are there, and those for the
/// purposes.
fn toolchain_and_packages(places: &Places, mut purposes: Vec<Purpose>) -> Result<Toolchain> {
    let toolchain = step("set-up: WebAssembly toolchain", || wasm::choose(places))?;
    if toolchain.is_debian() {
        purposes.extend([Purpose::DebianRust, Purpose::DebianWasm]);
    }
    step("set-up: system packages", || system::ensure(&purposes))?;
    Ok(toolchain)
}

fn page_tools(places: &Places, toolchain: Toolchain) -> Result<PageTools> {
    let mut folders = Vec::new();
    for tool in [tools::wasm_bindgen(places)?, tools::trunk()] {
        folders.extend(tools::ensure(places, &tool)?);
    }
    folders.dedup();
    Ok(PageTools { toolchain, folders })
}
