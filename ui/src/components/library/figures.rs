//! A conversion in figures: the file and what it predicts, before and after.

use leptos::prelude::*;
use lilims_ipc::Figures;

use crate::format;

/// The table.
#[component]
pub(super) fn FiguresTable(
    /// The length of the source's file.
    before_bytes: u64,
    /// The length of the result's file.
    after_bytes: u64,
    /// What measuring has shown, where it was done.
    figures: Option<Figures>,
) -> impl IntoView {
    let size = row(
        "File",
        format::bytes(before_bytes),
        format::bytes(after_bytes),
        format::change(before_bytes as f64, after_bytes as f64),
    );
    let perplexity = figures.as_ref().map(|it| {
        let change = format::change(it.perplexity_before, it.perplexity_after);
        row("Perplexity", perplexity(it.perplexity_before), perplexity(it.perplexity_after), change)
    });
    let notes = figures.map_or_else(unmeasured, |it| measured(&it));
    view! {
        <div class="figures" data-testid="figures">
            <table>
                <thead>
                    <tr>
                        <td></td>
                        <th scope="col">"Before"</th>
                        <th scope="col">"After"</th>
                        <th scope="col">"Change"</th>
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

fn measured(figures: &Figures) -> AnyView {
    let same_top = format!("{:.1}%", figures.same_top * 100.0);
    let mean_kl = format!("{:.4}", figures.mean_kl);
    let text = format!(
        "Measured on {} tokens of the text “{}”. A lower perplexity is better.",
        format::count(figures.tokens.try_into().unwrap_or(u32::MAX)),
        figures.text
    );
    view! {
        <dl>
            <div title="How often both find the same next token likeliest">
                <dt>"Same top choice"</dt>
                <dd data-testid="figures-same-top">{same_top}</dd>
            </div>
            <div title="How far their probabilities are apart, in nats a token; 0 is the same">
                <dt>"KL divergence, mean"</dt>
                <dd>{mean_kl}</dd>
            </div>
        </dl>
        <p>{text}</p>
    }
    .into_any()
}

fn unmeasured() -> AnyView {
    view! { <p>"Not measured."</p> }.into_any()
}

fn perplexity(perplexity: f64) -> String {
    format!("{perplexity:.2}")
}
