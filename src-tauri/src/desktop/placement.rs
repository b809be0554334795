//! Where the window was: kept in a file, and restored on a display that is still there.

use std::path::PathBuf;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tauri::{AppHandle, Monitor, PhysicalPosition, PhysicalSize, WebviewWindow};

/// The file in the data folder.
const FILE: &str = "window.json";
/// The largest file that is read; ours has about a hundred bytes.
const MAX_FILE_BYTES: u64 = 4_096;
/// How long after the last change the file is written: dragging changes the position many times.
const WRITE_DELAY: Duration = Duration::from_millis(400);

/// The place of a window, in physical pixels: its outer corner and its inner size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Placement {
    x: i32,
    y: i32,
    width: u32,
    height: u32,
    is_maximized: bool,
}

/// The part of a display where windows can be, in physical pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Display {
    x: i32,
    y: i32,
    width: u32,
    height: u32,
}

/// Keeps the window's place in a file. The window's events change it.
pub(super) struct PlacementFile {
    path: PathBuf,
    /// The last place, and where it goes to be written.
    state: Mutex<(Option<Placement>, Option<Sender<Placement>>)>,
}

impl PlacementFile {
    /// The file in `folder`.
    pub(super) fn new(folder: &std::path::Path) -> Self {
        Self { path: folder.join(FILE), state: Mutex::new((None, None)) }
    }

    /// The place of the last visit, if the file can be read.
    fn read(&self) -> Option<Placement> {
        let bytes = lilims_files::read(&self.path, MAX_FILE_BYTES).ok()?;
        serde_json::from_slice(&bytes).ok()
    }

    /// Puts the window, which is still hidden, where it was, as far as the displays allow.
    pub(super) fn restore(&self, app: &AppHandle, window: &WebviewWindow) -> tauri::Result<()> {
        let displays: Vec<Display> = app.available_monitors()?.iter().map(display).collect();
        let Some(placement) = self.read().and_then(|it| fitted(it, &displays)) else {
            return Ok(());
        };
        window.set_size(PhysicalSize::new(placement.width, placement.height))?;
        window.set_position(PhysicalPosition::new(placement.x, placement.y))?;
        if placement.is_maximized {
            window.maximize()?;
        }
        self.state.lock().unwrap_or_else(PoisonError::into_inner).0 = Some(placement);
        Ok(())
    }

    /// Notes where the window is now, and writes that soon.
    pub(super) fn note(&self, window: &tauri::Window) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let Ok(Some(placement)) = current(window, state.0) else { return };
        if state.0 == Some(placement) {
            return;
        }
        state.0 = Some(placement);
        let writer = state.1.get_or_insert_with(|| start_writer(self.path.clone()));
        // Without a writer the place is written at the end.
        let _ = writer.send(placement);
    }

    /// Writes what is not written yet: the app ends.
    pub(super) fn end(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        // Only what changed in this visit is news.
        if let (Some(placement), Some(_)) = (state.0, state.1.take()) {
            write(&self.path, placement);
        }
    }
}

/// Where the window is; `None` while that says nothing. A maximised window keeps the place that it
/// returns to.
fn current(window: &tauri::Window, before: Option<Placement>) -> tauri::Result<Option<Placement>> {
    if window.is_minimized()? || !window.is_visible()? {
        return Ok(None);
    }
    if window.is_maximized()? || window.is_fullscreen()? {
        let is_maximized = window.is_maximized()?;
        return Ok(before.map(|it| Placement { is_maximized, ..it }));
    }
    let (position, size) = (window.outer_position()?, window.inner_size()?);
    let PhysicalPosition { x, y } = position;
    let PhysicalSize { width, height } = size;
    Ok(Some(Placement { x, y, width, height, is_maximized: false }))
}

/// A thread that writes the last place some time after the last change.
fn start_writer(path: PathBuf) -> Sender<Placement> {
    let (sender, places) = mpsc::channel();
    let work = move || {
        while let Ok(mut last) = places.recv() {
            let ended = loop {
                match places.recv_timeout(WRITE_DELAY) {
                    Ok(newer) => last = newer,
                    Err(error) => break error == RecvTimeoutError::Disconnected,
                }
            };
            if !ended {
                write(&path, last);
            }
        }
    };
    if let Err(error) = thread::Builder::new().name("window-place".to_owned()).spawn(work) {
        tracing::warn!(%error, "the window's place is written at the end only");
    }
    sender
}

fn write(path: &std::path::Path, placement: Placement) {
    let written = serde_json::to_vec(&placement).map_err(std::io::Error::from).map(|json| {
        lilims_files::write_atomic(path, |file| std::io::Write::write_all(file, &json))
    });
    if let Ok(Err(error)) = written {
        tracing::warn!(%error, "cannot keep the window's place");
    }
}

