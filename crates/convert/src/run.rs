//! Runs a conversion: reads the source's metadata, converts its tensors, checks and publishes the
//! result and its manifest.
//!
//! Nothing here runs the model; calibrating and evaluating are in `job.rs`.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Receiver;

use lilims_engine::{ModelSpec, Tokenizer};
use lilims_files::Stamp;
use lilims_gguf::{File, TensorHeader, TensorType, Writer};

use crate::config::Config;
use crate::encode::{Tensor, Transform};
use crate::family::layout_of;
use crate::file_hash::{FileHash, Part};
use crate::manifest::{Calibration, Conversion, FORMAT_VERSION, Manifest, Source, TensorEntry};
use crate::output::{Finished, Output};
use crate::pipeline::{self, EncodedChunks};
use crate::plan::{PlannedTensor, plan};
use crate::source::{Checkpoint, TensorReader};
use crate::tokenizer_check::check_tokenizer;
use crate::tokenizer_files::TokenizerFiles;
use crate::types::{Chooser, Mix, Override, Traits};
use crate::vocabulary::Vocabulary;
use crate::{Error, file_hash, input_file, metadata};

/// How to convert.
#[derive(Clone, Debug)]
pub struct Options {
    /// The type, or mix of types, of the result.
    pub mix: Mix,
    /// Types of single tensors; the first whose regular expression matches the name applies.
    pub overrides: Vec<Override>,
    /// The importance of each matrix's columns, by the matrix's name in the result: the mean square
    /// of the activations that a column is multiplied with. Columns of matrices that are not listed
    /// all weigh the same.
    pub importance: HashMap<String, Vec<f32>>,
    /// The text that `importance` was measured on, for the manifest.
    pub calibration: Option<Calibration>,
    /// The number of threads that encode tensors.
    pub threads: usize,
    /// The model's semantic version, for the manifest.
    pub version: String,
    /// Where the source comes from, such as a repository's name, for the manifest.
    pub origin: Option<String>,
    /// The source's revision there, for the manifest.
    pub revision: Option<String>,
    /// The model's licence, overriding what the source states.
    pub license: Option<String>,
    /// Whether the result replaces a file that exists at its path when the conversion ends.
    pub replace_existing: bool,
}

impl Options {
    /// Default options: two threads, no origin or licence, and existing files are replaced.
    pub fn new(mix: Mix) -> Self {
        Self {
            mix,
            overrides: Vec::new(),
            importance: HashMap::new(),
            calibration: None,
            threads: 2,
            version: "1.0.0".to_owned(),
            origin: None,
            revision: None,
            license: None,
            replace_existing: true,
        }
    }
}

/// The progress of a conversion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress<'a> {
    /// The index of the next tensor; `n_tensors` at the end.
    pub tensor_idx: usize,
    /// The number of tensors.
    pub n_tensors: usize,
    /// The name of the next tensor; empty at the end.
    pub name: &'a str,
    /// The size of the tensors written so far, in bytes.
    pub written_bytes: u64,
    /// The size of all tensors in the result, in bytes.
    pub total_bytes: u64,
}

impl<'a> Progress<'a> {
    /// The progress just before the tensor `tensor_idx` is written.
    fn before(headers: &'a [TensorHeader], tensor_idx: usize) -> Self {
        let size_bytes =
            |headers: &[TensorHeader]| headers.iter().map(|header| header.size_bytes).sum();
        Self {
            tensor_idx,
            n_tensors: headers.len(),
            name: headers.get(tensor_idx).map_or("", |header| &header.name),
            written_bytes: size_bytes(&headers[..tensor_idx]),
            total_bytes: size_bytes(headers),
        }
    }
}

