//! Parses repositories and their files as people type and paste them.
//!
//! Accepted are `owner/name`, with `:QUANT`, `@REVISION` or `/FILE`; addresses of pages and files of
//! the hub, with `blob`, `resolve`, `raw` or `tree`; `hf://`; and the commands that other programs'
//! pages show, such as `ollama run hf.co/owner/name:Q4_0`.

use std::str::FromStr;

use crate::Error;
use crate::egress::Url;
use crate::library::folder::check_repository;

/// Host names of the hub.
const HOSTS: [&str; 4] = ["huggingface.co", "www.huggingface.co", "hf.co", "www.hf.co"];
/// Path segments of a URL that are followed by a revision and a path.
const VERBS: [&str; 5] = ["blob", "resolve", "raw", "tree", "commit"];
/// Longer texts are cut in error messages.
const MAX_QUOTED_CHARS: usize = 120;

/// A repository, or a part of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// `owner/name`.
    pub repository: String,
    /// A branch, a tag or a commit.
    pub revision: Option<String>,
    /// A file's path in the repository.
    pub file: Option<String>,
    /// What follows a colon, usually a quantisation.
    pub variant: Option<String>,
    /// Whether the text contained a host.
    has_host: bool,
}

impl Address {
    /// Whether it contained the host, as when copied from a browser.
    pub fn is_pasted(&self) -> bool {
        self.has_host
    }
}

impl FromStr for Address {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let endpoint = std::env::var("HF_ENDPOINT").ok();
        let endpoint = endpoint.and_then(|text| Url::parse(&text).ok());
        parse(text, endpoint.as_ref().and_then(Url::host_str))
    }
}

/// Parses an address; `endpoint` is the host of the configured hub.
fn parse(text: &str, endpoint: Option<&str>) -> Result<Address, Error> {
    let quoted: String = text.trim().chars().take(MAX_QUOTED_CHARS).collect();
    let form = || Error::RepositoryName { name: quoted.clone() };
    let unfinished = || Error::AddressTooShort { address: quoted.clone() };
    let bare = word_with_slash(text).trim_matches(['<', '>', '"', '\'', '`']);
    let (rest, has_host) = without_host(bare, endpoint)?;
    let is_url = has_host || rest.contains('?') || rest.contains('#');
    let rest = match is_url {
        true => rest.split(['?', '#']).next().unwrap_or_default(),
        false => rest,
    };
    let decoded = |part: &str| if has_host { percent_decoded(part) } else { part.to_owned() };
    let rest = rest.strip_prefix("models/").filter(|_| has_host).unwrap_or(rest);
    let (owner, rest) = rest.split_once('/').ok_or_else(form)?;
    if has_host && matches!(owner, "datasets" | "spaces" | "models" | "docs" | "collections") {
        return Err(Error::NotAModelAddress { address: quoted.clone() });
    }
    let end = rest.find(['/', ':', '@']).unwrap_or(rest.len());
    let (name, mut rest) = rest.split_at(end);
    let repository = format!("{owner}/{name}");
    check_repository(&repository).map_err(|_| form())?;
    let mut address = Address { repository, revision: None, file: None, variant: None, has_host };
    // `@REVISION` and `:QUANT` come in any order; Hugging Face itself writes `@REVISION/FILE`.
    loop {
        let Some(sign) = rest.chars().next() else { return Ok(address) };
        let after = &rest[1..];
        match sign {
            '@' if address.revision.is_none() => {
                let end = after.find(['/', ':']).unwrap_or(after.len());
                address.revision = Some(decoded(&after[..end])).filter(|it| !it.is_empty());
                if address.revision.is_none() {
                    return Err(unfinished());
                }
                rest = &after[end..];
            }
            ':' if address.variant.is_none() => {
                let end = after.find('@').unwrap_or(after.len());
                let variant = after[..end].trim_end_matches('/');
                if variant.is_empty() {
                    return Err(unfinished());
                }
                address.variant = Some(variant.to_owned());
                rest = &after[end..];
            }
            '/' => {
                parse_path(&mut address, after, &decoded);
                return Ok(address);
            }
            _ => return Err(form()),
        }
    }
}

/// Parses the path after the repository.
fn parse_path(address: &mut Address, path: &str, decoded: &dyn Fn(&str) -> String) {
    let path = path.trim_matches('/');
    let mut parts = path.splitn(3, '/');
    let (first, revision, file) = (parts.next().unwrap_or_default(), parts.next(), parts.next());
    let is_file = |file: &str| file.to_ascii_lowercase().ends_with(".gguf");
    if VERBS.contains(&first) && revision.is_some() {
        address.revision = revision.map(decoded);
        // The page of a folder shows several files.
        address.file =
            file.map(|file| decoded(file.trim_end_matches('/'))).filter(|it| is_file(it));
        if let (None, Some(folder)) = (&address.file, file) {
            address.variant = Some(decoded(folder.trim_end_matches('/')));
        }
    } else if !path.is_empty() && (!address.has_host || is_file(path)) {
        address.file = Some(decoded(path));
    }
}

/// The only word with a slash, as in `ollama run hf.co/owner/name`; else the whole text.
fn word_with_slash(text: &str) -> &str {
    let mut words = text.split_whitespace().filter(|word| word.contains('/'));
    match (words.next(), words.next()) {
        (Some(only), None) => only,
        _ => text.trim(),
    }
}

