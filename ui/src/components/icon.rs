//! The icons: one-colour line drawings on a grid of 20, in the colour of the text around them.

use leptos::prelude::*;

/// The outline of an icon.
#[derive(Clone, Copy)]
pub(crate) enum Icon {
    /// An arrow up.
    Send,
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
}

impl Icon {
    fn path(self) -> &'static str {
        match self {
            Self::Send => "M10 16V4.5M5 9.2l5-5 5 5",
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
            Self::Info => "M10 3.5a6.5 6.5 0 1 1 0 13 6.5 6.5 0 0 1 0-13zM10 9.3v4M10 6.6v.2",
        }
    }

    /// The drawing. It says nothing to a screen reader: the control around it has the label.
    pub(crate) fn view(self) -> impl IntoView {
        view! {
            <svg class="icon" viewBox="0 0 20 20" aria-hidden="true" focusable="false">
                <path d=self.path()></path>
            </svg>
        }
    }
}

/// The crescent of Lilims.
pub(crate) fn mark() -> impl IntoView {
    view! {
        <svg class="mark" viewBox="0 0 20 20" aria-hidden="true" focusable="false">
            <path d="M12.6 2.3a8 8 0 1 0 5.1 10.4A6.6 6.6 0 0 1 12.6 2.3z"></path>
        </svg>
    }
}
