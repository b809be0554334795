//! Finds the folders where other programs keep models, from the environment and from the programs'
//! settings. Does not look into those folders.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};

use directories::BaseDirs;

use super::Owner;

/// The largest settings file that is read, in bytes.
const MAX_SETTINGS_BYTES: u64 = 1 << 20;
/// The largest file with a folder's path that is read, in bytes.
const MAX_POINTER_BYTES: u64 = 4096;

/// The inputs of the search; a value rather than the process's environment, for tests.
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

    /// A path in the home folder.
    fn home(&self, below: &str) -> Option<PathBuf> {
        self.home.as_ref().map(|home| home.join(below))
    }

    /// The path in a variable, joined with `below`. Empty and relative paths are ignored: programs
    /// resolve relative ones against their own working folder.
    fn variable(&self, name: &str, below: &str) -> Option<PathBuf> {
        let folder = Path::new(self.variables.get(OsStr::new(name))?);
        folder.is_absolute().then(|| folder.join(below))
    }
}

/// The existing folders where other programs keep models, each once.
pub fn known_locations(environment: &Environment) -> Vec<(Owner, PathBuf)> {
    let owners = [
        (Owner::LmStudio, lm_studio(environment)),
        (Owner::Ollama, ollama(environment)),
        (Owner::HuggingFace, hugging_face(environment)),
        (Owner::Jan, jan(environment)),
    ];
    let mut seen = Vec::new();
    let mut locations = Vec::new();
    for (owner, folders) in owners {
        for folder in folders.into_iter().flatten().filter(|folder| folder.is_dir()) {
            let Ok(canonical) = fs::canonicalize(&folder) else { continue };
            if !seen.contains(&canonical) {
                seen.push(canonical);
                locations.push((owner, folder));
            }
        }
    }
    locations
}

/// LM Studio's folders: a pointer file names its home, and its settings name the models folder.
fn lm_studio(environment: &Environment) -> Vec<Option<PathBuf>> {
    let pointer = environment.home(".lmstudio-home-pointer");
    let configured =
        pointer.and_then(|pointer| read_line(&pointer, MAX_POINTER_BYTES)).map(PathBuf::from);
    let homes = [
        configured.filter(|home| home.is_absolute()),
        environment.home(".lmstudio"),
        environment.home(".cache/lm-studio"),
    ];
    let homes = homes.into_iter().flatten();
    homes.flat_map(|home| [configured_models_folder(&home), Some(home.join("models"))]).collect()
}

/// The models folder in the settings of LM Studio's home.
fn configured_models_folder(lm_studio: &Path) -> Option<PathBuf> {
    let text = read_text(&lm_studio.join("settings.json"), MAX_SETTINGS_BYTES)?;
    let settings: serde_json::Value = serde_json::from_str(&text).ok()?;
    let folder = PathBuf::from(settings.get("downloadsFolder")?.as_str()?);
    folder.is_absolute().then_some(folder)
}

/// Ollama's folders. As a system service it keeps models in its own user's home.
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

/// Jan's folders: the system's data folder, and `~/jan` in older versions.
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

/// The first line of a file of at most `max_bytes`, trimmed; `None` if it is empty.
pub(super) fn read_line(path: &Path, max_bytes: u64) -> Option<String> {
    let text = read_text(path, max_bytes)?;
    let line = text.lines().next()?.trim();
    (!line.is_empty()).then(|| line.to_owned())
}

