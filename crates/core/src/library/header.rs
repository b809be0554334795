//! The header of a file on the hub, fetched by range: no more of the file than it needs.

use lilims_gguf::File;
use lilims_hub::Client;

use crate::error::Error;

/// Bytes of the first request: the headers of most models fit.
const FIRST_BYTES: u64 = 1 << 20;

/// Fetches the header of `file` in `repository` at `revision`.
///
/// # Errors
/// The hub's; or why the header cannot be read.
pub(crate) async fn fetch(
    client: &Client,
    repository: &str,
    revision: &str,
    file: &str,
) -> Result<File, Error> {
    let mut wanted = FIRST_BYTES;
    loop {
        let (bytes, total_bytes) = client.read_prefix(repository, revision, file, wanted).await?;
        let here = bytes.len() as u64;
        match File::from_header(bytes, total_bytes) {
            Ok(file) => return Ok(file),
            Err(error) => match lilims_gguf::next_header_bytes(&error, here, total_bytes) {
                Some(more) => wanted = more,
                None => return Err(error.into()),
            },
        }
    }
}
