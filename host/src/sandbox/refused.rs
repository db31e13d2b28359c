//! What was refused during one call, for the operator: a few of it, each once, and how many more there were.

use crate::sandbox::wasi::Folder;
use palisade_policy::NetOrigin;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// Most refusals of one call that are kept for the operator.
pub(crate) const NOTED: usize = 4;

/// A request that did not go out, an answer that was not taken, an operation that a grant on a folder does not allow; for
/// the operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// Nobody granted this origin.
    NotGranted(NetOrigin),
    /// A change in a folder that is granted for reading.
    ReadOnly(Box<ReadOnly>),
    /// Why else, in one cleaned sentence without path and query.
    Because(String),
}

/// A change in a folder that is granted for reading.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadOnly {
    /// The folder, as it was granted.
    pub folder: Folder,
    /// What would have changed, on the host, as its path was written: no link in it was followed.
    pub changed: PathBuf,
    /// What was refused, in one cleaned sentence.
    pub what: String,
}

/// What was refused until now.
#[derive(Debug, Clone, Default)]
pub(crate) struct Notes(Arc<(Mutex<Vec<Refused>>, AtomicUsize)>);

impl Notes {
    pub(crate) fn add(&self, refused: Refused) {
        if let Ok(mut notes) = self.0.0.lock()
            && !notes.contains(&refused)
        {
            if notes.len() < NOTED {
                notes.push(refused);
            } else {
                self.0.1.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    pub(crate) fn take(&self) -> Vec<Refused> {
        let mut notes = self.0.0.lock().map(|mut notes| std::mem::take(&mut *notes)).unwrap_or_default();
        match self.0.1.load(Ordering::Relaxed) {
            0 => {}
            more => notes.push(Refused::Because(format!("{more} more were refused"))),
        }
        notes
    }
}
