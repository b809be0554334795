//! Turns the catalogue of texts in `locales/` into keys, and strips the page that ships.
//!
//! The function names are three quarters of an unstripped page. `strip = true` in the profile would
//! also drop the section that tells wasm-bindgen which features the module uses.

use std::collections::BTreeSet;
use std::error::Error;
use std::fmt::Write;
use std::path::Path;
use std::{env, fs};

use serde_json::{Map, Value};

/// The languages, of which the first has every text that the page asks for.
const LANGUAGES: [&str; 3] = ["en", "de", "ar"];

/// The forms of a plural, in the order in which a table has them.
const FORMS: [&str; 6] = ["zero", "one", "two", "few", "many", "other"];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    write_catalogue()?;
    let is_page = env::var("CARGO_CFG_TARGET_ARCH").is_ok_and(|arch| arch == "wasm32");
    if is_page && env::var("PROFILE").is_ok_and(|profile| profile == "release") {
        println!("cargo::rustc-link-arg-bins=--strip-all");
        println!("cargo::rustc-link-arg-bins=--keep-section=target_features");
    }
    Ok(())
}

/// Writes `keys.rs`, whose constants have the places of texts in the table of every language, and the English
/// table for tests.
fn write_catalogue() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=locales");
    let out = env::var("OUT_DIR")?;
    let mut english = Vec::new();
    for language in LANGUAGES {
        let mut catalogue = Catalogue::default();
        catalogue
            .read(&serde_json::from_slice(&fs::read(format!("locales/{language}.json"))?)?, "");
        if language == LANGUAGES[0] {
            let count = catalogue.table.len();
            let _ = writeln!(catalogue.keys, "pub(crate) const N_TEXTS: usize = {count};");
            fs::write(Path::new(&out).join("keys.rs"), &catalogue.keys)?;
            fs::write(Path::new(&out).join("en.texts"), catalogue.table.join("\0"))?;
            english = catalogue.texts;
        } else if let Some(difference) = difference(&english, &catalogue.texts) {
            println!("cargo::error=locales/{language}.json: {difference}");
        }
    }
    Ok(())
}

/// The texts of one language.
#[derive(Default)]
struct Catalogue {
    /// Each text; a plural has its six forms in succession.
    table: Vec<String>,
    /// The path and the values of each text.
    texts: Vec<(String, BTreeSet<String>)>,
    /// Rust's code of the keys.
    keys: String,
}

impl Catalogue {
    fn read(&mut self, group: &Map<String, Value>, path: &str) {
        for (name, value) in group {
            let path = format!("{path}{name}");
            match value {
                Value::String(text) => self.add(name, path, values_of(text), vec![text.clone()]),
                Value::Object(forms) if forms.contains_key("other") => {
                    let form = |name: &str| forms.get(name).unwrap_or(&forms["other"]);
                    let forms =
                        FORMS.map(|name| form(name).as_str().unwrap_or_default().to_owned());
                    let mut values: BTreeSet<_> =
                        forms.iter().flat_map(|form| values_of(form)).collect();
                    values.insert("count".to_owned());
                    self.add(name, path, values, forms.to_vec());
                }
                Value::Object(group) => {
                    let _ = writeln!(self.keys, "pub(crate) mod {name} {{ use super::Key;");
                    self.read(group, &format!("{path}."));
                    self.keys.push_str("}\n");
                }
                _ => println!("cargo::error=locales: {path} is neither a text nor a group"),
            }
        }
    }

    fn add(&mut self, name: &str, path: String, values: BTreeSet<String>, forms: Vec<String>) {
        let (at, is_plural) = (self.table.len(), forms.len() > 1);
        let _ = writeln!(
            self.keys,
            "pub(crate) const {name}: Key = Key {{ at: {at}, is_plural: {is_plural}, values: &{values:?} }};",
            values = values.iter().collect::<Vec<_>>()
        );
        self.texts.push((path, values));
        self.table.extend(forms);
    }
}

/// The names between `{{` and `}}`.
fn values_of(text: &str) -> BTreeSet<String> {
    let after = text.split("{{").skip(1);
    after.filter_map(|rest| Some(rest.split_once("}}")?.0.trim().to_owned())).collect()
}

/// The first text that the languages do not have at the same place with the same values.
fn difference(
    english: &[(String, BTreeSet<String>)],
    other: &[(String, BTreeSet<String>)],
) -> Option<String> {
    let differs = english.iter().zip(other).find(|(english, other)| english != other);
    match differs {
        Some((english, other)) => Some(format!("{other:?} where English has {english:?}")),
        None if english.len() != other.len() => Some("it has fewer or more texts".to_owned()),
        None => None,
    }
}
