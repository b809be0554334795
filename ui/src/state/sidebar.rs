//! The list of conversations: its groups, folders and search.

use std::collections::HashSet;

use leptos::prelude::*;
use lilims_ipc::{
    ConversationFolder, ConversationHead, ConversationId, ConversationList, FolderId, SearchHit,
};

use crate::format::{self, Clock};
use crate::text::text;

/// A row of the list.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Row {
    /// The title of a group: pinned conversations, or a time.
    Group(String),
    /// A folder, and how many conversations are in it.
    Folder {
        /// The folder.
        folder: ConversationFolder,
        /// How many conversations are in it.
        count: usize,
        /// Whether they are hidden.
        is_folded: bool,
    },
    /// A conversation.
    Conversation(ConversationHead),
}

impl Row {
    /// Tells rows apart while the list changes.
    pub(crate) fn key(&self) -> String {
        match self {
            Self::Group(title) => format!("group {title}"),
            Self::Folder { folder, .. } => format!("folder {}", folder.id.0),
            Self::Conversation(head) => head.id.0.clone(),
        }
    }
}

/// The state of the sidebar. Copies share the signals.
#[derive(Clone, Copy)]
pub(crate) struct Sidebar {
    /// Whether it is shown.
    pub(crate) is_open: RwSignal<bool>,
    /// All conversations, the newest first.
    pub(crate) heads: RwSignal<Vec<ConversationHead>>,
    /// The folders.
    pub(crate) folders: RwSignal<Vec<ConversationFolder>>,
    /// The folders whose conversations are hidden.
    pub(crate) folded: RwSignal<HashSet<String>>,
    /// Whether it shows the archived conversations instead of the others.
    pub(crate) shows_archived: RwSignal<bool>,
    /// What is searched for.
    pub(crate) query: RwSignal<String>,
    /// The messages that were found.
    pub(crate) hits: RwSignal<Vec<SearchHit>>,
    /// The conversation whose title is being typed.
    pub(crate) renaming: RwSignal<Option<ConversationId>>,
    /// The folder whose name is being typed.
    pub(crate) renaming_folder: RwSignal<Option<FolderId>>,
}

impl Sidebar {
    /// An empty list.
    pub(crate) fn new(is_open: bool) -> Self {
        Self {
            is_open: RwSignal::new(is_open),
            heads: RwSignal::default(),
            folders: RwSignal::default(),
            folded: RwSignal::default(),
            shows_archived: RwSignal::new(false),
            query: RwSignal::default(),
            hits: RwSignal::default(),
            renaming: RwSignal::default(),
            renaming_folder: RwSignal::default(),
        }
    }

    /// Shows the list that has arrived. Conversations that changed before it did stay as they are.
    pub(crate) fn arrived(&self, list: ConversationList) {
        self.folders.set(list.folders);
        let changed = self.heads.get_untracked();
        self.heads.set(list.conversations);
        changed.into_iter().for_each(|head| self.changed(head));
    }

    /// Adds a conversation, or changes its row.
    pub(crate) fn changed(&self, head: ConversationHead) {
        self.heads.update(|heads| {
            heads.retain(|it| it.id != head.id);
            let at = heads.partition_point(|it| it.updated_ms > head.updated_ms);
            heads.insert(at, head);
        });
    }

    /// Removes a conversation.
    pub(crate) fn gone(&self, id: &ConversationId) {
        self.heads.update(|heads| heads.retain(|it| it.id != *id));
        self.hits.update(|hits| hits.retain(|it| it.conversation != *id));
    }

    /// The title of a conversation.
    pub(crate) fn title(&self, id: &ConversationId) -> Option<String> {
        self.heads.with(|heads| heads.iter().find(|it| it.id == *id)?.title.clone())
    }

    /// The row of a conversation.
    pub(crate) fn head(&self, id: &ConversationId) -> Option<ConversationHead> {
        self.heads.with_untracked(|heads| heads.iter().find(|it| it.id == *id).cloned())
    }

    /// The conversations whose title contains what is searched for.
    pub(crate) fn titles_found(&self) -> Vec<ConversationHead> {
        let query = self.query.with(|query| query.trim().to_lowercase());
        if query.is_empty() {
            return Vec::new();
        }
        let is_found = |head: &&ConversationHead| {
            head.title.as_ref().is_some_and(|title| title.to_lowercase().contains(&query))
        };
        self.heads.with(|heads| heads.iter().filter(is_found).cloned().collect())
    }

    /// The rows of the list.
    pub(crate) fn rows(&self, clock: Clock) -> Vec<Row> {
        let (folders, folded) = (self.folders.get(), self.folded.get());
        let shows_archived = self.shows_archived.get();
        self.heads.with(|heads| rows(heads, &folders, &folded, shows_archived, clock))
    }

