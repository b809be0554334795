//! Measures models: how fast they read and generate, what the memory allows, perplexity.
//!
//! Nothing is printed here, and no other program is run: comparing with one is `cargo xtask bench`.

pub mod machine;
mod perplexity;
pub mod roof;
pub mod speed;
mod statistics;

pub use machine::Machine;
pub use perplexity::{Error, Perplexity, negative_log_likelihood, perplexity};
pub use speed::{Speed, Workload};
pub use statistics::Summary;
