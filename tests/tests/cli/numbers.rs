//! Invalid numbers and environment variables are errors (A10).

use super::{SMOLLM2, failure, lilims, model, run};

#[test]
fn a10_too_many_threads_are_rejected() {
    let model = model(SMOLLM2);
    for text in
        ["0", "10000", "100000000", "18446744073709551615", "99999999999999999999", "-1", "x"]
    {
        for arguments in [
            &["generate", "--model", &model, "--prompt", "x", "--max-tokens", "1"][..],
            &["bench", "--model", &model, "--roof"],
            &["inspect", &model],
            &["fit", &model],
            &["convert", &model, "--out", "x.gguf", "--type", "Q8_0"],
        ] {
            let threads = format!("--threads={text}");
            let sentence = failure(&mut lilims(&[arguments, &[&threads]].concat()), 2);
            assert!(sentence.contains("it must be"), "{arguments:?} {text}: {sentence}");
        }
    }
}

#[test]
fn a10_the_maximum_number_of_threads_works() {
    let model = model(SMOLLM2);
    let threads = lilims_engine::max_threads().to_string();
    let arguments =
        ["generate", "--model", &model, "--prompt", "The capital of France is", "--raw"];
    let settings = ["--max-tokens", "1", "--temperature", "0", "--threads", &threads];
    let output = run(&[&arguments[..], &settings].concat());
    assert_eq!(String::from_utf8(output.stdout).unwrap(), " Paris\n");
}

#[test]
fn a10_engine_rejects_unchecked_thread_counts() {
    for threads in [lilims_engine::max_threads() + 1, 100_000_000, usize::MAX] {
        let options = lilims_engine::LoadOptions { threads: Some(threads), ..Default::default() };
        let path = lilims_tests::real_model(SMOLLM2);
        let error = lilims_engine::Model::load(&path, &options).err().unwrap();
        assert!(error.to_string().contains("worker threads are too many"), "{error}");
    }
}

#[test]
fn a10_numbers_outside_their_range_are_rejected() {
    const HUGE: &str = "18446744073709551616";
    const NUMBERS: [&str; 7] = ["-1", "1.5", "nan", "", "x", "99999999999", HUGE];
    let model = model(SMOLLM2);
    let generate = ["generate", "--model", &model, "--prompt", "x"];
    for option in ["--context", "--max-tokens", "--sinks", "--lookup", "--top-k"] {
        for text in NUMBERS {
            let option = format!("{option}={text}");
            let sentence = failure(&mut lilims(&[&generate[..], &[&option]].concat()), 2);
            assert!(sentence.contains("it must be"), "{option}: {sentence}");
        }
    }
    for option in ["--prompt-tokens", "--generate-tokens", "--depth", "--repeat"] {
        for text in NUMBERS {
            let option = format!("{option}={text}");
            let sentence = failure(&mut lilims(&["bench", "--model", &model, &option]), 2);
            assert!(sentence.contains("it must be"), "{option}: {sentence}");
        }
    }
    let fractions = ["--temperature", "--top-p", "--min-p", "--repeat-penalty"];
    for option in fractions.into_iter().chain(["--frequency-penalty", "--presence-penalty"]) {
        for text in ["nan", "inf", "-inf", "1e400", "", "x", "0x1"] {
            let option = format!("{option}={text}");
            let sentence = failure(&mut lilims(&[&generate[..], &[&option]].concat()), 2);
            assert!(sentence.contains("it must be"), "{option}: {sentence}");
        }
    }
    for option in ["--top-p=-1", "--top-p=1.1", "--min-p=2", "--temperature=-1", "--seed=-1"] {
        let sentence = failure(&mut lilims(&[&generate[..], &[option]].concat()), 2);
        assert!(sentence.contains("it must be"), "{option}: {sentence}");
    }
    for seed in ["1.5", HUGE, "x"] {
        let seed = format!("--seed={seed}");
        let sentence = failure(&mut lilims(&[&generate[..], &[&seed]].concat()), 2);
        assert!(sentence.contains("it must be"), "{seed}: {sentence}");
    }
    for option in ["--context=0", "--chunks=0", "--chunks=x", "--context=99999999999"] {
        let arguments = ["eval", "perplexity", "--model", &model, "--text", "x", option];
        let sentence = failure(&mut lilims(&arguments), 2);
        assert!(sentence.contains("it must be"), "{option}: {sentence}");
    }
}

#[test]
fn a10_the_largest_accepted_numbers_work() {
    let model = model(SMOLLM2);
    let generate = ["generate", "--model", &model, "--prompt", "x", "--raw"];
    let settings = ["--sinks=4294967295", "--lookup=4294967295", "--top-k=4294967295"];
    let more = ["--max-tokens=2", "--context=64", "--seed=18446744073709551615"];
    let output = run(&[&generate[..], &settings, &more].concat());
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && !stderr.contains("panicked"), "{stderr}");
    let extremes = ["--temperature=1e-45", "--repeat-penalty=1e-45", "--frequency-penalty=-3e38"];
    let output = run(&[&generate[..], &extremes, &more].concat());
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(!stderr.contains("panicked"), "{stderr}");
}

#[test]
fn a10_invalid_variables_are_rejected() {
    let model = model(SMOLLM2);
    for isa in ["avx3", "\u{1b}[2J", "scalar,avx2"] {
        let mut generate = lilims(&["generate", "--model", &model, "--prompt", "x"]);
        let sentence = failure(generate.env("LILIMS_ISA", isa), 1);
        assert!(sentence.contains("LILIMS_ISA"), "{isa:?}: {sentence}");
        assert!(!sentence.contains('\u{1b}'), "{sentence:?}");
    }
}
