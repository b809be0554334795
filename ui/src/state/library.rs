//! The state of the model library: local models, search results, downloads, and running actions.
//!
//! Users request an [`Action`]. The page executes it and passes the [`Reply`] to
//! [`LibraryState::action_finished`]; an error is stored with the [`Concern`] where it is shown. An
//! outdated reply, such as that to an earlier search, is dropped.

use std::collections::HashMap;

use leptos::prelude::*;
use lilims_ipc::{
    CatalogueModel, Conversion, ConversionOffer, ConversionState, Download, DownloadPlan, Error,
    Fit, Library, Reply, Repository, Search, SearchResult,
};

use super::actions::{Action, Concern, HubFile};
use crate::text::{self, text};

/// The tabs of the library.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Tab {
    /// The models on this device.
    #[default]
    Device,
    /// Models to download.
    Discover,
    /// The downloads.
    Downloads,
}

impl Tab {
    /// All tabs in order.
    pub(crate) const ALL: [Self; 3] = [Self::Device, Self::Discover, Self::Downloads];

    /// The tab that a key selects; `None` for other keys.
    pub(crate) fn after_key(self, key: &str) -> Option<Self> {
        let index = Self::ALL.iter().position(|tab| *tab == self)?;
        let count = Self::ALL.len();
        let index = match key {
            "ArrowRight" => (index + 1) % count,
            "ArrowLeft" => (index + count - 1) % count,
            "Home" => 0,
            "End" => count - 1,
            _ => return None,
        };
        Some(Self::ALL[index])
    }
}

/// Data from the shell.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) enum Fetched<T> {
    /// Not requested yet.
    #[default]
    NotRequested,
    /// Requested; the answer has not arrived.
    Pending,
    /// The answer.
    Ready(T),
    /// The request failed.
    Failed(Error),
}

impl<T> Fetched<T> {
    fn of(answer: Result<T, Error>) -> Self {
        answer.map_or_else(Self::Failed, Self::Ready)
    }

    /// The answer, if it has arrived.
    pub(crate) fn ready(&self) -> Option<&T> {
        if let Self::Ready(answer) = self { Some(answer) } else { None }
    }
}

/// What the conversion dialog shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ConvertView {
    /// The types for the model with this short name.
    Choosing(String),
    /// The current or last conversion.
    Following,
}

/// The last error, and where it is shown.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ShownError {
    /// Where it is shown.
    pub(crate) concern: Concern,
    /// The error.
    pub(crate) error: Error,
}

/// The last report, and where it is shown.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Notice {
    /// Where it is shown.
    pub(crate) concern: Concern,
    /// The text.
    pub(crate) message: String,
}

/// The state of the library. Copies share the signals.
#[derive(Clone, Copy)]
pub(crate) struct LibraryState {
    /// Whether the library is shown in place of the conversation.
    pub(crate) is_open: RwSignal<bool>,
    /// The selected tab.
    pub(crate) tab: RwSignal<Tab>,
    /// The models on this device.
    pub(crate) library: RwSignal<Fetched<Library>>,
    /// All downloads.
    pub(crate) downloads: RwSignal<Vec<Download>>,
    /// The recommended models.
    pub(crate) catalogue: RwSignal<Fetched<Vec<CatalogueModel>>>,
    /// The search as entered so far.
    pub(crate) search: RwSignal<Search>,
    /// The search results.
    pub(crate) found: RwSignal<Fetched<Vec<SearchResult>>>,
    /// The name of the open repository.
    pub(crate) opened: RwSignal<Option<String>>,
    /// The data of the open repository.
    pub(crate) repository: RwSignal<Fetched<Repository>>,
    /// The estimates from headers read on the hub.
    pub(crate) fits: RwSignal<HashMap<HubFile, Fit>>,
    /// The plan that waits for confirmation.
    pub(crate) plan: RwSignal<Option<DownloadPlan>>,
    /// The current or last conversion.
    pub(crate) conversion: RwSignal<Option<Conversion>>,
    /// What the conversion dialog shows, while it is open.
    pub(crate) convert_view: RwSignal<Option<ConvertView>>,
    /// The conversion offer for the dialog.
    pub(crate) offer: RwSignal<Fetched<ConversionOffer>>,
    /// The last report.
    pub(crate) notice: RwSignal<Option<Notice>>,
    /// The last error.
    pub(crate) problem: RwSignal<Option<ShownError>>,
    /// The running actions.
    pub(crate) busy: RwSignal<Vec<Action>>,
    /// Whether files are being dragged over the window.
    pub(crate) is_dragging: RwSignal<bool>,
    /// The file of the first model: it is used as soon as it is downloaded.
    pub(crate) awaited_file: RwSignal<Option<HubFile>>,
    /// The paths of files that the system opened with Lilims, which may be imported.
    pub(crate) offered: RwSignal<Vec<String>>,
    last_search: StoredValue<Option<Search>>,
    /// The last requested offer.
    last_offer: StoredValue<Option<Action>>,
}

