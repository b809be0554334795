//! What a hub answers: model cards, and the JSON of searches and repositories.

use lilims_hub::{Address, RepositoryFile, SearchResult, sanitise_card};
use serde_json::{Value as Json, json};

use crate::{Bound, Target};

/// Reads the input as each kind of answer.
pub(crate) const HUB: Target = Target {
    name: "hub",
    run: read,
    seeds: || {
        let search = json!([{"id": "a/b", "downloads": 5, "likes": "2", "tags": ["gguf", "license:mit"],
            "gated": "manual", "lastModified": "2026-01-01", "gguf": {"total": 7e9}}]);
        let repository = json!({"siblings": [{"rfilename": "m-00001-of-00003.gguf", "size": 5,
            "lfs": {"sha256": "ab".repeat(32), "size": 5.5}}], "sha": "c"});
        let card = "---\nlicense: mit\n---\n# M\n\n<div align=\"center\"><img src=x></div>\n\n```html\n<b>\n```\n\
            <!-- c -->`<d>` a < b <e@f.g> <details><summary>s</summary>\n\n    <i>\n";
        let address = "https://huggingface.co/a/b/resolve/main/c.gguf?download=true";
        [search.to_string(), repository.to_string(), card.to_owned(), address.to_owned()]
            .map(String::into_bytes)
            .into()
    },
    words: &[
        "---\n",
        "<!--",
        "-->",
        "```",
        "~~~",
        "`",
        "<div",
        "</div>",
        "<br/>",
        "<table>",
        "<script>",
        "<a@b.c>",
        "    ",
        "\t",
        "\r\n",
        "\r",
        "\u{feff}",
        "\"id\":",
        "\"siblings\":",
        "..",
        "/",
        "%2e%2e",
        "1e999",
        "-1",
        "hf.co/",
        "https://",
        "?",
        "#",
        "@",
    ],
    bound: Bound { base_bytes: 64 << 10, per_byte: 120 },
    n_smoke: 10_000,
};

fn read(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let card = sanitise_card(&text);
    // What looks like a tag and is none becomes an entity.
    assert!(card.len() <= 5 * text.len() + 8, "{} of {}", card.len(), text.len());
    let _ = text.parse::<Address>();
    let Ok(json) = serde_json::from_slice::<Json>(input) else { return };
    for item in json.as_array().into_iter().flatten() {
        let _ = SearchResult::from_json(item);
    }
    for item in json.get("siblings").and_then(Json::as_array).into_iter().flatten() {
        let _ = RepositoryFile::from_json(item).and_then(|file| file.unsuitable());
    }
}
