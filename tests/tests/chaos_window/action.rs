//! What may happen to the app, and a generator that draws it from a seed.
//!
//! An action names what it changes by an index into what is there when it is carried out, so a log can
//! be replayed although ids differ.

use lilims_tests::hub_server::SeededRng;
use serde::{Deserialize, Serialize};

/// The types that the bundled model is converted to.
pub(crate) const TYPES: [&str; 3] = ["Q4_0", "Q5_0", "Q8_0"];

/// Something that happens to the app.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Action {
    /// Types a question and sends it; returns once the page shows that it is stored.
    Ask {
        /// Which question.
        index: u64,
    },
    /// Stops the answer that is being written.
    Stop,
    /// Waits until no answer is being written.
    WaitForEnd,
    /// Edits a question or an answer of the conversation that is shown.
    Edit {
        /// Which message.
        index: u64,
    },
    /// Has an answer written again.
    Again {
        /// Which answer.
        index: u64,
    },
    /// Has the model write more of the last answer.
    Continue,
    /// Shows another version of a message.
    Version {
        /// Which arrow.
        index: u64,
    },
    /// Copies a branch to a new conversation.
    Fork {
        /// Up to which message.
        index: u64,
    },
    /// Deletes a message with what follows.
    DeleteMessage {
        /// Which message.
        index: u64,
        /// Whether that is undone.
        undo: bool,
    },
    /// Deletes a conversation.
    DeleteConversation {
        /// Which.
        index: u64,
        /// Whether that is undone.
        undo: bool,
    },
    /// Opens a conversation of the sidebar.
    Open {
        /// Which.
        index: u64,
    },
    /// Begins a new conversation.
    NewChat,
    /// Searches for words of a question in the sidebar.
    Search {
        /// Which question.
        index: u64,
    },
    /// Loads another model.
    SwitchModel {
        /// Which.
        index: u64,
    },
    /// Unloads the model.
    Unload,
    /// Queues a download that meets faults.
    Download {
        /// The seed of the file and of the faults.
        seed: u64,
    },
    /// Cancels a download.
    CancelDownload {
        /// Which.
        index: u64,
    },
    /// Pauses a download, or resumes it.
    PauseDownload {
        /// Which.
        index: u64,
    },
    /// Converts the bundled model.
    Convert {
        /// To which of [`TYPES`].
        index: u64,
    },
    /// Cancels the running conversion.
    CancelConversion,
    /// Imports a file of conversations.
    ImportConversations {
        /// How many.
        count: u64,
    },
    /// Imports a model file.
    ImportModel {
        /// The seed of its data.
        seed: u64,
    },
    /// Removes a model of our folder.
    RemoveModel {
        /// Which.
        index: u64,
    },
    /// Resizes the window.
    Resize {
        /// Pixels.
        width: u32,
        /// Pixels.
        height: u32,
    },
    /// Stops the processes of app and page for a while, as a machine that sleeps does.
    Sleep {
        /// How long.
        ms: u64,
    },
    /// Kills the app and starts it again.
    Kill {
        /// How long after the action began.
        after_ms: u64,
        /// Whether a question is sent first, without a look at whether it is stored.
        asks: bool,
    },
    /// Closes the app and starts it again.
    Restart,
    /// Fills the disk, asks, and frees the disk.
    FullDisk {
        /// How long it stays full after the question.
        hold_ms: u64,
        /// Whether the question comes first, so that its answer grows on a full disk.
        asks_first: bool,
    },
    /// Limits the memory of the app while it answers.
    MemoryPressure {
        /// The memory that is left to it beside what it cannot give back.
        headroom_mb: u64,
        /// For how long.
        hold_ms: u64,
    },
    /// Brings the app to rest and measures it.
    Measure,
}

/// How an action is drawn.
type Draw = fn(&mut SeededRng) -> Action;

