//! The faulty texts of `shared/faults/markdown`: rendered correctly, streamed and at once.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::{Stream, render};

/// More than linear time on a busy machine, less than quadratic work would take.
const LINEAR: Duration = Duration::from_secs(30);

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/faults/markdown")
}

fn fault(name: &str) -> String {
    let path = folder().join(name);
    let bytes = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    String::from_utf8(bytes).expect("the texts are UTF-8")
}

/// The HTML of the text in the file `name`.
fn html_of(name: &str) -> String {
    render(&fault(name))
}

/// The text that `html` shows.
fn shown(html: &str) -> String {
    let mut shown = String::new();
    for part in html.split('<') {
        shown.push_str(part.split_once('>').map_or(part, |(_, text)| text));
    }
    for (entity, c) in [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&amp;", "&")] {
        shown = shown.replace(entity, c);
    }
    shown
}

/// The HTML of a stream so far.
fn html(stream: &Stream) -> String {
    let blocks = stream.blocks().iter().map(|block| block.html.to_string());
    blocks.chain([stream.tail_html().to_owned()]).collect()
}

/// The HTML of pieces streamed one after the other.
fn streamed<'a>(pieces: impl IntoIterator<Item = &'a str>) -> String {
    let mut stream = Stream::default();
    for piece in pieces {
        stream.push(piece);
    }
    html(&stream)
}

/// Every file of the folder except the long one.
fn faults() -> Vec<(String, String)> {
    let entries = std::fs::read_dir(folder()).expect("shared/faults/markdown exists");
    let mut names: Vec<String> =
        entries.map(|entry| entry.expect("listed").file_name().to_string_lossy().into()).collect();
    names.retain(|name| name != "gt.md");
    names.sort();
    assert!(names.len() >= 15, "{names:?}");
    names.into_iter().map(|name| (name.clone(), fault(&name))).collect()
}

#[test]
fn page_streams_every_fault_like_complete_text() {
    for (name, text) in faults() {
        let whole = render(&text);
        for (at, _) in text.char_indices() {
            assert_eq!(streamed([&text[..at], &text[at..]]), whole, "{name} split at {at}");
        }
        let mut stream = Stream::default();
        for (at, c) in text.char_indices() {
            let end = at + c.len_utf8();
            stream.push(&text[at..end]);
            assert_eq!(html(&stream), render(&text[..end]), "{name} up to {end}");
        }
        assert_eq!(html(&stream), whole, "{name} by characters");
    }
}

proptest! {
    #[test]
    fn page_streams_any_pieces_like_complete_text(cuts in prop::collection::vec(0_usize..400, 0..12)) {
        for (name, text) in faults() {
            let is_cut = |at: &usize| text.is_char_boundary(*at);
            let mut cuts: Vec<usize> = cuts.iter().copied().filter(is_cut).collect();
            cuts.extend([0, text.len()]);
            cuts.sort_unstable();
            let pieces = cuts.windows(2).map(|cut| &text[cut[0]..cut[1]]);
            prop_assert_eq!(streamed(pieces), render(&text), "{}", name);
        }
    }
}

#[test]
fn page_lone_carriage_returns_end_lines() {
    let html = html_of("cr-only.md");
    assert_eq!(html.matches("<p ").count(), 5, "{html}");
    assert!(html.contains(">Third line.\nmore</p>"), "{html}");
    assert_eq!(render("a\r\rb\r- c\r- d"), render("a\n\nb\n- c\n- d"));
}

#[test]
fn page_windows_line_ends_are_line_ends() {
    assert_eq!(html_of("crlf.md"), render(&fault("crlf.md").replace('\r', "")));
    let html = html_of("crlf.md");
    for part in ["<h1", "<li>b</li>", "<span>py</span>", "<td>2</td>", ">end</p>"] {
        assert!(html.contains(part), "{part} in {html}");
    }
}

#[test]
fn page_control_characters_are_visible() {
    let html = html_of("formfeed.md");
    assert_eq!(shown(&html).trim(), "a␋b␌␀c\u{2028}d\u{fffd}e\nf");
    assert!(shown(&render("\u{1b}[31mred\u{9b}0m\u{7f}")).contains("␛[31mred\u{fffd}0m␡"));
}

