//! What a download would take, before it begins: its room, and the models that would leave for it.

use leptos::prelude::*;
use lilims_ipc::{DownloadPlan, PlanModel};

use super::parts::{Aftermath, ErrorLine};
use crate::components::panel::Panel;
use crate::format::{self, Clock};
use crate::state::{Action, Concern, HubFile, LibraryState, last_part};

/// The dialogue.
#[component]
pub(super) fn PlanDialog(
    /// The plan.
    plan: DownloadPlan,
    /// The state of the library.
    state: LibraryState,
    /// When the page was drawn.
    clock: Clock,
    /// Called with what shall be done.
    act: Callback<Action>,
) -> impl IntoView {
    let close = Callback::new(move |()| state.plan.set(None));
    let can_go = plan.obstacle.is_none();
    let agree =
        Action::Download(HubFile { repository: plan.repository.clone(), file: plan.file.clone() });
    let label = confirm_label(plan.removes.len());
    let is_busy = Memo::new(move |_| state.is_busy(&Concern::Plan));
    view! {
        <Panel id="plan-dialog" title="Download" close_label="Close" on_close=close>
            <div class="plan">
                <p class="plan-file">{last_part(&plan.file).to_owned()}</p>
                <p class="plan-summary">{summary(&plan)}</p>
                {models("Will be removed", &plan.removes, |model| leaving(model, clock))}
                {models("Stays", &plan.keeps, staying)}
                {plan.obstacle.map(|obstacle| view! { <ErrorLine error=Signal::stored(Some(obstacle))/> })}
                <Aftermath state concern=Concern::Plan/>
                <div class="plan-buttons">
                    <button type="button" class="button" data-testid="plan-cancel" on:click=move |_| close.run(())>
                        {if can_go { "Cancel" } else { "Close" }}
                    </button>
                    {can_go.then(|| view! {
                        <button
                            type="button"
                            class="button primary"
                            data-testid="plan-confirm"
                            disabled=is_busy
                            on:click=move |_| act.run(agree.clone())
                        >
                            {label}
                        </button>
                    })}
                </div>
            </div>
        </Panel>
    }
}

/// Models that leave or stay, under a title; nothing where there are none.
pub(super) fn models(
    title: &'static str,
    models: &[PlanModel],
    line: impl Fn(&PlanModel) -> String,
) -> Option<AnyView> {
    let row = |model: &PlanModel| {
        view! {
            <li>
                <strong>{model.title.clone()}</strong>
                <span>{line(model)}</span>
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
    let needed = format!("Needs {}", format::bytes(plan.needed_bytes));
    let freed: u64 = plan.removes.iter().map(|model| model.disk_bytes).sum();
    match (&plan.obstacle, plan.removes.len()) {
        (Some(_), _) => format!("{needed}."),
        (None, 0) => format!("{needed}. There is room; nothing is removed."),
        (None, 1) => format!(
            "{needed}. For that one model leaves this device and frees {}.",
            format::bytes(freed)
        ),
        (None, count) => {
            format!(
                "{needed}. For that {count} models leave this device and free {}.",
                format::bytes(freed)
            )
        }
    }
}

/// What a model that leaves frees, and when it was used.
pub(super) fn leaving(model: &PlanModel, clock: Clock) -> String {
    format!(
        "{} · {}",
        format::bytes(model.disk_bytes),
        format::last_used(model.last_used_ms, clock)
    )
}

fn staying(model: &PlanModel) -> String {
    format!("{} · {}", format::bytes(model.disk_bytes), model.why)
}

fn confirm_label(removed: usize) -> String {
    match removed {
        0 => "Download".into(),
        1 => "Remove 1 and download".into(),
        count => format!("Remove {count} and download"),
    }
}

#[cfg(test)]
mod tests {
    use lilims_ipc::{Error, ErrorCode};

    use super::*;

    fn model(title: &str, disk_bytes: u64) -> PlanModel {
        PlanModel {
            name: title.into(),
            title: title.into(),
            disk_bytes,
            last_used_ms: None,
            why: "pinned".into(),
        }
    }

    #[test]
    fn a_plan_says_what_it_takes() {
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
            "Needs 4.1 GB. For that 2 models leave this device and free 4.2 GB."
        );
        plan.obstacle = Some(Error {
            code: ErrorCode::NoRoom,
            message: "The disk is full.".into(),
            detail: None,
        });
        assert_eq!(summary(&plan), "Needs 4.1 GB.", "the obstacle says the rest");
    }

    #[test]
    fn models_that_leave_and_stay_say_why() {
        let clock = Clock { now_ms: 0, ahead_minutes: 0 };
        assert_eq!(leaving(&model("A", 2_300_000_000), clock), "2.3 GB · never used");
        assert_eq!(staying(&model("C", 1_000_000_000)), "1.0 GB · pinned");
        assert_eq!(confirm_label(2), "Remove 2 and download");
    }
}
