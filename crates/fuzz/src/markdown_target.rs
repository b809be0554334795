//! The page's Markdown: complete, in pieces, for the clipboard and as plain text.

use crate::markdown::{Stream, plain_text, render, rich_text};
use crate::{Bound, Target};

/// Renders a text at once and in pieces, whose lengths its first bytes give.
pub(crate) const MARKDOWN: Target = Target {
    name: "markdown",
    run,
    seeds: || SEEDS.map(|seed| [b"\x03\x11\x05\x20", seed.as_bytes()].concat()).into(),
    words: &[
        "```",
        "~~~",
        "# ",
        "> ",
        "- ",
        "1. ",
        "| ",
        "|-|",
        "[^1]",
        "[^1]: ",
        "[a]: ",
        "](",
        "![",
        "<a",
        "</",
        "<!--",
        "-->",
        "<![CDATA[",
        "$",
        "$$",
        "\\(",
        "\\[",
        "\\begin{",
        "**",
        "__",
        "~~",
        "`",
        "\t",
        "    ",
        "\r",
        "\r\n",
        "\u{0}",
        "\u{c}",
        "\u{202e}",
        "\u{200d}",
        "\u{a0}",
        "&amp;",
        "&#0;",
        "javascript:",
        "https://a.b",
        "mailto:",
        "- [x] ",
        "***",
        "===",
        "---",
        "\u{feff}",
        "\u{2028}",
        "<think>",
    ],
    // Each of the four results is as large as the text with its tags, and many tags are longer than what
    // they stand for.
    bound: Bound { base_bytes: 1 << 20, per_byte: 4000 },
    n_smoke: 3000,
};

const SEEDS: [&str; 4] = [
    "# Hi\n\n*a* **b** `c` ~~d~~ [e](https://f.example \"g\") ![h](i.png)\n\n> j\n> - k\n>   1. l\n\n---\n",
    "```rust\nlet a = 1;\n```\n\n- [x] b\n- [ ] c\n\n|d|e|\n|-|:-:|\n|f $x^2$|g|\n\n<script>alert(1)</script>\n",
    "Costs $5 and $10.\n\n$$\\frac{a}{b}$$\n\\[ x \\] \\(y\\)\n\n\\begin{align}z\\end{align}\n\na[^1] b[^n]\n\n[^1]: note\n    more\n",
    "[a]: javascript:x\n[b]: <https://c.d> 'e'\n\n[a] [b][] שלום\u{202e} e\u{301}\r\nf\rg\u{0}\u{c}h <http://i> &lt; &#x41;\n~~~\nopen",
];

/// How many of the first bytes are lengths of pieces.
const N_LENGTHS: usize = 4;

fn run(input: &[u8]) {
    let (lengths, text) = input.split_at(input.len().min(N_LENGTHS));
    let text = String::from_utf8_lossy(text);
    let whole = render(&text);
    let mut stream = Stream::default();
    let mut rest = &*text;
    let mut n_pieces = 0;
    while !rest.is_empty() {
        let length = lengths.get(n_pieces % N_LENGTHS).map_or(1, |&length| usize::from(length));
        // Many pieces of a long text are quadratic by nature: its last block is parsed again for each.
        let length = length.max(text.len() / 64).max(1);
        let at = (length..rest.len()).find(|&at| rest.is_char_boundary(at)).unwrap_or(rest.len());
        let (piece, after) = rest.split_at(at);
        stream.push(piece);
        rest = after;
        n_pieces += 1;
    }
    let blocks = stream.blocks().iter().map(|block| &*block.html);
    let streamed: String = blocks.chain([stream.tail_html()]).collect();
    assert_eq!(streamed, whole, "streamed and at once");
    for tag in ["<script", "<iframe", "<img", "<a href=\"javascript", "<style", "<svg"] {
        assert!(!whole.contains(tag), "{tag} in {whole}");
    }
    let _ = (rich_text(&text), plain_text(&text));
}
