//! Benchmarks of sessions: `LILIMS_MODEL=FILE cargo bench -p lilims-bench --bench sessions`.
//!
//! An argument selects a part: `endless` (speed and memory of a long text under a sliding window),
//! `window` (its perplexity against recomputing each window), `reopen`, `cancel`, `lookup`. They
//! need an idle machine; `TEXT` names a text of several thousand tokens for `window` and `lookup`.

#![expect(clippy::unwrap_used, reason = "a measurement that cannot go on ends there")]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use lilims_bench::{Summary, negative_log_likelihood};
use lilims_engine::{
    Conversation, GenerateOptions, LoadOptions, Message, Model, Role, Sampling, Session,
};

/// Tokens that `endless` generates, tokens per measured step, and its window.
const ENDLESS: usize = 50_000;
const STEP: usize = 1000;
const WINDOW: usize = 1024;
/// Steps after which the window is full, and tokens per sample when two sessions alternate.
const FILLED: usize = 2;
const ALTERNATING: usize = 25;
/// Number of sinks.
const SINKS: usize = 4;
/// Distance of the positions that `window` samples.
const SAMPLE_EVERY: usize = 16;
/// Length of the conversation that `reopen` loads.
const REOPENED: usize = 4000;
/// Rounds of `reopen` and `lookup`, and of `cancel`.
const ROUNDS: usize = 5;
const CANCELS: u64 = 60;

type Part = fn(&Path);

const PARTS: [(&str, Part); 5] = [
    ("endless", endless),
    ("window", window),
    ("reopen", reopen),
    ("cancel", cancel),
    ("lookup", lookup),
];

fn main() {
    // Cargo adds `--bench`.
    let chosen: Vec<String> = std::env::args().skip(1).filter(|it| !it.starts_with('-')).collect();
    let Some(path) = std::env::var_os("LILIMS_MODEL") else {
        return println!("LILIMS_MODEL is not set");
    };
    for (name, part) in PARTS {
        if chosen.is_empty() || chosen.iter().any(|it| it == name) {
            println!("\n## {name}\n");
            part(Path::new(&path));
        }
    }
}

fn load(path: &Path, context: usize) -> Arc<Model> {
    let options = LoadOptions { context: Some(context), ..LoadOptions::default() };
    Model::load(path, &options).unwrap()
}

fn text() -> String {
    std::fs::read_to_string(std::env::var_os("TEXT").expect("TEXT names a file")).unwrap()
}

fn never() -> AtomicBool {
    AtomicBool::new(false)
}

/// Speed and memory after each thousand tokens; then the end against the beginning, alternating.
fn endless(path: &Path) {
    let model = load(path, WINDOW + SINKS);
    let mut session = model.session().unwrap();
    session.set_sinks(SINKS);
    let mut text = model.tokenizer().encode_prompt("Once upon a time", true).unwrap();
    let mut curve: Vec<(f64, u64)> = Vec::new();
    write(&mut session, &mut text, FILLED * STEP, &mut curve);
    let mut early = session.fork().unwrap();
    write(&mut session, &mut text, ENDLESS - FILLED * STEP, &mut curve);
    println!("| tokens | tokens/s | resident memory, MB |\n| --- | --- | --- |");
    for (idx, (speed, bytes)) in curve.iter().enumerate() {
        if idx < 4 || (idx + 1) % 5 == 0 {
            println!("| {} | {speed:.1} | {:.1} |", (idx + 1) * STEP, *bytes as f64 / 1e6);
        }
    }
    // Other load changes within seconds: short alternating samples are affected equally.
    let (mut early_speeds, mut late_speeds) = (Vec::new(), Vec::new());
    for _ in 0..STEP / ALTERNATING {
        for (session, speeds) in [(&mut early, &mut early_speeds), (&mut session, &mut late_speeds)]
        {
            let start = Instant::now();
            for i in 0..ALTERNATING as u32 {
                session.read_last(&[1000 + i]).unwrap();
            }
            speeds.push(ALTERNATING as f64 / start.elapsed().as_secs_f64());
        }
    }
    let (early, late) = (median(&early_speeds), median(&late_speeds));
    println!("\nalternating, {STEP} tokens each in samples of {ALTERNATING}, medians:");
    println!("after {}: {early:.1}, after {ENDLESS}: {late:.1}", FILLED * STEP);
    println!("ratio {:.3}", late / early);
}