#[test]
fn page_deep_nesting_is_bounded_and_takes_linear_time() {
    let start = Instant::now();
    let html = html_of("gt.md");
    assert!(html.matches("<blockquote").count() <= 48, "{}", html.len());
    assert_eq!(html.matches("<blockquote").count(), html.matches("</blockquote>").count());
    let text = fault("gt.md");
    assert_eq!(
        streamed(text.as_bytes().chunks(7).map(|it| std::str::from_utf8(it).unwrap())),
        html
    );
    for text in [
        "> ".repeat(50_000),
        "- ".repeat(50_000),
        "*a ".repeat(50_000),
        "**a **".repeat(20_000),
        "[".repeat(100_000),
        "![a](".repeat(20_000),
        "`".repeat(100_000),
        "` `` ``` ".repeat(10_000),
        "\\(".repeat(50_000),
        "\\[ x ".repeat(20_000),
        "\\begin{a}".repeat(10_000),
        "$a ".repeat(30_000),
        "强**。".repeat(20_000),
        "<a ".repeat(30_000),
        "&".repeat(100_000),
        "\u{202e}".repeat(50_000),
        format!("|{}\n|{}\n{}", "a|".repeat(300), "-|".repeat(300), "|\n".repeat(2000)),
    ] {
        let html = render(&text);
        let (mut depth, mut deepest) = (0_usize, 0_usize);
        for tag in html.split('<').skip(1) {
            let is_void = ["br>", "hr>", "input"].iter().any(|void| tag.starts_with(void));
            if tag.starts_with('/') {
                depth -= 1;
            } else if !is_void {
                depth += 1;
                deepest = deepest.max(depth);
            }
        }
        assert_eq!(depth, 0, "{}", &text[..12]);
        assert!(deepest < 60, "{deepest} for {}", &text[..12]);
    }
    assert!(start.elapsed() < LINEAR, "{:?}", start.elapsed());
}

#[test]
fn page_shows_html_as_text() {
    for name in ["html.md", "js.md"] {
        let (text, html) = (fault(name), html_of(name));
        for tag in ["<img", "<script", "<details", "<svg", "<iframe", "<style"] {
            assert!(!html.contains(tag), "{tag} in {html}");
        }
        for part in html.split('<').skip(1).filter_map(|tag| tag.split_once('>')) {
            assert!(!part.0.contains(" on"), "{} in {name}", part.0);
        }
        assert!(name != "html.md" || shown(&html).contains(text.lines().next().unwrap()), "{html}");
    }
    assert!(html_of("html.md").contains("<strong>in</strong>"));
}

