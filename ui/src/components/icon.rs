//! The icons: line drawings on a 20 × 20 grid, in the colour of the surrounding text.

use leptos::prelude::*;

/// The outline of an icon.
#[derive(Clone, Copy)]
pub(crate) enum Icon {
    /// An arrow up.
    Send,
    /// A paper clip.
    Attach,
    /// A filled square.
    Stop,
    /// A pencil on a sheet.
    NewChat,
    /// Two sliders.
    Settings,
    /// Two sheets.
    Copy,
    /// A tick.
    Check,
    /// An arrow in a circle.
    Again,
    /// A pencil.
    Edit,
    /// An arrow down.
    Down,
    /// A cross.
    Close,
    /// An i in a circle.
    Info,
    /// Three books.
    Library,
    /// An angle that points back.
    Back,
    /// An angle that points down.
    Unfold,
    /// A pin.
    Pin,
    /// A shield with a tick.
    Verify,
    /// A bin.
    Remove,
    /// Two bars.
    Pause,
    /// A triangle.
    Resume,
    /// An arrow onto a line.
    Download,
    /// A lens.
    Search,
    /// A folder.
    Folder,
    /// An arrow out of a tray.
    Import,
    /// A lock.
    Lock,
    /// A triangle over a line.
    Unload,
    /// Arrows towards each other.
    Convert,
    /// A window with a column.
    Sidebar,
    /// Three dots.
    More,
    /// A line that forks.
    Branch,
    /// Two lines that leave one, with ends.
    Map,
    /// A box with a lid.
    Archive,
    /// An angle that points on.
    Forward,
    /// An arrow that goes on to the right.
    Continue,
    /// An arrow back.
    Undo,
}

