//! Model cards as Markdown that is safe to show: no front matter, no HTML, no endless text.

/// Cards are cut after this many characters.
const MAX_CHARS: usize = 60_000;

/// The card's text without its front matter and without HTML tags and comments; code keeps what
/// looks like tags.
pub(crate) fn sanitise(card: &str) -> String {
    let text = without_front_matter(card);
    let mut out = String::with_capacity(text.len().min(MAX_CHARS));
    let mut fence: Option<&str> = None;
    let mut html = Html::default();
    for line in text.lines() {
        let start = line.trim_start();
        let mark = ["```", "~~~"].into_iter().find(|mark| start.starts_with(mark));
        match (fence, mark) {
            (None, Some(mark)) if !html.is_open() => fence = Some(mark),
            (Some(open), Some(mark)) if open == mark => fence = None,
            _ => {}
        }
        if fence.is_some() || mark.is_some() {
            out.push_str(line);
        } else {
            html.strip(line, &mut out);
        }
        out.push('\n');
        if out.len() > MAX_CHARS {
            let end = (0..=MAX_CHARS).rev().find(|&at| out.is_char_boundary(at)).unwrap_or(0);
            out.truncate(end);
            out.push_str("…\n");
            break;
        }
    }
    out.trim().to_owned()
}

fn without_front_matter(card: &str) -> &str {
    let card = card.trim_start_matches('\u{feff}');
    let Some(rest) = card.strip_prefix("---\n").or_else(|| card.strip_prefix("---\r\n")) else {
        return card;
    };
    rest.find("\n---").map_or(card, |end| {
        let rest = &rest[end + "\n---".len()..];
        rest.split_once('\n').map_or("", |(_, text)| text)
    })
}

/// What of a tag or a comment is still open at the end of a line.
#[derive(Default)]
struct Html {
    closes: Option<&'static str>,
}

impl Html {
    fn is_open(&self) -> bool {
        self.closes.is_some()
    }

    /// Appends `line` without its tags and comments.
    fn strip(&mut self, mut line: &str, out: &mut String) {
        loop {
            if let Some(end) = self.closes {
                let Some(at) = line.find(end) else { return };
                line = &line[at + end.len()..];
                self.closes = None;
            }
            let Some(at) = line.find('<') else {
                out.push_str(line);
                return;
            };
            out.push_str(&line[..at]);
            line = &line[at..];
            match opening(line) {
                Some(end) => self.closes = Some(end),
                None => {
                    out.push('<');
                    line = &line[1..];
                }
            }
        }
    }
}

/// What ends the tag or comment that `text` begins with, if it begins with one. An address in
/// angle brackets is none.
fn opening(text: &str) -> Option<&'static str> {
    if text.starts_with("<!--") {
        return Some("-->");
    }
    let name = text[1..].strip_prefix('/').unwrap_or(&text[1..]);
    let is_tag = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '!')
        && !name.split(['>', ' ']).next().is_some_and(|word| word.contains([':', '@']));
    is_tag.then_some(">")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn front_matter_and_tags_leave() {
        let card = "---\nlicense: mit\n---\n# Title\n<div align=\"center\">\n<img src=x\nonerror=y>\
             \nHi <b>there</b> <!-- a\nb --> 1 < 2\n</div>\n<script>alert(1)</script>\n";
        assert_eq!(sanitise(card), "# Title\n\n\n\nHi there \n 1 < 2\n\nalert(1)");
    }

    #[test]
    fn code_and_addresses_stay() {
        let card = "```html\n<b>x</b>\n```\nSee <https://example.org> and <a@b.c>.";
        assert_eq!(sanitise(card), card);
    }

    #[test]
    fn endless_cards_end() {
        assert!(sanitise(&"ü".repeat(100_000)).len() < MAX_CHARS + 8);
        assert_eq!(sanitise("---\nnever closed"), "---\nnever closed");
        assert_eq!(sanitise("a <b"), "a");
    }
}
