//! Measures models: speed, memory-bandwidth roofline, perplexity, and the divergence between two
//! models.
//!
//! Nothing is printed here, and no other program is run: `cargo xtask bench` compares with other
//! programs.

mod compare;
#[cfg(not(target_os = "ios"))]
pub mod machine;
mod perplexity;
pub mod roofline;
pub mod speed;
mod statistics;

pub use compare::{Comparison, compare};
#[cfg(not(target_os = "ios"))]
pub use machine::Machine;
pub use perplexity::{Error, Perplexity, negative_log_likelihood, perplexity};
pub use speed::{Speed, Workload};
pub use statistics::Summary;