impl LibraryState {
    /// The state before any data has arrived.
    pub(crate) fn new() -> Self {
        Self {
            is_open: RwSignal::default(),
            tab: RwSignal::default(),
            library: RwSignal::default(),
            downloads: RwSignal::default(),
            catalogue: RwSignal::default(),
            search: RwSignal::default(),
            found: RwSignal::default(),
            opened: RwSignal::default(),
            repository: RwSignal::default(),
            fits: RwSignal::default(),
            plan: RwSignal::default(),
            conversion: RwSignal::default(),
            convert_view: RwSignal::default(),
            offer: RwSignal::default(),
            notice: RwSignal::default(),
            problem: RwSignal::default(),
            busy: RwSignal::default(),
            is_dragging: RwSignal::default(),
            awaited_file: RwSignal::default(),
            offered: RwSignal::default(),
            last_search: StoredValue::new(None),
            last_offer: StoredValue::new(None),
        }
    }

    /// Shows the library at `tab`.
    pub(crate) fn show(&self, tab: Tab) {
        self.tab.set(tab);
        self.is_open.set(true);
    }

    /// Closes a dialog, the repository or the library, innermost first. Returns whether anything was
    /// open.
    pub(crate) fn step_back(&self) -> bool {
        if !self.is_open.get_untracked() {
            return false;
        }
        if self.offered.with_untracked(|paths| !paths.is_empty()) {
            self.offered.set(Vec::new());
        } else if self.convert_view.with_untracked(Option::is_some) {
            self.convert_view.set(None);
        } else if self.plan.with_untracked(Option::is_some) {
            self.plan.set(None);
        } else if self.tab.get_untracked() == Tab::Discover
            && self.opened.with_untracked(Option::is_some)
        {
            self.close_repository();
        } else {
            self.is_open.set(false);
        }
        true
    }

    /// Returns from a repository to the search.
    pub(crate) fn close_repository(&self) {
        self.opened.set(None);
        self.repository.set(Fetched::NotRequested);
    }

    /// Records that `action` has started.
    pub(crate) fn action_started(&self, action: &Action) {
        self.problem.set(None);
        self.notice.set(None);
        self.busy.update(|busy| busy.push(action.clone()));
        match action {
            Action::Search(search) => {
                self.last_search.set_value(Some(search.clone()));
                self.close_repository();
                self.found.set(Fetched::Pending);
            }
            Action::Open(repository) => {
                self.opened.set(Some(repository.clone()));
                self.repository.set(Fetched::Pending);
            }
            Action::Offer { name, .. } => self.offer_started(name, action),
            _ => {}
        }
    }

    /// Opens the dialog; an offer for the same model stays until the new one arrives.
    fn offer_started(&self, name: &str, action: &Action) {
        self.last_offer.set_value(Some(action.clone()));
        let view = Some(ConvertView::Choosing(name.to_owned()));
        if self.convert_view.with_untracked(|shown| *shown != view) {
            self.offer.set(Fetched::Pending);
            self.convert_view.set(view);
        }
    }

