//! The first model: which one is offered if none is on this device, and the next step of its
//! download.

use lilims_ipc::{CatalogueModel, Download, DownloadPlan, DownloadState, Verdict};

use super::actions::HubFile;

/// The model to offer: the smallest that fits this device, or the smallest of all if none fits.
pub(crate) fn first_model(catalogue: &[CatalogueModel]) -> Option<&CatalogueModel> {
    let fits = |model: &&CatalogueModel| model.verdict != Verdict::TooLarge;
    let smallest = |model: &&CatalogueModel| model.size_bytes;
    catalogue
        .iter()
        .filter(fits)
        .min_by_key(smallest)
        .or_else(|| catalogue.iter().min_by_key(smallest))
}

/// A step after *Download* was pressed.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum FirstStep {
    /// The plan removes nothing: download.
    Download,
    /// The plan has an obstacle or removes models: show it to the user.
    ShowPlan,
    /// The model with this short name is downloaded: use it.
    Use(String),
}

/// The next step for the `awaited` file, if there is one now.
pub(crate) fn next_step(
    awaited: &HubFile,
    plan: Option<&DownloadPlan>,
    downloads: &[Download],
) -> Option<FirstStep> {
    let is_awaited =
        |repository: &str, file: &str| repository == awaited.repository && file == awaited.file;
    if let Some(plan) = plan.filter(|plan| is_awaited(&plan.repository, &plan.file)) {
        let is_free = plan.obstacle.is_none() && plan.removes.is_empty();
        return Some(if is_free { FirstStep::Download } else { FirstStep::ShowPlan });
    }
    downloads.iter().filter(|it| is_awaited(&it.repository, &it.file)).find_map(|it| {
        match &it.state {
            DownloadState::Done { name } => Some(FirstStep::Use(name.clone())),
            _ => None,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(id: &str, size_bytes: u64, verdict: Verdict) -> CatalogueModel {
        CatalogueModel {
            id: id.into(),
            title: id.into(),
            repository: "o/r".into(),
            file: format!("{id}.gguf"),
            size_bytes,
            licence: "MIT".into(),
            context_tokens: 1,
            is_hash_verified: true,
            verdict,
            here: None,
        }
    }

    #[test]
    fn offers_the_smallest_that_fits() {
        let catalogue = [
            model("large", 9, Verdict::TooLarge),
            model("middle", 5, Verdict::Fits),
            model("small", 3, Verdict::Tight),
        ];
        assert_eq!(first_model(&catalogue).map(|it| &*it.id), Some("small"));
        assert_eq!(first_model(&catalogue[..1]).map(|it| &*it.id), Some("large"));
        assert_eq!(first_model(&[]), None);
    }

    #[test]
    fn models_are_not_removed_without_showing_the_plan() {
        let awaited = HubFile { repository: "o/r".into(), file: "a.gguf".into() };
        let mut plan = DownloadPlan {
            repository: "o/r".into(),
            file: "a.gguf".into(),
            needed_bytes: 1,
            removes: Vec::new(),
            keeps: Vec::new(),
            obstacle: None,
        };
        assert_eq!(next_step(&awaited, None, &[]), None);
        assert_eq!(next_step(&awaited, Some(&plan), &[]), Some(FirstStep::Download));
        plan.removes.push(lilims_ipc::PlannedModel {
            name: "b".into(),
            title: "b".into(),
            disk_bytes: 1,
            last_used_ms: None,
            stays: None,
        });
        assert_eq!(next_step(&awaited, Some(&plan), &[]), Some(FirstStep::ShowPlan));
        plan.file = "other.gguf".into();
        let mut download = Download {
            id: 1,
            repository: "o/r".into(),
            file: "a.gguf".into(),
            state: DownloadState::Running,
            done_bytes: 0,
            total_bytes: 1,
            bytes_per_second: None,
            seconds_left: None,
        };
        assert_eq!(next_step(&awaited, Some(&plan), std::slice::from_ref(&download)), None);
        download.state = DownloadState::Done { name: "a".into() };
        assert_eq!(next_step(&awaited, None, &[download]), Some(FirstStep::Use("a".into())));
    }
}
