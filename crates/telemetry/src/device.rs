//! The class of a device: coarse enough that many devices share it.
//!
//! Nothing here measures the device; the caller does.

/// What the caller knows about the device, in full.
#[derive(Clone, Copy, Debug)]
pub struct DeviceFacts<'a> {
    /// The version of the operating system, such as `24.04` or `15.1.1`.
    pub os_version: Option<&'a str>,
    /// The name of the instruction set that the kernels use, as in `quant::Isa::name`.
    pub instruction_set: &'a str,
    /// Physical or logical cores, whichever the caller reports everywhere.
    pub n_cores: usize,
    /// Memory of the device.
    pub memory_bytes: u64,
}

/// The class of a device. Each field has one of few values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceClass {
    pub(crate) os_name: &'static str,
    /// At most two numbers with a dot between.
    pub(crate) os_version: Option<String>,
    pub(crate) arch: &'static str,
    pub(crate) instruction_set: &'static str,
    pub(crate) cores: &'static str,
    pub(crate) memory: &'static str,
}

const OS_NAMES: &[&str] = &["linux", "macos", "ios", "windows", "android"];
const ARCHITECTURES: &[&str] = &["x86_64", "aarch64"];
const INSTRUCTION_SETS: &[&str] =
    &["avx512vnni", "avxvnni", "avx2", "neon-i8mm", "neon-dotprod", "neon", "scalar"];
/// The most cores of each class, with its name.
const CORES: &[(usize, &str)] =
    &[(2, "1-2"), (4, "3-4"), (8, "5-8"), (16, "9-16"), (32, "17-32"), (usize::MAX, "over 32")];
/// The most memory of each class in GiB, with its name.
const MEMORY_GIB: &[(u64, &str)] = &[
    (4, "up to 4 GiB"),
    (8, "4-8 GiB"),
    (16, "8-16 GiB"),
    (32, "16-32 GiB"),
    (64, "32-64 GiB"),
    (u64::MAX, "over 64 GiB"),
];
/// What does not belong to a class of its own.
const OTHER: &str = "other";

impl DeviceClass {
    /// The class of this device; system and architecture are those that the program was built for.
    pub fn new(facts: DeviceFacts<'_>) -> Self {
        Self {
            os_name: one_of(OS_NAMES, std::env::consts::OS),
            os_version: facts.os_version.and_then(coarse_version),
            arch: one_of(ARCHITECTURES, std::env::consts::ARCH),
            instruction_set: one_of(INSTRUCTION_SETS, facts.instruction_set),
            cores: class_of(CORES, facts.n_cores),
            memory: class_of(MEMORY_GIB, facts.memory_bytes.div_ceil(1 << 30)),
        }
    }
}

fn one_of(known: &[&'static str], name: &str) -> &'static str {
    known.iter().find(|it| **it == name).copied().unwrap_or(OTHER)
}

fn class_of<T: Copy + PartialOrd>(classes: &[(T, &'static str)], value: T) -> &'static str {
    classes.iter().find(|(most, _)| value <= *most).map_or(OTHER, |(_, name)| *name)
}

/// The first two numbers of a version: what follows can be the name of a build that somebody made.
fn coarse_version(text: &str) -> Option<String> {
    let number = |part: &str| {
        let digits: String = part.chars().take_while(char::is_ascii_digit).collect();
        (1..=5).contains(&digits.len()).then_some(digits)
    };
    let mut parts = text.split('.');
    let major = number(parts.next()?)?;
    let minor = parts.next().and_then(number);
    Some(minor.map_or(major.clone(), |minor| format!("{major}.{minor}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(facts: DeviceFacts<'_>) -> DeviceClass {
        DeviceClass::new(facts)
    }

    #[test]
    fn facts_become_classes() {
        let facts = DeviceFacts {
            os_version: Some("6.8.0-45-of-anna"),
            instruction_set: "avx2",
            n_cores: 6,
            memory_bytes: 33_400_000_000,
        };
        let found = class(facts);
        assert_eq!(found.os_version.as_deref(), Some("6.8"));
        assert_eq!(
            (found.instruction_set, found.cores, found.memory),
            ("avx2", "5-8", "16-32 GiB")
        );
    }

    #[test]
    fn unknown_facts_are_other_or_left_out() {
        let facts = DeviceFacts {
            os_version: Some("anna's build"),
            instruction_set: "anna",
            n_cores: 0,
            memory_bytes: u64::MAX,
        };
        let found = class(facts);
        assert_eq!(found.os_version, None);
        assert_eq!((found.instruction_set, found.memory), (OTHER, "over 64 GiB"));
        assert_eq!(coarse_version("15"), Some("15".to_string()));
        assert_eq!(coarse_version("123456.1"), None);
        assert_eq!(coarse_version(""), None);
    }
}