/// Generates `count` tokens after `text` and records each thousand.
fn write(session: &mut Session, text: &mut Vec<u32>, count: usize, curve: &mut Vec<(f64, u64)>) {
    let sampling = Sampling { temperature: 0.9, top_k: 40, seed: 1, ..Sampling::default() };
    let options =
        GenerateOptions { sampling, max_tokens: count, ignore_eos: true, ..Default::default() };
    let (mut start, mut noted) = (Instant::now(), 0);
    let answer = session.generate(text, &options, &never(), &mut |_, progress| {
        if progress.tokens / STEP > noted {
            noted += 1;
            curve.push((STEP as f64 / start.elapsed().as_secs_f64(), resident_bytes()));
            start = Instant::now();
        }
    });
    text.extend(answer.unwrap().tokens);
}

/// Resident memory of this process in bytes; 0 if the system does not report it.
fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm
        .split(' ')
        .nth(1)
        .and_then(|pages| pages.parse().ok())
        .map_or(0, |pages: u64| pages * 4096)
}

/// Perplexity under the sliding window against recomputing each window, at sampled positions.
fn window(path: &Path) {
    for size in [256, WINDOW] {
        let model = load(path, size + SINKS);
        let ids = model.tokenizer().encode_prompt(&text(), true).unwrap();
        let mut streaming = model.session().unwrap();
        streaming.set_sinks(SINKS);
        let mut losses: Vec<[f64; 2]> = Vec::new();
        let mut fresh = model.session().unwrap();
        for (at, pair) in ids.windows(2).enumerate() {
            let is_sample = at > size + SINKS && at % SAMPLE_EVERY == 0;
            let logits = streaming.read_last(&pair[..1]).unwrap();
            if is_sample {
                let slid = negative_log_likelihood(logits, pair[1]);
                fresh.reset();
                let seen = [&ids[..SINKS], &ids[at + 1 - size..=at]].concat();
                losses.push([
                    slid,
                    negative_log_likelihood(fresh.read_last(&seen).unwrap(), pair[1]),
                ]);
            }
        }
        let count = losses.len() as f64;
        let mean = |of: fn(&[f64; 2]) -> f64| losses.iter().map(of).sum::<f64>() / count;
        let (slid, recomputed) = (mean(|it| it[0]), mean(|it| it[1]));
        // Variance of the difference per position in nats; near 1 it is that of the ratio, too.
        let square =
            losses.iter().map(|it| (it[0] - it[1] - slid + recomputed).powi(2)).sum::<f64>();
        println!(
            "window {size}: {count} positions, sliding {:.4}, recomputed {:.4}, ratio {:.4} ± {:.4}",
            slid.exp(),
            recomputed.exp(),
            (slid - recomputed).exp(),
            square.sqrt() / count
        );
    }
}

/// Time to the first token after a question, with a saved session and without.
fn reopen(path: &Path) {
    let model = load(path, 8192);
    let folder = std::env::temp_dir().join(format!("lilims-reopen-{}", std::process::id()));
    let ids: Vec<u32> = (0..REOPENED as u32).map(|i| 1000 + i * 37 % 5000).collect();
    let question = model.tokenizer().encode(" What was that about?", true).unwrap();
    let prompt = [&ids[..], &question].concat();
    let options = GenerateOptions { max_tokens: 1, ignore_eos: true, ..Default::default() };
    let answer = |session: &mut Session| {
        session.generate(&prompt, &options, &never(), &mut |_, _| {}).unwrap()
    };
    let mut session = model.session().unwrap();
    session.append(&ids).unwrap();
    let start = Instant::now();
    session.save(&folder).unwrap();
    let saved = start.elapsed();
    let (mut opened, mut read) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let start = Instant::now();
        answer(&mut Session::load(&model, &folder).unwrap());
        opened.push(start.elapsed().as_secs_f64());
        let start = Instant::now();
        answer(&mut model.session().unwrap());
        read.push(start.elapsed().as_secs_f64());
    }
    let megabytes = std::fs::metadata(&folder).unwrap().len() as f64 / 1e6;
    let _ = std::fs::remove_file(&folder);
    let (opened, read) = (median(&opened), median(&read));
    println!("{REOPENED} tokens, {megabytes:.0} MB, saved in {:.0} ms", saved.as_secs_f64() * 1e3);
    println!("first token: opened {:.0} ms, read {:.0} ms", opened * 1e3, read * 1e3);
    println!("ratio {:.1}", read / opened);
}

