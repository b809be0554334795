//! A modifiable copy of a tiny checkpoint.

#![allow(dead_code, reason = "each test binary uses a part")]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use lilims_convert::{Error, Manifest, Mix, Options, convert};
use lilims_engine::Tokenizer;
use lilims_gguf::File;
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use serde_json::{Value as Json, json};
use tempfile::TempDir;

/// A modifiable copy of a tiny checkpoint.
pub(crate) struct Checkpoint {
    pub(crate) folder: TempDir,
}

impl Checkpoint {
    pub(crate) fn copy(name: &str) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/fixtures");
        let source = root.join("checkpoints").join(name);
        let folder = tempfile::tempdir().unwrap();
        for name in ["config.json", "tokenizer.json", "generation_config.json", "model.safetensors"]
        {
            fs::write(folder.path().join(name), fs::read(source.join(name)).unwrap()).unwrap();
        }
        Self { folder }
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn change(&self, name: &str, change: impl Fn(&mut Json)) -> &Self {
        let path = self.file(name);
        let mut json = fs::read(&path).map_or(json!({}), |b| serde_json::from_slice(&b).unwrap());
        change(&mut json);
        fs::write(path, json.to_string()).unwrap();
        self
    }

    pub(crate) fn set(&self, name: &str, key: &str, value: Json) -> &Self {
        self.change(name, |json| json[key] = value.clone())
    }

    /// Converts to F16 and returns the manifest and the result.
    pub(crate) fn run(&self) -> Result<(Manifest, Arc<File>), Error> {
        let out = self.file("out.gguf");
        let options = Options::new(Mix::F16);
        let cancel = AtomicBool::new(false);
        let manifest = convert(self.folder.path(), &out, &options, &cancel, &mut |_| {})?;
        Ok((manifest, Arc::new(File::open(&out)?)))
    }

    /// Converts, which must fail without leaving a file, and returns the error.
    pub(crate) fn error(&self) -> String {
        let _ = fs::remove_file(self.file("out.gguf"));
        let error = match self.run() {
            Ok((manifest, _)) => panic!("converted: {:?}", manifest.conversion.notes),
            Err(error) => error.to_string(),
        };
        println!("{error}");
        assert!(!self.file("out.gguf").exists());
        error
    }

    pub(crate) fn tokenizer(&self) -> (Tokenizer, Vec<String>) {
        let (manifest, file) = self.run().unwrap();
        (Tokenizer::from_gguf(&file).unwrap(), manifest.conversion.notes)
    }

    pub(crate) fn tensors(&self) -> Vec<(String, Vec<usize>, Vec<u8>)> {
        let bytes = fs::read(self.file("model.safetensors")).unwrap();
        let tensors = SafeTensors::deserialize(&bytes).unwrap();
        let parts = |(name, view): (String, TensorView<'_>)| {
            (name, view.shape().to_vec(), view.data().to_vec())
        };
        tensors.tensors().into_iter().map(parts).collect()
    }

    pub(crate) fn write_tensors(&self, tensors: &[(String, Vec<usize>, Vec<u8>)], dtype: Dtype) {
        let views = tensors.iter().map(|(name, shape, data)| {
            (name, TensorView::new(dtype, shape.clone(), data).unwrap())
        });
        fs::write(self.file("model.safetensors"), safetensors::serialize(views, None).unwrap())
            .unwrap();
    }

    pub(crate) fn add_tensor(&self, name: &str) -> &Self {
        let mut tensors = self.tensors();
        tensors.push((name.to_owned(), vec![1], vec![0; 4]));
        self.write_tensors(&tensors, Dtype::F32);
        self
    }
}

/// An entry of `added_tokens`.
pub(crate) fn added(id: u32, text: &str) -> Json {
    json!({
        "id": id, "content": text, "single_word": false, "lstrip": false,
        "rstrip": false, "normalized": false, "special": true,
    })
}
