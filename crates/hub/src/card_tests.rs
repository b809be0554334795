//! Cards with unusual Markdown, among them those of `shared/faults/cards`.

use std::path::Path;

use proptest::prelude::*;

use super::*;

/// The sanitised card from `shared/faults/cards`.
fn fault(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/faults/cards");
    let path = folder.join(name);
    let bytes = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    sanitise(&String::from_utf8(bytes).expect("the cards are UTF-8"))
}

#[test]
fn cards_unclosed_comment_hides_nothing_below_it() {
    assert_eq!(fault("comment-open.md"), "# A\n\n\\<!-- never closed\n\n# B\n\ntext");
    assert_eq!(
        sanitise("a\n\n<!-- x\n\n```\n<b>y</b>\n```"),
        "a\n\n\\<!-- x\n\n```\n<b>y</b>\n```"
    );
    // The first of two comments lacks its end: the text between them stays.
    let card = "<!-- a\n\n# B\n\n<!-- c -->\n\nd";
    assert_eq!(sanitise(card), "\\<!-- a\n\n# B\n\n\n\nd");
    assert_eq!(sanitise("a <!-- b\nc --> d"), "a  d");
    assert_eq!(sanitise("<!-- a\n\nb -->\nc"), "c");
}

#[test]
fn cards_carriage_returns_are_line_ends() {
    assert_eq!(fault("cr.md"), "# Title\n\nText b");
}

#[test]
fn cards_addresses_in_angle_brackets_stay() {
    assert_eq!(fault("email.md"), "<a@b.example> <https://x.example/y?z=1> <ftp://x.example>");
    assert_eq!(sanitise("<div>\n<a@b.c>\n</div>"), "<a@b.c>");
}

#[test]
fn cards_front_matter_is_removed_in_all_forms() {
    assert_eq!(fault("empty-front.md"), "# Title\n\nText");
    for name in ["front-blank-first.md", "front-bom.md", "front-space.md"] {
        assert_eq!(fault(name), "# Title", "{name}");
    }
    assert_eq!(fault("front-crlf.md"), "# Title\n\nText b");
    assert_eq!(fault("front-only.md"), "");
    assert_eq!(sanitise("---\na: |\n  text\n  ---\n---\nb"), "b");
    assert_eq!(sanitise("---\na: b\n...\nc"), "c");
    assert_eq!(sanitise("---\na: b\n----\nc\n---\nd"), "d");
}

#[test]
fn cards_thematic_break_at_the_beginning_is_not_front_matter() {
    assert_eq!(sanitise("---\nnever closed"), "---\nnever closed");
    assert_eq!(sanitise("---\nA text\n\n---\nB"), "---\nA text\n\n---\nB");
    assert_eq!(sanitise("----\nlicense: mit\n----\nB"), "----\nlicense: mit\n----\nB");
}

#[test]
fn cards_code_keeps_tags() {
    assert_eq!(fault("fence-info.md"), "```text\n~~~\n<b>in</b>\n```\nout");
    assert_eq!(fault("indented.md"), "Text:\n\n    <b>indented code</b>\n\nend");
    let inline = fault("inline-code.md");
    for code in ["`<think>`", "`</think>`", "`<s>[INST] {prompt} [/INST]`", "`<start_of_turn>user`"]
    {
        assert!(inline.contains(code), "{code} in {inline}");
    }
    assert!(inline.contains("`Vec<u8>` and `List<int>`"), "{inline}");
    for card in [
        "````md\n```\n<b>a</b>\n```\n<i>b</i>\n````",
        "- a\n\n  ```html\n  <b>c</b>\n  ```\n- d",
        "> ```\n> <b>e</b>\n> ```",
        "`` `<b>` and\n<i> ``",
        "1. f\n\n       <b>code in a list</b>",
        "\t<b>tab</b>",
    ] {
        assert_eq!(sanitise(card), card);
    }
    assert_eq!(sanitise("<div>\n`<b>` <b>c</b>\n</div>"), "`<b>` c");
}

