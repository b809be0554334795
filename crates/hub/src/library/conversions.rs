//! Reserves path and space for a model that is being converted into our folder.
//!
//! The converter itself is another crate. It writes a file with the prefix [`UNFINISHED`] beside the
//! reserved path, and renames it when it is complete.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use lilims_models::quantisation_of;
use parking_lot::{Mutex, MutexGuard};

use super::describe::describe;
use super::{Entry, Library, LockGuard, Plan, folder};
use crate::Error;

/// Name prefix of a file that is being written.
pub(super) const UNFINISHED: &str = ".converting-";
/// The lock of the only conversion at a time.
const LOCK: &str = "conversion";
/// How long to wait for processes that take the lock for a moment to check it.
const LOCK_TIMEOUT: Duration = Duration::from_millis(300);

/// The space that a conversion of this process has reserved.
#[derive(Debug)]
struct Reserved {
    path: PathBuf,
    bytes: u64,
}

/// The reservation of this process, if it converts.
#[derive(Clone, Debug, Default)]
pub(super) struct Reservation(Arc<Mutex<Option<Reserved>>>);

impl Reservation {
    fn lock(&self) -> MutexGuard<'_, Option<Reserved>> {
        self.0.lock()
    }

    /// Whether the file at `path` is the result of the conversion.
    pub(super) fn is_of(&self, path: &Path) -> bool {
        self.lock().as_ref().is_some_and(|reserved| reserved.path == path)
    }
}

/// A running conversion into our folder. Until it is dropped, its source cannot be removed, its space
/// is reserved, and no other conversion can begin.
#[derive(Debug)]
pub struct OngoingConversion {
    source: Entry,
    target: String,
    path: PathBuf,
    reservation: Reservation,
    _source_lock: LockGuard,
    _converting_lock: LockGuard,
    _only_conversion_lock: LockGuard,
}

impl OngoingConversion {
    /// The model that is being converted.
    pub fn source(&self) -> &Entry {
        &self.source
    }

    /// The path of the result, which an empty file reserves.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for OngoingConversion {
    fn drop(&mut self) {
        self.reservation.lock().take();
        if fs::metadata(&self.path).is_ok_and(|it| it.len() == 0) {
            let _ = fs::remove_file(&self.path);
        }
        // Removes the folder only if it is empty.
        if let Some(folder) = self.path.parent() {
            let _ = fs::remove_dir(folder);
        }
    }
}

