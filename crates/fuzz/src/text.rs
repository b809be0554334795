//! The few texts of the page that its Markdown shows, in place of the page's catalogue.

macro_rules! text {
    (prose.footnote, $number:expr) => {
        format!("Footnote {}", $number)
    };
    ($section:ident.$key:ident) => {
        stringify!($key)
    };
}

pub(crate) use text;