#[test]
fn cards_less_than_sign_is_text() {
    let card = fault("less-than.md");
    assert!(card.contains("batch<n and rank<r, as in table A."), "{card}");
    assert!(card.contains("Never use it for medicine.") && card.ends_with("MIT"), "{card}");
    for text in ["a <b", "i<b and c", "x<p\n\ny>z", "a < b > c", "<", "<>", "</", "<b\n\n>c"] {
        assert_eq!(sanitise(text), text.trim_end(), "{text:?}");
    }
}

#[test]
fn cards_control_tokens_of_models_stay() {
    let card = fault("prompt.md");
    for token in
        ["<|im_start|>", "<|im_end|>", "<s>[INST] hi [/INST]</s>", "<bos><start_of_turn>user"]
    {
        assert!(card.contains(token), "{token} in {card}");
    }
    for text in ["<think>a</think>", "<tool_call>", "<unk> <pad> <mask>", "<image>"] {
        assert_eq!(sanitise(text), text);
    }
}

#[test]
fn front_matter_and_tags_are_removed() {
    let card = "---\nlicense: mit\n---\n# Title\n<div align=\"center\">\n<img src=x\nonerror=y>\
         \nHi <b>there</b> <!-- a\nb --> 1 < 2\n</div>\n<script>alert(1)</script>\n";
    assert_eq!(sanitise(card), "# Title\n\n\nHi there  1 < 2\n\nalert(1)");
    assert_eq!(sanitise("a<br>b <BR/> c<br />d"), "a b  c d");
    assert_eq!(sanitise("<img alt=\"a > b\" src='x'> c"), " c");
    let table = "<table>\n  <tr>\n    <td>a</td><td>b</td>\n  </tr>\n</table>";
    assert_eq!(sanitise(table), "a b");
}

#[test]
fn code_and_addresses_stay() {
    let card = "```html\n<b>x</b>\n```\nSee <https://example.org> and <a@b.c>.";
    assert_eq!(sanitise(card), card);
}

#[test]
fn long_unclosed_cards_take_bounded_time() {
    assert!(sanitise(&"ü".repeat(1_000_000)).len() < MAX_BYTES + 8);
    for open in ["<!-- ", "<!-- a\n\n", "<b ", "<pre>\n\n", "`", "<div>\n\n", "> ", "<?x\n\n"] {
        let start = std::time::Instant::now();
        sanitise(&open.repeat(200_000 / open.len()));
        assert!(start.elapsed().as_secs() < 15, "{open:?}: {:?}", start.elapsed());
    }
}

proptest! {
    /// What pulldown-cmark parses as code is code in the result, unchanged and in order.
    #[test]
    fn code_is_unchanged(lines in prop::collection::vec(prop::sample::select(vec![
        "", "", "a <b>c</b>", "`<b>x</b>`", "``a ` <i>``", "    <b>d</b>", "```", "~~~", "````",
        "- e", "  - <i>f</i>", "> <b>g</b>", "<div>", "</div>", "<!--", "-->", "<pre>", "</pre>",
        "\t<b>h</b>", "batch<n and rank<r", "<a href='x'", ">", "| <b>i</b> | `<b>` |", "|---|---|",
    ]), 0..12)) {
        let card = format!("Begin\n\n{}", lines.join("\n"));
        let html_blocks = raw_html(&card).iter().any(|range| card[range.clone()].contains('\n'));
        // The content of an HTML block is parsed differently once its tags are removed.
        prop_assume!(!html_blocks);
        let code = |text: &str| -> Vec<String> {
            let mut is_block = false;
            events(text).filter_map(|(event, _)| match event {
                Event::Start(Tag::CodeBlock(_)) => { is_block = true; None }
                Event::End(TagEnd::CodeBlock) => { is_block = false; None }
                Event::Code(code) => Some(code.to_string()),
                Event::Text(code) if is_block => Some(code.to_string()),
                _ => None,
            }).collect()
        };
        let (whole, cut) = (code(&card).concat(), code(&sanitise(&card)).concat());
        prop_assert_eq!(cut.trim_end(), whole.trim_end());
    }
}
