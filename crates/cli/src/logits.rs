//! `lilims logits`: the numbers before sampling, for checks against other programs.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use lilims_core::check_destination;

use crate::options::ModelOptions;

#[derive(Args)]
pub(crate) struct Logits {
    #[command(flatten)]
    model: ModelOptions,
    /// The tokens, such as `1,2,3`; nothing is added to them.
    #[arg(long, value_name = "IDS", value_delimiter = ',', required = true)]
    ids: Vec<u32>,
    /// The safetensors file to write. It appears only when it is complete.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

impl Logits {
    pub(crate) fn run(self, threads: Option<usize>) -> Result<()> {
        check_destination(&self.out, &[])?;
        let model = self.model.load(threads, None)?;
        check_destination(&self.out, &[model.path()])?;
        model.write_logits(&self.ids, &self.out)?;
        Ok(())
    }
}