/// What does not end the process, with how often each is drawn.
const GENTLE: &[(u64, Draw)] = &[
    (24, |rng| Action::Ask { index: rng.next_u64() }),
    (8, |_| Action::Stop),
    (6, |_| Action::WaitForEnd),
    (7, |rng| Action::Edit { index: rng.next_u64() }),
    (6, |rng| Action::Again { index: rng.next_u64() }),
    (3, |_| Action::Continue),
    (6, |rng| Action::Version { index: rng.next_u64() }),
    (3, |rng| Action::Fork { index: rng.next_u64() }),
    (5, |rng| Action::DeleteMessage { index: rng.next_u64(), undo: rng.chance(0.5) }),
    (4, |rng| Action::DeleteConversation { index: rng.next_u64(), undo: rng.chance(0.5) }),
    (6, |rng| Action::Open { index: rng.next_u64() }),
    (4, |_| Action::NewChat),
    (3, |rng| Action::Search { index: rng.next_u64() }),
    (3, |rng| Action::SwitchModel { index: rng.next_u64() }),
    (1, |_| Action::Unload),
    (5, |rng| Action::Download { seed: rng.next_u64() }),
    (3, |rng| Action::CancelDownload { index: rng.next_u64() }),
    (2, |rng| Action::PauseDownload { index: rng.next_u64() }),
    (2, |rng| Action::Convert { index: rng.next_u64() }),
    (2, |_| Action::CancelConversion),
    (2, |rng| Action::ImportConversations { count: 1 + rng.below(5) }),
    (2, |rng| Action::ImportModel { seed: rng.next_u64() }),
    (2, |rng| Action::RemoveModel { index: rng.next_u64() }),
    (4, resize),
    (3, |rng| Action::Sleep { ms: 200 + rng.below(3000) }),
    (2, |rng| Action::FullDisk { hold_ms: 500 + rng.below(2500), asks_first: rng.chance(0.5) }),
];

/// What may end the process.
const ROUGH: &[(u64, Draw)] = &[
    (7, |rng| Action::Kill { after_ms: rng.below(2500), asks: rng.chance(0.5) }),
    (2, |_| Action::Restart),
    (2, |rng| Action::MemoryPressure {
        headroom_mb: 8 + rng.below(64),
        hold_ms: 1000 + rng.below(4000),
    }),
];

/// Draws actions.
#[derive(Debug)]
pub(crate) struct Generator {
    rng: SeededRng,
    /// What is carried out before anything is drawn: one of each kind, in a random order.
    first: Vec<Action>,
    n_since_measure: u32,
}

/// How many actions lie between two measurements of a process that is left alive.
const BETWEEN_MEASUREMENTS: u32 = 15;

impl Generator {
    /// A generator whose actions follow from `seed`.
    pub(crate) fn new(seed: u64) -> Self {
        let mut rng = SeededRng::new(seed);
        let draws = GENTLE.iter().chain(ROUGH);
        let mut first: Vec<_> = draws.map(|(_, draw)| draw(&mut rng)).collect();
        for index in (1..first.len()).rev() {
            first.swap(index, rng.below(index as u64 + 1) as usize);
        }
        Self { rng, first, n_since_measure: 0 }
    }

    /// The next action. `is_steady` says that the process is to stay alive, and is measured.
    pub(crate) fn next(&mut self, is_steady: bool) -> Action {
        self.n_since_measure += 1;
        if is_steady && self.n_since_measure > BETWEEN_MEASUREMENTS {
            self.n_since_measure = 0;
            return Action::Measure;
        }
        if !is_steady && let Some(action) = self.first.pop() {
            return action;
        }
        let rough = if is_steady { &[][..] } else { ROUGH };
        let total = GENTLE.iter().chain(rough).map(|(weight, _)| weight).sum();
        let mut at = self.rng.below(total);
        for (weight, draw) in GENTLE.iter().chain(rough) {
            if at < *weight {
                return draw(&mut self.rng);
            }
            at -= weight;
        }
        unreachable!("the number is below the sum of the weights")
    }
}

fn resize(rng: &mut SeededRng) -> Action {
    if rng.chance(0.3) {
        return Action::Resize { width: 390, height: 844 };
    }
    let (width, height) = (700 + rng.below(1100), 500 + rng.below(650));
    Action::Resize { width: width as u32, height: height as u32 }
}

#[test]
fn a_seed_draws_the_same_actions_and_each_kind_at_once() {
    let draw = |seed| {
        let mut generator = Generator::new(seed);
        (0..200).map(|n| generator.next(n > 150)).collect::<Vec<_>>()
    };
    assert_eq!(draw(7), draw(7));
    assert_ne!(draw(7), draw(8));
    let kind = std::mem::discriminant::<Action>;
    let mut kinds: Vec<_> = Vec::new();
    for action in &draw(7)[..GENTLE.len() + ROUGH.len()] {
        assert!(!kinds.contains(&kind(action)), "{action:?} is there twice");
        kinds.push(kind(action));
    }
    let text = serde_json::to_string(&draw(7)).unwrap_or_default();
    assert_eq!(serde_json::from_str::<Vec<Action>>(&text).ok(), Some(draw(7)));
}
