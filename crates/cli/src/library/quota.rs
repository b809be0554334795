//! `lilims quota`: how much of the disk models may take.

use anyhow::Result;
use clap::Args;
use lilims_ipc::Storage;
use lilims_terminal::{output, words};

/// How many characters the bar has.
const BAR: usize = 40;

#[derive(Args)]
pub(crate) struct Quota {
    /// A size such as 20GB or 20GiB, or `default`: a fifth of the disk. Nothing is removed by this.
    #[arg(value_name = "SIZE | default", value_parser = choice)]
    choice: Option<Choice>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Choice {
    Default,
    Bytes(u64),
}

fn choice(text: &str) -> Result<Choice, String> {
    match text {
        "default" => Ok(Choice::Default),
        _ => words::size(text).map(Choice::Bytes),
    }
}

impl Quota {
    pub(crate) fn run(self) -> Result<()> {
        let library = super::open()?;
        match self.choice {
            Some(Choice::Default) => library.set_quota(None)?,
            Some(Choice::Bytes(bytes)) => library.set_quota(Some(bytes))?,
            None => {}
        }
        Ok(output::show(&text(&library.storage()?))?)
    }
}

fn text(storage: &Storage) -> String {
    let size = output::disk_size;
    let Storage { used_bytes: used, quota_bytes: quota, .. } = *storage;
    let share = used as f64 / quota.max(1) as f64;
    let filled = ((share * BAR as f64).round() as usize).min(BAR);
    let bar = format!("[{}{}]", "#".repeat(filled), ".".repeat(BAR - filled));
    let how = if storage.is_default_quota { " (the default)" } else { "" };
    let mut text = format!("{bar} {:.0}%\n", share * 100.0);
    let mut rows = vec![
        ("used", size(used)),
        ("quota", format!("{}{how}", size(quota))),
        ("free on the disk", size(storage.free_bytes)),
        ("in other folders", size(storage.in_place_bytes)),
        ("our folder", storage.folder.clone()),
    ];
    if storage.unfinished_bytes > 0 {
        rows.insert(1, ("of it unfinished", size(storage.unfinished_bytes)));
    }
    text.push_str(&output::fields(rows));
    if used > quota {
        text.push_str("More is here than the quota allows: the next pull removes what was not used longest.\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotas_are_sizes_or_the_default() {
        assert_eq!(choice("default"), Ok(Choice::Default));
        assert_eq!(choice("20GB"), Ok(Choice::Bytes(20_000_000_000)));
        assert!(choice("50%").is_err());
    }

    #[test]
    fn the_bar_never_overflows() {
        let storage = Storage { used_bytes: 30, quota_bytes: 10, ..Storage::default() };
        let text = text(&storage);
        assert!(text.starts_with(&format!("[{}] 300%", "#".repeat(BAR))), "{text}");
        assert!(text.contains("More is here"), "{text}");
    }
}
