//! Installs the requirements: system packages, the WebAssembly toolchain, build tools, models.
//!
//! Each part first checks whether its work is done, so that a second run is fast and needs no root.
//! Where it cannot install something, the error says what to run.

pub(crate) mod model;
mod system;
pub(crate) mod tools;
pub(crate) mod wasm;

use std::path::PathBuf;

use anyhow::Result;

use crate::emulation;
use crate::paths::Paths;
use crate::report::step;
use crate::setup::system::Purpose;
use crate::setup::tools::Tool;
use crate::setup::wasm::Toolchain;

/// The tools that build the page.
#[derive(Debug)]
pub(crate) struct PageTools {
    /// The compiler for WebAssembly.
    pub(crate) toolchain: Toolchain,
    /// Folders to put first on `PATH`, for Trunk and wasm-bindgen.
    pub(crate) folders: Vec<PathBuf>,
}

/// The tools and the model that the app needs.
#[derive(Debug)]
pub(crate) struct AppTools {
    /// The tools that build the page.
    pub(crate) page: PageTools,
    /// The path of the bundled model.
    pub(crate) model: PathBuf,
}

/// Installs the requirements of the page.
pub(crate) fn for_page(paths: &Paths) -> Result<PageTools> {
    let toolchain = toolchain_and_packages(paths, vec![Purpose::Page])?;
    step("set-up: build tools", || page_tools(paths, toolchain))
}

/// Installs the requirements of the app.
pub(crate) fn for_app(paths: &Paths) -> Result<AppTools> {
    set_up(paths, &[&model::SMOLLM2], &[Purpose::Page, Purpose::App], &[])
}

/// Installs the requirements of the tests: those of the app, a driver for its window, a second
/// model, and an emulator for the kernels of other processors.
pub(crate) fn for_tests(paths: &Paths) -> Result<AppTools> {
    let mut purposes = vec![Purpose::Page, Purpose::App, Purpose::Tests];
    if emulation::is_possible() {
        purposes.push(Purpose::Emulation);
        purposes.extend(emulation::needs_debian_rust().then_some(Purpose::DebianRust));
    }
    let drivers = if cfg!(target_os = "linux") { vec![tools::tauri_driver()] } else { Vec::new() };
    set_up(paths, &[&model::SMOLLM2, &model::GEMMA3, &model::AXE], &purposes, &drivers)
}

/// The model files of the benchmark.
#[derive(Debug, Default)]
pub(crate) struct BenchModels {
    pub(crate) smollm2: PathBuf,
    pub(crate) gemma3: PathBuf,
    pub(crate) qwen_0_5b: PathBuf,
    pub(crate) qwen_1_5b: PathBuf,
}

/// Downloads the models of the benchmark if they are missing.
pub(crate) fn for_bench(paths: &Paths) -> Result<BenchModels> {
    let [smollm2, gemma3, qwen_0_5b, qwen_1_5b] =
        download(paths, [&model::SMOLLM2, &model::GEMMA3, &model::QWEN_0_5B, &model::QWEN_1_5B])?;
    Ok(BenchModels { smollm2, gemma3, qwen_0_5b, qwen_1_5b })
}

/// The files that the accuracy is measured with.
#[derive(Debug)]
pub(crate) struct AccuracyFiles {
    pub(crate) smollm2: PathBuf,
    pub(crate) gemma3: PathBuf,
    /// A long text.
    pub(crate) news: PathBuf,
}

/// Downloads the files that the accuracy is measured with if they are missing.
pub(crate) fn for_accuracy(paths: &Paths) -> Result<AccuracyFiles> {
    let [smollm2, gemma3, news] = download(paths, [&model::SMOLLM2, &model::GEMMA3, &model::NEWS])?;
    Ok(AccuracyFiles { smollm2, gemma3, news })
}

/// Downloads the files that are missing, and returns their paths.
fn download<const N: usize>(paths: &Paths, files: [&model::Model; N]) -> Result<[PathBuf; N]> {
    if files.iter().any(|file| model::is_missing(paths, file)) {
        step("set-up: system packages", || system::ensure(&[Purpose::Download]))?;
    }
    step("set-up: models", || {
        let mut cached = std::array::from_fn(|_| PathBuf::new());
        for (path, file) in cached.iter_mut().zip(files) {
            *path = model::ensure_cached(paths, file)?;
        }
        Ok(cached)
    })
}

/// Installs the tools that download and build llama.cpp.
pub(crate) fn for_peer() -> Result<()> {
    step("set-up: system packages", || system::ensure(&[Purpose::Download, Purpose::Peer]))
}

fn set_up(
    paths: &Paths,
    models: &[&model::Model],
    purposes: &[Purpose],
    more_tools: &[Tool],
) -> Result<AppTools> {
    let mut purposes = purposes.to_vec();
    if models.iter().any(|model| model::is_missing(paths, model)) {
        purposes.push(Purpose::Download);
    }
    let toolchain = toolchain_and_packages(paths, purposes)?;
    let page = step("set-up: build tools", || {
        let mut page = page_tools(paths, toolchain)?;
        for tool in more_tools {
            page.folders.extend(tools::ensure(paths, tool)?);
        }
        tools::remove_build_files(paths)?;
        page.folders.dedup();
        Ok(page)
    })?;
    let bundled = step("set-up: models", || {
        for model in models {
            model::ensure_cached(paths, model)?;
        }
        model::ensure_bundled(paths)
    })?;
    Ok(AppTools { page, model: bundled })
}

/// Chooses the compiler of the page, and installs its system packages and those for the purposes.
fn toolchain_and_packages(paths: &Paths, mut purposes: Vec<Purpose>) -> Result<Toolchain> {
    let toolchain = step("set-up: WebAssembly toolchain", || wasm::choose(paths))?;
    if toolchain.is_debian() {
        purposes.extend([Purpose::DebianRust, Purpose::DebianWasm]);
    }
    step("set-up: system packages", || system::ensure(&purposes))?;
    Ok(toolchain)
}

fn page_tools(paths: &Paths, toolchain: Toolchain) -> Result<PageTools> {
    let mut folders = Vec::new();
    for tool in [tools::wasm_bindgen(paths)?, tools::trunk()] {
        folders.extend(tools::ensure(paths, &tool)?);
    }
    folders.dedup();
    Ok(PageTools { toolchain, folders })
}
