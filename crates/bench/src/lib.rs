//! Measures models: how fast they read and generate, what the memory allows, perplexity, how
//! far two models' distributions are apart.
//!
//! Nothing is printed here, and no other program is run: comparing with one is `cargo xtask bench`.

mod compare;
#[cfg(not(target_os = "ios"))]
pub mod machine;
mod perplexity;
pub mod roof;
pub mod speed;
mod statistics;

pub use compare::{Comparison, compare};
#[cfg(not(target_os = "ios"))]
pub use machine::Machine;
pub use perplexity::{Error, Perplexity, negative_log_likelihood, perplexity};
pub use speed::{Speed, Workload};
pub use statistics::Summary;
