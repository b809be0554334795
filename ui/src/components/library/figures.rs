//! The figures of a conversion: file size and perplexity, before and after.

use leptos::prelude::*;
use lilims_ipc::Measurement;

use crate::format;
use crate::text::text;

/// The table.
#[component]
pub(super) fn FiguresTable(
    /// The size of the source file.
    before_bytes: u64,
    /// The size of the resulting file.
    after_bytes: u64,
    /// The measured quality; `None` if it was not measured.
    figures: Option<Measurement>,
) -> impl IntoView {
    let size = row(
        text!(figures.file),
        format::bytes(before_bytes),
        format::bytes(after_bytes),
        format::change(before_bytes as f64, after_bytes as f64),
    );
    let perplexity = figures.as_ref().map(|it| {
        let change = format::change(it.perplexity_before, it.perplexity_after);
        let (before, after) = (perplexity(it.perplexity_before), perplexity(it.perplexity_after));
        row(text!(figures.perplexity), before, after, change)
    });
    let notes = figures.map_or_else(unmeasured, |it| measured(&it));
    view! {
        <div class="figures" data-testid="figures">
            <table>
                <thead>
                    <tr>
                        <td></td>
                        <th scope="col">{text!(figures.before)}</th>
                        <th scope="col">{text!(figures.after)}</th>
                        <th scope="col">{text!(figures.change)}</th>
                    </tr>
                </thead>
                <tbody>{size}{perplexity}</tbody>
            </table>
            {notes}
        </div>
    }
}

fn row(name: &'static str, before: String, after: String, change: String) -> impl IntoView {
    view! {
        <tr>
            <th scope="row">{name}</th>
            <td>{before}</td>
            <td>{after}</td>
            <td>{change}</td>
        </tr>
    }
}

fn measured(figures: &Measurement) -> AnyView {
    let same_top = text!(unit.percent, value = format::decimal(figures.same_top * 100.0, 1));
    let mean_kl = format::decimal(figures.mean_kl, 4);
    let basis = text!(
        figures.measured_on,
        count = figures.tokens,
        number = format::count(figures.tokens),
        text = figures.text.clone()
    );
    view! {
        <dl>
            <div title=text!(figures.same_top_hint)>
                <dt>{text!(figures.same_top)}</dt>
                <dd data-testid="figures-same-top">{same_top}</dd>
            </div>
            <div title=text!(figures.mean_kl_hint)>
                <dt>{text!(figures.mean_kl)}</dt>
                <dd>{mean_kl}</dd>
            </div>
        </dl>
        <p>{basis}</p>
    }
    .into_any()
}

fn unmeasured() -> AnyView {
    view! { <p>{text!(figures.not_measured)}</p> }.into_any()
}

fn perplexity(perplexity: f64) -> String {
    format::decimal(perplexity, 2)
}
