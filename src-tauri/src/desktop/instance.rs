//! One process for each data folder: a second start passes its arguments to the first and ends.
//!
//! A lock file says who is first; the system releases it when a process ends, however it ends. The
//! first process listens on a local socket: a file in the data folder, on Windows a named pipe. So
//! other data folders have other instances, and nothing depends on D-Bus. (The plugin of Tauri has one
//! instance a user, and needs D-Bus on Linux.) Where neither lock nor socket works, the app starts
//! without.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::Path;
use std::sync::mpsc;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use interprocess::local_socket::{ListenerOptions, Name, Stream, prelude::*};

/// The lock file in the data folder.
const LOCK: &str = "instance.lock";
/// The longest message, which holds the arguments of a start.
const MAX_MESSAGE_BYTES: u64 = 256 << 10;
/// What the first process replies once it has shown its window.
const DONE: &str = "done\n";
/// How long a start waits for the first process to reply, or to end.
const PATIENCE: Duration = Duration::from_secs(3);
/// The pause between two tries: the first process may be about to listen, or to end.
const PAUSE: Duration = Duration::from_millis(50);

/// What a start is.
pub(super) enum Start {
    /// The first one.
    First(Instance),
    /// A second one, whose arguments the first has.
    Passed,
}

/// The first process of a data folder.
pub(super) struct Instance {
    /// `None` where locking failed, and after [`Instance::end`].
    lock: Mutex<Option<File>>,
}

/// Becomes the first process of `folder`, or passes `arguments` to it.
pub(super) fn claim(folder: &Path, arguments: &[String]) -> Start {
    let end = Instant::now() + PATIENCE;
    loop {
        match try_lock(folder) {
            Ok(Some(lock)) => return Start::First(Instance { lock: Mutex::new(Some(lock)) }),
            Ok(None) => {}
            Err(error) => {
                tracing::warn!(%error, "cannot lock the data folder");
                break;
            }
        }
        if pass(folder, arguments, end.saturating_duration_since(Instant::now())) {
            return Start::Passed;
        }
        if Instant::now() >= end {
            tracing::warn!("another process has the data folder and does not reply");
            break;
        }
        thread::sleep(PAUSE);
    }
    Start::First(Instance { lock: Mutex::new(None) })
}

/// Takes the lock; `None` if another process has it.
fn try_lock(folder: &Path) -> io::Result<Option<File>> {
    fs::create_dir_all(folder)?;
    let options = File::options().create(true).truncate(false).write(true).clone();
    let file = options.open(folder.join(LOCK))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(fs::TryLockError::WouldBlock) => Ok(None),
        Err(fs::TryLockError::Error(error)) => Err(error),
    }
}

impl Instance {
    /// Calls `on_start` with the arguments of each later start. It returns whether they were handled;
    /// otherwise the other process goes on by itself.
    ///
    /// # Errors
    /// If there is no socket to listen on: later starts are processes of their own.
    pub(super) fn listen(
        &self,
        folder: &Path,
        on_start: impl Fn(Vec<String>) -> bool + Send + Sync + 'static,
    ) -> io::Result<()> {
        if self.lock.lock().unwrap_or_else(PoisonError::into_inner).is_none() {
            return Ok(());
        }
        #[cfg(unix)]
        remove_socket(folder);
        // The successor of this process may use the name by the time this one ends.
        let options = ListenerOptions::new().name(name(folder)?).reclaim_name(false);
        let listener = options.create_sync()?;
        #[cfg(unix)]
        fs::set_permissions(socket(folder), std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
        let on_start = Arc::new(on_start);
        let accept = move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else {
                    // Out of file descriptors, for example; that passes.
                    thread::sleep(PAUSE);
                    continue;
                };
                let on_start = Arc::clone(&on_start);
                // A process that connects and says nothing must not keep others waiting.
                let serve = move || serve(stream, &*on_start);
                let _ = thread::Builder::new().name("second-start".to_owned()).spawn(serve);
            }
        };
        thread::Builder::new().name("instance".to_owned()).spawn(accept).map(drop)
    }

    /// Lets the next start be the first: this process is about to end. The lock goes last, since who
    /// has it makes the socket.
    pub(super) fn end(&self, folder: &Path) {
        let mut lock = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        if lock.is_some() {
            #[cfg(unix)]
            remove_socket(folder);
            #[cfg(not(unix))]
            let _ = folder;
            *lock = None;
        }
    }
}

/// Reads the arguments of a second start, has them handled and confirms that.
fn serve(stream: Stream, on_start: &dyn Fn(Vec<String>) -> bool) -> io::Result<()> {
    let mut reader = BufReader::new((&stream).take(MAX_MESSAGE_BYTES));
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let arguments: Vec<String> = serde_json::from_str(&line)?;
    if on_start(arguments) {
        (&stream).write_all(DONE.as_bytes())?;
    }
    Ok(())
}