/// Removes scheme and host; returns whether there was a host.
fn without_host<'a>(text: &'a str, endpoint: Option<&str>) -> Result<(&'a str, bool), Error> {
    let is_hub = |host: &str| {
        HOSTS.iter().any(|hub| host.eq_ignore_ascii_case(hub))
            || endpoint.is_some_and(|hub| host.eq_ignore_ascii_case(hub))
    };
    let lower = text.to_ascii_lowercase();
    if lower.starts_with("hf://") {
        return Ok((text["hf://".len()..].trim_start_matches('/'), true));
    }
    let scheme = ["https://", "http://"].into_iter().find(|scheme| lower.starts_with(scheme));
    let rest = &text[scheme.map_or(0, str::len)..];
    let (host, after) = rest.split_once('/').unwrap_or((rest, ""));
    let name = host.rsplit('@').next().unwrap_or_default().split(':').next().unwrap_or_default();
    if is_hub(name) {
        Ok((after.trim_start_matches('/'), true))
    } else if scheme.is_some() {
        Err(Error::OtherHost { host: name.chars().take(MAX_QUOTED_CHARS).collect() })
    } else {
        Ok((text, false))
    }
}

/// Decodes `%20` and the like.
fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let hex = |byte: u8| char::from(byte).to_digit(16).and_then(|it| u8::try_from(it).ok());
        match (first, after) {
            (b'%', [high, low, after @ ..])
                if let (Some(high), Some(low)) = (hex(*high), hex(*low)) =>
            {
                bytes.push(high << 4 | low);
                rest = after;
            }
            _ => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Repository, revision, file and variant.
    type Parts<'a> = (&'a str, Option<&'a str>, Option<&'a str>, Option<&'a str>);

    fn parsed(text: &str) -> Result<Address, Error> {
        parse(text, Some("mirror.example"))
    }

    #[test]
    fn l18_pasted_addresses_are_parsed() {
        let plain: Parts = ("o/r", None, None, None);
        let file: Parts = ("o/r", Some("main"), Some("x.gguf"), None);
        let cases: &[(&str, Parts)] = &[
            ("o/r", plain),
            (" o/r/ ", plain),
            ("o/r:Q4_0", ("o/r", None, None, Some("Q4_0"))),
            ("o/r@rev", ("o/r", Some("rev"), None, None)),
            ("o/r@rev:Q4_0", ("o/r", Some("rev"), None, Some("Q4_0"))),
            ("o/r:Q4_0@rev", ("o/r", Some("rev"), None, Some("Q4_0"))),
            ("o/r@rev/x.gguf", ("o/r", Some("rev"), Some("x.gguf"), None)),
            ("o/r/x.gguf", ("o/r", None, Some("x.gguf"), None)),
            ("o/r/Q4/c:d.gguf", ("o/r", None, Some("Q4/c:d.gguf"), None)),
            ("https://huggingface.co/o/r", plain),
            ("http://www.huggingface.co/o/r/", plain),
            ("HTTPS://HuggingFace.co/o/r?library=gguf", plain),
            ("https://huggingface.co/o/r#files", plain),
            ("https://huggingface.co/o/r/discussions/3", plain),
            ("huggingface.co/o/r", plain),
            ("https://mirror.example/o/r", plain),
            ("https://huggingface.co/o/r/blob/main/x.gguf", file),
            ("https://huggingface.co/o/r/resolve/main/x.gguf?download=true", file),
            ("https://huggingface.co/o/r/raw/main/x.gguf", file),
            ("https://huggingface.co/o/r/tree/v1", ("o/r", Some("v1"), None, None)),
            (
                "https://huggingface.co/o/r/tree/main/Q8_0",
                ("o/r", Some("main"), None, Some("Q8_0")),
            ),
            (
                "https://huggingface.co/o/r/blob/refs%2Fpr%2F1/a/b%20c.gguf",
                ("o/r", Some("refs/pr/1"), Some("a/b c.gguf"), None),
            ),
            ("hf.co/o/r:Q4_0", ("o/r", None, None, Some("Q4_0"))),
            ("hf://o/r/x.gguf", ("o/r", None, Some("x.gguf"), None)),
            ("hf://models/o/r@rev/x.gguf", ("o/r", Some("rev"), Some("x.gguf"), None)),
            ("ollama run hf.co/o/r:Q4_0", ("o/r", None, None, Some("Q4_0"))),
            ("llama-server -hf o/r:Q4_0", ("o/r", None, None, Some("Q4_0"))),
            ("<https://huggingface.co/o/r>", plain),
        ];
        for (text, expected) in cases {
            let address = parsed(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            let Address { repository, revision, file, variant, .. } = &address;
            let parts = (&**repository, revision.as_deref(), file.as_deref(), variant.as_deref());
            assert_eq!(parts, *expected, "{text}");
        }
    }

    #[test]
    fn l18_other_addresses_are_errors() {
        for (text, part) in [
            ("", "not a repository"),
            ("a", "not a repository"),
            ("a/", "not a repository"),
            ("/b", "not a repository"),
            ("a/:Q4_0", "not a repository"),
            ("a/b c/d e", "not a repository"),
            ("../b", "not a repository"),
            ("a/b:", "should follow"),
            ("a/b@", "should follow"),
            ("https://example.org/o/r", "example.org is not the hub"),
            ("https://huggingface.co.example.org/o/r", "is not the hub"),
            ("https://huggingface.co@example.org/o/r", "example.org is not the hub"),
            ("https://huggingface.co/datasets/o/r", "is not a model"),
            ("https://huggingface.co/models?search=tiny", "not a repository"),
            ("https://huggingface.co/", "not a repository"),
        ] {
            let error = parsed(text).unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
            assert!(error.len() < 300);
        }
        assert!(parsed(&"x".repeat(100_000)).unwrap_err().to_string().len() < 300);
    }
}
