//! `cargo xtask sbom`: writes the software bill of materials of the app, `target/sbom/lilims.cdx.json`,
//! in CycloneDX 1.5.
//!
//! cargo-cyclonedx describes the program for this system and the page for WebAssembly, which the program
//! contains. This module joins the two, removes the paths of this machine and checks the result. Times
//! are those of the last commit, so the same commit gives the same file.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::paths::{self, Paths};
use crate::process;
use crate::report::{note, step};
use crate::setup::tools;

const SPEC_VERSION: &str = "1.5";
/// The name of the files that cargo-cyclonedx writes beside each manifest, without its extension.
const FILE_STEM: &str = "xtask-sbom.cdx";
/// Packages that the app certainly contains.
const EXPECTED: [&str; 5] = ["lilims-core", "lilims-ui", "leptos", "rusqlite", "tauri"];

/// Writes and checks the bill.
///
/// # Errors
/// If cargo-cyclonedx cannot be installed or fails, or the bill lacks something.
pub(crate) fn run(paths: &Paths) -> Result<()> {
    let folder = step("set-up: cargo-cyclonedx", || {
        let folder = tools::ensure(paths, &tools::cargo_cyclonedx())?;
        tools::remove_build_files(paths)?;
        Ok(folder)
    })?;
    step("software bill of materials", || {
        let program_path = process::path_with_first(folder.as_slice())?;
        let describe = |package: &str, options: &[&str]| {
            let mut command = Command::new("cargo-cyclonedx");
            command.current_dir(&paths.root).env("PATH", &program_path);
            describe(paths, package, command.arg("cyclonedx").args(options))
        };
        let app = describe("src-tauri", &["--features", "custom-protocol,telemetry"])?;
        let page = describe("ui", &["--target", "wasm32-unknown-unknown"])?;
        let bill = without_paths(join(app, page)?, &paths.root)?;
        check(&bill)?;
        let file = paths.target.join("sbom/lilims.cdx.json");
        fs::create_dir_all(paths.target.join("sbom"))?;
        paths::write(&file, serde_json::to_string_pretty(&bill)? + "\n")?;
        note(&format!("{} components in {}", components(&bill)?.len(), file.display()));
        Ok(())
    })
}

/// Runs cargo-cyclonedx and returns the bill of one package. It writes a file beside every manifest of
/// the workspace; all are removed.
fn describe(paths: &Paths, package: &str, command: &mut Command) -> Result<Value> {
    let mut time = Command::new("git");
    time.args(["log", "-1", "--format=%ct"]).current_dir(&paths.root);
    if let Some(seconds) = process::output(&mut time) {
        command.env("SOURCE_DATE_EPOCH", seconds);
    }
    command.args(["--quiet", "--format", "json", "--spec-version", SPEC_VERSION]);
    command.args(["--override-filename", FILE_STEM]);
    let outcome = process::run(command);
    let name = format!("{FILE_STEM}.json");
    let text = fs::read(paths.root.join(package).join(&name));
    for folder in members(paths)? {
        // Only members have such a file, and only if the program came to writing it.
        let _ = fs::remove_file(folder.join(&name));
    }
    outcome?;
    let text = text.with_context(|| format!("cargo-cyclonedx wrote no bill of {package}"))?;
    Ok(serde_json::from_slice(&text)?)
}

/// The folders of the workspace's packages.
fn members(paths: &Paths) -> Result<Vec<PathBuf>> {
    let mut command = process::cargo(paths);
    command.args(["metadata", "--format-version", "1", "--no-deps", "--offline"]);
    let metadata = process::json(&mut command)?;
    let packages = metadata["packages"].as_array().context("cargo lists no packages")?;
    let manifests = packages.iter().filter_map(|package| package["manifest_path"].as_str());
    Ok(manifests.filter_map(|path| Some(Path::new(path).parent()?.to_path_buf())).collect())
}

/// The bill of the app with the page as one of its components.
fn join(mut app: Value, mut page: Value) -> Result<Value> {
    let page_component = page["metadata"]["component"].take();
    let page_ref = page_component["bom-ref"].clone();
    let app_ref = app["metadata"]["component"]["bom-ref"].clone();
    for (key, id) in [("components", "bom-ref"), ("dependencies", "ref")] {
        let more = page[key].as_array_mut().with_context(|| format!("the page has no {key}"))?;
        let list = app[key].as_array_mut().with_context(|| format!("the app has no {key}"))?;
        if key == "components" {
            list.push(page_component.clone());
        }
        for entry in more.drain(..) {
            match list.iter_mut().find(|other| other[id] == entry[id]) {
                None => list.push(entry),
                Some(other) => add_dependencies(other, &entry),
            }
        }
        if let Some(of_app) =
            list.iter_mut().find(|entry| key == "dependencies" && entry[id] == app_ref)
        {
            add_dependencies(of_app, &json!({ "dependsOn": [page_ref] }));
        }
    }
    Ok(app)
}

