//! `lilims verify`: hashes models again.

use anyhow::Result;
use clap::Args;
use lilims_core::library::{Entry, Verified};
use lilims_terminal::{Line, interrupt, output};

use crate::Reported;

#[derive(Args)]
pub(crate) struct Verify {
    /// Short names [default: all models].
    #[arg(value_name = "NAME")]
    names: Vec<String>,
}

impl Verify {
    pub(crate) fn run(self) -> Result<()> {
        let library = super::open()?;
        let models = match self.names.is_empty() {
            true => library.list()?.into_iter().filter(|model| !model.is_unfinished).collect(),
            false => library.named(&self.names)?,
        };
        let mut all_good = true;
        for model in models {
            let (name, mut line) = (&model.model.name, Line::default());
            let mut on_progress = |done: u64| {
                if output::stderr_is_terminal() {
                    let percent = done * 100 / model.model.size_bytes.max(1);
                    line.rewrite(&format!("{name}  {percent}%"));
                }
            };
            let verified =
                interrupt::during(|cancel| library.verify(&model, cancel, &mut on_progress));
            line.clear();
            let verified = verified?;
            all_good &= matches!(verified, Some(Verified::Good { .. }));
            output::show(&format!("{name}  {}\n", text(&model.model, verified)))?;
        }
        if all_good { Ok(()) } else { Err(Reported.into()) }
    }
}

fn text(model: &Entry, verified: Option<Verified>) -> String {
    match verified {
        None => format!("missing: {}", model.path.display()),
        Some(Verified::Good { sha256 }) => format!("good  {sha256}"),
        Some(Verified::Repairing { .. }) => {
            let repository = model.repository.as_deref().unwrap_or_default();
            let file = model.file.as_deref().unwrap_or_default();
            format!("damaged: `lilims pull {repository}/{file}` fetches the damaged part")
        }
        Some(Verified::Damaged { expected, got }) => {
            format!("damaged: its SHA-256 is {got}, it was {expected}")
        }
    }
}
