//! Checks Rust source: headers, location of `unsafe`, no disabled tests, no printing, no async
//! engine.

use super::text::{code_lines, has_word};
use super::{TrackedFile, Violation};

/// Files, and folders with a trailing slash, that may contain `unsafe`: the memory map and kernels.
const UNSAFE_ALLOWED: &[&str] =
    &["crates/gguf/src/reader.rs", "crates/quant/src/", "crates/engine/src/backend/cpu/"];
/// Other files that need `unsafe`, each with its reason.
const UNSAFE_EXEMPT: &[(&str, &str)] = &[
    ("crates/gguf/src/guard.rs", "a signal handler for memory maps of files that shrink"),
    ("crates/fuzz/src/allocations.rs", "an allocator that measures the cost of any input"),
    ("crates/gguf/tests/hostile.rs", "an allocator that measures the cost of a crafted file"),
    ("crates/jinja/tests/hostile.rs", "an allocator that measures the cost of a hostile template"),
    ("src-tauri/src/drawing.rs", "the environment of the process, before its first thread"),
    ("crates/engine/src/estimate/process_limit.rs", "an iOS function that no crate binds"),
];

/// The door out.
const DOOR: &str = "crates/hub/src/egress";
/// Scripts that read files of the page itself, each with the call.
const OWN_FILES: &[(&str, &str)] =
    &[("ui/boot.js", "fetch(new URL(`./locales/${tag}.json`, import.meta.url))")];

/// Every source file starts with a `//!` comment.
pub(super) fn check_headers(files: &[TrackedFile]) -> Vec<Violation> {
    sources(files)
        .filter(|(_, text)| !text.starts_with("//! "))
        .map(|(file, _)| {
            Violation::at(file, 1, "a source file starts with `//!`, which says what it owns")
        })
        .collect()
}

/// `unsafe` is used only where the architecture allows it.
pub(super) fn check_unsafe(files: &[TrackedFile]) -> Vec<Violation> {
    let forbidden = sources(files).filter(|(file, _)| !may_contain_unsafe(&file.path));
    lines_where(forbidden, "`unsafe` is allowed only in the kernels and the memory map", |line| {
        has_word(line, "unsafe")
    })
}

fn may_contain_unsafe(path: &str) -> bool {
    let is_allowed = |allowed: &&str| {
        if allowed.ends_with('/') { path.starts_with(*allowed) } else { path == *allowed }
    };
    UNSAFE_ALLOWED.iter().any(is_allowed)
        || UNSAFE_EXEMPT.iter().any(|(file, _reason)| path == *file)
}

/// No test is ignored.
pub(super) fn check_ignored_tests(files: &[TrackedFile]) -> Vec<Violation> {
    lines_where(sources(files), "ignored test: fix or remove it", |line| {
        line.contains("#[ignore") || (line.contains("cfg_attr") && has_word(line, "ignore"))
    })
}

/// No test returns early without a record: missing data is a failure, and a test that cannot run
/// here reports that (`tests/src/skips.rs`). A child process that reads its job from an environment
/// variable may return early.
pub(super) fn check_silent_returns(files: &[TrackedFile]) -> Vec<Violation> {
    let tests = sources(files).filter(|(file, _)| {
        let path = &file.path;
        path.starts_with("tests/tests/") || path.contains("/tests/") && path.starts_with("crates/")
    });
    lines_where(tests, "a test without its data must fail or call `skip`", |line| {
        line.contains("else { return };") && !line.contains("env::var(")
    })
}

