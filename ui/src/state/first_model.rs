//! The first model: which one is offered where none is on this device, and what its download needs
//! next.

use lilims_ipc::{Download, DownloadPlan, DownloadState, Recommended, Verdict};

use super::library::HubFile;

/// The model to offer: of those that fit this device the one that is here soonest, and the smallest
/// of all where none fits.
pub(crate) fn first_model(catalogue: &[Recommended]) -> Option<&Recommended> {
    let fits = |model: &&Recommended| model.verdict != Verdict::TooLarge;
    let smallest = |model: &&Recommended| model.size_bytes;
    catalogue
        .iter()
        .filter(fits)
        .min_by_key(smallest)
        .or_else(|| catalogue.iter().min_by_key(smallest))
}

/// What comes after a press on *Download*.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum FirstStep {
    /// The plan takes nothing away: download.
    Download,
    /// Something stands in the way, or models would leave: that is for the person to see.
    ShowPlan,
    /// The model with this short name is here: use it.
    Use(String),
}

/// What to do next about the `awaited` file, if anything can be done now.
pub(crate) fn next_step(
    awaited: &HubFile,
    plan: Option<&DownloadPlan>,
    downloads: &[Download],
) -> Option<FirstStep> {
    let is_its =
        |repository: &str, file: &str| repository == awaited.repository && file == awaited.file;
    if let Some(plan) = plan.filter(|plan| is_its(&plan.repository, &plan.file)) {
        let is_free = plan.obstacle.is_none() && plan.removes.is_empty();
        return Some(if is_free { FirstStep::Download } else { FirstStep::ShowPlan });
    }
    downloads.iter().filter(|it| is_its(&it.repository, &it.file)).find_map(|it| match &it.state {
        DownloadState::Done { name } => Some(FirstStep::Use(name.clone())),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(id: &str, size_bytes: u64, verdict: Verdict) -> Recommended {
        Recommended {
            id: id.into(),
            title: id.into(),
            repository: "o/r".into(),
            file: format!("{id}.gguf"),
            size_bytes,
            licence: "MIT".into(),
            context_tokens: 1,
            good_at: String::new(),
            is_hash_verified: true,
            verdict,
            here: None,
        }
    }

    #[test]
    fn the_smallest_that_fits_is_offered() {
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
    fn nothing_leaves_for_the_first_model_unseen() {
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
        plan.removes.push(lilims_ipc::PlanModel {
            name: "b".into(),
            title: "b".into(),
            disk_bytes: 1,
            last_used_ms: None,
            why: String::new(),
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