impl Icon {
    fn path(self) -> &'static str {
        match self {
            Self::Send => "M10 16V4.5M5 9.2l5-5 5 5",
            Self::Attach => {
                "M15.5 9.3l-5.6 5.6a3.4 3.4 0 0 1-4.8-4.8l5.9-5.9a2.3 2.3 0 0 1 3.2 3.2l-5.7 5.7a1.1 1.1 0 0 1-1.6-1.6l5.2-5.2"
            }
            Self::Stop => "M6.5 6.5h7v7h-7z",
            Self::NewChat => {
                "M9.5 4H6a2 2 0 0 0-2 2v8a2 2 0 0 0 2 2h8a2 2 0 0 0 2-2v-3.5M15.2 3.3a1.2 1.2 0 0 1 1.6 1.7L11 10.8l-2.5.7.8-2.4z"
            }
            Self::Settings => {
                "M3.5 6.5h7M14.5 6.5h2M3.5 13.5h2M9.5 13.5h7M12.5 4.5a2 2 0 1 1 0 4 2 2 0 0 1 0-4zM7.5 11.5a2 2 0 1 1 0 4 2 2 0 0 1 0-4z"
            }
            Self::Copy => {
                "M7.5 7.5V5a1.5 1.5 0 0 1 1.5-1.5h6A1.5 1.5 0 0 1 16.5 5v6A1.5 1.5 0 0 1 15 12.5h-2.5M5 7.5h6A1.5 1.5 0 0 1 12.5 9v6a1.5 1.5 0 0 1-1.5 1.5H5A1.5 1.5 0 0 1 3.5 15V9A1.5 1.5 0 0 1 5 7.5z"
            }
            Self::Check => "M4.5 10.5l3.7 3.7 7.3-8",
            Self::Again => "M15.8 8A6.2 6.2 0 1 0 16.2 11.2M16.2 4v4.2H12",
            Self::Edit => "M13.3 4.1a1.6 1.6 0 0 1 2.5 2.1l-8.3 8.5-3.5 1 .9-3.6z",
            Self::Down => "M10 4v11.5M5 10.8l5 5 5-5",
            Self::Close => "M5.5 5.5l9 9M14.5 5.5l-9 9",
            Self::Library => "M3.5 4h3v12h-3zM6.5 4h3v12h-3zM11.2 5.2l2.8-.8 3 11.2-2.8.8z",
            Self::Back => "M12 4.5L6.5 10l5.5 5.5",
            Self::Unfold => "M6 8l4 4 4-4",
            Self::Pin => "M7 3.5h6M8.2 3.5v4.7L6 11.5h8l-2.2-3.3V3.5M10 11.5v5",
            Self::Verify => {
                "M10 3l5.5 2v4.6c0 3.3-2.2 5.9-5.5 7.4-3.3-1.5-5.5-4.1-5.5-7.4V5zM7.4 9.9l1.9 1.9 3.4-3.6"
            }
            Self::Remove => {
                "M4 5.8h12M8 5.5V4h4v1.5M5.6 5.8l.7 9.1a1.2 1.2 0 0 0 1.2 1.1h5a1.2 1.2 0 0 0 1.2-1.1l.7-9.1"
            }
            Self::Pause => "M7.5 5v10M12.5 5v10",
            Self::Resume => "M7 4.8l8 5.2-8 5.2z",
            Self::Download => "M10 3.5v9M6 8.6l4 4 4-4M4.5 16h11",
            Self::Search => "M9 4a5 5 0 1 1 0 10A5 5 0 0 1 9 4zM12.7 12.7L16 16",
            Self::Folder => {
                "M3.5 6A1.5 1.5 0 0 1 5 4.5h3l1.7 2H15A1.5 1.5 0 0 1 16.5 8v6a1.5 1.5 0 0 1-1.5 1.5H5A1.5 1.5 0 0 1 3.5 14z"
            }
            Self::Import => {
                "M10 12.5V4M6.5 7.2L10 3.7l3.5 3.5M4 12v2.5A1.5 1.5 0 0 0 5.5 16h9a1.5 1.5 0 0 0 1.5-1.5V12"
            }
            Self::Lock => "M6.5 9V7a3.5 3.5 0 0 1 7 0v2M5.5 9h9v7h-9z",
            Self::Convert => "M3.5 7h11M11.5 4l3 3-3 3M16.5 13h-11M8.5 10l-3 3 3 3",
            Self::More => {
                "M5 9.4a.6.6 0 1 1 0 1.2.6.6 0 0 1 0-1.2zM10 9.4a.6.6 0 1 1 0 1.2.6.6 0 0 1 0-1.2zM15 9.4a.6.6 0 1 1 0 1.2.6.6 0 0 1 0-1.2z"
            }
            Self::Unload => "M10 4.5l5.5 6.5h-11zM4.5 15h11",
            Self::Sidebar => {
                "M5 4h10a1.5 1.5 0 0 1 1.5 1.5v9A1.5 1.5 0 0 1 15 16H5a1.5 1.5 0 0 1-1.5-1.5v-9A1.5 1.5 0 0 1 5 4zM8 4v12"
            }
            Self::Branch => "M6 4v12M6 11.5c0-3 8-1.5 8-5V4M11.8 6L14 3.8 16.2 6",
            Self::Map => {
                "M5.5 3.5v13M5.5 6.5h7M5.5 13.5h7M12.5 5a1.5 1.5 0 1 1 0 3 1.5 1.5 0 0 1 0-3zM12.5 12a1.5 1.5 0 1 1 0 3 1.5 1.5 0 0 1 0-3z"
            }
            Self::Archive => {
                "M3.5 4.5h13v3h-13zM4.5 7.5v7a1 1 0 0 0 1 1h9a1 1 0 0 0 1-1v-7M8 10.5h4"
            }
            Self::Forward => "M8 4.5l5.5 5.5L8 15.5",
            Self::Continue => "M4 6h6M4 10h12M12.5 6.5L16 10l-3.5 3.5M4 14h6",
            Self::Undo => "M7 4.5L3.5 8 7 11.5M3.8 8H12a4.2 4.2 0 0 1 0 8.4H8.5",
            Self::Info => "M10 3.5a6.5 6.5 0 1 1 0 13 6.5 6.5 0 0 1 0-13zM10 9.3v4M10 6.6v.2",
        }
    }

    /// The drawing, hidden from screen readers: the control around it has the label.
    pub(crate) fn view(self) -> impl IntoView {
        // These point along the line, which runs from right to left in some languages.
        let follows_line = matches!(self, Self::Back | Self::Forward | Self::Continue | Self::Undo);
        view! {
            <svg class="icon" class:follows-line=follows_line viewBox="0 0 20 20" aria-hidden="true" focusable="false">
                <path d=self.path()></path>
            </svg>
        }
    }
}

/// The logo, a crescent.
pub(crate) fn mark() -> impl IntoView {
    view! {
        <svg class="mark" viewBox="0 0 20 20" aria-hidden="true" focusable="false">
            <path d="M12.6 2.3a8 8 0 1 0 5.1 10.4A6.6 6.6 0 0 1 12.6 2.3z"></path>
        </svg>
    }
}
