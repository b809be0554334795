//! Conversions in words: the quality of a type, progress, and the change in size and perplexity.

use lilims_ipc::{Conversion, ConversionStage, ConversionState, Quality, Share, TensorProgress};

use super::models::{bytes, time_left};
use super::{count, decimal, facts, number, percent, percent_text};
use crate::text::text;

/// How much of the original's quality a type keeps.
pub(crate) fn quality(quality: Quality) -> &'static str {
    match quality {
        Quality::Lossless => text!(convert.lossless),
        Quality::Excellent => text!(convert.excellent),
        Quality::VeryGood => text!(convert.very_good),
        Quality::Good => text!(convert.good),
        Quality::Fair => text!(convert.fair),
        Quality::Poor => text!(convert.poor),
    }
}

/// The size of a parameter: `4.5 bits per parameter`.
pub(crate) fn bits_per_weight(bits: f32) -> String {
    let is_whole = number::fixed(bits.into(), 1).ends_with(".0");
    text!(unit.bits_per_parameter, value = decimal(bits.into(), if is_whole { 0 } else { 1 }))
}

/// The source and target of a conversion: `SmolLM2 135M → Q4_0`.
pub(crate) fn conversion_title(conversion: &Conversion) -> String {
    text!(
        convert.name_of,
        title = conversion.title.clone(),
        target = conversion.request.target.clone()
    )
}

/// What a conversion is doing.
pub(crate) fn stage(stage: &ConversionStage) -> &'static str {
    match stage {
        ConversionStage::Starting => text!(convert.starting),
        ConversionStage::Preparing(_) => text!(convert.preparing),
        ConversionStage::Calibrating(_) => text!(convert.calibrating),
        ConversionStage::Converting(_) => text!(convert.converting),
        ConversionStage::Measuring(_) => text!(convert.measuring),
    }
}

/// The finished part and the whole of a step, in the same unit.
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
    let mut line = match stage {
        ConversionStage::Starting => Vec::new(),
        ConversionStage::Preparing(it) | ConversionStage::Converting(it) => tensors(it),
        ConversionStage::Calibrating(it) | ConversionStage::Measuring(it) => vec![share(*it)],
    };
    line.extend(seconds_left.map(time_left));
    facts(line)
}

fn tensors(progress: &TensorProgress) -> Vec<String> {
    let TensorProgress { done, total, written_bytes, total_bytes, .. } = progress;
    let number = count((done + 1).min(*total).into());
    let tensor = text!(convert.tensor, number, total = count((*total).into()));
    vec![tensor, text!(unit.size_of, done = bytes(*written_bytes), total = bytes(*total_bytes))]
}

fn share(share: Share) -> String {
    percent_text(percent(share.done.into(), share.total.into()))
}

/// The progress of a conversion in one line.
pub(crate) fn conversion_line(conversion: &Conversion) -> String {
    match &conversion.state {
        ConversionState::Running { is_ending: true, .. } => text!(convert.cancelling).into(),
        ConversionState::Running { stage: now, step, n_steps, seconds_left, .. } => {
            let step = text!(convert.step_in_line, step = *step, steps = *n_steps);
            facts([stage(now).to_owned(), step, stage_line(now, *seconds_left)])
        }
        ConversionState::Done { size_bytes, figures, .. } => {
            let (before, after) = (bytes(conversion.source_bytes), bytes(*size_bytes));
            let sizes = text!(convert.size_change, before, after);
            let perplexity = figures.as_ref().map(|it| {
                let change = change(it.perplexity_before, it.perplexity_after);
                text!(convert.perplexity_change, change)
            });
            facts([text!(download.in_library).to_owned(), sizes].into_iter().chain(perplexity))
        }
        ConversionState::Failed { .. } => text!(convert.failed).into(),
        ConversionState::Cancelled => text!(convert.cancelled).into(),
    }
}

/// How much larger `after` is than `before`: `+3.1%`.
pub(crate) fn change(before: f64, after: f64) -> String {
    if before > 0.0 { signed_percent((after / before - 1.0) * 100.0) } else { String::new() }
}

fn signed_percent(percent: f64) -> String {
    let digits = if percent.abs() < 1.0 { 2 } else { 1 };
    let is_zero = number::fixed(percent.abs(), digits).bytes().all(|b| b"0.".contains(&b));
    let size = decimal(percent.abs(), digits);
    let value = match percent {
        _ if is_zero => "±0".to_owned(),
        ..0.0 => format!("−{size}"),
        _ => format!("+{size}"),
    };
    text!(unit.percent, value)
}

#[cfg(test)]
mod tests {
    use lilims_ipc::{ConversionRequest, Measurement};

    use super::*;

    fn conversion(state: ConversionState) -> Conversion {
        let request = ConversionRequest {
            name: "m".into(),
            target: "Q4_0".into(),
            is_weighed: false,
            is_measured: true,
            agreed_removals: Vec::new(),
        };
        Conversion { id: 1, request, title: "M".into(), source_bytes: 98_362_432, state }
    }

    #[test]
    fn bits_have_a_decimal_only_where_needed() {
        assert_eq!(bits_per_weight(8.0), "8 bits per parameter");
        assert_eq!(bits_per_weight(4.53), "4.5 bits per parameter");
    }

    #[test]
    fn formats_progress_and_result() {
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
        let figures = Measurement {
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
    fn formats_changes_with_signs() {
        assert_eq!(change(98.4, 91.7), "−6.8%");
        assert_eq!(change(20.0, 20.1), "+0.50%");
        assert_eq!(change(20.0, 20.000_1), "±0%");
        assert_eq!(change(0.0, 1.0), "");
    }
}
