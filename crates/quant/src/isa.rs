//! Detects and names the instruction sets that have kernels; the kernels themselves are elsewhere.

use std::sync::OnceLock;

/// The environment variable that forces an instruction set.
const VARIABLE: &str = "LILIMS_ISA";

/// An instruction set with kernels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isa {
    /// AVX-512 (F, BW, DQ, VL) with VNNI, and all of [`Isa::Avx2`], on x86-64.
    Avx512Vnni,
    /// AVX-VNNI, and all of [`Isa::Avx2`], on x86-64.
    AvxVnni,
    /// AVX2 with FMA and F16C, on x86-64.
    Avx2,
    /// NEON with the dot products of Armv8.2 (`sdot`) and the matrix products of Armv8.6 (`smmla`).
    NeonI8mm,
    /// NEON with the dot products of Armv8.2 (`sdot`).
    NeonDotprod,
    /// Baseline NEON, which every 64-bit Arm processor has.
    Neon,
    /// Plain Rust, for every processor.
    Scalar,
}

/// Why the value of `LILIMS_ISA` cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IsaError {
    /// The value names no instruction set.
    #[error("{VARIABLE} is \"{name}\", expected one of {}", names())]
    Unknown {
        /// The value.
        name: String,
    },
    /// The processor lacks the instruction set.
    #[error("{VARIABLE} is \"{}\", which this processor does not support", isa.name())]
    Unavailable {
        /// The requested instruction set.
        isa: Isa,
    },
}

impl Isa {
    /// All instruction sets, best first.
    pub const ALL: [Self; 7] = [
        Self::Avx512Vnni,
        Self::AvxVnni,
        Self::Avx2,
        Self::NeonI8mm,
        Self::NeonDotprod,
        Self::Neon,
        Self::Scalar,
    ];

    /// Whether this processor supports it.
    pub fn is_available(self) -> bool {
        match self {
            Self::Scalar => true,
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Vnni => {
                Self::Avx2.is_available()
                    && is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512vl")
                    && is_x86_feature_detected!("avx512vnni")
            }
            #[cfg(target_arch = "x86_64")]
            Self::AvxVnni => Self::Avx2.is_available() && is_x86_feature_detected!("avxvnni"),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => {
                is_x86_feature_detected!("avx2")
                    && is_x86_feature_detected!("fma")
                    && is_x86_feature_detected!("f16c")
            }
            #[cfg(target_arch = "aarch64")]
            Self::NeonI8mm => {
                Self::NeonDotprod.is_available() && std::arch::is_aarch64_feature_detected!("i8mm")
            }
            #[cfg(target_arch = "aarch64")]
            Self::NeonDotprod => {
                Self::Neon.is_available() && std::arch::is_aarch64_feature_detected!("dotprod")
            }
            #[cfg(target_arch = "aarch64")]
            Self::Neon => std::arch::is_aarch64_feature_detected!("neon"),
            // Instruction sets of other architectures.
            #[allow(unreachable_patterns, reason = "an architecture may have all variants")]
            _ => false,
        }
    }

    /// This instruction set if available, else [`Isa::Scalar`].
    pub fn or_scalar(self) -> Self {
        if self.is_available() { self } else { Self::Scalar }
    }

    /// The instruction set to use: the one that `LILIMS_ISA` names if it is available, else the
    /// best.
    pub fn detected() -> Self {
        static DETECTED: OnceLock<Isa> = OnceLock::new();
        *DETECTED.get_or_init(|| {
            let best = || Self::ALL.into_iter().find(|isa| isa.is_available());
            Self::from_env().ok().flatten().or_else(best).unwrap_or(Self::Scalar)
        })
    }

    /// The instruction set that `LILIMS_ISA` names; `None` if it is unset or empty.
    ///
    /// # Errors
    /// [`IsaError::Unknown`] for an unknown name, [`IsaError::Unavailable`] when this processor
    /// lacks the instruction set. [`Isa::detected`] ignores both, so a program should report them.
    pub fn from_env() -> Result<Option<Self>, IsaError> {
        let name = std::env::var_os(VARIABLE).unwrap_or_default();
        if name.is_empty() { Ok(None) } else { Self::from_name(&name.to_string_lossy()).map(Some) }
    }

    fn from_name(name: &str) -> Result<Self, IsaError> {
        let isa = Self::ALL.into_iter().find(|isa| isa.name() == name);
        let isa = isa.ok_or_else(|| IsaError::Unknown { name: name.to_string() })?;
        if isa.is_available() { Ok(isa) } else { Err(IsaError::Unavailable { isa }) }
    }

    /// The name, as used in `LILIMS_ISA`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Avx512Vnni => "avx512vnni",
            Self::AvxVnni => "avxvnni",
            Self::Avx2 => "avx2",
            Self::NeonI8mm => "neon-i8mm",
            Self::NeonDotprod => "neon-dotprod",
            Self::Neon => "neon",
            Self::Scalar => "scalar",
        }
    }
}

fn names() -> String {
    Isa::ALL.map(Isa::name).join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn from_name_accepts_only_available_sets() {
        assert_eq!(Isa::from_name("scalar"), Ok(Isa::Scalar));
        for isa in Isa::ALL {
            let named = Isa::from_name(isa.name());
            assert!(named == Ok(isa) || named == Err(IsaError::Unavailable { isa }));
        }
        let error = Isa::from_name("avx3").expect_err("no such instruction set");
        assert!(error.to_string().contains("avx512vnni, avxvnni, avx2"), "{error}");
        let foreign = if cfg!(target_arch = "x86_64") { Isa::Neon } else { Isa::Avx2 };
        assert_eq!(Isa::from_name(foreign.name()), Err(IsaError::Unavailable { isa: foreign }));
    }

    #[test]
    fn detects_the_best_available_set() {
        let detected = Isa::detected();
        assert!(detected.is_available());
        if Isa::from_env() == Ok(None) {
            assert!(Isa::ALL.into_iter().find(|isa| isa.is_available()) == Some(detected));
        }
    }
}
