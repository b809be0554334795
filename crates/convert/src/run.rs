//! A conversion from its start to its end.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use lilims_engine::{ModelSpec, Tokenizer};
use lilims_files::Stamp;
use lilims_gguf::{File, TensorHeader, TensorType, Writer};

use crate::config::Config;
use crate::encode::Tensor;
use crate::family::{Change, Planned, plan};
use crate::manifest::{
    Calibration, Conversion, FORMAT_VERSION, FileHash, Manifest, Source, TensorEntry,
};
use crate::output::{Finished, Output};
use crate::pipeline::{self, Pieces};
use crate::source::{Checkpoint, TensorReader};
use crate::tokenizer_files::Files;
use crate::types::{Chooser, Mix, Override, Traits};
use crate::vocabulary::Vocabulary;
use crate::{Error, input_file, metadata, prove};

/// How to convert.
#[derive(Clone, Debug)]
pub struct Options {
    /// The type or mix of the result.
    pub mix: Mix,
    /// Types of single tensors; the first that matches a name counts.
    pub overrides: Vec<Override>,
    /// How much each column of a matrix matters (the mean square of the activations that meet it), by
    /// the matrix' name in the result. Matrices that are not listed count all columns alike.
    pub importance: HashMap<String, Vec<f32>>,
    /// Where `importance` comes from, for the manifest.
    pub calibration: Option<Calibration>,
    /// Threads that convert.
    pub threads: usize,
    /// The model's semantic version, for the manifest.
    pub version: String,
    /// Where the source was taken from, for the manifest.
    pub origin: Option<String>,
    /// The source's revision there.
    pub revision: Option<String>,
    /// The model's licence, in place of what the source states.
    pub license: Option<String>,
    /// Whether the result takes the place of a file that is there at the end.
    pub replaces: bool,
}

impl Options {
    /// Two threads, nothing said of where the model comes from, and what is there is replaced.
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
            replaces: true,
        }
    }
}

/// How far a conversion is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress<'a> {
    /// The tensor that comes next, from 0; as many as there are at the end.
    pub tensor_idx: usize,
    /// Tensors in all.
    pub n_tensors: usize,
    /// The name of the tensor that comes next; empty at the end.
    pub name: &'a str,
    /// Bytes of tensors that are written.
    pub written_bytes: u64,
    /// Bytes of tensors in the result.
    pub total_bytes: u64,
}

impl<'a> Progress<'a> {
    /// What is there before the tensor `tensor_idx`.
    fn before(heads: &'a [TensorHeader], tensor_idx: usize) -> Self {
        let size_bytes = |heads: &[TensorHeader]| heads.iter().map(|head| head.size_bytes).sum();
        Self {
            tensor_idx,
            n_tensors: heads.len(),
            name: heads.get(tensor_idx).map_or("", |head| &head.name),
            written_bytes: size_bytes(&heads[..tensor_idx]),
            total_bytes: size_bytes(heads),
        }
    }
}

