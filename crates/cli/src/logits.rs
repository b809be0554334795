//! `lilims logits`: the numbers before sampling, for checks against other programs.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args;
use lilims_files::AtomicFile;
use safetensors::Dtype;
use safetensors::tensor::{TensorView, serialize_to_file};

use crate::destination;
use crate::options::ModelOptions;

/// Write a tensor `logits` [tokens, vocabulary], f32: what the model says after each token.
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
    pub(crate) fn run(self, threads: Option<usize>) -> Result<ExitCode> {
        destination::check(&self.out, &[])?;
        let loaded = self.model.load(threads, None)?;
        destination::check(&self.out, &[&loaded.path])?;
        let model = &loaded.model;
        let logits = model.session()?.logits(&self.ids)?;
        write(&self.out, &logits, self.ids.len())
            .with_context(|| format!("cannot write {}", self.out.display()))?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Writes `logits` to `path`, which holds the old file or the whole new one at any time.
fn write(path: &Path, logits: &[f32], rows: usize) -> Result<()> {
    let bytes: Vec<u8> = logits.iter().flat_map(|x| x.to_le_bytes()).collect();
    let view = TensorView::new(Dtype::F32, vec![rows, logits.len() / rows.max(1)], &bytes)?;
    let replacement = AtomicFile::new(path)?;
    let metadata = None::<HashMap<String, String>>;
    serialize_to_file([("logits", view)], metadata, replacement.temporary_path())?;
    Ok(replacement.commit()?)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use safetensors::SafeTensors;

    use super::*;

    #[test]
    fn the_file_holds_the_rows_and_nothing_else_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.safetensors");
        write(&path, &[1.0, 2.0, 3.0, 4.0, 5.0, -6.5], 2).unwrap();
        let bytes = fs::read(&path).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let tensor = file.tensor("logits").unwrap();
        assert_eq!(tensor.shape(), [2, 3]);
        assert_eq!(tensor.data()[20..], (-6.5f32).to_le_bytes());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_folder_that_is_not_there_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        assert!(write(&folder.path().join("no").join("x"), &[1.0], 1).is_err());
        // A folder cannot be replaced, and the part must go.
        let taken = folder.path().join("taken");
        fs::create_dir_all(taken.join("inside")).unwrap();
        assert!(write(&taken, &[1.0], 1).is_err());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
