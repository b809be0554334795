//! What the app was started with: `lilims://` addresses and files of models.
//!
//! Both may come from anyone: a web page, a message, a program. They become [`PageAction`]s that only
//! show something; what is done about it takes a click in the page.
//!
//! - `lilims://conversation/ID` shows a conversation.
//! - `lilims://ask?text=TEXT` begins a conversation with a text that is not sent.

use std::path::{Path, PathBuf};

use lilims_ipc::{ConversationId, PageAction};
use percent_encoding::percent_decode_str;
use tauri::Url;

/// The scheme of our addresses.
const SCHEME: &str = "lilims";
/// The longest address that is read.
const MAX_ADDRESS_BYTES: usize = 64 << 10;
/// The longest text that an address puts into the message field, in characters.
const MAX_TEXT_CHARS: usize = 8_000;
/// The length of a conversation's id in hexadecimal digits.
const ID_DIGITS: usize = 32;
/// The longest path that is offered.
const MAX_PATH_BYTES: usize = 4_096;
/// The most files that are offered at once.
const MAX_FILES: usize = 32;

/// The arguments of a start that mean something, with absolute paths: another process, which has
/// another working folder, may read them.
pub(super) fn meaningful(
    arguments: impl IntoIterator<Item = String>,
    folder: Option<&Path>,
) -> Vec<String> {
    let absolute = |argument: String| match folder {
        Some(folder) if !is_address(&argument) && !argument.starts_with('-') => {
            folder.join(argument).into_os_string().into_string().ok()
        }
        _ => Some(argument),
    };
    let understood = |argument: &String| address(argument).is_some() || is_model_file(argument);
    arguments.into_iter().filter_map(absolute).filter(understood).take(MAX_FILES).collect()
}

/// What the page shall do about `arguments`: show what an address names, offer all files together.
pub(super) fn actions(arguments: &[String]) -> Vec<PageAction> {
    let address = arguments.iter().find_map(|argument| address(argument));
    let files = arguments.iter().filter(|argument| is_model_file(argument));
    let paths: Vec<String> = files.take(MAX_FILES).cloned().collect();
    let offer = (!paths.is_empty()).then_some(PageAction::OfferFiles { paths });
    address.into_iter().chain(offer).collect()
}

/// What the page shall do about an address of ours; `None` if it is none, or is not exactly as
/// described.
fn address(text: &str) -> Option<PageAction> {
    if !is_address(text) || text.len() > MAX_ADDRESS_BYTES {
        return None;
    }
    let url = Url::parse(text).ok()?;
    let has_extras = !url.username().is_empty()
        || url.password().is_some()
        || url.port().is_some()
        || url.fragment().is_some();
    if url.scheme() != SCHEME || has_extras {
        return None;
    }
    match (url.host_str()?, url.path(), url.query()) {
        ("conversation", path, None) => {
            let id = path.strip_prefix('/')?;
            let is_id = id.len() == ID_DIGITS
                && id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
            let conversation = ConversationId(id.to_owned());
            is_id.then_some(PageAction::ShowConversation { conversation })
        }
        ("ask", "" | "/", query) => draft(query.unwrap_or("text=")),
        _ => None,
    }
}

/// The action for the query of an `ask` address.
fn draft(query: &str) -> Option<PageAction> {
    let encoded = query.strip_prefix("text=").filter(|text| !text.contains('&'))?;
    if !is_percent_encoded(encoded) {
        return None;
    }
    let spaced = encoded.replace('+', " ");
    let decoded = percent_decode_str(&spaced).decode_utf8().ok()?;
    let text: String = decoded.replace("\r\n", "\n").chars().filter(|&c| is_visible(c)).collect();
    let text = text.trim();
    match text.chars().count() {
        0 => Some(PageAction::NewConversation),
        1..=MAX_TEXT_CHARS => Some(PageAction::Draft { text: text.to_owned() }),
        _ => None,
    }
}

/// Whether each `%` begins a byte in hexadecimal digits. Decoders let others pass as they are.
fn is_percent_encoded(text: &str) -> bool {
    text.split('%').skip(1).all(|part| {
        let digits = part.as_bytes().get(..2);
        digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    })
}

/// Whether a character of a foreign text is kept. Controls, characters that reorder others, and those
/// that nobody sees and a model reads are not.
fn is_visible(c: char) -> bool {
    let is_hidden = matches!(
        c,
        '\u{61c}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e0fff}'
    );
    matches!(c, '\n' | '\t') || !(c.is_control() || is_hidden)
}

/// Whether an argument is the absolute path of a file that may be a model. Whether it is one is found
/// out when it is imported.
fn is_model_file(argument: &str) -> bool {
    let path = PathBuf::from(argument);
    let is_gguf = path.extension().is_some_and(|it| it.eq_ignore_ascii_case("gguf"));
    argument.len() <= MAX_PATH_BYTES && is_gguf && path.is_absolute() && path.is_file()
}