impl Library {
    /// Plans which models to remove to convert the model `source` to a file of `needed_bytes`, without
    /// the source itself. Removes nothing.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub fn plan_conversion(&self, source: &str, needed_bytes: u64) -> Result<Plan, Error> {
        self.plan_except(needed_bytes, Some(source))
    }

    /// Reserves space for converting the model `source` to `target`, such as `Q4_K_M`, a file of
    /// `needed_bytes`, after removing the models `agreed`.
    ///
    /// # Errors
    /// [`Error::PlanChanged`] if other models would have to be removed;
    /// [`Error::Converting`] while another conversion runs; [`Error::NoSuchModel`], [`Error::Quota`],
    /// [`Error::NoSpace`], [`Error::Io`], [`Error::Database`]; [`Error::InUse`] while the source is being
    /// removed. Then nothing has changed.
    pub fn begin_conversion(
        &self,
        source: &str,
        target: &str,
        needed_bytes: u64,
        agreed: &[String],
    ) -> Result<OngoingConversion, Error> {
        let only_conversion_lock =
            self.locks.exclusive_within(LOCK, LOCK_TIMEOUT)?.ok_or(Error::Converting)?;
        let converting_lock = self.lock_converting()?;
        let source = self.entry(source)?;
        let source_lock = self.lock_shared(&source.name)?;
        let plan = self.plan_conversion(&source.name, needed_bytes)?;
        self.carry_out(plan, agreed)?;
        self.folder.create(&self.folder.converted())?;
        let name = format!("{}-{target}.gguf", without_quantisation(&source.name));
        let (path, _) = lilims_files::with_free_name(&self.folder.converted().join(name), |path| {
            match folder::manifest_of(path).exists() {
                true => Err(lilims_files::Error::Exists { path: path.to_owned() }),
                false => lilims_files::create_new(path),
            }
        })
        .map_err(Error::file(&self.folder.converted()))?;
        *self.reservation.lock() = Some(Reserved { path: path.clone(), bytes: needed_bytes });
        Ok(OngoingConversion {
            source,
            target: target.to_owned(),
            path,
            reservation: self.reservation.clone(),
            _source_lock: source_lock,
            _converting_lock: converting_lock,
            _only_conversion_lock: only_conversion_lock,
        })
    }

    /// Adds the result of a conversion, whose file has the hash `sha256`. Repository and licence are
    /// those of the source.
    ///
    /// # Errors
    /// [`Error::NotAModel`], [`Error::Io`], [`Error::Database`]. The file has been removed then.
    pub fn add_converted(
        &self,
        conversion: &OngoingConversion,
        sha256: &str,
    ) -> Result<Entry, Error> {
        let OngoingConversion { source, target, path, .. } = conversion;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let add = |description| {
            self.add(path, None, description, |entry| {
                entry.title = format!("{} {target}", without_quantisation(&source.title));
                entry.repository = source.repository.clone();
                entry.revision = source.revision.clone();
                entry.licence = source.licence.clone().or(entry.licence.take());
                entry.sha256 = Some(sha256.to_owned());
            })
        };
        let added = describe(path, &name).and_then(add);
        if added.is_err() {
            // A file without a row would use disk space unnoticed.
            self.folder.remove(path)?;
        }
        added
    }

    /// The size of the running conversion in our folder, and how much of that is still to be written.
    pub(super) fn conversion_bytes(&self) -> (u64, u64) {
        let unfinished: u64 = match self.is_converting() {
            true => self.folder.conversions().iter().map(|path| folder::disk_bytes(path)).sum(),
            false => 0,
        };
        match &*self.reservation.lock() {
            Some(reserved) => {
                let written = unfinished + folder::disk_bytes(&reserved.path);
                (reserved.bytes.max(written), reserved.bytes.saturating_sub(written))
            }
            None => (unfinished, 0),
        }
    }
}

impl folder::Folder {
    /// The folder of converted models.
    pub(super) fn converted(&self) -> PathBuf {
        self.root().join("converted")
    }

    /// Unfinished conversions, including abandoned ones: files with the prefix, and the empty files that
    /// reserve the path of a result.
    pub(super) fn conversions(&self) -> Vec<PathBuf> {
        let Ok(files) = fs::read_dir(self.converted()) else { return Vec::new() };
        files
            .flatten()
            .filter(|file| {
                let name = file.file_name().to_string_lossy().into_owned();
                name.starts_with(UNFINISHED)
                    || name.ends_with(".gguf")
                        && file.metadata().is_ok_and(|it| it.is_file() && it.len() == 0)
            })
            .map(|file| file.path())
            .collect()
    }
}

/// Removes the quantisation at the end of a name: `smollm2-135m-q4_1` becomes `smollm2-135m`.
fn without_quantisation(name: &str) -> &str {
    let stem = name.strip_suffix(".gguf").unwrap_or(name);
    let upper = stem.to_ascii_uppercase();
    let base = quantisation_of(stem).and_then(|found| upper.strip_suffix(&found).map(str::len));
    let base = stem[..base.unwrap_or(stem.len())].trim_end_matches(['-', '_', '.', ' ']);
    if base.is_empty() { stem } else { base }
}

#[cfg(test)]
mod tests {
    use lilims_gguf::Writer;

    use super::*;

    /// A library with one model, `m-q4_1`, and its temporary folder.
    fn library() -> (tempfile::TempDir, Library) {
        let home = tempfile::tempdir().unwrap();
        let source = home.path().join("M.Q4_1.gguf");
        write_model(&source);
        let library = Library::open(&home.path().join("models")).unwrap();
        library.import(&source).unwrap();
        (home, library)
    }