/// Adds what `entry` depends on: a package may have more features in one of the bills.
fn add_dependencies(other: &mut Value, entry: &Value) {
    let Some(more) = entry["dependsOn"].as_array() else { return };
    let mut list = other["dependsOn"].as_array().cloned().unwrap_or_default();
    for reference in more {
        if !list.contains(reference) {
            list.push(reference.clone());
        }
    }
    other["dependsOn"] = list.into();
}

/// The bill with paths below the root made relative.
fn without_paths(bill: Value, root: &Path) -> Result<Value> {
    let root = root.to_str().context("the repository's path is not Unicode")?;
    let text = serde_json::to_string(&bill)?.replace(&format!("file://{root}/"), "file:///");
    if text.contains(root) {
        bail!("the bill contains a path of this machine");
    }
    Ok(serde_json::from_str(&text)?)
}

fn components(bill: &Value) -> Result<&Vec<Value>> {
    bill["components"].as_array().context("the bill has no components")
}

/// Checks the form of the bill, and that it is complete as far as that can be known.
fn check(bill: &Value) -> Result<()> {
    if bill["bomFormat"] != "CycloneDX" || bill["specVersion"] != SPEC_VERSION {
        bail!("the bill is not CycloneDX {SPEC_VERSION}");
    }
    let mut references: HashSet<&str> = HashSet::new();
    references.extend(bill["metadata"]["component"]["bom-ref"].as_str());
    for component in components(bill)? {
        let name = component["name"].as_str().context("a component has no name")?;
        for key in ["bom-ref", "version", "purl"] {
            if component[key].as_str().is_none_or(str::is_empty) {
                bail!("the component {name} has no {key}");
            }
        }
        if component["licenses"].as_array().is_none_or(Vec::is_empty) {
            bail!("the component {name} has no licence");
        }
        if !component["bom-ref"].as_str().is_some_and(|reference| references.insert(reference)) {
            bail!("the component {name} is listed twice");
        }
    }
    for dependency in bill["dependencies"].as_array().context("the bill has no dependencies")? {
        let on = dependency["dependsOn"].as_array().into_iter().flatten();
        for reference in on.chain([&dependency["ref"]]) {
            if !reference.as_str().is_some_and(|reference| references.contains(reference)) {
                bail!("the bill refers to {reference}, which is not one of its components");
            }
        }
    }
    for expected in EXPECTED {
        if !components(bill)?.iter().any(|component| component["name"] == expected) {
            bail!("the bill lacks {expected}");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn component(name: &str) -> Value {
        json!({ "name": name, "version": "1.0.0", "bom-ref": name, "purl": format!("pkg:cargo/{name}@1.0.0"),
                "licenses": [{ "expression": "MIT" }] })
    }

    fn bill(name: &str, others: &[&str]) -> Value {
        let components: Vec<Value> = others.iter().map(|other| component(other)).collect();
        let dependencies = json!([{ "ref": name, "dependsOn": others }]);
        json!({ "bomFormat": "CycloneDX", "specVersion": SPEC_VERSION, "components": components,
                "metadata": { "component": component(name) }, "dependencies": dependencies })
    }

    fn joined() -> Value {
        let app = bill("lilims-app", &["lilims-core", "rusqlite", "tauri"]);
        join(app, bill("lilims-ui", &["leptos", "lilims-core"])).expect("two bills")
    }

    #[test]
    fn page_becomes_a_part_of_the_app() {
        let bill = joined();
        check(&bill).expect("complete");
        let names: Vec<_> =
            components(&bill).expect("a list").iter().map(|it| it["name"].clone()).collect();
        assert_eq!(names, ["lilims-core", "rusqlite", "tauri", "lilims-ui", "leptos"]);
        let on = &bill["dependencies"][0]["dependsOn"];
        assert_eq!(*on, json!(["lilims-core", "rusqlite", "tauri", "lilims-ui"]));
    }

    #[test]
    fn incomplete_bills_are_rejected() {
        let changes: [(&str, Value); 5] = [
            ("/specVersion", json!("1.3")),
            ("/components/1/purl", json!("")),
            ("/components/1/licenses", json!([])),
            ("/components/1/bom-ref", json!("tauri")),
            ("/components/4/name", json!("other")),
        ];
        for (place, value) in changes {
            let mut bill = joined();
            *bill.pointer_mut(place).expect("the place exists") = value;
            assert!(check(&bill).is_err(), "{place}");
        }
    }

    #[test]
    fn paths_of_the_machine_are_removed() {
        let bill = json!({ "bom-ref": "path+file:///folder/src-tauri#a@1" });
        let bill = without_paths(bill, Path::new("/folder")).expect("one path");
        assert_eq!(bill["bom-ref"], "path+file:///src-tauri#a@1");
        assert!(without_paths(json!({ "name": "/folder" }), Path::new("/folder")).is_err());
    }
}
