//! Classes of code, by the grammars of Sublime Text that `bat` collects.
//!
//! The grammars are regular expressions that backtrack, so hostile code could keep them busy: the size
//! of a text, the length of a line and the time are limited, and what exceeds a limit stays plain.
//! Themes are not read: the page has the colours.

use std::collections::HashMap;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use lilims_ipc::{CodeClass, CodeRun};
use syntect::parsing::{ParseState, Scope, ScopeStack, SyntaxReference, SyntaxSet};
use syntect::util::LinesWithEndings;

/// Longer code stays plain.
const MAX_CODE_BYTES: usize = 200_000;
/// Longer lines stay plain: a grammar may take quadratic time for a line.
const MAX_LINE_BYTES: usize = 1_000;
/// After this time, the rest stays plain.
const TIME_LIMIT: Duration = Duration::from_millis(800);
/// The innermost scopes that decide on a class. Each unclosed bracket adds some.
const MAX_SCOPES: usize = 24;

/// Names of languages in answers that no grammar has as its name or file extension.
const ALIASES: &[(&str, &str)] = &[
    ("console", "bash"),
    ("csharp", "cs"),
    ("f90", "f"),
    ("fsharp", "fs"),
    ("golang", "go"),
    ("jsonc", "json"),
    ("jsx", "js"),
    ("mjs", "js"),
    ("node", "js"),
    ("objc", "m"),
    ("objectivec", "m"),
    ("python3", "py"),
    ("shell", "bash"),
    ("shellscript", "bash"),
    ("zig", "zig"),
];

/// The class of a scope and of all scopes below it. The first rule that matches decides.
const RULES: &[(&str, CodeClass)] = &[
    ("comment", CodeClass::Comment),
    ("punctuation.definition.comment", CodeClass::Comment),
    ("punctuation.definition.string", CodeClass::String),
    ("punctuation.definition.variable", CodeClass::Variable),
    ("punctuation.definition.heading", CodeClass::Heading),
    ("punctuation.definition.inserted", CodeClass::Inserted),
    ("punctuation.definition.deleted", CodeClass::Deleted),
    ("punctuation.definition.keyword", CodeClass::Keyword),
    ("punctuation", CodeClass::Punctuation),
    ("constant.numeric", CodeClass::Number),
    ("constant", CodeClass::Constant),
    ("string", CodeClass::String),
    ("keyword.operator.word", CodeClass::Keyword),
    ("keyword.operator.logical.python", CodeClass::Keyword),
    ("keyword.operator", CodeClass::Operator),
    ("keyword", CodeClass::Keyword),
    ("storage", CodeClass::Keyword),
    ("variable.language", CodeClass::Keyword),
    ("variable.function", CodeClass::Function),
    ("variable.annotation", CodeClass::Function),
    ("variable.other.constant", CodeClass::Constant),
    ("variable.parameter", CodeClass::Variable),
    ("variable.other.readwrite.shell", CodeClass::Variable),
    ("variable.other.readwrite", CodeClass::Plain),
    ("variable", CodeClass::Variable),
    ("entity.name.function", CodeClass::Function),
    ("entity.name.macro", CodeClass::Function),
    ("entity.name.constant", CodeClass::Constant),
    ("entity.name.tag", CodeClass::Tag),
    ("entity.name.section", CodeClass::Heading),
    ("entity.other.attribute-name", CodeClass::Tag),
    ("entity", CodeClass::Type),
    ("support.function", CodeClass::Function),
    ("support.macro", CodeClass::Function),
    ("support.constant", CodeClass::Constant),
    ("support.variable", CodeClass::Variable),
    ("support.type.property-name", CodeClass::Tag),
    ("support", CodeClass::Type),
    ("markup.heading", CodeClass::Heading),
    ("markup.inserted", CodeClass::Inserted),
    ("markup.deleted", CodeClass::Deleted),
    ("markup.raw", CodeClass::String),
    // Code inside a string, or of another language, begins plain.
    ("meta.interpolation", CodeClass::Plain),
    ("meta.embedded", CodeClass::Plain),
    ("source", CodeClass::Plain),
];

/// The grammars, read at the first use: 6 ms and 2 MiB. A grammar's expressions are compiled when it
/// is used.
static SYNTAXES: LazyLock<SyntaxSet> = LazyLock::new(two_face::syntax::extra_newlines);

