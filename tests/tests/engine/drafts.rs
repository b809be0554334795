//! Answers with a draft model are those without one.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use lilims_convert::Mix;
use lilims_engine::{
    BackendKind, Conversation, Counters, DraftRefusal, Error, GenerateOptions, KvType, LoadOptions,
    Message, Model, Role, Sampling,
};
use lilims_tests::{fixture, real_model};

use crate::checkpoint;
use crate::sessions::smollm2;

const SMOLLM2: &str = "SmolLM2-135M-Instruct.Q4_1.gguf";
const GEMMA: &str = "gemma-3-270m-q4_k_m.gguf";

fn load(name: &str, backend: BackendKind) -> Arc<Model> {
    let options =
        LoadOptions { backend, threads: Some(2), context: Some(512), ..Default::default() };
    Model::load(&real_model(name), &options).unwrap()
}

fn answer(
    model: &Arc<Model>,
    draft: Option<&Arc<Model>>,
    prompt: &[u32],
    options: &GenerateOptions,
) -> (Vec<u32>, Counters) {
    let mut session = model.session().unwrap();
    session.set_draft(draft).unwrap();
    let answer =
        session.generate(prompt, options, &AtomicBool::new(false), &mut |_, _| {}).unwrap();
    assert_eq!(session.tokens().len(), prompt.len() + answer.tokens.len() - 1);
    assert_eq!(session.has_draft(), draft.is_some());
    (answer.tokens, session.counters())
}

fn options(temperature: f32, seed: u64, max_tokens: usize) -> GenerateOptions {
    let sampling = Sampling { temperature, seed, ..Sampling::default() };
    GenerateOptions { sampling, max_tokens, ignore_eos: true, ..GenerateOptions::default() }
}

#[test]
fn a_draft_model_does_not_change_answers() {
    // As a draft of itself SmolLM2 is mostly right, with temperature now and then; a window that
    // slides is part of it.
    for (context, temperature) in [(512, 0.0), (512, 1.0), (64, 0.0)] {
        let (model, draft) = (smollm2(context), smollm2(context));
        let prompt = model.tokenizer().encode("The three largest rivers are", false).unwrap();
        let options = options(temperature, 7, 100);
        let (plain, _) = answer(&model, None, &prompt, &options);
        let (drafted, counters) = answer(&model, Some(&draft), &prompt, &options);
        println!("{context} {temperature}: {counters:?}");
        assert_eq!(drafted, plain, "{context} {temperature}");
        assert!(counters.accepted > 0, "{context} {temperature}");
        let with_lookup = GenerateOptions { lookup: 4, ..options };
        assert_eq!(answer(&model, Some(&draft), &prompt, &with_lookup).0, plain);
    }
}

#[test]
fn a_draft_model_that_is_wrong_does_not_change_answers() {
    // Two tiny checkpoints with the same vocabulary and weights of another precision, and random
    // texts: most drafts are rejected.
    let folder = tempfile::tempdir().unwrap();
    let source = fixture("checkpoints").join("llama");
    let load = |mix: Mix| {
        let path = folder.path().join(format!("{mix}.gguf"));
        checkpoint::convert(&source, mix, &path);
        let options = LoadOptions {
            backend: BackendKind::Cpu,
            kv_type: KvType::F32,
            threads: Some(2),
            context: None,
        };
        Model::load(&path, &options).unwrap()
    };
    let (model, draft) = (load(Mix::F32), load(Mix::F16));
    let prompt = checkpoint::expected(&source).ids;
    for (temperature, seed) in [(0.0, 1), (1.0, 2), (1.0, 3)] {
        let options = options(temperature, seed, 30);
        let (plain, _) = answer(&model, None, &prompt, &options);
        let (drafted, _) = answer(&model, Some(&draft), &prompt, &options);
        assert_eq!(drafted, plain, "{temperature} {seed}");
    }
}

#[test]
fn turns_with_a_draft_model_are_those_without_one() {
    let (model, draft) = (smollm2(512), smollm2(512));
    let talk = |draft: Option<&Arc<Model>>| {
        let mut conversation = Conversation::new(&model).unwrap();
        conversation.set_draft(draft).unwrap();
        let mut messages = Vec::new();
        for (idx, question) in
            ["Name a river.", "And a city?", "Name a mountain."].iter().enumerate()
        {
            // The third question replaces the second: both sessions go back.
            messages.truncate(idx.min(1) * 2);
            messages.push(Message::new(Role::User, *question));
            let options = options(0.8, idx as u64, 40);
            let options = GenerateOptions { ignore_eos: false, ..options };
            let cancel = AtomicBool::new(false);
            let answer = conversation.answer(&messages, &options, &cancel, &mut |_| {}).unwrap();
            messages.push(Message::new(Role::Assistant, answer.text));
        }
        (messages, conversation.session().counters())
    };
    let ((plain, _), (drafted, counters)) = (talk(None), talk(Some(&draft)));
    assert_eq!(drafted, plain);
    println!("{counters:?}");
    assert!(counters.drafted > 0);
}

#[test]
fn a_model_that_cannot_draft_is_refused() {
    let (smollm2, gemma) = (load(SMOLLM2, BackendKind::Cpu), load(GEMMA, BackendKind::Cpu));
    let mut session = smollm2.session().unwrap();
    let refused = session.set_draft(Some(&gemma));
    let is_other =
        |error: &Error| matches!(error, Error::Draft { why: DraftRefusal::OtherVocabulary, .. });
    assert!(refused.as_ref().is_err_and(is_other), "{refused:?}");
    assert!(refused.unwrap_err().to_string().contains("vocabulary"));
    assert!(!session.has_draft());
    let candle = load(SMOLLM2, BackendKind::Candle);
    let refused = candle.session().unwrap().set_draft(Some(&smollm2));
    assert!(
        matches!(refused, Err(Error::Draft { why: DraftRefusal::InexactBackend, .. })),
        "{refused:?}"
    );
}