/// Only the command line's output layer prints.
pub(super) fn check_printing(files: &[TrackedFile]) -> Vec<Violation> {
    const LAYER: &str = "crates/terminal/src/output";
    /// Its standard output is a pipe to its parent.
    const CHILD: &str = "crates/documents/src/child.rs";
    const MACROS: [&str; 4] = ["print!(", "println!(", "eprint!(", "eprintln!("];
    let programs = sources(files).filter(|(file, _)| {
        let is_source = file.path.starts_with("crates/") && file.path.contains("/src/");
        let is_test = file.path.contains("/tests/") || file.path.ends_with("tests.rs");
        (is_source || file.path.starts_with("models/src/"))
            && !is_test
            && !file.path.starts_with(LAYER)
            && file.path != CHILD
    });
    // Test modules are at the end of a file.
    let programs = programs.map(|(file, text)| {
        (file, text.split_once("\n#[cfg(test)]").map_or(text, |(code, _tests)| code))
    });
    lines_where(programs, "only the output layer of the command line prints", |line| {
        MACROS.iter().any(|name| line.contains(name))
            || line.contains("io::stdout()")
            || line.contains("io::stderr()")
    })
}

/// What opens connections is used in the door out alone, so that every connection is logged and a
/// sealed app makes none. Tests and build steps may.
pub(super) fn check_connections(files: &[TrackedFile]) -> Vec<Violation> {
    const RUST: [&str; 8] = [
        "reqwest",
        "hyper",
        "ureq",
        "TcpStream",
        "UdpSocket",
        "WebSocket",
        "hf_hub::api",
        "web_sys::Request",
    ];
    const SCRIPT: [&str; 7] = [
        "fetch(",
        "WebSocket",
        "XMLHttpRequest",
        "EventSource",
        "sendBeacon",
        "RTCPeerConnection",
        "importScripts",
    ];
    let message = "only `lilims_hub::Egress` opens connections";
    let programs = sources(files).filter(|(file, _)| {
        let path = &file.path;
        let is_program =
            ["crates/", "models/", "src-tauri/", "ui/"].iter().any(|it| path.starts_with(it));
        is_program && !path.contains("/tests/") && !path.starts_with(DOOR)
    });
    let mut found = lines_where(programs, message, |line| {
        RUST.iter().any(|name| match name.contains(':') {
            true => line.contains(name),
            false => has_word(line, name),
        })
    });
    let scripts = files.iter().filter(|file| {
        file.path.starts_with("ui/") && [".js", ".html"].iter().any(|it| file.path.ends_with(it))
    });
    for file in scripts {
        for (index, line) in file.text.as_deref().unwrap_or_default().lines().enumerate() {
            let is_own_file =
                OWN_FILES.iter().any(|(path, call)| file.path == *path && line.contains(call));
            if !is_own_file && SCRIPT.iter().any(|name| line.contains(name)) {
                found.push(Violation::at(file, index + 1, message));
            }
        }
    }
    found
}

/// The engine is synchronous; its callers use threads.
pub(super) fn check_async(files: &[TrackedFile]) -> Vec<Violation> {
    let engine = sources(files).filter(|(file, _)| file.path.starts_with("crates/engine/src/"));
    lines_where(engine, "the engine is synchronous", |line| {
        has_word(line, "async") || line.contains(".await")
    })
}

fn sources(files: &[TrackedFile]) -> impl Iterator<Item = (&TrackedFile, &str)> {
    files
        .iter()
        .filter(|file| file.path.ends_with(".rs"))
        .filter_map(|file| Some((file, file.text.as_deref()?)))
}

