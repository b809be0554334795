//! Parts of the documents that commands write, between marks.

use anyhow::{Context, Result};

/// The lines before and after the part `name` that `command` writes.
pub(crate) fn marks(command: &str, name: &str) -> [String; 2] {
    [format!("<!-- {command} {name} -->"), format!("<!-- end of {name} -->")]
}

/// Replaces the part `name` that `command` writes.
///
/// # Errors
/// If the document lacks a mark.
pub(crate) fn replace(document: &str, command: &str, name: &str, part: &str) -> Result<String> {
    let [start, end] = marks(command, name);
    let (before, rest) =
        document.split_once(&start).with_context(|| format!("the document lacks {start}"))?;
    let (_, after) = rest.split_once(&end).with_context(|| format!("the document lacks {end}"))?;
    Ok(format!("{before}{start}\n{part}{end}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_named_part_is_replaced() {
        let document =
            "a\n<!-- x one -->\n1\n<!-- end of one -->\n<!-- x two -->\n2\n<!-- end of two -->\n";
        let replaced = replace(document, "x", "two", "3\n").expect("the marks are there");
        assert_eq!(replaced, document.replace('2', "3"));
        assert!(replace(document, "y", "two", "3\n").is_err());
        assert!(replace("<!-- x one -->\n", "x", "one", "").is_err());
    }
}
