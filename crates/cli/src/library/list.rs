//! `lilims list` and `lilims show`: the models on this device, and what is known of one.

use anyhow::Result;
use clap::Args;
use lilims_core::library::{Entry, Listed, Stopped};
use lilims_terminal::{output, words};

#[derive(Args)]
pub(crate) struct List {
    /// Print a JSON array with all that is known.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub(crate) struct Show {
    /// Its short name.
    #[arg(value_name = "NAME")]
    name: String,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

impl List {
    pub(crate) fn run(self) -> Result<()> {
        let listed = super::open()?.list()?;
        if self.json {
            output::show_json(&listed)?;
        } else if listed.is_empty() {
            output::note(
                "There are no models yet: `lilims pull` fetches one, `lilims scan` finds some.",
            );
        } else {
            let head = ["NAME", "SIZE", "QUANT", "WHERE", "LAST USED", ""].map(str::to_owned);
            let rows = std::iter::once(head).chain(listed.iter().map(cells));
            output::show(&output::table(rows))?;
        }
        Ok(())
    }
}

impl Show {
    pub(crate) fn run(self) -> Result<()> {
        let models = super::open()?.named(&[self.name])?;
        for model in &models {
            if self.json {
                output::show_json(model)?;
            } else {
                output::show(&text(model))?;
            }
        }
        Ok(())
    }
}

fn cells(listed: &Listed) -> [String; 6] {
    let model = &listed.model;
    let (used, notes) = match listed.done_bytes {
        Some(done) => {
            let percent = done.saturating_mul(100) / model.size_bytes.max(1);
            let state = match listed.stopped {
                Some(Stopped::Failed) => "unfinished, broke off",
                Some(Stopped::Paused) => "unfinished, paused",
                None => "unfinished",
            };
            (format!("{percent}% here"), state.to_owned())
        }
        None => (last_used(model), notes(listed)),
    };
    let size = output::disk_size(model.size_bytes);
    [model.name.clone(), size, model.quantisation.clone(), place(model).to_owned(), used, notes]
}

/// Whose folder a model is in.
pub(super) fn place(model: &Entry) -> &str {
    match &model.owner {
        None => "ours",
        Some(_) if model.is_bundled() => "bundled",
        Some(owner) => owner,
    }
}

fn notes(listed: &Listed) -> String {
    let all = [
        (listed.model.is_pinned, "pinned"),
        (listed.model.is_damaged, "damaged"),
        (listed.is_missing, "missing"),
    ];
    let notes = all.into_iter().filter_map(|(is_so, note)| is_so.then_some(note));
    notes.collect::<Vec<_>>().join(", ")
}

fn last_used(model: &Entry) -> String {
    model.last_used_ms.map_or_else(|| "never".to_owned(), words::when)
}

fn text(listed: &Listed) -> String {
    let model = &listed.model;
    let source = model.repository.as_ref().map(|repository| match &model.file {
        Some(file) => format!("{repository}/{file}"),
        None => repository.clone(),
    });
    let known = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let rows = [
        ("name", Some(model.name.clone())),
        ("title", Some(model.title.clone())),
        ("size", Some(output::disk_size(model.size_bytes))),
        ("family", known(&model.family)),
        ("quantisation", known(&model.quantisation)),
        ("context", model.context_tokens.map(|n| format!("{n} tokens"))),
        ("licence", model.licence.clone()),
        ("where", Some(place(model).to_owned())),
        ("file", Some(model.path.display().to_string())),
        ("from", source),
        ("revision", model.revision.clone()),
        ("sha256", model.sha256.clone()),
        ("added", Some(words::when(model.added_ms))),
        ("last used", Some(last_used(model))),
        ("state", known(&notes(listed))),
    ];
    output::fields(rows.into_iter().filter_map(|(label, value)| Some((label, value?))))
}
