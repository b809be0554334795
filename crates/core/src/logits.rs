//! Writes the numbers before sampling to a file, for checks against other programs.

use std::collections::HashMap;
use std::path::Path;

use lilims_files::AtomicFile;
use safetensors::Dtype;
use safetensors::tensor::{TensorView, serialize_to_file};

use crate::error::Error;
use crate::local_model::LocalModel;

impl LocalModel {
    /// Writes a tensor `logits` to the safetensors file `out`: what the model predicts after each of the
    /// tokens `ids`.
    ///
    /// *Shape*: `[tokens, vocabulary]`, f32.
    ///
    /// # Errors
    /// [`Error::Engine`], [`Error::Write`].
    pub fn write_logits(&self, ids: &[u32], out: &Path) -> Result<(), Error> {
        let logits = self.model.session()?.logits(ids)?;
        write(out, &logits, ids.len())
            .map_err(|source| Error::Write { path: out.to_owned(), source })
    }
}

/// Writes `logits` to `path`, which holds the old file or the whole new one at any time.
fn write(
    path: &Path,
    logits: &[f32],
    rows: usize,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
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
