//! Finds Ollama's models: manifests that refer to blobs. Never writes to Ollama's folder.
//!
//! `manifests/<registry>/<namespace>/<name>/<tag>` is a container image manifest in JSON. Its layer
//! of type `application/vnd.ollama.image.model` has the digest `sha256:…` of the GGUF file
//! `blobs/sha256-…`.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::file::cannot_read;
use super::folder::{BOUNDS, Bounds, files_below};
use super::{FoundModel, Owner, Scanner, SkipReason};
use crate::catalogue::is_sha256;

/// The largest manifest that is read, in bytes; a typical one takes a few hundred.
const MAX_MANIFEST_BYTES: u64 = 1 << 20;
/// How many bytes of a licence are read to find its first line.
const MAX_LICENCE_BYTES: u64 = 4096;
/// The longest first line that counts as a licence name, in bytes.
const MAX_LICENCE_NAME: usize = 80;

const MODEL: &str = "application/vnd.ollama.image.model";
const ADAPTER: &str = "application/vnd.ollama.image.adapter";
const LICENCE: &str = "application/vnd.ollama.image.license";

#[derive(Debug)]
struct Manifest {
    layers: Vec<Layer>,
}

#[derive(Debug)]
struct Layer {
    media_type: String,
    digest: String,
    size: Option<u64>,
}

impl Manifest {
    /// Parses a manifest; invalid layers are dropped.
    fn parse(bytes: &[u8]) -> Option<Self> {
        let manifest: Value = serde_json::from_slice(bytes).ok()?;
        let layers = manifest.get("layers")?.as_array()?;
        let layer = |layer: &Value| {
            let text = |key: &str| layer.get(key)?.as_str().map(str::to_owned);
            let size = layer.get("size").and_then(Value::as_u64);
            Some(Layer { media_type: text("mediaType")?, digest: text("digest")?, size })
        };
        Some(Self { layers: layers.iter().filter_map(layer).collect() })
    }
}

/// Adds the models in Ollama's folder to the scan.
pub(super) fn scan(folder: &Path, scanner: &mut Scanner) {
    let manifests = folder.join("manifests");
    if let Err(error) = fs::metadata(&manifests) {
        return scanner.skip(folder, cannot_read(&error));
    }
    let bounds = Bounds { depth: 4, ..BOUNDS };
    for path in files_below(&manifests, bounds, &is_visible, scanner) {
        let below = path.strip_prefix(&manifests).unwrap_or(&path);
        match read(folder, below, &path) {
            Ok(found) => scanner.add(found),
            Err(why) => scanner.skip(&path, why),
        }
    }
}

/// Whether a file may be a manifest; operating systems leave hidden files in folders.
fn is_visible(path: &Path) -> bool {
    path.file_name().is_some_and(|name| !name.as_encoded_bytes().starts_with(b"."))
}

/// The model that a manifest refers to.
fn read(folder: &Path, below: &Path, path: &Path) -> Result<FoundModel, SkipReason> {
    let (title, repository) =
        name(below).ok_or(SkipReason::Manifest("is not at registry/namespace/name/tag"))?;
    let manifest = read_manifest(path)?;
    if manifest.layers.iter().any(|layer| layer.media_type == ADAPTER) {
        return Err(SkipReason::NeedsAdapter);
    }
    let mut models = manifest.layers.iter().filter(|layer| layer.media_type == MODEL);
    let model = models.next().ok_or(SkipReason::Manifest("refers to no GGUF file"))?;
    if models.next().is_some() {
        return Err(SkipReason::Split);
    }
    let (blob, sha256) = blob(folder, &model.digest)?;
    let metadata = fs::metadata(&blob).map_err(|error| cannot_read(&error))?;
    if model.size.is_some_and(|size| size != metadata.len()) {
        return Err(SkipReason::WrongSize);
    }
    Ok(FoundModel {
        path: blob,
        owner: Owner::Ollama,
        title,
        repository,
        revision: None,
        sha256: Some(sha256),
        licence: licence(folder, &manifest),
        size_bytes: 0,
    })
}

/// The model's name in Ollama, and its Hugging Face repository if it came from there.
fn name(below: &Path) -> Option<(String, Option<String>)> {
    let parts: Option<Vec<_>> = below.iter().map(|part| part.to_str()).collect();
    let [registry, namespace, name, tag] = parts?[..] else { return None };
    let is_hugging_face = matches!(registry, "hf.co" | "huggingface.co");
    let title = match (registry, namespace) {
        ("registry.ollama.ai", "library") => format!("{name}:{tag}"),
        ("registry.ollama.ai", _) => format!("{namespace}/{name}:{tag}"),
        _ => format!("{registry}/{namespace}/{name}:{tag}"),
    };
    Some((title, is_hugging_face.then(|| format!("{namespace}/{name}"))))
}