/// The pieces of `code` in order, which together are all of it; empty if no grammar is known for the
/// language, which is its name or a file extension in any case. Blocks for a second at most.
pub(crate) fn runs(language: &str, code: &str) -> Vec<CodeRun> {
    match syntax(language) {
        Some(_) if code.len() > MAX_CODE_BYTES => {
            let mut runs = Runs::default();
            runs.push(code.len(), CodeClass::Plain);
            runs.0
        }
        Some(syntax) => highlight(syntax, code, Instant::now() + TIME_LIMIT),
        None => Vec::new(),
    }
}

/// The grammar of a language; none for plain text.
fn syntax(language: &str) -> Option<&'static SyntaxReference> {
    let language = language.to_ascii_lowercase();
    let alias = ALIASES.iter().find(|(name, _)| *name == language).map(|(_, known)| *known);
    let syntax = SYNTAXES.find_syntax_by_token(alias.unwrap_or(&language))?;
    (syntax.name != SYNTAXES.find_syntax_plain_text().name).then_some(syntax)
}

fn highlight(syntax: &SyntaxReference, code: &str, deadline: Instant) -> Vec<CodeRun> {
    let mut runs = Runs::default();
    let mut classes = Classes::new();
    let mut state = ParseState::new(syntax);
    let mut stack = ScopeStack::new();
    let mut is_exhausted = false;
    for line in LinesWithEndings::from(code) {
        is_exhausted = is_exhausted || Instant::now() > deadline;
        if is_exhausted || line.len() > MAX_LINE_BYTES {
            runs.push(line.len(), CodeClass::Plain);
            continue;
        }
        // An expression that backtracks too often is an error; the state is of no use after it.
        let Ok(operations) = state.parse_line(line, &SYNTAXES) else {
            is_exhausted = true;
            runs.push(line.len(), CodeClass::Plain);
            continue;
        };
        let mut from = 0;
        for (at, operation) in operations {
            let at = at.min(line.len());
            if at > from {
                runs.push(at - from, classes.of_stack(&stack));
                from = at;
            }
            is_exhausted = is_exhausted || stack.apply(&operation).is_err();
        }
        runs.push(line.len() - from, classes.of_stack(&stack));
    }
    runs.0
}

/// Collects pieces and joins neighbours of one class.
#[derive(Default)]
struct Runs(Vec<CodeRun>);

impl Runs {
    fn push(&mut self, bytes: usize, class: CodeClass) {
        let bytes = bytes as u32;
        match self.0.last_mut() {
            _ if bytes == 0 => {}
            Some(last) if last.class == class => last.bytes += bytes,
            _ => self.0.push(CodeRun { bytes, class }),
        }
    }
}

/// The classes of scopes that were looked up already.
struct Classes {
    rules: Vec<(Scope, CodeClass)>,
    known: HashMap<Scope, Option<CodeClass>>,
    key: Option<Scope>,
}

impl Classes {
    fn new() -> Self {
        let rule = |(name, class): &(&str, CodeClass)| Some((Scope::new(name).ok()?, *class));
        Self {
            rules: RULES.iter().filter_map(rule).collect(),
            known: HashMap::new(),
            key: Scope::new("meta.mapping.key").ok(),
        }
    }

    /// The class of the innermost scope that has one.
    fn of_stack(&mut self, stack: &ScopeStack) -> CodeClass {
        let scopes = &stack.as_slice()[stack.len().saturating_sub(MAX_SCOPES)..];
        let class = scopes.iter().rev().find_map(|scope| self.of_scope(*scope));
        let class = class.unwrap_or(CodeClass::Plain);
        // The keys of JSON are strings; a colour of their own makes its structure visible.
        let is_key = class == CodeClass::String
            && self.key.is_some_and(|key| scopes.iter().any(|scope| key.is_prefix_of(*scope)));
        if is_key { CodeClass::Tag } else { class }
    }