    /// Applies the reply to `action`.
    pub(crate) fn action_finished(&self, action: &Action, reply: Result<Reply, Error>) {
        self.busy.update(|busy| {
            if let Some(index) = busy.iter().position(|it| it == action) {
                busy.remove(index);
            }
        });
        match (action, reply) {
            (Action::Search(search), reply) => {
                if self.last_search.with_value(|last| last.as_ref() == Some(search)) {
                    self.found.set(Fetched::of(reply.map(found)));
                }
            }
            (Action::Open(repository), reply) => {
                if self.opened.with_untracked(|opened| opened.as_ref() == Some(repository)) {
                    self.repository.set(match reply {
                        Ok(Reply::Repository(repository)) => Fetched::Ready(repository),
                        Ok(_) => Fetched::NotRequested,
                        Err(error) => Fetched::Failed(error),
                    });
                }
            }
            (Action::Download { .. }, Ok(_)) => self.plan.set(None),
            (Action::Convert(_), Ok(_)) => {
                // If the dialog was closed meanwhile, the conversion is in the list of downloads.
                if self.convert_view.with_untracked(Option::is_some) {
                    self.convert_view.set(Some(ConvertView::Following));
                }
            }
            (Action::Offer { .. }, reply) => {
                if self.last_offer.with_value(|last| last.as_ref() == Some(action)) {
                    self.offer.set(match reply {
                        Ok(Reply::Offer(offer)) => Fetched::Ready(offer),
                        Ok(_) => Fetched::NotRequested,
                        Err(error) => Fetched::Failed(error),
                    });
                }
            }
            (action, Ok(reply)) => self.apply(action, reply),
            (action, Err(error)) => {
                self.problem.set(Some(ShownError { concern: action.concern(), error }));
            }
        }
    }

    fn apply(&self, action: &Action, reply: Reply) {
        match (action, reply) {
            (Action::ReadHeader(file), Reply::Fit(fit)) => {
                self.fits.update(|fits| drop(fits.insert(file.clone(), fit)));
            }
            (_, Reply::Plan(plan)) => self.plan.set(Some(plan)),
            (action, Reply::Report(report)) => {
                let notice = Notice { concern: action.concern(), message: text::report(&report) };
                self.notice.set(Some(notice));
            }
            (Action::SetAccessToken(token), Reply::Done) => {
                let is_set = token.is_some();
                let message = if is_set {
                    text!(download.token_saved)
                } else {
                    text!(download.token_removed)
                };
                let notice = Notice { concern: action.concern(), message: message.to_owned() };
                self.notice.set(Some(notice));
            }
            _ => {}
        }
    }

    /// Whether a model is being converted.
    pub(crate) fn is_converting(&self) -> bool {
        let is_running = |it: &Conversion| matches!(it.state, ConversionState::Running { .. });
        self.conversion.with(|conversion| conversion.as_ref().is_some_and(is_running))
    }

    /// Whether an action about `concern` is running.
    pub(crate) fn is_busy(&self, concern: &Concern) -> bool {
        self.busy.with(|busy| busy.iter().any(|action| action.concern() == *concern))
    }

    /// The error to show at `concern`.
    pub(crate) fn problem_of(&self, concern: &Concern) -> Option<Error> {
        self.problem.with(|problem| {
            let problem = problem.as_ref().filter(|problem| problem.concern == *concern);
            problem.map(|problem| problem.error.clone())
        })
    }

    /// The report to show at `concern`.
    pub(crate) fn notice_of(&self, concern: &Concern) -> Option<String> {
        self.notice.with(|notice| {
            let notice = notice.as_ref().filter(|notice| notice.concern == *concern);
            notice.map(|notice| notice.message.clone())
        })
    }
}

fn found(reply: Reply) -> Vec<SearchResult> {
    if let Reply::SearchResults(found) = reply { found } else { Vec::new() }
}

#[cfg(test)]
#[path = "library_tests.rs"]
mod tests;
