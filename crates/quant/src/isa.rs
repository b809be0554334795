//! Which instruction set the kernels use.

use std::sync::OnceLock;

/// An instruction set with kernels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isa {
    /// Plain Rust, on every processor.
    Scalar,
    /// AVX2 with FMA and F16C, on x86-64.
    Avx2,
}

impl Isa {
    /// All instruction sets, best first.
    pub const ALL: [Self; 2] = [Self::Avx2, Self::Scalar];

    /// Whether this processor has it.
    pub fn is_available(self) -> bool {
        match self {
            Self::Scalar => true,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => {
                is_x86_feature_detected!("avx2")
                    && is_x86_feature_detected!("fma")
                    && is_x86_feature_detected!("f16c")
            }
            #[cfg(not(target_arch = "x86_64"))]
            Self::Avx2 => false,
        }
    }

    /// Itself where available, else [`Isa::Scalar`].
    pub fn or_scalar(self) -> Self {
        if self.is_available() { self } else { Self::Scalar }
    }

    /// The one to use: what `LILIMS_ISA` names if this processor has it, else the best.
    pub fn detected() -> Self {
        static DETECTED: OnceLock<Isa> = OnceLock::new();
        *DETECTED.get_or_init(|| {
            let named = std::env::var("LILIMS_ISA").ok();
            let named = named.and_then(|name| Self::ALL.into_iter().find(|isa| isa.name() == name));
            let best = Self::ALL.into_iter().find(|isa| isa.is_available());
            named.filter(|isa| isa.is_available()).or(best).unwrap_or(Self::Scalar)
        })
    }

    /// The name that `LILIMS_ISA` knows it by.
    pub fn name(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::Avx2 => "avx2",
        }
    }
}