fn is_address(text: &str) -> bool {
    let scheme = text.as_bytes().get(..SCHEME.len() + 1);
    scheme.is_some_and(|it| it.eq_ignore_ascii_case(format!("{SCHEME}:").as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0198c0ffee0198c0ffee0198c0ffee01";

    fn draft_of(text: &str) -> Option<PageAction> {
        Some(PageAction::Draft { text: text.into() })
    }

    #[test]
    fn addresses_show_a_conversation_or_begin_one() {
        let conversation = ConversationId(ID.into());
        let shown = Some(PageAction::ShowConversation { conversation });
        assert_eq!(address(&format!("lilims://conversation/{ID}")), shown);
        assert_eq!(address(&format!("LILIMS://conversation/{ID}")), shown);
        assert_eq!(address("lilims://ask?text=Why%20is+it%3F%0A%C3%A9"), draft_of("Why is it?\né"));
        assert_eq!(address("lilims://ask/?text=a"), draft_of("a"));
        assert_eq!(address("lilims://ask?text=1%2B1"), draft_of("1+1"));
        for blank in ["lilims://ask", "lilims://ask?text=", "lilims://ask?text=+%0A%E2%80%AE"] {
            assert_eq!(address(blank), Some(PageAction::NewConversation), "{blank}");
        }
    }

    #[test]
    fn other_addresses_do_nothing() {
        let mut hostile = vec![
            "lilims:".to_owned(),
            "lilims://".into(),
            "lilims:ask?text=a".into(),
            "lilims:///ask?text=a".into(),
            "lilims://settings".into(),
            "lilims://ask.example?text=a".into(),
            "lilims://ask:1?text=a".into(),
            "lilims://user@ask?text=a".into(),
            "lilims://ask/send?text=a".into(),
            "lilims://ask?text=a#b".into(),
            "lilims://ask?text=a&send=1".into(),
            "lilims://ask?send=1".into(),
            "lilims://ask?text=%".into(),
            "lilims://ask?text=%4".into(),
            "lilims://ask?text=%zz".into(),
            "lilims://ask?text=%ff%fe".into(),
            "lilims://ask?text=%C3".into(),
            "https://ask?text=a".into(),
            "javascript:alert(1)".into(),
            "lilims-x://ask?text=a".into(),
            "lilims://conversation".into(),
            "lilims://conversation/".into(),
            "lilims://conversation/../ask".into(),
        ];
        let upper = ID.to_uppercase();
        for id in [&ID[1..], &format!("{ID}0"), &upper, &format!("{}g", &ID[1..])] {
            hostile.push(format!("lilims://conversation/{id}"));
        }
        for rest in ["/x", "?x=1", "#x", "%00"] {
            hostile.push(format!("lilims://conversation/{ID}{rest}"));
        }
        hostile.push(format!("lilims://ask?text={}", "a".repeat(MAX_TEXT_CHARS + 1)));
        hostile.push(format!("lilims://ask?text={}", "%20".repeat(MAX_ADDRESS_BYTES)));
        for text in &hostile {
            let start: String = text.chars().take(99).collect();
            assert_eq!(address(text), None, "{start}");
        }
        let longest = "a".repeat(MAX_TEXT_CHARS);
        assert_eq!(address(&format!("lilims://ask?text={longest}")), draft_of(&longest));
    }

    #[test]
    fn what_nobody_sees_is_left_out() {
        let text =
            "a\u{202e}b\u{2066}c\u{200b}d\u{e0041}e\u{0}f\u{1b}[31mg\u{feff}h\u{85}i\r\nj\tk";
        let encoded: String = text.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let address = address(&format!("lilims://ask?text={encoded}"));
        assert_eq!(address, draft_of("abcdef[31mghi\nj\tk"));
        let kept = "नमस्ते 👩\u{200d}🚀 مرحبا";
        let encoded: String = kept.bytes().map(|byte| format!("%{byte:02x}")).collect();
        assert_eq!(super::address(&format!("lilims://ask?text={encoded}")), draft_of(kept));
    }

    #[test]
    fn files_of_models_are_offered_together() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["a.gguf", "b.GGUF", "c.txt"] {
            std::fs::write(folder.path().join(name), b"x").unwrap();
        }
        std::fs::create_dir(folder.path().join("d.gguf")).unwrap();
        let given = ["--help", "a.gguf", "b.GGUF", "c.txt", "d.gguf", "e.gguf", "lilims://ask"];
        let given = given.map(str::to_owned);
        let understood = meaningful(given, Some(folder.path()));
        let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        assert_eq!(understood, [path("a.gguf"), path("b.GGUF"), "lilims://ask".to_owned()]);
        let paths = vec![path("a.gguf"), path("b.GGUF")];
        let expected = [PageAction::NewConversation, PageAction::OfferFiles { paths }];
        assert_eq!(actions(&understood), expected);
        // A relative path means nothing to another process.
        assert_eq!(actions(&["a.gguf".to_owned()]), []);
    }
}
