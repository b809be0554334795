//! Repositories and files of them as people write and paste them.
//!
//! Understood are `owner/name`, with `:QUANT`, `@REVISION` or `/FILE`; addresses of pages and files of
//! the hub, with `blob`, `resolve`, `raw` or `tree`; `hf://`; and the commands that other programs'
//! pages show, such as `ollama run hf.co/owner/name:Q4_0`.

use std::str::FromStr;

use reqwest::Url;

use crate::library::folder::check_repository;

/// Names of the hub.
const HOSTS: [&str; 4] = ["huggingface.co", "www.huggingface.co", "hf.co", "www.hf.co"];
/// Words of an address that a revision and a path follow.
const VERBS: [&str; 5] = ["blob", "resolve", "raw", "tree", "commit"];
/// Longer texts are quoted up to here.
const QUOTED_CHARS: usize = 120;

/// A repository, and what of it is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// `owner/name`.
    pub repository: String,
    /// A branch, a tag or a commit.
    pub revision: Option<String>,
    /// A file's path in the repository.
    pub file: Option<String>,
    /// The word after a colon: a quantisation.
    pub word: Option<String>,
    /// Whether a host stood before it.
    has_host: bool,
}

/// Why a text is no address of a repository.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAnAddress {
    /// It has not the form.
    #[error("`{text}` is not a repository: write owner/name")]
    Form {
        /// The text.
        text: String,
    },
    /// Something should follow.
    #[error("`{text}` ends where a file or a quantisation should follow")]
    Unfinished {
        /// The text.
        text: String,
    },
    /// It leads to another host than the hub.
    #[error(
        "{host} is not the hub that Lilims asks: write owner/name, or set HF_ENDPOINT to use \
         another hub"
    )]
    Host {
        /// The host.
        host: String,
    },
    /// It leads to something else on the hub.
    #[error("`{text}` leads to no model: write owner/name")]
    NoModel {
        /// The text.
        text: String,
    },
}

impl Address {
    /// Whether it was taken from a browser or a command, host and all.
    pub fn is_pasted(&self) -> bool {
        self.has_host
    }
}

impl FromStr for Address {
    type Err = NotAnAddress;

    fn from_str(text: &str) -> Result<Self, NotAnAddress> {
        let endpoint = std::env::var("HF_ENDPOINT").ok();
        let endpoint = endpoint.and_then(|text| Url::parse(&text).ok());
        parse(text, endpoint.as_ref().and_then(Url::host_str))
    }
}

/// Parses an address; `endpoint` is the host of a hub of the user's choice.
fn parse(text: &str, endpoint: Option<&str>) -> Result<Address, NotAnAddress> {
    let quoted: String = text.trim().chars().take(QUOTED_CHARS).collect();
    let form = || NotAnAddress::Form { text: quoted.clone() };
    let unfinished = || NotAnAddress::Unfinished { text: quoted.clone() };
    let bare = word_of_command(text).trim_matches(['<', '>', '"', '\'', '`']);
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
        return Err(NotAnAddress::NoModel { text: quoted.clone() });
    }
    let end = rest.find(['/', ':', '@']).unwrap_or(rest.len());
    let (name, mut rest) = rest.split_at(end);
    let repository = format!("{owner}/{name}");
    check_repository(&repository).map_err(|_| form())?;
    let mut address = Address { repository, revision: None, file: None, word: None, has_host };
    // `@REVISION` and `:QUANT` come in either order, and `@REVISION/FILE` is one of theirs.
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
            ':' if address.word.is_none() => {
                let end = after.find('@').unwrap_or(after.len());
                let word = after[..end].trim_end_matches('/');
                if word.is_empty() {
                    return Err(unfinished());
                }
                address.word = Some(word.to_owned());
                rest = &after[end..];
            }
            '/' => {
                path(&mut address, after, &decoded);
                return Ok(address);
            }
            _ => return Err(form()),
        }
    }
}

/// Takes in what follows the repository in an address.
fn path(address: &mut Address, path: &str, decoded: &dyn Fn(&str) -> String) {
    let path = path.trim_matches('/');
    let mut parts = path.splitn(3, '/');
    let (first, revision, file) = (parts.next().unwrap_or_default(), parts.next(), parts.next());
    let is_file = |file: &str| file.to_ascii_lowercase().ends_with(".gguf");
    if VERBS.contains(&first) && revision.is_some() {
        address.revision = revision.map(decoded);
        // A folder's page shows several files.
        address.file =
            file.map(|file| decoded(file.trim_end_matches('/'))).filter(|it| is_file(it));
        if let (None, Some(folder)) = (&address.file, file) {
            address.word = Some(decoded(folder.trim_end_matches('/')));
        }
    } else if !path.is_empty() && (!address.has_host || is_file(path)) {
        address.file = Some(decoded(path));
    }
}

/// The one word with a slash of several: what a command such as `ollama run hf.co/owner/name` is about.
fn word_of_command(text: &str) -> &str {
    let mut words = text.split_whitespace().filter(|word| word.contains('/'));
    match (words.next(), words.next()) {
        (Some(only), None) => only,
        _ => text.trim(),
    }
}

/// The text without scheme and host, and whether it had a host.
fn without_host<'a>(
    text: &'a str,
    endpoint: Option<&str>,
) -> Result<(&'a str, bool), NotAnAddress> {
    let is_ours = |host: &str| {
        HOSTS.iter().any(|ours| host.eq_ignore_ascii_case(ours))
            || endpoint.is_some_and(|ours| host.eq_ignore_ascii_case(ours))
    };
    let lower = text.to_ascii_lowercase();
    if lower.starts_with("hf://") {
        return Ok((text["hf://".len()..].trim_start_matches('/'), true));
    }
    let scheme = ["https://", "http://"].into_iter().find(|scheme| lower.starts_with(scheme));
    let rest = &text[scheme.map_or(0, str::len)..];
    let (host, after) = rest.split_once('/').unwrap_or((rest, ""));
    let name = host.rsplit('@').next().unwrap_or_default().split(':').next().unwrap_or_default();
    if is_ours(name) {
        Ok((after.trim_start_matches('/'), true))
    } else if scheme.is_some() {
        Err(NotAnAddress::Host { host: name.chars().take(QUOTED_CHARS).collect() })
    } else {
        Ok((text, false))
    }
}

/// `%20` as the character that it means.
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

    /// Repository, revision, file and word.
    type Parts<'a> = (&'a str, Option<&'a str>, Option<&'a str>, Option<&'a str>);

    fn parsed(text: &str) -> Result<Address, NotAnAddress> {
        parse(text, Some("mirror.example"))
    }

    #[test]
    fn l18_addresses_are_taken_apart_as_people_paste_them() {
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
            let Address { repository, revision, file, word, .. } = &address;
            let parts = (&**repository, revision.as_deref(), file.as_deref(), word.as_deref());
            assert_eq!(parts, *expected, "{text}");
        }
    }

    #[test]
    fn l18_what_leads_elsewhere_gets_a_sentence() {
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
            ("https://huggingface.co/datasets/o/r", "leads to no model"),
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
