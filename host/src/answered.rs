//! What is between the answer of a call and its end.

use crate::audit::Running;
use crate::record::CallRecord;
use crate::sandbox::{Run, Spent};

/// A call whose result is known, and which is not over yet; see [`crate::Host::end`].
#[derive(Debug)]
#[must_use = "observers are told of it, and its record is whole, when it has ended"]
pub struct Answered {
    pub(crate) record: CallRecord,
    /// Of a call that ran.
    pub(crate) rest: Option<Rest>,
    pub(crate) run: Run,
    pub(crate) told: Vec<String>,
}

#[derive(Debug)]
pub(crate) struct Rest {
    pub(crate) spent: Option<Spent>,
    pub(crate) running: Option<Running>,
}

impl Answered {
    /// What came of it, but for what is only known when it is over.
    #[must_use]
    pub fn record(&self) -> &CallRecord {
        &self.record
    }

    /// Wipes its instance and frees its places at once, for whoever is going to wait before its end.
    pub fn wipe(&mut self) {
        self.rest.iter_mut().for_each(|rest| rest.spent = None);
    }
}
