//! Measures models: speed, memory-bandwidth roofline, perplexity, the divergence between models, and
//! the errors of quantised tensors.
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
mod tensors;

pub use compare::{Comparison, compare, compare_all};
#[cfg(not(target_os = "ios"))]
pub use machine::Machine;
pub use perplexity::{Error, Perplexity, negative_log_likelihood, perplexity};
pub use speed::{Speed, Workload};
pub use statistics::Summary;
pub use tensors::{TensorError, tensor_errors};
