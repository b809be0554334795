//! The dialog before a download: the space it needs, and the models that are removed for it.

use leptos::prelude::*;
use lilims_ipc::{DownloadPlan, PlannedModel};

use super::parts::{ActionResult, ErrorLine};
use crate::components::panel::Panel;
use crate::components::untrusted::UntrustedName;
use crate::format::{self, Clock};
use crate::state::{Action, Concern, HubFile, LibraryState, file_name};
use crate::text::{self, text};

/// The dialog.
#[component]
pub(super) fn PlanDialog(
    /// The plan.
    plan: DownloadPlan,
    /// The state of the library.
    state: LibraryState,
    /// The time when the page was drawn.
    clock: Clock,
    /// Called with the requested action.
    act: Callback<Action>,
) -> impl IntoView {
    let close = Callback::new(move |()| state.plan.set(None));
    let can_go = plan.obstacle.is_none();
    let confirm = Action::Download {
        file: HubFile { repository: plan.repository.clone(), file: plan.file.clone() },
        agreed_removals: plan.removes.iter().map(|model| model.name.clone()).collect(),
    };
    let label = confirm_label(plan.removes.len());
    let is_busy = Memo::new(move |_| state.is_busy(&Concern::Plan));
    view! {
        <Panel id="plan-dialog" title=text!(plan.title) close_label=text!(button.close) on_close=close>
            <div class="plan">
                <p class="plan-file"><UntrustedName text=file_name(&plan.file).to_owned()/></p>
                <p class="plan-summary">{summary(&plan)}</p>
                {models(text!(plan.will_be_removed), &plan.removes, |model| removed_line(model, clock))}
                {models(text!(plan.stays), &plan.keeps, kept_line)}
                {plan.obstacle.map(|obstacle| view! { <ErrorLine error=Signal::stored(Some(obstacle))/> })}
                <ActionResult state concern=Concern::Plan/>
                <div class="plan-buttons">
                    <button type="button" class="button" data-testid="plan-cancel" on:click=move |_| close.run(())>
                        {if can_go { text!(button.cancel) } else { text!(button.close) }}
                    </button>
                    {can_go.then(|| view! {
                        <button
                            type="button"
                            class="button primary"
                            data-testid="plan-confirm"
                            disabled=is_busy
                            on:click=move |_| act.run(confirm.clone())
                        >
                            {label}
                        </button>
                    })}
                </div>
            </div>
        </Panel>
    }
}

/// A titled list of models; nothing if it is empty.
pub(super) fn models(
    title: &'static str,
    models: &[PlannedModel],
    line: impl Fn(&PlannedModel) -> String,
) -> Option<AnyView> {
    let row = |model: &PlannedModel| {
        view! {
            <li>
                <strong><UntrustedName text=model.title.clone()/></strong>
                <span><UntrustedName text=line(model)/></span>
            </li>
        }
    };
    let rows = models.iter().map(row).collect_view();
    (!models.is_empty()).then(|| {
        view! {
            <div class="plan-models">
                <h3>{title}</h3>
                <ul>{rows}</ul>
            </div>
        }
        .into_any()
    })
}

fn summary(plan: &DownloadPlan) -> String {
    let size = format::bytes(plan.needed_bytes);
    let freed = format::bytes(plan.removes.iter().map(|model| model.disk_bytes).sum());
    match (&plan.obstacle, plan.removes.len()) {
        (Some(_), _) => text!(plan.needs, size),
        (None, 0) => text!(plan.needs_nothing_removed, size),
        (None, count) => text!(plan.needs_removes, count, size, freed),
    }
}

/// The space that a removed model frees, and when it was last used.
pub(super) fn removed_line(model: &PlannedModel, clock: Clock) -> String {
    let last_used = format::last_used(model.last_used_ms, clock);
    format::facts([format::bytes(model.disk_bytes), last_used])
}

fn kept_line(model: &PlannedModel) -> String {
    let why = model.stays.map(text::stay_reason).unwrap_or_default();
    format::facts([format::bytes(model.disk_bytes), why.to_owned()])
}

fn confirm_label(removed: usize) -> String {
    match removed {
        0 => text!(button.download).into(),
        count => text!(plan.confirm_removes, count),
    }
}

#[cfg(test)]
mod tests {
    use lilims_ipc::{Problem, StayReason};

    use super::*;

    fn model(title: &str, disk_bytes: u64) -> PlannedModel {
        PlannedModel {
            name: title.into(),
            title: title.into(),
            disk_bytes,
            last_used_ms: None,
            stays: Some(StayReason::Pinned),
        }
    }

    #[test]
    fn summarises_a_plan() {
        let mut plan = DownloadPlan {
            repository: "a/b".into(),
            file: "c.gguf".into(),
            needed_bytes: 4_100_000_000,
            removes: Vec::new(),
            keeps: Vec::new(),
            obstacle: None,
        };
        assert_eq!(summary(&plan), "Needs 4.1 GB. There is room; nothing is removed.");
        plan.removes = vec![model("A", 2_300_000_000), model("B", 1_900_000_000)];
        assert_eq!(
            summary(&plan),
            "Needs 4.1 GB. 2 models are removed from this device for it, which frees 4.2 GB."
        );
        plan.obstacle = Some(Problem::DiskFull { needed_bytes: 2, free_bytes: 1 }.into());
        assert_eq!(summary(&plan), "Needs 4.1 GB.", "the obstacle says the rest");
    }

    #[test]
    fn formats_removed_and_kept_models() {
        let clock = Clock { now_ms: 0, ahead_minutes: 0 };
        assert_eq!(removed_line(&model("A", 2_300_000_000), clock), "2.3 GB · never used");
        assert_eq!(kept_line(&model("C", 1_000_000_000)), "1.0 GB · pinned");
        assert_eq!(confirm_label(2), "Remove 2 and download");
    }
}
