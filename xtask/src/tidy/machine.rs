//! Checks that no file has absolute paths of one machine or hosts of package registries.

use super::{TrackedFile, Violation};

/// Prefixes of paths of one machine, split so that this file passes the check.
const MACHINE_FOLDERS: &[&str] =
    &[concat!("/ho", "me/"), concat!("/ro", "ot/"), concat!("/wo", "rk/"), concat!("/Us", "ers/")];

/// Hosts of package registries, which each machine configures itself.
const REGISTRY_HOSTS: &[&str] = &[
    concat!("pypi", ".org"),
    concat!("pythonhosted", ".org"),
    concat!("index.crates", ".io"),
    concat!("static.crates", ".io"),
    concat!("registry.npmjs", ".org"),
    concat!("static.rust-lang", ".org"),
    concat!("deb.debian", ".org"),
];

/// Checks every text file.
pub(super) fn check(files: &[TrackedFile]) -> Vec<Violation> {
    let mut violations = Vec::new();
    for file in files {
        for (index, line) in file.text.iter().flat_map(|text| text.lines()).enumerate() {
            for folder in MACHINE_FOLDERS {
                if has_absolute_path(line, folder) {
                    let message =
                        format!("an absolute path below {folder} is valid on one machine only");
                    violations.push(Violation::at(file, index + 1, message));
                }
            }
            for host in REGISTRY_HOSTS {
                if line.contains(host) {
                    let message = format!("contains the registry host {host}");
                    violations.push(Violation::at(file, index + 1, message));
                }
            }
        }
    }
    violations
}

/// Whether the folder is the start of a path in the line, rather than the middle of one.
fn has_absolute_path(line: &str, folder: &str) -> bool {
    line.match_indices(folder).any(|(start, _)| {
        let before = line[..start].chars().next_back();
        !before
            .is_some_and(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '~' | '}' | '$'))
    })
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    #[test]
    fn only_absolute_paths_are_caught() {
        let folder = MACHINE_FOLDERS[0];
        let bad = format!("let a = \"{folder}ada/model\";\nsee {folder}ada\n");
        let good = format!("let a = \"tests{folder}x\";\nhttps://example.com{folder}x\n");
        let found = check(&[sample("bad.rs", &bad), sample("good.rs", &good)]);
        let lines: Vec<_> = found.iter().map(|found| (found.path.as_str(), found.line)).collect();
        assert_eq!(lines, [("bad.rs", Some(1)), ("bad.rs", Some(2))]);
    }

    #[test]
    fn registry_hosts_are_caught() {
        let text = format!("fetched from https://{}/simple\n", REGISTRY_HOSTS[0]);
        assert_eq!(check(&[sample("README.md", &text)]).len(), 1);
    }
}
