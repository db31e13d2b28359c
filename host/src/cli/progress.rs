//! What is being compiled, where a person watches: a line each on the terminal, gone when it is done.

use super::output::Output;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use palisade::clean;
use palisade::plugins::Watcher;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// A line is drawn this often.
const DRAW: Duration = Duration::from_millis(200);

#[derive(Debug, Default)]
pub struct Compiling {
    lines: MultiProgress,
    of: Mutex<HashMap<String, ProgressBar>>,
}

impl Compiling {
    /// `None` where nobody watches.
    pub fn new(out: &Output) -> Option<Self> {
        out.is_watched().then(Self::default)
    }
}

impl Watcher for Compiling {
    fn compiling(&self, name: &str) {
        let line = self.lines.add(ProgressBar::new_spinner());
        if let Ok(style) = ProgressStyle::with_template("compiling {msg} {elapsed}; Ctrl-C stops it") {
            line.set_style(style);
        }
        line.set_message(clean::line(name, clean::NAME));
        line.enable_steady_tick(DRAW);
        self.of.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), line);
    }

    fn compiled(&self, name: &str) {
        if let Some(line) = self.of.lock().unwrap_or_else(PoisonError::into_inner).remove(name) {
            line.finish_and_clear();
        }
    }
}

impl Drop for Compiling {
    fn drop(&mut self) {
        for (_, line) in self.of.lock().unwrap_or_else(PoisonError::into_inner).drain() {
            line.finish_and_clear();
        }
    }
}