/// Latency of cancelling a prefill.
fn cancel(path: &Path) {
    let model = load(path, 8192);
    let prompt: Vec<u32> = (0..8000).map(|i| 1000 + i * 37 % 5000).collect();
    let options = GenerateOptions { max_tokens: 1, ..Default::default() };
    let mut waits = Vec::new();
    for round in 0..CANCELS {
        let mut session = model.session().unwrap();
        let cancel = never();
        let cancelled_at = std::thread::scope(|scope| {
            let canceller = scope.spawn(|| {
                std::thread::sleep(Duration::from_millis(5 + round * 37 % 2000));
                cancel.store(true, Ordering::Relaxed);
                Instant::now()
            });
            session.generate(&prompt, &options, &cancel, &mut |_, _| {}).unwrap();
            let ended = Instant::now();
            ended.saturating_duration_since(canceller.join().unwrap())
        });
        waits.push(cancelled_at.as_secs_f64() * 1e3);
    }
    let longest = waits.iter().copied().fold(0.0, f64::max);
    println!("{CANCELS} times: median {:.2} ms, longest {longest:.2} ms", median(&waits));
}

const CODE: &str = "Rename the variable `total` to `sum` in this function and write the whole \
    function again.\n\n```rust\nfn mean(values: &[f64]) -> Option<f64> {\n    let mut total = 0.0;\n    \
    let mut count = 0;\n    for value in values {\n        if value.is_finite() {\n            total += \
    value;\n            count += 1;\n        }\n    }\n    if count == 0 {\n        return None;\n    }\n    \
    Some(total / count as f64)\n}\n```";

/// Speed with and without prompt lookup, on prompts whose answers repeat them.
fn lookup(path: &Path) {
    let model = load(path, 8192);
    let text = text();
    let summarise = format!(
        "Summarise this text. Quote its important sentences word by word.\n\n{}",
        text.chars().take(4000).collect::<String>()
    );
    println!("| prompt | draft | tokens/s | ratio to none | accepted |");
    println!("| --- | --- | --- | --- | --- |");
    for (name, prompt) in [("summarise", summarise.as_str()), ("edit code", CODE)] {
        let mut without = 0.0;
        let sizes = [0, 3, 7];
        let mut samples = sizes.map(|_| Vec::new());
        let mut counts = sizes.map(|_| (0, 0));
        let mut texts = Vec::new();
        for _ in 0..ROUNDS {
            for (idx, &lookup) in sizes.iter().enumerate() {
                let mut conversation = Conversation::new(&model).unwrap();
                let options = GenerateOptions { max_tokens: 200, lookup, ..Default::default() };
                let messages = [Message::new(Role::User, prompt)];
                let answer =
                    conversation.answer(&messages, &options, &never(), &mut |_| {}).unwrap();
                samples[idx].push(answer.progress.decode_tps());
                let counters = conversation.session().counters();
                counts[idx] = (counters.accepted, counters.drafted);
                texts.push(answer.text);
            }
        }
        assert!(
            texts.iter().all(|text| *text == texts[0]),
            "prompt lookup does not change the answer"
        );
        for (idx, lookup) in sizes.iter().enumerate() {
            let speed = median(&samples[idx]);
            without = if idx == 0 { speed } else { without };
            let (accepted, drafted) = counts[idx];
            println!(
                "| {name} | {lookup} | {speed:.1} | {:.2} | {accepted} of {drafted} |",
                speed / without
            );
        }
    }
}

fn median(values: &[f64]) -> f64 {
    Summary::of(values).expect("at least one round").median
}
