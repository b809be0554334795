//! Models that are converted into our folder: their place and their room, and what a process that was
//! killed has left of one.
//!
//! Who converts writes a file that begins with [`UNFINISHED`] beside the place and renames it. Converting
//! itself is not the library's.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lilims_models::quantisation_of;

use super::describe::describe;
use super::{Entry, Held, Library, Plan, folder};
use crate::Error;

/// How the name of a file begins that is being written.
pub(super) const UNFINISHED: &str = ".converting-";
/// The lock of the one conversion of models in the library.
const LOCK: &str = "conversion";
/// How long a conversion waits for a process that only looks whether there is one.
const PATIENCE: Duration = Duration::from_millis(300);

/// The room that a conversion of this process has taken.
#[derive(Debug)]
struct Reserved {
    path: PathBuf,
    bytes: u64,
}

/// The conversion of this process, if there is one.
#[derive(Clone, Debug, Default)]
pub(super) struct Reservation(Arc<Mutex<Option<Reserved>>>);

impl Reservation {
    fn lock(&self) -> MutexGuard<'_, Option<Reserved>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the file at `path` is being made.
    pub(super) fn is_of(&self, path: &Path) -> bool {
        self.lock().as_ref().is_some_and(|reserved| reserved.path == path)
    }
}

/// A conversion into our folder. While it is there, its source stays, its room is taken, and no other
/// begins. Dropped, it gives all of that back.
#[derive(Debug)]
pub struct Converting {
    source: Entry,
    target: String,
    path: PathBuf,
    reservation: Reservation,
    _source_held: Held,
    _writing: Held,
    _turn: Held,
}

impl Converting {
    /// The model that is converted.
    pub fn source(&self) -> &Entry {
        &self.source
    }

    /// Where the result belongs; an empty file keeps the name for it.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Converting {
    fn drop(&mut self) {
        self.reservation.lock().take();
        if fs::metadata(&self.path).is_ok_and(|it| it.len() == 0) {
            let _ = fs::remove_file(&self.path);
        }
        // Where nothing was made, nothing is left; a folder that holds something stays.
        if let Some(folder) = self.path.parent() {
            let _ = fs::remove_dir(folder);
        }
    }
}

impl Library {
    /// What would leave to make room for converting the model `source` to a file of `needed_bytes`; the
    /// source never does. Nothing leaves yet.
    ///
    /// # Errors
    /// [`Error::Index`].
    pub fn plan_conversion(&self, source: &str, needed_bytes: u64) -> Result<Plan, Error> {
        self.plan_beside(needed_bytes, Some(source))
    }

    /// Makes room for converting the model `source` to `target`, such as `Q4_K_M`, a file of
    /// `needed_bytes`, by removing the models `agreed`, and takes that room.
    ///
    /// # Errors
    /// [`Error::PlanChanged`] where other models would have to be removed;
    /// [`Error::Converting`] while another conversion runs; [`Error::NoSuchModel`], [`Error::Quota`],
    /// [`Error::NoSpace`], [`Error::Io`], [`Error::Index`]; [`Error::InUse`] while the source is being
    /// removed. Then nothing has changed.
    pub fn begin_conversion(
        &self,
        source: &str,
        target: &str,
        needed_bytes: u64,
        agreed: &[String],
    ) -> Result<Converting, Error> {
        let turn = self.locks.exclusive_within(LOCK, PATIENCE)?.ok_or(Error::Converting)?;
        let writing = self.share_converting()?;
        let source = self.entry(source)?;
        let source_held = self.hold(&source.name)?;
        let plan = self.plan_conversion(&source.name, needed_bytes)?;
        self.carry_out(plan, agreed)?;
        self.folder.make(&self.folder.converted())?;
        let name = format!("{}-{target}.gguf", without_quantisation(&source.name));
        let (path, _) = lilims_files::with_free_name(&self.folder.converted().join(name), |path| {
            match folder::manifest_of(path).exists() {
                true => Err(lilims_files::Error::Exists { path: path.to_owned() }),
                false => lilims_files::create_new(path),
            }
        })
        .map_err(|error| Error::io(self.folder.converted())(error.into()))?;
        *self.reservation.lock() = Some(Reserved { path: path.clone(), bytes: needed_bytes });
        Ok(Converting {
            source,
            target: target.to_owned(),
            path,
            reservation: self.reservation.clone(),
            _source_held: source_held,
            _writing: writing,
            _turn: turn,
        })
    }

    /// Writes the result of a conversion down, whose file has the hash `sha256`. Where it comes from
    /// and its licence are those of the source.
    ///
    /// # Errors
    /// [`Error::NotAModel`], [`Error::Io`], [`Error::Index`]. Then the file is gone.
    pub fn add_converted(&self, converting: &Converting, sha256: &str) -> Result<Entry, Error> {
        let Converting { source, target, path, .. } = converting;
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
            // A file without an entry would take disk space unnoticed.
            self.folder.remove(path)?;
        }
        added
    }

    /// What the conversion that runs takes of our folder, and what of that is still to be written.
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
    /// Where converted models are.
    pub(super) fn converted(&self) -> PathBuf {
        self.root().join("converted")
    }

    /// What is being written, or was when its process was killed: files of another name until they
    /// are whole, and empty files that keep the name of a result.
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

/// A name without the quantisation at its end: `smollm2-135m` of `smollm2-135m-q4_1`.
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

    /// A library with one model of our own, `m-q4_1`, and its folder.
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
    fn a_converted_model_keeps_where_it_comes_from_and_never_takes_a_place() {
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
        assert!(!library.root().join("converted").exists(), "the manifest goes with its model");
    }

    #[test]
    fn one_conversion_at_a_time_holds_its_source_and_its_room() {
        let (_home, library) = library();
        let source = library.entries().unwrap()[0].name.clone();
        let quota = library.storage().unwrap().used_bytes + 10_000;
        library.set_quota(Some(quota)).unwrap();
        let converting = library.begin_conversion(&source, "Q4_0", 9_000, &[]).unwrap();
        let again = library.begin_conversion(&source, "Q4_0", 1, &[]);
        assert!(matches!(again, Err(Error::Converting)), "{again:?}");
        assert!(matches!(library.remove(&source), Err(Error::InUse { .. })));
        assert_eq!(library.storage().unwrap().used_bytes, quota - 1_000);
        assert_eq!(library.plan(2_000).unwrap().missing_bytes, 1_000);
        drop(converting);
        assert!(!library.root().join("converted").exists(), "nothing was made");
        assert_eq!(library.plan(2_000).unwrap().missing_bytes, 0);
        let too_large = library.begin_conversion(&source, "Q8_0", 10_001, &[]);
        assert!(matches!(too_large, Err(Error::Quota { .. })), "the source does not leave for it");
        assert_eq!(library.entries().unwrap().len(), 1);
    }

    #[test]
    fn what_a_killed_process_left_is_swept_and_what_is_being_written_is_not() {
        let (_home, library) = library();
        let source = library.entries().unwrap()[0].name.clone();
        let converting = library.begin_conversion(&source, "Q4_0", 100, &[]).unwrap();
        let unfinished = library.root().join("converted/.converting-x");
        fs::write(&unfinished, "x").unwrap();
        Library::open(library.root()).unwrap();
        assert!(unfinished.exists(), "somebody writes it");
        drop(converting);
        assert!(unfinished.exists());
        Library::open(library.root()).unwrap();
        assert!(!unfinished.exists());
        assert!(!library.root().join("converted").exists());
    }

    #[test]
    fn names_lose_their_quantisation() {
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
