//! Checks the manifests against the architecture's table of allowed dependencies between crates.

use super::{TrackedFile, Violation};

/// Each project crate with the project crates that it may depend on.
const TABLE: &[(&str, &[&str])] = &[
    ("lilims-ipc", &[]),
    ("lilims-files", &[]),
    ("lilims-interchange", &["lilims-files"]),
    ("lilims-jinja", &[]),
    ("lilims-documents", &["lilims-files"]),
    ("lilims-models", &["lilims-files", "lilims-gguf"]),
    ("lilims-gguf", &["lilims-files"]),
    ("lilims-quant", &["lilims-files", "lilims-gguf"]),
    ("lilims-engine", &["lilims-files", "lilims-gguf", "lilims-jinja", "lilims-quant"]),
    ("lilims-store", &["lilims-files", "lilims-models"]),
    ("lilims-hub", &["lilims-files", "lilims-gguf", "lilims-ipc", "lilims-models", "lilims-store"]),
    (
        "lilims-convert",
        &["lilims-files", "lilims-gguf", "lilims-quant", "lilims-engine", "lilims-bench"],
    ),
    ("lilims-bench", &["lilims-files", "lilims-gguf", "lilims-quant", "lilims-engine"]),
    (
        "lilims-core",
        &[
            "lilims-bench",
            "lilims-convert",
            "lilims-documents",
            "lilims-engine",
            "lilims-files",
            "lilims-gguf",
            "lilims-hub",
            "lilims-interchange",
            "lilims-ipc",
            "lilims-models",
            "lilims-store",
            "lilims-telemetry",
        ],
    ),
    ("lilims-ui", &["lilims-ipc"]),
    ("lilims-telemetry", &["lilims-files"]),
    ("lilims-terminal", &["lilims-files"]),
    ("lilims-cli", &["lilims-core", "lilims-files", "lilims-ipc", "lilims-terminal"]),
    ("lilims-fuzz", READERS),
    ("lilims-fuzz-targets", &["lilims-fuzz"]),
    ("lilims-app", LIBRARIES),
    ("lilims-tests", LIBRARIES),
    ("xtask", &["lilims-files"]),
];

/// The crates that programs may depend on.
const LIBRARIES: &[&str] = &[
    "lilims-bench",
    "lilims-convert",
    "lilims-core",
    "lilims-documents",
    "lilims-engine",
    "lilims-files",
    "lilims-gguf",
    "lilims-hub",
    "lilims-ipc",
    "lilims-models",
    "lilims-quant",
    "lilims-store",
];

/// The crates with readers of foreign bytes, which the fuzz targets call.
const READERS: &[&str] = &[
    "lilims-convert",
    "lilims-core",
    "lilims-documents",
    "lilims-engine",
    "lilims-files",
    "lilims-gguf",
    "lilims-hub",
    "lilims-interchange",
    "lilims-ipc",
    "lilims-jinja",
];

/// Prefixes of external crates that only these project crates may depend on, the owner first.
const RESERVED: &[(&str, &[&str])] = &[
    ("tauri", &["lilims-app"]),
    ("sentry", &["lilims-telemetry"]),
    ("reqwest", &["lilims-hub"]),
    // Tests across crates create the database states that crashes leave.
    ("rusqlite", &["lilims-store", "lilims-tests"]),
];

/// Async runtimes, which the engine must not depend on.
const ASYNC_RUNTIMES: &[&str] = &["tokio", "async-std", "smol", "futures", "async-trait"];

/// Checks every manifest against the table.
pub(super) fn check(files: &[TrackedFile]) -> Vec<Violation> {
    let manifests = files.iter().filter(|file| file.path.ends_with("/Cargo.toml"));
    manifests.flat_map(check_manifest).collect()
}

fn check_manifest(file: &TrackedFile) -> Vec<Violation> {
    let manifest = file.text.as_ref().and_then(|text| text.parse::<toml::Table>().ok());
    let name = manifest
        .as_ref()
        .and_then(|manifest| manifest.get("package")?.get("name")?.as_str().map(str::to_string));
    let (Some(manifest), Some(name)) = (manifest, name) else {
        return vec![Violation::of_file(file, "is not a manifest with a package name")];
    };
    let Some((_, allowed)) = TABLE.iter().find(|(crate_name, _)| *crate_name == name) else {
        let message = format!("the crate {name} is not in the dependency table of xtask's tidy");
        return vec![Violation::of_file(file, message)];
    };
    dependency_names(&manifest)
        .iter()
        .filter_map(|dependency| violation(&name, allowed, dependency))
        .map(|message| Violation::of_file(file, message))
        .collect()
}

