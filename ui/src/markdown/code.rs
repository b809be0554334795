//! Highlighted code as HTML.

use lilims_ipc::{CodeClass, CodeRun};

use super::writer::escape_code;

/// The HTML of `code`. `runs` describe its beginning; what follows them is plain.
pub(crate) fn highlighted(code: &str, runs: &[CodeRun]) -> String {
    let mut html = String::with_capacity(code.len() * 2);
    let mut rest = code;
    for run in runs {
        let Some((piece, after)) = rest.split_at_checked(run.bytes as usize) else { break };
        match class_name(run.class) {
            Some(class) if !piece.trim().is_empty() => {
                html.push_str("<span class=\"");
                html.push_str(class);
                html.push_str("\">");
                escape_code(&mut html, piece);
                html.push_str("</span>");
            }
            _ => escape_code(&mut html, piece),
        }
        rest = after;
    }
    escape_code(&mut html, rest);
    html
}

fn class_name(class: CodeClass) -> Option<&'static str> {
    Some(match class {
        CodeClass::Plain => return None,
        CodeClass::Comment => "c-comment",
        CodeClass::String => "c-string",
        CodeClass::Number => "c-number",
        CodeClass::Keyword => "c-keyword",
        CodeClass::Function => "c-function",
        CodeClass::Type => "c-type",
        CodeClass::Constant => "c-constant",
        CodeClass::Variable => "c-variable",
        CodeClass::Tag => "c-tag",
        CodeClass::Operator => "c-operator",
        CodeClass::Punctuation => "c-punctuation",
        CodeClass::Heading => "c-heading",
        CodeClass::Inserted => "c-inserted",
        CodeClass::Deleted => "c-deleted",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_is_escaped_whatever_its_runs_are() {
        let run = |bytes, class| CodeRun { bytes, class };
        let code = "let é = \"<b>\u{202e}\"";
        let runs =
            [run(3, CodeClass::Keyword), run(6, CodeClass::Plain), run(7, CodeClass::String)];
        assert_eq!(
            highlighted(code, &runs),
            "<span class=\"c-keyword\">let</span> é = <span class=\"c-string\">\"&lt;b&gt;\
             <bdi class=\"control\" data-name=\"U+202E\">\u{202e}</bdi></span>\""
        );
        // Runs that do not belong to the code.
        assert_eq!(highlighted("é", &[run(1, CodeClass::Keyword)]), "é");
        assert_eq!(highlighted("a", &[run(9, CodeClass::Keyword)]), "a");
    }
}