    fn of_scope(&mut self, scope: Scope) -> Option<CodeClass> {
        let rules = &self.rules;
        *self.known.entry(scope).or_insert_with(|| {
            rules.iter().find(|(rule, _)| rule.is_prefix_of(scope)).map(|(_, class)| *class)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The pieces of `code` with their classes, without plain ones.
    fn colours<'a>(language: &str, code: &'a str) -> Vec<(&'a str, CodeClass)> {
        let mut at = 0;
        let pieces = runs(language, code).into_iter().map(|run| {
            let from = at;
            at += run.bytes as usize;
            (code[from..at].trim(), run.class)
        });
        pieces.filter(|(text, class)| !text.is_empty() && *class != CodeClass::Plain).collect()
    }

    #[test]
    fn common_languages_have_the_expected_classes() {
        let rust = colours("rust", "fn main() { let n = 1; // é\n    go(\"a\\n\"); }");
        for expected in [
            ("fn", CodeClass::Keyword),
            ("main", CodeClass::Function),
            ("let", CodeClass::Keyword),
            ("1", CodeClass::Number),
            ("// é", CodeClass::Comment),
            ("go", CodeClass::Function),
            ("\"a", CodeClass::String),
            ("\\n", CodeClass::Constant),
        ] {
            assert!(rust.contains(&expected), "{expected:?} in {rust:?}");
        }
        let json = colours("json", "{\"a\": true, \"b\": \"c\"}");
        assert!(json.contains(&("\"a\"", CodeClass::Tag)), "{json:?}");
        assert!(json.contains(&("true", CodeClass::Constant)), "{json:?}");
        assert!(json.contains(&("\"c\"", CodeClass::String)), "{json:?}");
        let python = colours("Python", "def f(x):\n    return not x  # hm\n");
        for expected in [
            ("def", CodeClass::Keyword),
            ("f", CodeClass::Function),
            ("return", CodeClass::Keyword),
            ("not", CodeClass::Keyword),
            ("# hm", CodeClass::Comment),
        ] {
            assert!(python.contains(&expected), "{expected:?} in {python:?}");
        }
        let diff = colours("diff", "-old\n+new\n");
        assert_eq!(diff, [("-old", CodeClass::Deleted), ("+new", CodeClass::Inserted)]);
    }

    #[test]
    fn pieces_are_all_of_the_code() {
        let code = "fn f() {\r\n\tlet a = 'é';\n}\n".repeat(40);
        for language in ["rust", "js", "python", "html", "sh", "c++", "typescript"] {
            let total: u32 = runs(language, &code).iter().map(|run| run.bytes).sum();
            assert_eq!(total as usize, code.len(), "{language}");
        }
    }

    #[test]
    fn languages_of_answers_are_known_and_others_are_plain() {
        for language in [
            "rust",
            "rs",
            "python",
            "py",
            "python3",
            "javascript",
            "js",
            "jsx",
            "typescript",
            "ts",
            "tsx",
            "bash",
            "sh",
            "shell",
            "zsh",
            "console",
            "c",
            "cpp",
            "c++",
            "csharp",
            "c#",
            "java",
            "kotlin",
            "swift",
            "go",
            "golang",
            "sql",
            "json",
            "jsonc",
            "yaml",
            "yml",
            "toml",
            "html",
            "css",
            "xml",
            "php",
            "ruby",
            "lua",
            "r",
            "diff",
            "dockerfile",
            "makefile",
            "latex",
            "objc",
            "fsharp",
            "haskell",
            "scala",
            "elixir",
            "dart",
            "julia",
            "graphql",
            "nix",
            "zig",
        ] {
            assert!(syntax(language).is_some(), "{language}");
        }
        for language in ["", "mermaid", "text", "txt", "plaintext", "no such language", "\u{202e}"]
        {
            assert_eq!(runs(language, "fn a() {}"), [], "{language}");
        }
    }

    #[test]
    fn hostile_code_takes_limited_time() {
        let started = Instant::now();
        for (language, part) in [
            ("ts", "a<b,"),
            ("perl", "s/"),
            ("php", "<?php $a['"),
            ("markdown", "*"),
            ("bash", "$("),
            ("js", "a("),
            ("c", "((((\n"),
            ("html", "<a "),
        ] {
            let code = part.repeat(MAX_CODE_BYTES / part.len());
            let lines: String =
                code.as_bytes().chunks(990).fold(String::new(), |mut lines, line| {
                    lines.push_str(&String::from_utf8_lossy(line));
                    lines.push('\n');
                    lines
                });
            for code in [code, lines[..MAX_CODE_BYTES].to_owned()] {
                let total: u32 = runs(language, &code).iter().map(|run| run.bytes).sum();
                assert_eq!(total as usize, code.len(), "{language}");
            }
        }
        // Sixteen texts with a second each, on a machine that does other work.
        assert!(started.elapsed() < Duration::from_secs(90), "{:?}", started.elapsed());
        let bytes = MAX_CODE_BYTES as u32 + 1;
        let plain = CodeRun { bytes, class: CodeClass::Plain };
        assert_eq!(runs("rust", &"a".repeat(MAX_CODE_BYTES + 1)), [plain]);
    }
}
