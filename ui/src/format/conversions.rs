//! Conversions in words and figures: what a type keeps, how far a conversion is, before and after.

use lilims_ipc::{Conversion, ConversionStage, ConversionState, Quality, Share, TensorProgress};

use super::models::{bytes, time_left};

/// How much of the original a type keeps.
pub(crate) fn quality(quality: Quality) -> &'static str {
    match quality {
        Quality::Lossless => "Lossless",
        Quality::Excellent => "Excellent",
        Quality::VeryGood => "Very good",
        Quality::Good => "Good",
        Quality::Fair => "Fair",
        Quality::Poor => "Poor",
    }
}

/// What a parameter takes: `4.5 bits a parameter`.
pub(crate) fn bits_per_weight(bits: f32) -> String {
    let text = format!("{bits:.1}");
    format!("{} bits a parameter", text.strip_suffix(".0").unwrap_or(&text))
}

/// What a conversion makes of what: `SmolLM2 135M → Q4_0`.
pub(crate) fn conversion_title(conversion: &Conversion) -> String {
    format!("{} → {}", conversion.title, conversion.request.target)
}

/// What a conversion does.
pub(crate) fn stage(stage: &ConversionStage) -> &'static str {
    match stage {
        ConversionStage::Starting => "Opening the model",
        ConversionStage::Preparing(_) => "Preparing",
        ConversionStage::Calibrating(_) => "Calibrating: learning what matters",
        ConversionStage::Converting(_) => "Converting",
        ConversionStage::Measuring(_) => "Measuring before and after",
    }
}

/// How much of a step is done, and of how much.
pub(crate) fn stage_share(stage: &ConversionStage) -> (u64, u64) {
    match stage {
        ConversionStage::Starting => (0, 1),
        ConversionStage::Preparing(it) | ConversionStage::Converting(it) => {
            (it.written_bytes, it.total_bytes)
        }
        ConversionStage::Calibrating(it) | ConversionStage::Measuring(it) => {
            (it.done.into(), it.total.into())
        }
    }
}

/// The figures of a step: `Tensor 45 of 272 · 34.1 MB of 91.7 MB · 20 s left`.
pub(crate) fn stage_line(stage: &ConversionStage, seconds_left: Option<u64>) -> String {
    let mut facts = match stage {
        ConversionStage::Starting => Vec::new(),
        ConversionStage::Preparing(it) | ConversionStage::Converting(it) => tensors(it),
        ConversionStage::Calibrating(it) | ConversionStage::Measuring(it) => vec![parts(*it)],
    };
    facts.extend(seconds_left.map(time_left));
    facts.join(" · ")
}

fn tensors(progress: &TensorProgress) -> Vec<String> {
    let TensorProgress { done, total, written_bytes, total_bytes, .. } = progress;
    let tensor = format!("Tensor {} of {total}", (done + 1).min(*total));
    vec![tensor, format!("{} of {}", bytes(*written_bytes), bytes(*total_bytes))]
}

fn parts(share: Share) -> String {
    format!("{}%", u64::from(share.done) * 100 / u64::from(share.total.max(1)))
}

/// How far a conversion is, in a line.
pub(crate) fn conversion_line(conversion: &Conversion) -> String {
    match &conversion.state {
        ConversionState::Running { is_ending: true, .. } => "Cancelling…".into(),
        ConversionState::Running { stage: now, step, n_steps, seconds_left, .. } => {
            let line = stage_line(now, *seconds_left);
            let facts = [stage(now).to_owned(), format!("step {step} of {n_steps}"), line];
            facts.into_iter().filter(|fact| !fact.is_empty()).collect::<Vec<_>>().join(" · ")
        }
        ConversionState::Done { size_bytes, figures, .. } => {
            let sizes = format!("{} → {}", bytes(conversion.source_bytes), bytes(*size_bytes));
            let perplexity = figures.as_ref().map(|it| {
                format!("perplexity {}", change(it.perplexity_before, it.perplexity_after))
            });
            ["In the library".to_owned(), sizes]
                .into_iter()
                .chain(perplexity)
                .collect::<Vec<_>>()
                .join(" · ")
        }
        ConversionState::Failed { .. } => "Broke off; nothing was left behind".into(),
        ConversionState::Cancelled => "Cancelled; nothing was left behind".into(),
    }
}

/// How much larger `after` is than `before`: `+3.1%`.
pub(crate) fn change(before: f64, after: f64) -> String {
    if before > 0.0 { signed_percent((after / before - 1.0) * 100.0) } else { String::new() }
}

fn signed_percent(percent: f64) -> String {
    let digits = if percent.abs() < 1.0 { 2 } else { 1 };
    let text = format!("{:.digits$}", percent.abs());
    let is_zero = text.bytes().all(|b| matches!(b, b'0' | b'.'));
    match percent {
        _ if is_zero => "±0%".into(),
        ..0.0 => format!("−{text}%"),
        _ => format!("+{text}%"),
    }
}

#[cfg(test)]
mod tests {
    use lilims_ipc::{ConversionRequest, Figures};

    use super::*;

    fn conversion(state: ConversionState) -> Conversion {
        let request = ConversionRequest {
            name: "m".into(),
            target: "Q4_0".into(),
            is_weighed: false,
            is_measured: true,
        };
        Conversion { id: 1, request, title: "M".into(), source_bytes: 98_362_432, state }
    }

    #[test]
    fn bits_have_a_decimal_where_they_need_one() {
        assert_eq!(bits_per_weight(8.0), "8 bits a parameter");
        assert_eq!(bits_per_weight(4.53), "4.5 bits a parameter");
    }

    #[test]
    fn a_line_tells_how_far_a_conversion_is() {
        let stage = ConversionStage::Converting(TensorProgress {
            done: 44,
            total: 272,
            name: "blk.4.attn_q.weight".into(),
            written_bytes: 34_100_000,
            total_bytes: 91_700_000,
        });
        let running = |is_ending| ConversionState::Running {
            stage: stage.clone(),
            step: 1,
            n_steps: 2,
            seconds_left: Some(20),
            is_ending,
        };
        assert_eq!(
            conversion_line(&conversion(running(false))),
            "Converting · step 1 of 2 · Tensor 45 of 272 · 34.1 MB of 91.7 MB · 20 s left"
        );
        assert_eq!(conversion_line(&conversion(running(true))), "Cancelling…");
        let figures = Figures {
            text: "t".into(),
            tokens: 9,
            perplexity_before: 20.0,
            perplexity_after: 21.0,
            mean_kl: 0.01,
            p99_kl: 0.1,
            same_top: 0.9,
        };
        let done = ConversionState::Done {
            name: "m-q4_0".into(),
            size_bytes: 91_700_000,
            figures: Some(figures),
            unmeasured: None,
        };
        assert_eq!(
            conversion_line(&conversion(done)),
            "In the library · 98.4 MB → 91.7 MB · perplexity +5.0%"
        );
        assert_eq!(conversion_title(&conversion(ConversionState::Cancelled)), "M → Q4_0");
    }

    #[test]
    fn changes_have_signs() {
        assert_eq!(change(98.4, 91.7), "−6.8%");
        assert_eq!(change(20.0, 20.1), "+0.50%");
        assert_eq!(change(20.0, 20.000_1), "±0%");
        assert_eq!(change(0.0, 1.0), "");
    }
}