/// The reason for a file that is not a manifest.
const NOT_A_MANIFEST: &str = "is not a manifest";

fn read_manifest(path: &Path) -> Result<Manifest, SkipReason> {
    let bytes = match lilims_files::read(path, MAX_MANIFEST_BYTES) {
        Ok(bytes) => bytes,
        Err(lilims_files::Error::Io { source, .. }) => return Err(cannot_read(&source)),
        Err(_) => return Err(SkipReason::Manifest(NOT_A_MANIFEST)),
    };
    Manifest::parse(&bytes).ok_or(SkipReason::Manifest(NOT_A_MANIFEST))
}

/// The path of a digest's blob, and its SHA-256.
///
/// The digest is untrusted: it becomes part of a path only if it is a SHA-256.
fn blob(folder: &Path, digest: &str) -> Result<(PathBuf, String), SkipReason> {
    let hash = digest.strip_prefix("sha256:").filter(|hash| is_sha256(hash));
    let hash =
        hash.ok_or(SkipReason::Manifest("refers to a blob by something other than a SHA-256"))?;
    Ok((folder.join("blobs").join(format!("sha256-{hash}")), hash.to_owned()))
}

/// The first line of the licence, if it is short enough to be a name.
fn licence(folder: &Path, manifest: &Manifest) -> Option<String> {
    let layer = manifest.layers.iter().find(|layer| layer.media_type == LICENCE)?;
    let (blob, _) = blob(folder, &layer.digest).ok()?;
    let bytes = lilims_files::read_prefix(&blob, MAX_LICENCE_BYTES).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    let line = text.lines().map(str::trim).find(|line| !line.is_empty())?;
    let is_name = line.len() <= MAX_LICENCE_NAME && !line.chars().any(char::is_control);
    is_name.then(|| line.to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::scan as scan_folder;
    use super::*;

    const WEIGHTS: &[u8] = b"GGUF and more";

    struct Ollama(tempfile::TempDir);

    impl Ollama {
        fn new() -> Self {
            let root = tempfile::tempdir().unwrap();
            fs::create_dir(root.path().join("blobs")).unwrap();
            Self(root)
        }

        /// Writes a blob and returns its layer. The hash repeats one digit.
        fn blob(&self, media_type: &str, digit: char, bytes: &[u8]) -> Value {
            let hash = digit.to_string().repeat(64);
            fs::write(self.0.path().join("blobs").join(format!("sha256-{hash}")), bytes).unwrap();
            json!({
                "mediaType": media_type,
                "digest": format!("sha256:{hash}"),
                "size": bytes.len(),
            })
        }

        fn manifest(&self, name: &str, layers: &[Value]) {
            let text = json!({
                "schemaVersion": 2,
                "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
                "config": {
                    "mediaType": "application/vnd.docker.container.image.v1+json",
                    "digest": "sha256:0", "size": 485,
                },
                "layers": layers,
            });
            self.file(name, text.to_string().as_bytes());
        }

        fn file(&self, name: &str, bytes: &[u8]) {
            let path = self.0.path().join("manifests").join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }

        fn scan(&self) -> super::super::Scan {
            scan_folder(Owner::Ollama, self.0.path())
        }
    }

    #[test]
    fn reads_name_hash_and_licence() {
        let ollama = Ollama::new();
        let licence = b"\n                                 Apache License\n        Version 2.0\n";
        let layers = [
            ollama.blob(MODEL, 'a', WEIGHTS),
            ollama.blob("application/vnd.ollama.image.template", 'b', b"{{ .Prompt }}"),
            ollama.blob(LICENCE, 'c', licence),
        ];
        ollama.manifest("registry.ollama.ai/library/smollm2/135m", &layers);
        ollama.file("registry.ollama.ai/library/smollm2/.DS_Store", b"\0");
        let scan = ollama.scan();
        assert_eq!(scan.skipped, []);
        let expected = FoundModel {
            path: ollama.0.path().join("blobs").join(format!("sha256-{}", "a".repeat(64))),
            owner: Owner::Ollama,
            title: "smollm2:135m".into(),
            repository: None,
            revision: None,
            sha256: Some("a".repeat(64)),
            licence: Some("Apache License".into()),
            size_bytes: WEIGHTS.len() as u64,
        };
        assert_eq!(scan.found, [expected]);
    }

    #[test]
    fn title_and_repository_follow_the_registry() {
        let ollama = Ollama::new();
        for (digit, name) in [
            ('1', "hf.co/maker/Tiny-GGUF/Q4_0"),
            ('2', "registry.ollama.ai/someone/tiny/latest"),
            ('3', "example.org/someone/tiny/v1"),
        ] {
            ollama.manifest(name, &[ollama.blob(MODEL, digit, WEIGHTS)]);
        }
        let scan = ollama.scan();
        let named = scan.found.iter().map(|found| (&*found.title, found.repository.as_deref()));
        let expected = [
            ("example.org/someone/tiny:v1", None),
            ("hf.co/maker/Tiny-GGUF:Q4_0", Some("maker/Tiny-GGUF")),
            ("someone/tiny:latest", None),
        ];
        assert_eq!(named.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn two_tags_of_one_blob_are_reported_once() {
        let ollama = Ollama::new();
        let layer = ollama.blob(MODEL, 'a', WEIGHTS);
        ollama.manifest("registry.ollama.ai/library/tiny/1b", std::slice::from_ref(&layer));
        ollama.manifest("registry.ollama.ai/library/tiny/latest", &[layer]);
        let scan = ollama.scan();
        assert_eq!(scan.titles(), ["tiny:1b"]);
        assert_eq!(scan.skipped, []);
    }

    #[test]
    fn invalid_and_hostile_manifests_are_skipped() {
        let ollama = Ollama::new();
        let secret = ollama.0.path().join("secret");
        fs::write(&secret, WEIGHTS).unwrap();
        let layer = |digest: &str| json!({ "mediaType": MODEL, "digest": digest, "size": 13 });
        let path_of = |tag: &str| format!("registry.ollama.ai/library/bad/{tag}");
        let absolute = format!("sha256:{}", secret.display());
        for (tag, digest) in [
            ("up", "sha256:../../secret"),
            ("up-64", &*format!("sha256:{}secret", "../".repeat(20)[..58].to_owned())),
            ("absolute", &*absolute),
            ("dash", &*format!("sha256-{}", "a".repeat(64))),
            ("upper", &*format!("sha256:{}", "A".repeat(64))),
            ("md5", "md5:d41d8cd98f00b204e9800998ecf8427e"),
            ("empty", ""),
        ] {
            ollama.manifest(&path_of(tag), &[layer(digest)]);
        }
        ollama.manifest(&path_of("missing"), &[layer(&format!("sha256:{}", "9".repeat(64)))]);
        let mut short = ollama.blob(MODEL, '1', WEIGHTS);
        short["size"] = json!(14);
        ollama.manifest(&path_of("unfinished"), &[short]);
        let parts = [ollama.blob(MODEL, '2', WEIGHTS), ollama.blob(MODEL, '3', WEIGHTS)];
        ollama.manifest(&path_of("split"), &parts);
        let adapted = [ollama.blob(MODEL, '4', WEIGHTS), ollama.blob(ADAPTER, '5', WEIGHTS)];
        ollama.manifest(&path_of("adapted"), &adapted);
        ollama.manifest(&path_of("none"), &[]);
        ollama.file(&path_of("text"), b"{ \"layers\": 3 }");
        ollama.file(&path_of("deep"), "[".repeat(100_000).as_bytes());
        ollama.file(&path_of("huge"), &vec![b' '; MAX_MANIFEST_BYTES as usize + 1]);
        ollama.file("registry.ollama.ai/shallow", b"{}");

        let scan = ollama.scan();
        assert_eq!(scan.found, []);
        for tag in ["up", "up-64", "absolute", "dash", "upper", "md5", "empty"] {
            assert!(scan.reason(tag).contains("something other than a SHA-256"), "{tag}");
        }
        assert!(scan.reason("missing").starts_with("cannot be read"));
        assert!(scan.reason("unfinished").contains("size differs"));
        assert!(scan.reason("split").contains("split model"));
        assert!(scan.reason("adapted").contains("adapter"));
        assert_eq!(scan.reason("none"), "refers to no GGUF file");
        for tag in ["text", "deep", "huge"] {
            assert_eq!(scan.reason(tag), NOT_A_MANIFEST);
        }
        assert!(scan.reason("shallow").contains("registry/namespace/name/tag"));
    }

    #[test]
    fn other_weights_are_skipped_and_long_licences_ignored() {
        let ollama = Ollama::new();
        let weights = ollama.blob(MODEL, 'a', b"safetensors");
        ollama.manifest("registry.ollama.ai/library/odd/a", &[weights]);
        let long = ollama.blob(LICENCE, 'c', &[b'x'; 100_000]);
        ollama.manifest(
            "registry.ollama.ai/library/odd/b",
            &[ollama.blob(MODEL, 'b', WEIGHTS), long],
        );
        let scan = ollama.scan();
        assert_eq!(scan.titles(), ["odd:b"]);
        assert_eq!(scan.found[0].licence, None);
        assert_eq!(scan.skipped.len(), 1);
        assert_eq!(scan.skipped[0].1, SkipReason::NotGguf);
    }
}