/// Passes `arguments` to the first process and returns whether it has handled them.
fn pass(folder: &Path, arguments: &[String], patience: Duration) -> bool {
    let Ok(message) = serde_json::to_string(arguments) else { return false };
    let Ok(name) = name(folder).map(Name::into_owned) else { return false };
    let (reply, replied) = mpsc::channel();
    // On a thread of its own, since named pipes have no timeouts.
    let talk = move || {
        let _ = reply.send(say(name, &message).is_ok_and(|reply| reply == DONE));
    };
    let spawned = thread::Builder::new().name("first-start".to_owned()).spawn(talk);
    spawned.is_ok() && replied.recv_timeout(patience).unwrap_or(false)
}

fn say(name: Name<'_>, message: &str) -> io::Result<String> {
    let stream = Stream::connect(name)?;
    (&stream).write_all(format!("{message}\n").as_bytes())?;
    let mut reply = String::new();
    (&stream).take(DONE.len() as u64).read_to_string(&mut reply)?;
    Ok(reply)
}

#[cfg(unix)]
fn socket(folder: &Path) -> std::path::PathBuf {
    folder.join("instance.socket")
}

/// Removes the socket of a process that has ended.
#[cfg(unix)]
fn remove_socket(folder: &Path) {
    let _ = fs::remove_file(socket(folder));
}

#[cfg(unix)]
fn name(folder: &Path) -> io::Result<Name<'static>> {
    use interprocess::local_socket::GenericFilePath;
    socket(folder).into_os_string().to_fs_name::<GenericFilePath>()
}

/// The name of a pipe. Pipes are not in folders, so the folder is in the name.
#[cfg(not(unix))]
fn name(folder: &Path) -> io::Result<Name<'static>> {
    use std::hash::{DefaultHasher, Hash, Hasher};

    use interprocess::local_socket::GenericNamespaced;

    let mut hasher = DefaultHasher::new();
    folder.hash(&mut hasher);
    format!("lilims-{:016x}", hasher.finish()).to_ns_name::<GenericNamespaced>()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(folder: &Path) -> Instance {
        match claim(folder, &[]) {
            Start::First(instance) => instance,
            Start::Passed => panic!("another process is first"),
        }
    }

    fn is_first(instance: &Instance) -> bool {
        instance.lock.lock().unwrap().is_some()
    }

    #[test]
    fn a_second_start_passes_its_arguments() {
        let folder = tempfile::tempdir().unwrap();
        let instance = first(folder.path());
        let (sender, received) = mpsc::channel();
        let on_start = move |arguments| sender.send(arguments).is_ok();
        instance.listen(folder.path(), on_start).unwrap();
        for given in [vec!["lilims://ask?text=ü".to_owned(), "a\nb\0".to_owned()], Vec::new()] {
            assert!(matches!(claim(folder.path(), &given), Start::Passed));
            assert_eq!(received.recv().unwrap(), given);
        }
        // Another data folder is another instance.
        let other = tempfile::tempdir().unwrap();
        assert!(is_first(&first(other.path())));
    }

    #[test]
    fn a_start_follows_one_that_ends_or_was_killed() {
        let folder = tempfile::tempdir().unwrap();
        let ending = first(folder.path());
        ending.listen(folder.path(), |_| false).unwrap();
        let successor = {
            let folder = folder.path().to_owned();
            thread::spawn(move || first(&folder))
        };
        thread::sleep(PAUSE * 3);
        ending.end(folder.path());
        let successor = successor.join().unwrap();
        assert!(is_first(&successor) && !is_first(&ending));
        successor.listen(folder.path(), |_| true).unwrap();
        assert!(matches!(claim(folder.path(), &[]), Start::Passed));
        // A killed process releases the lock and leaves its socket.
        drop(successor);
        let next = first(folder.path());
        next.listen(folder.path(), |_| true).unwrap();
        assert!(is_first(&next));
        assert!(matches!(claim(folder.path(), &[]), Start::Passed));
    }

    #[test]
    fn a_start_goes_on_if_the_first_process_hangs_or_the_folder_cannot_be_used() {
        let folder = tempfile::tempdir().unwrap();
        let hanging = first(folder.path());
        let forever = |_| loop {
            thread::park();
        };
        hanging.listen(folder.path(), forever).unwrap();
        assert!(!is_first(&first(folder.path())));
        let file = folder.path().join("file");
        fs::write(&file, b"x").unwrap();
        assert!(!is_first(&first(&file.join("data"))));
    }

    #[test]
    fn foreign_bytes_are_not_arguments() {
        let folder = tempfile::tempdir().unwrap();
        let instance = first(folder.path());
        let (sender, received) = mpsc::channel();
        let on_start = move |arguments: Vec<String>| sender.send(arguments).is_ok();
        instance.listen(folder.path(), on_start).unwrap();
        let endless = format!("[\"{}\"]", "a".repeat(MAX_MESSAGE_BYTES as usize));
        for message in ["", "x", "{}", "[1]", "[\"a\"", &endless] {
            assert_ne!(say(name(folder.path()).unwrap(), message).unwrap_or_default(), DONE);
        }
        assert!(received.try_recv().is_err());
    }
}
