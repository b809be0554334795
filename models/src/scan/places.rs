//! Where other programs keep models, told by the environment and by those programs' own settings.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use directories::BaseDirs;

use super::Owner;

/// The largest file of settings that is read, in bytes.
const MAX_SETTINGS: u64 = 1 << 20;
/// The longest file that names a folder, in bytes.
const MAX_POINTER: u64 = 4096;

/// What tells where programs keep models; made by hand, so that nothing depends on the process.
#[derive(Clone, Debug)]
pub struct Environment {
    /// The user's home folder.
    pub home: Option<PathBuf>,
    /// The folder that holds `usr` and `var`.
    pub system_root: PathBuf,
    /// Environment variables.
    pub variables: HashMap<OsString, OsString>,
}

impl Environment {
    /// The environment of this process.
    pub fn of_process() -> Self {
        Self {
            home: BaseDirs::new().map(|dirs| dirs.home_dir().to_owned()),
            system_root: PathBuf::from("/"),
            variables: std::env::vars_os().collect(),
        }
    }

    /// A folder in the home folder.
    fn home(&self, below: &str) -> Option<PathBuf> {
        self.home.as_ref().map(|home| home.join(below))
    }

    /// The folder that a variable names, with `below` added. An empty variable counts as unset,
    /// and what is not absolute means something else to each program.
    fn variable(&self, name: &str, below: &str) -> Option<PathBuf> {
        let folder = Path::new(self.variables.get(OsStr::new(name))?);
        folder.is_absolute().then(|| folder.join(below))
    }
}

/// The folders on this device where other programs keep models, each once.
pub fn known_places(environment: &Environment) -> Vec<(Owner, PathBuf)> {
    let owners = [
        (Owner::LmStudio, lm_studio(environment)),
        (Owner::Ollama, ollama(environment)),
        (Owner::HuggingFace, hugging_face(environment)),
        (Owner::Jan, jan(environment)),
    ];
    let mut seen = Vec::new();
    let mut places = Vec::new();
    for (owner, folders) in owners {
        for folder in folders.into_iter().flatten().filter(|folder| folder.is_dir()) {
            let Ok(canonical) = fs::canonicalize(&folder) else { continue };
            if !seen.contains(&canonical) {
                seen.push(canonical);
                places.push((owner, folder));
            }
        }
    }
    places
}

/// LM Studio names its own home in a file, and the folder of models in its settings.
fn lm_studio(environment: &Environment) -> Vec<Option<PathBuf>> {
    let pointer = environment.home(".lmstudio-home-pointer");
    let named = pointer.and_then(|pointer| read_line(&pointer, MAX_POINTER)).map(PathBuf::from);
    let homes = [
        named.filter(|home| home.is_absolute()),
        environment.home(".lmstudio"),
        environment.home(".cache/lm-studio"),
    ];
    let homes = homes.into_iter().flatten();
    homes.flat_map(|home| [chosen_by_user(&home), Some(home.join("models"))]).collect()
}

/// The folder of models that the settings in LM Studio's home name.
fn chosen_by_user(lm_studio: &Path) -> Option<PathBuf> {
    let text = read_text(&lm_studio.join("settings.json"), MAX_SETTINGS)?;
    let settings: serde_json::Value = serde_json::from_str(&text).ok()?;
    let folder = PathBuf::from(settings.get("downloadsFolder")?.as_str()?);
    folder.is_absolute().then_some(folder)
}

/// A service of its own user keeps its models in that user's home.
fn ollama(environment: &Environment) -> Vec<Option<PathBuf>> {
    let system = |below| Some(environment.system_root.join(below));
    vec![
        environment.variable("OLLAMA_MODELS", ""),
        environment.home(".ollama/models"),
        system("usr/share/ollama/.ollama/models"),
        system("var/lib/ollama/.ollama/models"),
        system("var/lib/ollama/models"),
        system("var/lib/ollama"),
    ]
    .into_iter()
    .map(|folder| folder.filter(|folder| folder.join("manifests").is_dir()))
    .collect()
}

fn hugging_face(environment: &Environment) -> Vec<Option<PathBuf>> {
    vec![
        environment.variable("HF_HUB_CACHE", ""),
        environment.variable("HUGGINGFACE_HUB_CACHE", ""),
        environment.variable("HF_HOME", "hub"),
        environment.variable("XDG_CACHE_HOME", "huggingface/hub"),
        environment.home(".cache/huggingface/hub"),
    ]
}

/// Jan keeps data where the system wants it, and kept it at `~/jan` before.
fn jan(environment: &Environment) -> Vec<Option<PathBuf>> {
    let data = [
        environment.variable("APPDATA", "Jan/data"),
        environment.variable("XDG_DATA_HOME", "Jan/data"),
        environment.variable("XDG_CONFIG_HOME", "Jan/data"),
        environment.home("Library/Application Support/Jan/data"),
        environment.home(".local/share/Jan/data"),
        environment.home(".config/Jan/data"),
        environment.home("jan"),
    ];
    let data = data.into_iter().flatten();
    data.flat_map(|data| [Some(data.join("llamacpp/models")), Some(data.join("models"))]).collect()
}

/// The first line of a short file, if there is one.
pub(super) fn read_line(path: &Path, max_bytes: u64) -> Option<String> {
    let text = read_text(path, max_bytes)?;
    let line = text.lines().next()?.trim();
    (!line.is_empty()).then(|| line.to_owned())
}