/// The reason why the crate must not use the dependency; `None` if it may.
fn violation(name: &str, allowed: &[&str], dependency: &str) -> Option<String> {
    let is_ours = TABLE.iter().any(|(crate_name, _)| *crate_name == dependency);
    if is_ours && !allowed.contains(&dependency) {
        return Some(format!("{name} must not use {dependency}"));
    }
    for (prefix, users) in RESERVED {
        if (dependency == *prefix || dependency.starts_with(&format!("{prefix}-")))
            && !users.contains(&name)
        {
            return Some(format!("only {} may use {dependency}", users[0]));
        }
    }
    if name == "lilims-engine" && ASYNC_RUNTIMES.contains(&dependency) {
        return Some(format!("the engine is synchronous and must not use {dependency}"));
    }
    None
}

/// The packages of all dependency sections, the target-specific ones included.
fn dependency_names(manifest: &toml::Table) -> Vec<String> {
    let mut names = Vec::new();
    for (key, value) in manifest {
        let Some(section) = value.as_table() else { continue };
        match key.as_str() {
            "dependencies" | "dev-dependencies" | "build-dependencies" => {
                names.extend(section.iter().map(|(key, value)| package_name(key, value)));
            }
            "target" => {
                let targets = section.values().filter_map(toml::Value::as_table);
                names.extend(targets.flat_map(dependency_names));
            }
            _ => {}
        }
    }
    names
}

/// The dependency's package name, which differs from the key of a renamed dependency.
fn package_name(key: &str, value: &toml::Value) -> String {
    value.get("package").and_then(toml::Value::as_str).unwrap_or(key).to_string()
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    fn messages(manifest: &str) -> Vec<String> {
        let files = [sample("crates/x/Cargo.toml", manifest)];
        check(&files).into_iter().map(|violation| violation.message).collect()
    }

    #[test]
    fn allowed_dependencies_pass() {
        let manifest = "[package]\nname = \"lilims-engine\"\n[dependencies]\nserde = \"1\"\n\
                        lilims-gguf.workspace = true\n";
        assert_eq!(messages(manifest), Vec::<String>::new());
    }

    #[test]
    fn engine_must_not_use_the_hub() {
        let manifest =
            "[package]\nname = \"lilims-engine\"\n[dependencies]\nlilims-hub.workspace = true\n";
        assert_eq!(messages(manifest), ["lilims-engine must not use lilims-hub"]);
    }

    #[test]
    fn shell_is_rejected_even_for_one_target_or_renamed() {
        let manifest = "[package]\nname = \"lilims-cli\"\n[target.'cfg(unix)'.dev-dependencies]\n\
                        shell = { package = \"lilims-app\", path = \"../../src-tauri\" }\n";
        assert_eq!(messages(manifest), ["lilims-cli must not use lilims-app"]);
    }

    #[test]
    fn reserved_crates_are_allowed_for_their_owner_only() {
        let manifest = "[package]\nname = \"lilims-cli\"\n[dependencies]\ntauri-plugin-dialog = \"2\"\n\
                        reqwest = \"0.12\"\nsentry = \"0.49\"\n";
        assert_eq!(messages(manifest).len(), 3);
        let shell = "[package]\nname = \"lilims-app\"\n[dependencies]\ntauri = \"2\"\n";
        assert_eq!(messages(shell), Vec::<String>::new());
        let telemetry = "[package]\nname = \"lilims-telemetry\"\n[dependencies]\nsentry = \"0.49\"\n\
                         reqwest = \"0.12\"\n";
        assert_eq!(messages(telemetry), ["only lilims-hub may use reqwest"]);
    }

    #[test]
    fn engine_must_not_use_an_async_runtime() {
        let manifest = "[package]\nname = \"lilims-engine\"\n[dependencies]\ntokio = \"1\"\n";
        assert_eq!(messages(manifest), ["the engine is synchronous and must not use tokio"]);
    }

    #[test]
    fn unknown_crate_is_rejected() {
        assert_eq!(messages("[package]\nname = \"lilims-new\"\n").len(), 1);
    }
}