#[test]
fn page_disables_script_links() {
    let html = html_of("js.md");
    let addresses: Vec<&str> =
        html.split("href=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    assert_eq!(addresses, ["https://ok.example/a_(b)", "http://t.example/p.png"]);
    assert!(
        html.contains("<span class=\"image\" data-label=\"Image\">img2</span>")
            && !html.contains("src="),
        "{html}"
    );
}

#[test]
fn page_keeps_latex_verbatim() {
    let html = html_of("latex.md");
    let text = shown(&html);
    for latex in [
        r"\(a_1 * b_1 * c\)",
        r"\[ \frac{1}{2} \]",
        "$x_i * y_j * z$",
        "$$\nE = mc^2\n$$",
        "\\begin{align}\na &= b \\\\\nc &= d\n\\end{align}",
    ] {
        assert!(text.contains(latex), "{latex} in {text}");
    }
    assert!(!html.contains("<em>") && html.contains("<span class=\"math\" dir=\"ltr\">"), "{html}");
    for latex in [
        r"\(a*b*c\)",
        r"\(\{x_1, x_2\}\)",
        "\\[\nx \\\\\ny = \\left[0, 1\\right)\n\\]",
        r"\[x\]",
        r"$a*b*c$",
        "\\begin{pmatrix}a & b \\\\ c & d\\end{pmatrix}",
        r"\(\text{a\_b}\)",
    ] {
        assert_eq!(shown(&render(latex)).trim_end(), latex);
        assert_eq!(shown(&render(&format!("> {}", latex.replace('\n', "\n> ")))).trim(), latex);
        assert_eq!(
            shown(&render(&format!("| h |\n|-|\n| {latex} |"))).contains(latex),
            !latex.contains('\n')
        );
    }
}

#[test]
fn page_prices_and_escaped_brackets_are_not_latex() {
    assert_eq!(shown(&render("$5 and $6")), "$5 and $6\n");
    assert!(render("from $5 **now** to $6").contains("<strong>now</strong>"));
    assert_eq!(shown(&render(r"\[INST\] \[1\] \[a b\](c)")), "[INST] [1] [a b](c)\n");
    assert_eq!(shown(&render("`\\(` and `\\)` *a*")), "\\( and \\) a\n");
    assert_eq!(shown(&render(r"open \( only *a*")), "open ( only a\n");
}

#[test]
fn page_renders_nested_fences_and_lists() {
    let html = html_of("nested-fence.md");
    assert_eq!(html.matches("<figure").count(), 1, "{html}");
    assert!(shown(&html).contains("```js\nlet a = 1;\n```\n"), "{html}");
    assert!(html.contains("after <strong>bold</strong>"), "{html}");
    let html = html_of("nested-list.md");
    assert_eq!((html.matches("<ol").count(), html.matches("<ul").count()), (2, 2), "{html}");
    assert!(html.contains("<code>code\n</code>") && html.contains("<p>para</p>"), "{html}");
}

#[test]
fn page_unclosed_fence_is_code_to_the_end() {
    let html = html_of("unclosed-fence.md");
    assert!(html.contains("<code>for i in range(3):\n    print(i)\n</code>"), "{html}");
}

#[test]
fn page_detects_right_to_left_text_but_not_in_code() {
    let html = html_of("rtl.md");
    assert_eq!(html.matches("<p dir=\"auto\">").count(), 2, "{html}");
    assert!(html.contains("<ol dir=\"auto\">\n<li>"), "{html}");
    let html = render("# שלום\n\n`ls` שלום\n\n```\nls\n```\n\n|א|\n|-|\n\n> ب\n");
    for part in [
        "<h1 dir=\"auto\">",
        "<p dir=\"auto\"><code dir=\"ltr\">ls</code>",
        "<figure class=\"code\" dir=\"ltr\">",
        "tabindex=\"0\" dir=\"auto\"><table>",
        "<blockquote dir=\"auto\">",
    ] {
        assert!(html.contains(part), "{part} in {html}");
    }
}

#[test]
fn page_renders_strong_next_to_cjk() {
    assert_eq!(
        html_of("strong-cjk.md"),
        "<p dir=\"auto\">这是<strong>重点。</strong>后面的文字。<strong>“引号”</strong>后</p>\n"
    );
    let inside = |text: &str| render(text).replace("<p dir=\"auto\">", "").replace("</p>\n", "");
    assert_eq!(inside("x **强。**后 **b** c"), "x <strong>强。</strong>后 <strong>b</strong> c");
    assert_eq!(inside("**“한국”**은"), "<strong>“한국”</strong>은");
    assert_eq!(inside("*a* **强。**后"), "<em>a</em> <strong>强。</strong>后");
    assert_eq!(inside("强 ** 后 **"), "强 ** 后 **");
    assert_eq!(inside("2**3。4"), "2**3。4");
    // Without such characters, CommonMark's rules apply.
    assert_eq!(inside("a**\"b\"**c"), "a**\"b\"**c");
}

#[test]
fn page_tables_keep_their_cells() {
    let html = html_of("table.md");
    assert!(html.contains("<td>a|b</td>") && html.contains("&lt;b&gt;1&lt;/b&gt;"), "{html}");
    assert!(html.contains("<th scope=\"col\" class=\"end\">Value</th>"), "{html}");
    assert!(html.ends_with("<p dir=\"auto\">after</p>\n"), "{html}");
}

#[test]
fn page_keeps_joined_characters() {
    assert_eq!(html_of("zwj.md"), format!("<p dir=\"auto\">{}</p>\n", fault("zwj.md").trim_end()));
}

#[test]
fn a8_characters_that_reorder_have_no_effect_on_the_page() {
    let html = render("a \u{202e}evil\u{202c} b `x\u{2066}y` \u{2067}ok\u{2069}");
    assert!(
        html.contains("a <bdi class=\"control\" data-name=\"U+202E\">\u{202e}</bdi>evil"),
        "{html}"
    );
    assert!(
        html.contains("x<bdi class=\"control\" data-name=\"U+2066\">\u{2066}</bdi>y"),
        "{html}"
    );
    assert!(html.contains("\u{2067}ok\u{2069}"), "isolates are allowed in text: {html}");
    let html = render("```\n/*\u{202e} } \u{2066}if (a)\u{2069} \u{2066} */\n```");
    assert_eq!(html.matches("<bdi").count(), 4, "{html}");
    assert!(shown(&html).contains("/*\u{202e} } \u{2066}if"), "copied text is unchanged: {html}");
    assert!(
        !render("[a](https://b.example/\u{202e}c)").contains("href=\"https://b.example/\u{202e}")
    );
}