    fn write_model(path: &Path) {
        let mut writer = Writer::default();
        writer.str("general.architecture", "llama");
        writer.tensor("token_embd.weight", &[32], lilims_gguf::TensorType::F32, vec![0; 128]);
        writer.write(fs::File::create(path).unwrap()).unwrap();
    }

    #[test]
    fn converted_model_keeps_its_origin_and_replaces_nothing() {
        let (_home, library) = library();
        let name = library.entries().unwrap()[0].name.clone();
        assert_eq!(name, "m-q4_1");
        let first = library.begin_conversion(&name, "Q4_0", 100, &[]).unwrap();
        assert!(first.path().ends_with("converted/m-Q4_0.gguf"));
        write_model(first.path());
        fs::write(folder::manifest_of(first.path()), "{}").unwrap();
        let entry = library.add_converted(&first, "ab").unwrap();
        assert_eq!((&*entry.name, &*entry.title), ("m-q4_0", "M Q4_0"));
        assert_eq!(entry.sha256.as_deref(), Some("ab"));
        assert_eq!(entry.quantisation, "Q4_0");
        drop(first);
        let second = library.begin_conversion(&name, "Q4_0", 100, &[]).unwrap();
        assert!(second.path().ends_with("converted/m-Q4_0-2.gguf"));
        drop(second);
        library.remove("m-q4_0").unwrap();
        assert!(
            !library.root().join("converted").exists(),
            "the manifest is removed with its model"
        );
    }

    #[test]
    fn one_conversion_at_a_time_locks_its_source_and_reserves_space() {
        let (_home, library) = library();
        let source = library.entries().unwrap()[0].name.clone();
        let quota = library.storage().unwrap().used_bytes + 10_000;
        library.set_quota(Some(quota)).unwrap();
        let conversion = library.begin_conversion(&source, "Q4_0", 9_000, &[]).unwrap();
        let again = library.begin_conversion(&source, "Q4_0", 1, &[]);
        assert!(matches!(again, Err(Error::Converting)), "{again:?}");
        assert!(matches!(library.remove(&source), Err(Error::InUse { .. })));
        assert_eq!(library.storage().unwrap().used_bytes, quota - 1_000);
        assert_eq!(library.plan(2_000).unwrap().missing_bytes, 1_000);
        drop(conversion);
        assert!(!library.root().join("converted").exists(), "nothing was converted");
        assert_eq!(library.plan(2_000).unwrap().missing_bytes, 0);
        let too_large = library.begin_conversion(&source, "Q8_0", 10_001, &[]);
        assert!(matches!(too_large, Err(Error::Quota { .. })), "the source is not removed for it");
        assert_eq!(library.entries().unwrap().len(), 1);
    }

    #[test]
    fn abandoned_files_are_removed_and_those_being_written_are_not() {
        let (_home, library) = library();
        let source = library.entries().unwrap()[0].name.clone();
        let conversion = library.begin_conversion(&source, "Q4_0", 100, &[]).unwrap();
        let unfinished = library.root().join("converted/.converting-x");
        fs::write(&unfinished, "x").unwrap();
        Library::open(library.root()).unwrap();
        assert!(unfinished.exists(), "it is being written");
        drop(conversion);
        assert!(unfinished.exists());
        Library::open(library.root()).unwrap();
        assert!(!unfinished.exists());
        assert!(!library.root().join("converted").exists());
    }

    #[test]
    fn quantisation_is_removed_from_names() {
        for (name, base) in [
            ("smollm2-135m-instruct-q4_1", "smollm2-135m-instruct"),
            ("SmolLM2-135M-Instruct.Q4_1.gguf", "SmolLM2-135M-Instruct"),
            ("SmolLM2 135M Instruct", "SmolLM2 135M Instruct"),
            ("model-q4_k_m-imat", "model-q4_k_m-imat"),
            ("q8_0", "q8_0"),
        ] {
            assert_eq!(without_quantisation(name), base);
        }
    }
}
