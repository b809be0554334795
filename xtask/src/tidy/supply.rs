//! Checks the licence and the origin of every third-party package against `deny.toml`.
//!
//! The same file steers cargo-deny, which takes minutes to compile. `cargo xtask audit` runs it, also
//! for the packages of other systems, and checks bans and known vulnerabilities. This check reads what
//! cargo already knows, so that it can run with every test. It leaves out bans, since cargo lists some
//! packages that no feature switches on.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::Value;
use spdx::{Expression, LicenseReq, ParseMode};

use super::Violation;
use crate::paths::Paths;
use crate::process;

/// The parts of `deny.toml` that are read here.
#[derive(Debug, Default)]
struct Policy {
    licenses: Vec<LicenseReq>,
    registries: Vec<String>,
}

/// Checks all packages that this system's programs and the page are built from. Returns their number
/// and the violations.
///
/// # Errors
/// If `deny.toml` cannot be read, or cargo does not list the packages.
pub(super) fn check(paths: &Paths) -> Result<(usize, Vec<Violation>)> {
    let file = paths.root.join("deny.toml");
    let text = std::fs::read_to_string(&file).with_context(|| file.display().to_string())?;
    let policy = Policy::parse(&text)?;
    let metadata = process::json(&mut list_packages(paths)?)?;
    let packages = metadata["packages"].as_array().context("cargo lists no packages")?;
    let violations = packages.iter().flat_map(|package| policy.check(package, &paths.root));
    Ok((packages.len(), violations.collect()))
}

/// The command that lists the packages of this system and of the page. The packages of other systems
/// need not be downloaded for it.
fn list_packages(paths: &Paths) -> Result<Command> {
    let version =
        process::output(Command::new("rustc").arg("-vV")).context("rustc does not run")?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    let host = host.context("rustc does not name its system")?;
    let mut command = process::cargo(paths);
    command.args(["metadata", "--format-version", "1", "--locked", "--all-features"]);
    for target in [host, "wasm32-unknown-unknown"] {
        command.args(["--filter-platform", target]);
    }
    Ok(command)
}

impl Policy {
    fn parse(text: &str) -> Result<Self> {
        let config: toml::Table = text.parse().context("deny.toml")?;
        let list = |section: &str, key: &str| -> Result<&Vec<toml::Value>> {
            let list = config.get(section).and_then(|section| section.get(key)?.as_array());
            list.with_context(|| format!("deny.toml has no list `{key}` in [{section}]"))
        };
        let mut policy = Self::default();
        for license in list("licenses", "allow")? {
            let license = license.as_str().context("deny.toml: a licence is not a text")?;
            let license = Expression::parse(license).map_err(|error| {
                anyhow::anyhow!("deny.toml: `{license}` is not a licence: {}", error.reason)
            })?;
            policy.licenses.extend(license.requirements().map(|it| it.req.clone()));
        }
        for registry in list("sources", "allow-registry")? {
            policy.registries.extend(registry.as_str().map(str::to_string));
        }
        Ok(policy)
    }

    /// What is wrong with a package in the output of `cargo metadata`.
    fn check(&self, package: &Value, root: &Path) -> Vec<Violation> {
        let text = |key: &str| package[key].as_str().unwrap_or_default();
        let name = text("name");
        let violation = |message: String| Violation {
            path: "Cargo.lock".into(),
            line: None,
            message: format!("{name} {} {message}", text("version")),
        };
        let mut violations = Vec::new();
        let is_allowed = match package["source"].as_str() {
            Some(source) => source
                .strip_prefix("registry+")
                .is_some_and(|source| self.registries.iter().any(|registry| registry == source)),
            None => Path::new(text("manifest_path")).starts_with(root),
        };
        if !is_allowed {
            let source = package["source"].as_str().unwrap_or("a folder outside the repository");
            violations.push(violation(format!("comes from {source}")));
        }
        let license = text("license");
        if let Err(why) = self.check_license(license) {
            violations.push(violation(format!("has the licence `{license}`: {why}")));
        }
        violations
    }

    /// Whether the licences that deny.toml allows satisfy the expression.
    fn check_license(&self, license: &str) -> Result<(), String> {
        // Old packages separate licences with a slash.
        let expression = Expression::parse_mode(license, ParseMode::LAX)
            .map_err(|error| error.reason.to_string())?;
        let is_allowed = |license: &LicenseReq| self.licenses.contains(license);
        match expression.evaluate_with_failures(is_allowed) {
            Ok(()) => Ok(()),
            Err(_) => Err("deny.toml does not allow it".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const REGISTRY: &str = "https://example.org/index";

    fn messages(package: &Value) -> Vec<String> {
        let policy = format!(
            "[licenses]\nallow = [\"MIT\", \"Apache-2.0\", \"Apache-2.0 WITH LLVM-exception\"]\n\
             [sources]\nallow-registry = [\"{REGISTRY}\"]\n"
        );
        let policy = Policy::parse(&policy).expect("a valid policy");
        let found = policy.check(package, Path::new("repository"));
        found.into_iter().map(|violation| violation.message).collect()
    }

    fn package(name: &str, license: &str, source: &str) -> Value {
        json!({ "name": name, "version": "1.0.0", "license": license, "source": source })
    }

    #[test]
    fn allowed_packages_pass() {
        let source = format!("registry+{REGISTRY}");
        for license in [
            "MIT",
            "MIT/Apache-2.0",
            "GPL-3.0-only OR MIT",
            "MIT AND (Apache-2.0 OR MPL-2.0)",
            "Apache-2.0 WITH LLVM-exception",
        ] {
            assert_eq!(
                messages(&package("a", license, &source)),
                Vec::<String>::new(),
                "{license}"
            );
        }
        let ours = json!({ "name": "ours", "version": "1.0.0", "license": "MIT",
                           "manifest_path": "repository/crates/ours/Cargo.toml" });
        assert_eq!(messages(&ours), Vec::<String>::new());
    }

    #[test]
    fn other_licences_are_caught() {
        let source = format!("registry+{REGISTRY}");
        for license in
            ["", "GPL-3.0-only", "MIT AND MPL-2.0", "MIT WITH LLVM-exception", "no words"]
        {
            let found = messages(&package("a", license, &source));
            assert_eq!(found.len(), 1, "{license}");
            assert!(found[0].starts_with(&format!("a 1.0.0 has the licence `{license}`")));
        }
    }

    #[test]
    fn other_sources_are_caught() {
        for source in ["git+https://example.org/index", "registry+https://example.org/other"] {
            let found = messages(&package("a", "MIT", source));
            assert_eq!(found, [format!("a 1.0.0 comes from {source}")]);
        }
        let outside = json!({ "name": "a", "version": "1.0.0", "license": "MIT",
                              "manifest_path": "elsewhere/Cargo.toml" });
        assert_eq!(messages(&outside), ["a 1.0.0 comes from a folder outside the repository"]);
    }

    #[test]
    fn policy_without_its_lists_is_an_error() {
        assert!(Policy::parse("").is_err());
        assert!(Policy::parse("[licenses]\nallow = [\"MIT\"]\n").is_err());
    }
}