/// Converts the checkpoint in the folder `source`, or the GGUF file `source`, to the file `out`,
/// with a manifest beside it.
///
/// Files at both paths stay as they are until the conversion has succeeded.
///
/// # Errors
///
/// All but [`Error::Run`], [`Error::Measure`] and [`Error::EmptyText`]; each names the file, field
/// or tensor. [`Error::Cancelled`] once `cancel` is set.
pub fn convert(
    source: &Path,
    out: &Path,
    options: &Options,
    cancel: &AtomicBool,
    on_progress: &mut dyn FnMut(Progress<'_>),
) -> Result<Manifest, Error> {
    let input = Input::read(source, options)?;
    if let Data::Checkpoint { .. } = input.data {
        check_tokenizer(source, &input.writer, out, cancel)?;
    }
    let headers = input.headers(options, !options.importance.is_empty())?;
    let tensors = input.tensors(&headers, options)?;
    let mut output = Output::create(out)?;
    output.write_header(&input.writer, &headers)?;
    let has_failed = AtomicBool::new(false);
    let keep_going = || !cancel.load(Ordering::Relaxed) && !has_failed.load(Ordering::Relaxed);
    let (finished, spec, files) = std::thread::scope(|scope| {
        let (read, hashed) = file_hash::parts();
        let hashes = std::thread::Builder::new()
            .spawn_scoped(scope, || input.hash_files(hashed, &keep_going))
            .map_err(Error::Threads)?;
        let open = |tensor_idx, n_bytes| input.open(tensor_idx, n_bytes);
        let result =
            pipeline::start(scope, &tensors, open, read, options.threads).and_then(|mut chunks| {
                write(&headers, &tensors, &mut chunks, output, cancel, on_progress)
            });
        let checked = result.and_then(|finished| {
            let spec = check(finished.temporary_path()).map_err(Error::Result)?;
            Ok((finished, spec))
        });
        has_failed.store(checked.is_err(), Ordering::Relaxed);
        let files = hashes.join().unwrap_or(Err(Error::Panicked));
        // A changed source may be the cause of other errors, so it is reported first.
        input.check_unchanged()?;
        let (finished, spec) = checked?;
        Ok::<_, Error>((finished, spec, files?))
    })?;
    let manifest = Manifest {
        format_version: FORMAT_VERSION,
        version: options.version.clone(),
        name: input.name.clone(),
        family: spec.family,
        license: input.license.clone(),
        context: spec.context,
        source: Source {
            origin: options.origin.clone(),
            revision: options.revision.clone(),
            files,
        },
        result: finished.hash.clone(),
        conversion: Conversion {
            tool: concat!("lilims-convert ", env!("CARGO_PKG_VERSION")).to_owned(),
            mix: options.mix.to_string(),
            tensor_types: options.overrides.iter().map(Override::to_string).collect(),
            calibration: options.calibration.clone(),
            notes: input.notes.clone(),
        },
        tensors: headers
            .iter()
            .map(|header| (header.name.clone(), header.tensor_type.to_string()))
            .map(|(name, tensor_type)| TensorEntry { name, tensor_type })
            .collect(),
        evaluation: None,
    };
    let manifest_file = manifest.prepare(out)?;
    finished.publish(options.replace_existing)?;
    manifest_file.publish(true)?;
    on_progress(Progress::before(&headers, headers.len()));
    Ok(manifest)
}

/// Predicts the size of the result of converting `source` to each mix, in bytes. With
/// `uses_importance` column importance will be measured; some mixes choose other types then.
///
/// # Errors
///
/// As for [`convert`], as far as metadata and headers show them.
pub fn expected_sizes(
    source: &Path,
    options: &Options,
    uses_importance: bool,
) -> Result<Vec<(Mix, u64)>, Error> {
    let input = Input::read(source, options)?;
    let size = |mix| {
        let headers = input.headers(&Options { mix, ..options.clone() }, uses_importance)?;
        Ok((mix, input.file_bytes(&headers)))
    };
    Mix::all().map(size).collect()
}

/// Predicts the size of the result of converting `source`, in bytes. `uses_importance` is as for
/// [`expected_sizes`].
///
/// # Errors
///
/// As for [`expected_sizes`].
pub fn expected_bytes(
    source: &Path,
    options: &Options,
    uses_importance: bool,
) -> Result<u64, Error> {
    let input = Input::read(source, options)?;
    Ok(input.file_bytes(&input.headers(options, uses_importance)?))
}

/// Writes the encoded tensors.
fn write(
    headers: &[TensorHeader],
    tensors: &[Tensor<'_>],
    chunks: &mut EncodedChunks,
    mut output: Output,
    cancel: &AtomicBool,
    on_progress: &mut dyn FnMut(Progress<'_>),
) -> Result<Finished, Error> {
    for (tensor_idx, tensor) in tensors.iter().enumerate() {
        on_progress(Progress::before(headers, tensor_idx));
        for _ in tensor.chunks() {
            if cancel.load(Ordering::Relaxed) {
                return Err(Error::Cancelled);
            }
            output.put(&chunks.next()?)?;
        }
        output.pad()?;
    }
    output.finish()
}

/// A source whose metadata has been read and whose tensors have not.
struct Input {
    /// The result's metadata.
    writer: Writer,
    tensors: Vec<PlannedTensor>,
    data: Data,
    traits: Traits,
    name: String,
    license: Option<String>,
    /// The files that were read, for the manifest.
    files: Vec<PathBuf>,
    /// Their stamps when they were read, to detect changes.
    stamps: Vec<Stamp>,
    /// Notes on what is left out, for the manifest.
    notes: Vec<String>,
}

/// The source of the tensors.
enum Data {
    /// A checkpoint, and tensors that are computed from its configuration.
    Checkpoint {
        checkpoint: Checkpoint,
        computed: Vec<(&'static str, Vec<f32>)>,
    },
    Gguf {
        path: PathBuf,
        file: Arc<File>,
    },
}

impl Input {
    /// Reads everything but the tensors.
    fn read(source: &Path, options: &Options) -> Result<Self, Error> {
        let mut input =
            if source.is_dir() { checkpoint(source, options) } else { gguf(source, options) }?;
        let stamp = |path: &PathBuf| Stamp::at(path).map_err(Error::io(path));
        input.stamps = input.files.iter().map(stamp).collect::<Result<_, _>>()?;
        Ok(input)
    }

    /// Checks that the source's files have not changed since they were read.
    ///
    /// # Errors
    ///
    /// [`Error::Changed`].
    fn check_unchanged(&self) -> Result<(), Error> {
        for (path, stamp) in self.files.iter().zip(&self.stamps) {
            if Stamp::at(path).ok().as_ref() != Some(stamp) {
                return Err(Error::Changed { path: path.clone() });
            }
        }
        match &self.data {
            Data::Gguf { path, file } if file.check_unchanged().is_err() => {
                Err(Error::Changed { path: path.clone() })
            }
            _ => Ok(()),
        }
    }

    /// Hashes the source's files until `keep_going` returns false. `parts` are what is read of a
    /// GGUF file to convert it.
    fn hash_files(
        &self,
        parts: Receiver<Part>,
        keep_going: &impl Fn() -> bool,
    ) -> Result<Vec<FileHash>, Error> {
        match &self.data {
            Data::Gguf { path, .. } => {
                FileHash::of_file(path, parts, keep_going).map(|hash| vec![hash])
            }
            Data::Checkpoint { .. } => {
                // A checkpoint's tensors are rarely in the order of the result's.
                drop(parts);
                let hash = |path: &PathBuf| FileHash::of_file(path, [], keep_going);
                self.files.iter().map(hash).collect()
            }
        }
    }

    /// Returns the headers of the result's tensors, with their types.
    fn headers(&self, options: &Options, has_importance: bool) -> Result<Vec<TensorHeader>, Error> {
        let Options { mix, overrides, .. } = options;
        let traits = Traits { has_importance, ..self.traits };
        let chooser = Chooser { mix: *mix, overrides, traits };
        self.tensors
            .iter()
            .map(|tensor| {
                let dims = tensor.dims();
                let tensor_type = chooser.choose(&tensor.name, &dims);
                let unsupported =
                    || Error::NoQuantiser { name: tensor.source.clone(), tensor_type };
                TensorHeader::new(&tensor.name, &dims, tensor_type).ok_or_else(unsupported)
            })
            .collect()
    }

    /// Returns the size of a file with these tensors, in bytes.
    fn file_bytes(&self, headers: &[TensorHeader]) -> u64 {
        let mut header_bytes = Vec::new();
        self.writer
            .write_header(headers.iter(), &mut header_bytes)
            .expect("writing to a Vec cannot fail");
        let padded = headers
            .iter()
            .map(|header| header.size_bytes + Writer::padding(header.size_bytes).len() as u64);
        header_bytes.len() as u64 + padded.sum::<u64>()
    }

    /// Returns how each tensor is encoded.
    fn tensors<'a>(
        &'a self,
        headers: &[TensorHeader],
        options: &'a Options,
    ) -> Result<Vec<Tensor<'a>>, Error> {
        let each = self.tensors.iter().zip(headers);
        let tensor = |(planned, header): (&'a PlannedTensor, &TensorHeader)| {
            let (name, tensor_type) = self.find(planned)?;
            let n_values: usize = planned.shape.iter().product();
            let columns = match planned.transform {
                // A bias is a column of rows.
                Transform::Interleave { .. } if planned.shape.len() == 1 => 1,
                _ => header.dims[0] as usize,
            };
            Ok(Tensor {
                name,
                tensor_type,
                rows: n_values / columns.max(1),
                columns,
                transform: planned.transform,
                target: header.tensor_type,
                importance: options.importance.get(&header.name).map(Vec::as_slice),
            })
        };
        each.map(tensor).collect()
    }

    /// Finds a tensor's name in the source and its type there.
    fn find(&self, planned: &PlannedTensor) -> Result<(&str, TensorType), Error> {
        match &self.data {
            Data::Checkpoint { checkpoint, computed } => {
                match computed.iter().find(|(name, _)| *name == planned.source) {
                    Some((name, _)) => Ok((name, TensorType::F32)),
                    None => Ok((
                        &checkpoint.tensor(&planned.source)?.name,
                        checkpoint.tensor_type(&planned.source)?,
                    )),
                }
            }
            Data::Gguf { file, .. } => {
                let info = file.tensor(&planned.source)?;
                Ok((&info.name, info.tensor_type))
            }
        }
    }

    /// Returns a reader of the `n_bytes` bytes of a tensor.
    fn open(&self, tensor_idx: usize, n_bytes: usize) -> Result<TensorReader<'_>, Error> {
        let planned = &self.tensors[tensor_idx];
        match &self.data {
            Data::Checkpoint { checkpoint, computed } => {
                match computed.iter().find(|(name, _)| *name == planned.source) {
                    Some((name, values)) => {
                        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
                        Ok(TensorReader::from_bytes(Path::new(""), name, bytes))
                    }
                    None => checkpoint.reader(&planned.source, n_bytes),
                }
            }
            Data::Gguf { path, file } => {
                let info = file.tensor(&planned.source)?;
                // Reads the file instead of the memory map, whose pages would all stay resident.
                let offset = file.data(info)?.as_ptr() as usize - file.as_bytes().as_ptr() as usize;
                TensorReader::at(path, &info.name, offset as u64)
            }
        }
    }
}

/// Reads everything of a checkpoint but its tensors.
fn checkpoint(folder: &Path, options: &Options) -> Result<Input, Error> {
    let config = Config::read(folder)?;
    let checkpoint = Checkpoint::open(folder)?;
    let mut tensors = plan(&config, &|name| checkpoint.has(name))?;
    let mut notes = config.notes.clone().into_sentences();
    notes.extend(checkpoint.check(config.family, &tensors)?);
    notes.extend(window_note(&config));
    let files = TokenizerFiles::read(folder)?;
    let vocabulary = Vocabulary::read(&files, &config)?;
    notes.extend(vocabulary.notes.clone().into_sentences());
    let license = options.license.clone().or_else(|| metadata::license_of_card(folder));
    let mut writer = Writer::default();
    metadata::write_for_checkpoint(&mut writer, &config, folder, options.mix, license.as_deref());
    metadata::write_sampling(&mut writer, &files.generation);
    vocabulary.write(&mut writer);
    let computed = metadata::rope_factors(&config);
    for (name, factors) in computed.iter().rev() {
        let (name, shape) = ((*name).to_owned(), vec![factors.len()]);
        let planned =
            PlannedTensor { source: name.clone(), name, shape, transform: Transform::None };
        tensors.insert(0, planned);
    }
    let is_tied = tensors.iter().all(|tensor| tensor.name != "output.weight");
    let settings = [
        "config.json",
        "tokenizer.json",
        "tokenizer.model",
        "tokenizer_config.json",
        "special_tokens_map.json",
        "added_tokens.json",
        "generation_config.json",
        "chat_template.jinja",
        "chat_template.json",
    ];
    let settings: Vec<Option<PathBuf>> =
        settings.iter().map(|name| input_file::find(folder, name)).collect::<Result<_, _>>()?;
    Ok(Input {
        writer,
        tensors,
        traits: traits(
            config.family.architecture(),
            config.n_layers,
            (config.n_heads, config.n_kv_heads),
            is_tied,
        ),
        name: metadata::name(&config, folder),
        license,
        stamps: Vec::new(),
        files: settings.into_iter().flatten().chain(checkpoint.files().iter().cloned()).collect(),
        data: Data::Checkpoint { checkpoint, computed },
        notes,
    })
}

/// Returns a note where llama.cpp ignores the windows that the result lists.
fn window_note(config: &Config) -> Option<String> {
    let window = config.windowed.as_ref().and(config.sliding_window)?;
    Some(format!(
        "layers have a window of {window} tokens, which llama.cpp ignores in files of the family \
         `{}`: it lets them attend to all tokens",
        config.family.architecture()
    ))
}

/// Reads everything of a GGUF file but its tensors.
fn gguf(path: &Path, options: &Options) -> Result<Input, Error> {
    let file = Arc::new(File::open(path)?);
    let metadata = file.metadata();
    if metadata.get("split.count").and_then(|count| count.as_u64()).is_some_and(|n| n > 1) {
        let what = format!("{}, which is one part of a split model", path.display());
        return Err(Error::Unsupported { what });
    }
    let architecture = metadata.str("general.architecture")?;
    let size = |key: &str| metadata.u64(&format!("{architecture}.{key}"));
    let n_heads = size("attention.head_count")? as usize;
    let n_kv_heads = size("attention.head_count_kv").map_or(n_heads, |n| n as usize);
    let tensors = file.tensors().iter().map(|info| PlannedTensor {
        name: info.name.clone(),
        source: info.name.clone(),
        shape: info.dims.iter().rev().map(|&dim| dim as usize).collect(),
        transform: Transform::None,
    });
    let mut writer = Writer::default();
    let license = options.license.clone().or_else(|| metadata::license(metadata));
    metadata::copy_from_gguf(&mut writer, &file, options.mix, license.as_deref());
    let name = metadata.get("general.name").and_then(|name| name.as_str()).unwrap_or_default();
    Ok(Input {
        writer,
        tensors: tensors.collect(),
        traits: traits(
            architecture,
            size("block_count")? as usize,
            (n_heads, n_kv_heads),
            file.tensor("output.weight").is_err(),
        ),
        name: name.to_owned(),
        license,
        stamps: Vec::new(),
        files: vec![path.to_owned()],
        data: Data::Gguf { path: path.to_owned(), file: Arc::clone(&file) },
        notes: Vec::new(),
    })
}

/// `n_heads` and `n_kv_heads` come as a pair.
fn traits(
    architecture: &str,
    n_layers: usize,
    (n_heads, n_kv_heads): (usize, usize),
    is_tied: bool,
) -> Traits {
    let layers_of_70b = layout_of(architecture).and_then(|layout| layout.layers_of_70b);
    Traits {
        n_layers,
        group_size: n_heads / n_kv_heads.max(1),
        is_tied,
        is_70b: layers_of_70b == Some(n_layers) && n_heads != n_kv_heads,
        has_importance: false,
    }
}

/// Opens the result as the engine does.
fn check(path: &Path) -> Result<ModelSpec, lilims_engine::Error> {
    let file = Arc::new(File::open(path)?);
    Tokenizer::from_gguf(&file)?;
    ModelSpec::from_gguf(&file)
}