/// Converts the checkpoint in the folder `source`, or the GGUF file `source`, to the file `out`, with a
/// manifest beside it.
///
/// Until it has succeeded, nothing stands at `out` that did not before.
///
/// *Errors*: what is wrong with the source, by name; [`Error::Cancelled`] once `cancel` is set.
pub fn convert(
    source: &Path,
    out: &Path,
    options: &Options,
    cancel: &AtomicBool,
    on_progress: &mut dyn FnMut(Progress<'_>),
) -> Result<Manifest, Error> {
    let input = Input::read(source, options)?;
    if let Data::Checkpoint { .. } = input.data {
        prove::prove(source, &input.writer, out, cancel)?;
    }
    let heads = input.heads(options, !options.importance.is_empty())?;
    let tensors = input.tensors(&heads, options)?;
    let mut output = Output::create(out)?;
    output.write_header(&input.writer, &heads)?;
    let has_failed = AtomicBool::new(false);
    let is_wanted = || !cancel.load(Ordering::Relaxed) && !has_failed.load(Ordering::Relaxed);
    let (finished, spec, files) = std::thread::scope(|scope| {
        let hashes = std::thread::Builder::new()
            .spawn_scoped(scope, || hash_all(&input.files, &is_wanted))
            .map_err(Error::Threads)?;
        let open = |tensor_idx, n_bytes| input.open(tensor_idx, n_bytes);
        let result =
            pipeline::start(scope, &tensors, open, options.threads).and_then(|mut pieces| {
                write(&heads, &tensors, &mut pieces, output, cancel, on_progress)
            });
        let checked = result.and_then(|finished| {
            let spec = check(finished.temporary_path()).map_err(Error::Result)?;
            Ok((finished, spec))
        });
        has_failed.store(checked.is_err(), Ordering::Relaxed);
        let files = hashes.join().unwrap_or(Err(Error::Panicked));
        // What else went wrong may follow from it.
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
        tensors: heads
            .iter()
            .map(|head| (head.name.clone(), head.tensor_type.to_string()))
            .map(|(name, tensor_type)| TensorEntry { name, tensor_type })
            .collect(),
        evaluation: None,
    };
    let beside = manifest.prepare(out)?;
    finished.publish(options.replaces)?;
    beside.publish(true)?;
    on_progress(Progress::before(&heads, heads.len()));
    Ok(manifest)
}

/// How large the result of converting `source` to each mix would be, in bytes, without converting it.
/// With `is_weighed` the importance of columns is still to come; some mixes choose other types then.
///
/// *Errors*: as for [`convert`], as far as heads tell.
pub fn expected_sizes(
    source: &Path,
    options: &Options,
    is_weighed: bool,
) -> Result<Vec<(Mix, u64)>, Error> {
    let input = Input::read(source, options)?;
    let size = |mix| {
        let heads = input.heads(&Options { mix, ..options.clone() }, is_weighed)?;
        Ok((mix, input.file_bytes(&heads)))
    };
    Mix::all().map(size).collect()
}

/// How large the result of converting `source` would be, in bytes, without converting it. `is_weighed` is
/// as for [`expected_sizes`].
///
/// *Errors*: as for [`convert`], as far as heads tell.
pub fn expected_bytes(source: &Path, options: &Options, is_weighed: bool) -> Result<u64, Error> {
    let input = Input::read(source, options)?;
    Ok(input.file_bytes(&input.heads(options, is_weighed)?))
}

/// Writes the tensors as they are ready.
fn write(
    heads: &[TensorHeader],
    tensors: &[Tensor<'_>],
    pieces: &mut Pieces,
    mut output: Output,
    cancel: &AtomicBool,
    on_progress: &mut dyn FnMut(Progress<'_>),
) -> Result<Finished, Error> {
    for (tensor_idx, tensor) in tensors.iter().enumerate() {
        on_progress(Progress::before(heads, tensor_idx));
        for _ in tensor.pieces() {
            if cancel.load(Ordering::Relaxed) {
                return Err(Error::Cancelled);
            }
            output.put(&pieces.next()?)?;
        }
        output.pad()?;
    }
    output.finish()
}

/// What is converted: metadata that is ready, and tensors that are not.
struct Input {
    writer: Writer,
    tensors: Vec<Planned>,
    data: Data,
    traits: Traits,
    name: String,
    license: Option<String>,
    /// What was read, for the manifest.
    files: Vec<PathBuf>,
    /// What tells whether these are still what they were.
    stamps: Vec<Stamp>,
    /// What is left out, for the manifest.
    notes: Vec<String>,
}

/// Where tensors come from.
enum Data {
    /// A checkpoint, and tensors that follow from its configuration.
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

    /// Checks that the source's files are what they were when it was read.
    ///
    /// *Errors*: [`Error::Changed`].
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

    /// The result's tensors, some of which have other types where columns have an importance.
    fn heads(&self, options: &Options, has_importance: bool) -> Result<Vec<TensorHeader>, Error> {
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

    /// The size of a file with these tensors.
    fn file_bytes(&self, heads: &[TensorHeader]) -> u64 {
        let mut head = Vec::new();
        self.writer.write_header(heads.iter(), &mut head).expect("memory takes all");
        let padded = heads
            .iter()
            .map(|head| head.size_bytes + Writer::padding(head.size_bytes).len() as u64);
        head.len() as u64 + padded.sum::<u64>()
    }

    /// How each of the tensors is converted.
    fn tensors<'a>(
        &'a self,
        heads: &[TensorHeader],
        options: &'a Options,
    ) -> Result<Vec<Tensor<'a>>, Error> {
        let each = self.tensors.iter().zip(heads);
        let tensor = |(planned, head): (&'a Planned, &TensorHeader)| {
            let (name, tensor_type) = self.find(planned)?;
            let n_values: usize = planned.shape.iter().product();
            let columns = match planned.change {
                Change::Interleave { .. } if planned.shape.len() == 1 => 1,
                _ => head.dims[0] as usize,
            };
            Ok(Tensor {
                name,
                tensor_type,
                rows: n_values / columns.max(1),
                columns,
                change: planned.change,
                target: head.tensor_type,
                importance: options.importance.get(&head.name).map(Vec::as_slice),
            })
        };
        each.map(tensor).collect()
    }

    /// A tensor's name in the source and its type.
    fn find(&self, planned: &Planned) -> Result<(&str, TensorType), Error> {
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

    /// The bytes of a tensor, of which there are `n_bytes`.
    fn open(&self, tensor_idx: usize, n_bytes: usize) -> Result<TensorReader<'_>, Error> {
        let planned = &self.tensors[tensor_idx];
        match &self.data {
            Data::Checkpoint { checkpoint, computed } => {
                match computed.iter().find(|(name, _)| *name == planned.source) {
                    Some((name, values)) => {
                        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
                        Ok(TensorReader::of_bytes(Path::new(""), name, bytes))
                    }
                    None => checkpoint.reader(&planned.source, n_bytes),
                }
            }
            Data::Gguf { path, file } => {
                let info = file.tensor(&planned.source)?;
                // Pages of the map would stay in memory, all of them in the end.
                let start = file.data(info)?.as_ptr() as usize - file.as_bytes().as_ptr() as usize;
                TensorReader::at(path, &info.name, start as u64)
            }
        }
    }
}

impl Planned {
    /// The result's dimensions, the fastest first.
    fn dims(&self) -> Vec<u64> {
        let mut dims: Vec<u64> = self.shape.iter().rev().map(|&size| size as u64).collect();
        if self.change == Change::Transpose {
            dims.reverse();
        }
        dims
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
    let files = Files::read(folder)?;
    let vocabulary = Vocabulary::read(&files, &config)?;
    notes.extend(vocabulary.notes.clone().into_sentences());
    let license = options.license.clone().or_else(|| metadata::license_of_card(folder));
    let mut writer = Writer::default();
    metadata::of_checkpoint(&mut writer, &config, folder, options.mix, license.as_deref());
    metadata::sampling(&mut writer, &files.generation);
    vocabulary.write(&mut writer);
    let computed = metadata::rope_factors(&config);
    for (name, factors) in computed.iter().rev() {
        let (name, shape) = ((*name).to_owned(), vec![factors.len()]);
        let planned = Planned { source: name.clone(), name, shape, change: Change::None };
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

/// What other programs do with the windows of a family that they know without.
fn window_note(config: &Config) -> Option<String> {
    let window = config.windowed.as_ref().and(config.sliding_window)?;
    Some(format!(
        "layers look at a window of {window} tokens: llama.cpp knows none in files of the family \
         `{}` and lets them see all",
        config.family.architecture()
    ))
}

/// Reads everything of a GGUF file but its tensors.
fn gguf(path: &Path, options: &Options) -> Result<Input, Error> {
    let file = Arc::new(File::open(path)?);
    let metadata = file.metadata();
    if metadata.get("split.count").and_then(|count| count.as_u64()).is_some_and(|n| n > 1) {
        let what = format!("{}, which is one part of several", path.display());
        return Err(Error::Unsupported { what });
    }
    let architecture = metadata.str("general.architecture")?;
    let size = |key: &str| metadata.u64(&format!("{architecture}.{key}"));
    let n_heads = size("attention.head_count")? as usize;
    let n_kv_heads = size("attention.head_count_kv").map_or(n_heads, |n| n as usize);
    let tensors = file.tensors().iter().map(|info| Planned {
        name: info.name.clone(),
        source: info.name.clone(),
        shape: info.dims.iter().rev().map(|&dim| dim as usize).collect(),
        change: Change::None,
    });
    let mut writer = Writer::default();
    let license = options.license.clone().or_else(|| metadata::license(metadata));
    metadata::of_gguf(&mut writer, &file, options.mix, license.as_deref());
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

fn traits(
    architecture: &str,
    n_layers: usize,
    (n_heads, n_kv_heads): (usize, usize),
    is_tied: bool,
) -> Traits {
    Traits {
        n_layers,
        group: n_heads / n_kv_heads.max(1),
        is_tied,
        is_70b: architecture == "llama" && n_layers == 80 && n_heads != n_kv_heads,
        has_importance: false,
    }
}

/// Opens the result as the engine will.
fn check(path: &Path) -> Result<ModelSpec, lilims_engine::Error> {
    let file = Arc::new(File::open(path)?);
    Tokenizer::from_gguf(&file)?;
    ModelSpec::from_gguf(&file)
}

fn hash_all(files: &[PathBuf], is_wanted: &impl Fn() -> bool) -> Result<Vec<FileHash>, Error> {
    files.iter().map(|path| FileHash::of(path, is_wanted)).collect()
}