    /// Folds a folder, or unfolds it.
    pub(crate) fn fold(&self, folder: &FolderId) {
        self.folded.update(|folded| {
            if !folded.remove(&folder.0) {
                folded.insert(folder.0.clone());
            }
        });
    }
}

/// Pinned conversations, folders, then the others by when something was last said; or all archived ones
/// by that time.
pub(crate) fn rows(
    heads: &[ConversationHead],
    folders: &[ConversationFolder],
    folded: &HashSet<String>,
    shows_archived: bool,
    clock: Clock,
) -> Vec<Row> {
    let mut rows = Vec::with_capacity(heads.len() + folders.len() + 8);
    let mut shown: Vec<&ConversationHead> =
        heads.iter().filter(|head| head.is_archived == shows_archived).collect();
    if !shows_archived {
        let (pinned, others): (Vec<_>, Vec<_>) = shown.into_iter().partition(|it| it.is_pinned);
        if !pinned.is_empty() {
            rows.push(Row::Group(text!(sidebar.pinned).into()));
            rows.extend(pinned.into_iter().cloned().map(Row::Conversation));
        }
        shown = others;
        for folder in folders {
            let (inside, others): (Vec<_>, Vec<_>) =
                shown.into_iter().partition(|it| it.folder.as_ref() == Some(&folder.id));
            let is_folded = folded.contains(&folder.id.0);
            rows.push(Row::Folder { folder: folder.clone(), count: inside.len(), is_folded });
            if !is_folded {
                rows.extend(inside.into_iter().cloned().map(Row::Conversation));
            }
            shown = others;
        }
    }
    let mut group = String::new();
    for head in shown {
        let period = format::period(head.updated_ms, clock);
        if period != group {
            rows.push(Row::Group(period.clone()));
            group = period;
        }
        rows.push(Row::Conversation(head.clone()));
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Clock = Clock { now_ms: 1_795_521_600_000, ahead_minutes: 0 };
    const DAY: u64 = 86_400_000;

    fn head(id: &str, days_ago: u64) -> ConversationHead {
        ConversationHead {
            id: ConversationId(id.into()),
            title: Some(id.to_uppercase()),
            folder: None,
            updated_ms: NOW.now_ms as u64 - days_ago * DAY,
            is_pinned: false,
            is_archived: false,
        }
    }

    fn shown(rows: &[Row]) -> Vec<String> {
        rows.iter()
            .map(|row| match row {
                Row::Group(title) => format!("= {title}"),
                Row::Folder { folder, count, is_folded } => {
                    format!("{} {} {count}", if *is_folded { ">" } else { "v" }, folder.name)
                }
                Row::Conversation(head) => head.id.0.clone(),
            })
            .collect()
    }

    #[test]
    fn groups_are_pinned_folders_and_times() {
        let folder = ConversationFolder { id: FolderId("f".into()), name: "Work".into() };
        let heads = [
            head("a", 0),
            ConversationHead { is_pinned: true, ..head("b", 0) },
            head("c", 1),
            ConversationHead { folder: Some(folder.id.clone()), ..head("d", 2) },
            head("e", 3),
            head("f", 40),
            ConversationHead { is_archived: true, ..head("g", 41) },
            head("h", 400),
        ];
        let folders = [folder];
        let open = rows(&heads, &folders, &HashSet::new(), false, NOW);
        let expected = [
            "= Pinned",
            "b",
            "v Work 1",
            "d",
            "= Today",
            "a",
            "= Yesterday",
            "c",
            "= Previous 7 days",
            "e",
            "= October",
            "f",
            "= October 2025",
            "h",
        ];
        assert_eq!(shown(&open), expected);
        let folded = HashSet::from(["f".to_owned()]);
        assert_eq!(
            shown(&rows(&heads, &folders, &folded, false, NOW))[2..4],
            ["> Work 1", "= Today"]
        );
        assert_eq!(shown(&rows(&heads, &folders, &folded, true, NOW)), ["= October", "g"]);
    }

    #[test]
    fn changes_keep_the_order() {
        Owner::new().with(|| {
            let sidebar = Sidebar::new(true);
            sidebar.changed(head("early", 5));
            let conversations = vec![head("a", 1), head("early", 9), head("b", 2)];
            sidebar.arrived(ConversationList { conversations, folders: Vec::new() });
            let ids = || -> Vec<String> {
                sidebar.heads.get_untracked().into_iter().map(|head| head.id.0).collect()
            };
            assert_eq!(ids(), ["a", "b", "early"]);
            sidebar.changed(head("b", 0));
            assert_eq!(ids(), ["b", "a", "early"]);
            sidebar.gone(&ConversationId("a".into()));
            assert_eq!(ids(), ["b", "early"]);
            sidebar.query.set(" EAR".into());
            assert_eq!(sidebar.titles_found()[0].id.0, "early");
        });
    }
}