fn display(monitor: &Monitor) -> Display {
    let area = monitor.work_area();
    let (position, size) = (area.position, area.size);
    Display { x: position.x, y: position.y, width: size.width, height: size.height }
}

/// The place on the display that holds most of it, no larger than that and completely on it. A window
/// that no display holds comes to the middle of the first one. `None` without displays.
fn fitted(placement: Placement, displays: &[Display]) -> Option<Placement> {
    let shared = |display: &&Display| shared_area(&placement, display);
    let nearest = displays.iter().max_by_key(shared).filter(|display| shared(display) > 0);
    let display = nearest.or(displays.first())?;
    let width = placement.width.min(display.width);
    let height = placement.height.min(display.height);
    let (free_x, free_y) = (display.width - width, display.height - height);
    let (x, y) = if nearest.is_some() {
        (within(placement.x, display.x, free_x), within(placement.y, display.y, free_y))
    } else {
        (
            within(display.x, display.x, free_x) + (free_x / 2) as i32,
            within(display.y, display.y, free_y) + (free_y / 2) as i32,
        )
    };
    (width > 0 && height > 0).then_some(Placement { x, y, width, height, ..placement })
}

/// The area that both share, in pixels.
fn shared_area(placement: &Placement, display: &Display) -> u64 {
    let overlap = |start: i32, length: u32, other: i32, other_length: u32| {
        let end =
            (i64::from(start) + i64::from(length)).min(i64::from(other) + i64::from(other_length));
        (end - i64::from(start.max(other))).max(0) as u64
    };
    overlap(placement.x, placement.width, display.x, display.width)
        * overlap(placement.y, placement.height, display.y, display.height)
}

/// The nearest position to `wanted` between `start` and `free` pixels after it.
fn within(wanted: i32, start: i32, free: u32) -> i32 {
    let (start, free) = (i64::from(start), i64::from(free));
    i64::from(wanted).clamp(start, start + free).clamp(i32::MIN.into(), i32::MAX.into()) as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    const WIDE: Display = Display { x: 0, y: 30, width: 1920, height: 1050 };
    const LEFT: Display = Display { x: -1280, y: 0, width: 1280, height: 1024 };

    fn place(x: i32, y: i32, width: u32, height: u32) -> Placement {
        Placement { x, y, width, height, is_maximized: false }
    }

    #[test]
    fn a_place_on_a_display_stays() {
        for it in [place(100, 100, 800, 600), place(0, 30, 1920, 1050), place(-1280, 0, 500, 500)] {
            assert_eq!(fitted(it, &[WIDE, LEFT]), Some(it));
        }
        let maximized = Placement { is_maximized: true, ..place(5, 40, 700, 500) };
        assert_eq!(fitted(maximized, &[WIDE]), Some(maximized));
    }

    #[test]
    fn a_window_comes_back_from_a_display_that_is_gone() {
        let gone = fitted(place(-1200, 100, 800, 600), &[WIDE]).unwrap();
        assert_eq!(gone, place(560, 255, 800, 600));
        assert_eq!(fitted(place(0, 0, 800, 600), &[]), None);
    }

    #[test]
    fn a_window_is_never_off_the_screen_or_larger_than_it() {
        assert_eq!(fitted(place(1800, 900, 800, 600), &[WIDE]), Some(place(1120, 480, 800, 600)));
        assert_eq!(fitted(place(-200, 0, 800, 600), &[WIDE]), Some(place(0, 30, 800, 600)));
        assert_eq!(fitted(place(10, 40, 9000, 9000), &[WIDE]), Some(place(0, 30, 1920, 1050)));
    }

    #[test]
    fn damaged_places_are_harmless() {
        let extremes = [i32::MIN, -1, 0, 1, i32::MAX];
        for x in extremes {
            for y in extremes {
                for size in [0, 1, u32::MAX] {
                    let fitted = fitted(place(x, y, size, size), &[WIDE, LEFT]);
                    assert_eq!(fitted.is_some(), size > 0);
                    let is_on = |it: Placement| shared_area(&it, &WIDE) + shared_area(&it, &LEFT);
                    assert!(fitted.is_none_or(|it| is_on(it) > 0));
                }
            }
        }
    }

    #[test]
    fn the_file_is_read_as_it_was_written_and_others_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let file = PlacementFile::new(folder.path());
        assert_eq!(file.read(), None);
        write(&file.path, place(1, 2, 3, 4));
        assert_eq!(file.read(), Some(place(1, 2, 3, 4)));
        for damaged in ["", "[]", r#"{"x":1}"#, r#"{"x":1e99,"y":0,"width":-1,"height":0}"#] {
            std::fs::write(&file.path, damaged).unwrap();
            assert_eq!(file.read(), None);
        }
    }
}