/// The text of a file of at most `max_bytes`, without the byte order mark of Windows programs.
fn read_text(path: &Path, max_bytes: u64) -> Option<String> {
    let text = lilims_files::read_to_string(path, max_bytes).ok()?;
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

        fn path_of(&self, below: &str) -> PathBuf {
            self.0.path().join(below)
        }

        /// Creates a folder.
        fn create(&self, below: &str) -> &Self {
            fs::create_dir_all(self.path_of(below)).unwrap();
            self
        }

        fn environment(&self, variables: &[(&str, &str)]) -> Environment {
            let values = variables.iter().map(|(name, value)| {
                let value =
                    if value.is_empty() { OsString::new() } else { self.path_of(value).into() };
                (OsString::from(name), value)
            });
            Environment {
                home: Some(self.path_of("home")),
                system_root: self.path_of("system"),
                variables: values.collect(),
            }
        }

        /// The known locations, relative to this device.
        fn locations(&self, variables: &[(&str, &str)]) -> Vec<(Owner, String)> {
            let locations = known_locations(&self.environment(variables)).into_iter();
            locations.map(|(owner, folder)| (owner, self.relative(&folder))).collect()
        }

        fn relative(&self, folder: &Path) -> String {
            let below = folder.strip_prefix(self.0.path()).unwrap().iter();
            let parts: Vec<_> = below.map(|part| part.to_str().unwrap()).collect();
            parts.join("/")
        }
    }

    fn owned(owner: Owner, folders: &[&str]) -> Vec<(Owner, String)> {
        folders.iter().map(|folder| (owner, (*folder).to_owned())).collect()
    }

    #[test]
    fn empty_device_has_no_locations() {
        let device = Device::new();
        assert_eq!(device.locations(&[("OLLAMA_MODELS", "gone"), ("HF_HOME", "")]), []);
        let homeless = Environment { home: None, ..device.environment(&[]) };
        assert_eq!(known_locations(&homeless), []);
    }

    #[test]
    fn default_folders_of_all_programs_are_found() {
        let device = Device::new();
        device
            .create("home/.lmstudio/models")
            .create("home/.cache/lm-studio/models")
            .create("home/.ollama/models/manifests")
            .create("system/usr/share/ollama/.ollama/models/manifests")
            .create("system/var/lib/ollama/.ollama/models")
            .create("home/.cache/huggingface/hub")
            .create("home/.local/share/Jan/data/llamacpp/models")
            .create("home/jan/models");
        let expected = [
            owned(Owner::LmStudio, &["home/.lmstudio/models", "home/.cache/lm-studio/models"]),
            owned(
                Owner::Ollama,
                &["home/.ollama/models", "system/usr/share/ollama/.ollama/models"],
            ),
            owned(Owner::HuggingFace, &["home/.cache/huggingface/hub"]),
            owned(Owner::Jan, &["home/.local/share/Jan/data/llamacpp/models", "home/jan/models"]),
        ];
        assert_eq!(device.locations(&[]), expected.concat());
    }

    #[test]
    fn variables_come_first_without_duplicates() {
        let device = Device::new();
        device
            .create("home/.ollama/models/manifests")
            .create("cache/huggingface/hub")
            .create("hub");
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
        assert_eq!(device.locations(&variables), expected.concat());
    }

    #[test]
    fn lm_studio_pointer_and_settings_are_followed() {
        let device = Device::new();
        device.create("home/.lmstudio/models").create("disk/lm/models").create("disk/weights");
        let pointer = device.path_of("home/.lmstudio-home-pointer");
        fs::write(&pointer, format!("{} \n", device.path_of("disk/lm").display())).unwrap();
        let settings = serde_json::json!({ "downloadsFolder": device.path_of("disk/weights") });
        fs::write(device.path_of("disk/lm/settings.json"), format!("\u{feff}{settings}")).unwrap();
        let all = ["disk/weights", "disk/lm/models", "home/.lmstudio/models"];
        assert_eq!(device.locations(&[]), owned(Owner::LmStudio, &all));

        // Invalid content of these files is ignored.
        for settings in ["{", "[]", r#"{"downloadsFolder":7}"#, r#"{"downloadsFolder":"../x"}"#] {
            fs::write(device.path_of("disk/lm/settings.json"), settings).unwrap();
            assert_eq!(device.locations(&[]), owned(Owner::LmStudio, &all[1..]), "{settings}");
        }
        for content in ["", "relative/path", "\0", "/nowhere/at/all"] {
            fs::write(&pointer, content).unwrap();
            assert_eq!(device.locations(&[]), owned(Owner::LmStudio, &all[2..]), "{content:?}");
        }
        fs::write(&pointer, b"\xff\xfe").unwrap();
        assert_eq!(device.locations(&[]), owned(Owner::LmStudio, &all[2..]));
    }
}