/// One violation for each line of code for which `is_bad` holds; comments and strings are ignored.
fn lines_where<'a>(
    sources: impl Iterator<Item = (&'a TrackedFile, &'a str)>,
    message: &str,
    is_bad: impl Fn(&str) -> bool,
) -> Vec<Violation> {
    let mut violations = Vec::new();
    for (file, text) in sources {
        for (index, line) in code_lines(text).iter().enumerate() {
            if is_bad(line) {
                violations.push(Violation::at(file, index + 1, message));
            }
        }
    }
    violations
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    #[test]
    fn missing_header_is_caught() {
        let files = [
            sample("a.rs", "use std::fs;\n"),
            sample("b.rs", "//! Owns b.\n"),
            sample("c.md", "text\n"),
        ];
        let found = check_headers(&files);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].path, "a.rs");
    }

    #[test]
    fn unsafe_is_caught_in_code_only() {
        let text = "//! No unsafe here.\nlet a = \"unsafe {\";\nunsafe { go() }\n#![expect(unsafe_code)]\n";
        let files = [
            sample("crates/cli/src/main.rs", text),
            sample("crates/gguf/src/reader.rs", text),
            sample("crates/engine/src/backend/cpu/avx2.rs", text),
            sample("crates/engine/src/backend/candle.rs", text),
        ];
        let found: Vec<(String, Option<usize>)> =
            check_unsafe(&files).into_iter().map(|found| (found.path, found.line)).collect();
        let expected = [("crates/cli/src/main.rs", 3), ("crates/engine/src/backend/candle.rs", 3)];
        assert_eq!(found, expected.map(|(path, line)| (path.to_string(), Some(line))));
    }

    #[test]
    fn ignored_tests_are_caught() {
        let text =
            "//! Tests.\n#[test]\n#[ignore = \"slow\"]\nfn a() {}\n#[cfg_attr(miri, ignore)]\n";
        let lines: Vec<_> = check_ignored_tests(&[sample("a.rs", text)])
            .into_iter()
            .map(|found| found.line)
            .collect();
        assert_eq!(lines, [Some(3), Some(5)]);
    }

    #[test]
    fn silent_returns_and_printing_are_caught() {
        let text = "//! Tests.\nlet Some(it) = fixture() else { return };\n\
                    let Ok(job) = env::var(JOB) else { return };\n";
        let found = check_silent_returns(&[
            sample("tests/tests/a.rs", text),
            sample("crates/gguf/tests/a.rs", text),
            sample("crates/gguf/src/a.rs", text),
        ]);
        assert_eq!(found.iter().map(|it| it.line).collect::<Vec<_>>(), [Some(2), Some(2)]);

        let text = "//! Text.\nprintln!(\"x\");\nio::stderr().lock();\n#[cfg(test)]\nprintln!();\n";
        let found = check_printing(&[
            sample("crates/hub/src/a.rs", text),
            sample("crates/terminal/src/output.rs", text),
            sample("crates/cli/tests/a.rs", text),
            sample("xtask/src/a.rs", text),
        ]);
        assert_eq!(found.iter().map(|it| it.line).collect::<Vec<_>>(), [Some(2), Some(3)]);
    }

    #[test]
    fn connections_are_caught_outside_the_door() {
        let text = "//! Text with reqwest.\nuse reqwest::Url;\nlet a = TcpStream::connect(b);\n";
        let script = "const a = await fetch('x');\nnew WebSocket('y');\n";
        let files = [
            sample("crates/hub/src/client.rs", text),
            sample("crates/hub/src/egress.rs", text),
            sample("crates/hub/src/egress/log.rs", text),
            sample("tests/tests/a.rs", text),
            sample("ui/a.js", script),
            sample(
                "ui/boot.js",
                "fetch(new URL(`./locales/${tag}.json`, import.meta.url))\nfetch(a)",
            ),
        ];
        let found: Vec<_> =
            check_connections(&files).into_iter().map(|it| (it.path, it.line)).collect();
        let at = |path: &str, line| (path.to_owned(), Some(line));
        let client = "crates/hub/src/client.rs";
        let expected =
            [at(client, 2), at(client, 3), at("ui/a.js", 1), at("ui/a.js", 2), at("ui/boot.js", 2)];
        assert_eq!(found, expected);
    }

    #[test]
    fn async_is_caught_in_the_engine_only() {
        let text = "//! Text.\nasync fn go() {}\n";
        let files = [sample("crates/engine/src/a.rs", text), sample("crates/hub/src/a.rs", text)];
        let found = check_async(&files);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].path, "crates/engine/src/a.rs");
    }
}