/// The text of a file that is not larger than `max_bytes`. Windows programs may mark the start.
fn read_text(path: &Path, max_bytes: u64) -> Option<String> {
    let metadata = fs::metadata(path).ok()?;
    if !metadata.is_file() || metadata.len() > max_bytes {
        return None;
    }
    let mut text = String::new();
    File::open(path).ok()?.take(max_bytes).read_to_string(&mut text).ok()?;
    Some(text.strip_prefix('\u{feff}').unwrap_or(&text).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Device(tempfile::TempDir);

    impl Device {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn at(&self, below: &str) -> PathBuf {
            self.0.path().join(below)
        }

        /// Makes a folder.
        fn has(&self, below: &str) -> &Self {
            fs::create_dir_all(self.at(below)).unwrap();
            self
        }

        fn environment(&self, variables: &[(&str, &str)]) -> Environment {
            let values = variables.iter().map(|(name, value)| {
                let value = if value.is_empty() { OsString::new() } else { self.at(value).into() };
                (OsString::from(name), value)
            });
            Environment {
                home: Some(self.at("home")),
                system_root: self.at("system"),
                variables: values.collect(),
            }
        }

        /// The known places below this device.
        fn places(&self, variables: &[(&str, &str)]) -> Vec<(Owner, String)> {
            let places = known_places(&self.environment(variables)).into_iter();
            places.map(|(owner, folder)| (owner, self.below(&folder))).collect()
        }

        fn below(&self, folder: &Path) -> String {
            let below = folder.strip_prefix(self.0.path()).unwrap().iter();
            let parts: Vec<_> = below.map(|part| part.to_str().unwrap()).collect();
            parts.join("/")
        }
    }

    fn owned(owner: Owner, folders: &[&str]) -> Vec<(Owner, String)> {
        folders.iter().map(|folder| (owner, (*folder).to_owned())).collect()
    }

    #[test]
    fn a_bare_device_has_no_places() {
        let device = Device::new();
        assert_eq!(device.places(&[("OLLAMA_MODELS", "gone"), ("HF_HOME", "")]), []);
        let homeless = Environment { home: None, ..device.environment(&[]) };
        assert_eq!(known_places(&homeless), []);
    }

    #[test]
    fn defaults_of_all_programs_are_found() {
        let device = Device::new();
        device
            .has("home/.lmstudio/models")
            .has("home/.cache/lm-studio/models")
            .has("home/.ollama/models/manifests")
            .has("system/usr/share/ollama/.ollama/models/manifests")
            .has("system/var/lib/ollama/.ollama/models")
            .has("home/.cache/huggingface/hub")
            .has("home/.local/share/Jan/data/llamacpp/models")
            .has("home/jan/models");
        let expected = [
            owned(Owner::LmStudio, &["home/.lmstudio/models", "home/.cache/lm-studio/models"]),
            owned(
                Owner::Ollama,
                &["home/.ollama/models", "system/usr/share/ollama/.ollama/models"],
            ),
            owned(Owner::HuggingFace, &["home/.cache/huggingface/hub"]),
            owned(Owner::Jan, &["home/.local/share/Jan/data/llamacpp/models", "home/jan/models"]),
        ];
        assert_eq!(device.places(&[]), expected.concat());
    }

    #[test]
    fn variables_come_first_and_name_no_place_twice() {
        let device = Device::new();
        device.has("home/.ollama/models/manifests").has("cache/huggingface/hub").has("hub");
        let variables = [
            ("OLLAMA_MODELS", "home/.ollama/models"),
            ("HF_HUB_CACHE", "hub"),
            ("HF_HOME", "cache/huggingface"),
            ("XDG_CACHE_HOME", "cache"),
        ];
        let expected = [
            owned(Owner::Ollama, &["home/.ollama/models"]),
            owned(Owner::HuggingFace, &["hub", "cache/huggingface/hub"]),
        ];
        assert_eq!(device.places(&variables), expected.concat());
    }

    #[test]
    fn lm_studio_tells_where_it_moved_to() {
        let device = Device::new();
        device.has("home/.lmstudio/models").has("disk/lm/models").has("disk/weights");
        let pointer = device.at("home/.lmstudio-home-pointer");
        fs::write(&pointer, format!("{} \n", device.at("disk/lm").display())).unwrap();
        let settings = serde_json::json!({ "downloadsFolder": device.at("disk/weights") });
        fs::write(device.at("disk/lm/settings.json"), format!("\u{feff}{settings}")).unwrap();
        let all = ["disk/weights", "disk/lm/models", "home/.lmstudio/models"];
        assert_eq!(device.places(&[]), owned(Owner::LmStudio, &all));

        // Whatever is in these files does no harm.
        for settings in ["{", "[]", r#"{"downloadsFolder":7}"#, r#"{"downloadsFolder":"../x"}"#] {
            fs::write(device.at("disk/lm/settings.json"), settings).unwrap();
            assert_eq!(device.places(&[]), owned(Owner::LmStudio, &all[1..]), "{settings}");
        }
        for pointed in ["", "relative/path", "\0", "/nowhere/at/all"] {
            fs::write(&pointer, pointed).unwrap();
            assert_eq!(device.places(&[]), owned(Owner::LmStudio, &all[2..]), "{pointed:?}");
        }
        fs::write(&pointer, b"\xff\xfe").unwrap();
        assert_eq!(device.places(&[]), owned(Owner::LmStudio, &all[2..]));
    }
}
