//! Panics as the hook sees them. The hook belongs to the process, so these tests run one at a time, and
//! so do others that switch on.

use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::{Mutex, MutexGuard};

use super::*;

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
static N_PREVIOUS: AtomicUsize = AtomicUsize::new(0);
static PREVIOUS: Once = Once::new();

#[derive(Default)]
struct Collected(Mutex<Vec<Panicked>>);

impl Recorder for Collected {
    fn record(&self, panicked: &Panicked) {
        let Panicked { location, stack } = panicked;
        self.0.lock().push(Panicked { location: location.clone(), stack: stack.clone() });
    }
}

/// Keeps other tests that use the hook waiting, and sees to it that the hook is installed over one that
/// counts panics.
pub(crate) fn exclusive() -> MutexGuard<'static, ()> {
    let guard = ONE_AT_A_TIME.lock();
    PREVIOUS.call_once(|| {
        panic::set_hook(Box::new(|_| {
            N_PREVIOUS.fetch_add(1, Ordering::Relaxed);
        }));
    });
    guard
}

fn start(recorder: Arc<dyn Recorder>) -> MutexGuard<'static, ()> {
    let guard = exclusive();
    N_PREVIOUS.store(0, Ordering::Relaxed);
    set_recorder(recorder);
    guard
}

fn n_previous() -> usize {
    N_PREVIOUS.load(Ordering::Relaxed)
}

fn panic_in(thread: thread::Builder) {
    assert!(thread.spawn(|| panic!("a secret")).unwrap().join().is_err());
}

#[test]
fn panics_of_all_threads_are_recorded_once() {
    let collected = Arc::new(Collected::default());
    let guard = start(collected.clone());
    // Setting it again adds no second hook.
    set_recorder(collected.clone());
    panic_in(thread::Builder::new());
    panic_in(thread::Builder::new().name("named".to_string()));
    assert!(panic::catch_unwind(|| panic!("a secret")).is_err());
    drop(guard);
    let recorded = collected.0.lock();
    assert_eq!(recorded.len(), 3);
    assert_eq!(n_previous(), 3);
    for panicked in &*recorded {
        let (file, line) = panicked.location.as_ref().unwrap();
        assert_eq!(file, file!());
        assert!(*line > 0);
        assert!(!format!("{panicked:?}").contains("a secret"));
    }
}

#[test]
fn the_stack_ends_where_the_panic_was() {
    let collected = Arc::new(Collected::default());
    let guard = start(collected.clone());
    #[inline(never)]
    fn fails(value: Option<u8>) -> u8 {
        value.expect("a secret") + 1
    }
    assert!(thread::spawn(|| fails(std::hint::black_box(None))).join().is_err());
    drop(guard);
    let recorded = collected.0.lock();
    let stack = recorded[0].stack.as_ref().unwrap();
    let names: Vec<&str> = stack.frames.iter().filter_map(|it| it.function.as_deref()).collect();
    let is_handler = |name: &str| name.contains("rust_begin_unwind") || name.contains("on_panic");
    assert!(!names.iter().copied().any(is_handler), "{names:?}");
    assert!(names.last().unwrap().starts_with("core::panicking"), "{names:?}");
    assert!(names.iter().any(|it| it.contains("hook::tests")), "{names:?}");
}

#[test]
fn a_panic_of_the_recorder_harms_nobody() {
    struct Failing(AtomicUsize);
    impl Recorder for Failing {
        fn record(&self, _panicked: &Panicked) {
            self.0.fetch_add(1, Ordering::Relaxed);
            panic!("the recorder fails");
        }
    }
    let failing = Arc::new(Failing(AtomicUsize::new(0)));
    let guard = start(failing.clone());
    panic_in(thread::Builder::new());
    panic_in(thread::Builder::new());
    drop(guard);
    // The recorder's own panics are not recorded, but the previous hook has seen all four.
    assert_eq!(failing.0.load(Ordering::Relaxed), 2);
    assert_eq!(n_previous(), 4);
}

#[test]
fn nothing_is_recorded_after_the_recorder_was_removed() {
    let collected = Arc::new(Collected::default());
    let guard = start(collected.clone());
    let recorder: Arc<dyn Recorder> = collected.clone();
    let other: Arc<dyn Recorder> = Arc::new(Collected::default());
    remove_recorder(&other);
    panic_in(thread::Builder::new());
    remove_recorder(&recorder);
    panic_in(thread::Builder::new());
    drop(guard);
    assert_eq!(collected.0.lock().len(), 1);
    assert_eq!(n_previous(), 2);
}
