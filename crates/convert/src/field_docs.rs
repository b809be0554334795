//! The tables of fields in Markdown, as `docs/convert.md` shows them.

use crate::family::LAYOUTS;
use crate::field_tables::{
    ADDED_TOKEN, COMMON, GENERATION, ROTARY, TOKENIZER, TOKENIZER_CONFIG, TOKENIZER_MODEL,
};
use crate::fields::{Field, Rule};

/// Formats the tables of fields in Markdown.
#[must_use]
pub fn field_tables() -> String {
    let mut out = String::from(
        "| fields of | kept | ignored | accepted values |\n| --- | --- | --- | --- |\n",
    );
    let mut row = |name: &str, table: &[Field]| {
        let of = |wanted: fn(&Rule) -> bool| {
            let names = table.iter().filter(|field| wanted(&field.rule));
            names.map(|field| format!("`{}`", field.name)).collect::<Vec<_>>().join(", ")
        };
        let accepted = table.iter().filter_map(|field| match field.rule {
            Rule::OneOf(values) => Some(format!("`{}`: {}", field.name, values.join(", "))),
            _ => None,
        });
        let accepted = accepted.collect::<Vec<_>>().join("; ");
        let kept = of(|rule| matches!(rule, Rule::Kept));
        let ignored = of(|rule| matches!(rule, Rule::NoEffect | Rule::Ignored));
        out.push_str(&format!("| {name} | {kept} | {ignored} | {accepted} |\n"));
    };
    row("`config.json`, every family", COMMON);
    row("`config.json`, all but GPT-2", ROTARY);
    for layout in LAYOUTS {
        row(&format!("`{}`", layout.model_types[0]), layout.fields);
    }
    row("`generation_config.json`, or old `config.json`", GENERATION);
    row("`tokenizer_config.json`", TOKENIZER_CONFIG);
    row("`tokenizer.json`", TOKENIZER);
    row("`model` in `tokenizer.json`", TOKENIZER_MODEL);
    row("`added_tokens` in `tokenizer.json`", ADDED_TOKEN);
    out
}

#[cfg(test)]
mod tests {
    use serde_json::Value as Json;

    use super::*;

    #[test]
    fn defaults_and_accepted_values_are_json() {
        let tables = LAYOUTS.iter().map(|layout| layout.fields);
        for field in tables.chain([COMMON, ROTARY, GENERATION]).flatten() {
            if !field.default.is_empty() {
                serde_json::from_str::<Json>(field.default).expect(field.name);
            }
            if let Rule::OneOf(values) = field.rule {
                values.iter().for_each(|value| drop(serde_json::from_str::<Json>(value).unwrap()));
            }
        }
    }

    #[test]
    fn documentation_has_the_tables() {
        let page = include_str!("../../../docs/convert.md");
        assert!(page.contains(&field_tables()), "docs/convert.md should have:\n{}", field_tables());
    }
}
