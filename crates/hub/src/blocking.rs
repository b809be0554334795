//! Runs blocking work (SQLite, files, the keychain) away from the async workers.

use crate::Error;

/// Runs `work` on one of tokio's blocking threads. If the caller stops waiting, `work` still runs to
/// its end.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(work).await.map_err(Error::Task)?
}
