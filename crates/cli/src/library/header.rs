//! The header of a file that is not here, from its first bytes.

use anyhow::{Context, Result};
use lilims_gguf::{FIRST_HEADER_BYTES, File, next_header_bytes};
use lilims_hub::Client;

/// Fetches as many of the first bytes of `file` as its header takes.
pub(super) async fn fetch(
    client: &Client,
    repository: &str,
    revision: &str,
    file: &str,
) -> Result<File> {
    let mut held_bytes = FIRST_HEADER_BYTES;
    loop {
        let (bytes, total_bytes) = client.beginning(repository, revision, file, held_bytes).await?;
        held_bytes = bytes.len() as u64;
        let error = match File::from_header(bytes, total_bytes) {
            Ok(header) => return Ok(header),
            Err(error) => error,
        };
        held_bytes = next_header_bytes(&error, held_bytes, total_bytes)
            .ok_or(error)
            .with_context(|| format!("cannot read the header of {file}"))?;
    }
}
