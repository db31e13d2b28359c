//! The files of a skill, as resources: what was there when it was loaded, and their bytes when somebody asks.
//!
//! The rule it keeps: a file is regular, inside the folder and reached without a link; how many, how deep and how large is
//! bounded. What is left out is noted.

use super::document::Remark;
use crate::clean;
use crate::files::{Folder, ReadError};

/// Largest file that is offered, in bytes.
pub(super) const FILE: u64 = 1024 * 1024;
/// Most files of a skill, and its deepest folder.
const FILES: usize = 1000;
const DEPTH: usize = 8;
/// Most entries of its folders that are looked at.
const ENTRIES: usize = 10_000;
/// Most notes on what is left out.
const NOTES: usize = 20;

/// A file of a skill.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct SkillFile {
    /// Below the skill's folder.
    pub path: String,
    /// In bytes.
    pub size: u64,
}

/// The files of a skill's folder, sorted, and what is left out. Hidden ones are none of it.
pub(super) fn list(folder: &Folder) -> (Vec<SkillFile>, Vec<Remark>) {
    let mut listing = Listing { files: Vec::new(), looked_at: 0, left_out: 0, notes: Vec::new() };
    listing.folder(folder, "", DEPTH);
    if listing.looked_at > ENTRIES {
        listing.notes.push(Remark::new(None, &format!("no more than {ENTRIES} entries of its folders are looked at")));
    }
    if listing.left_out > NOTES {
        let more = format!("{} more files are not offered", listing.left_out - NOTES);
        listing.notes.push(Remark::new(None, &more));
    }
    listing.files.sort_by(|a, b| a.path.cmp(&b.path));
    (listing.files, listing.notes)
}

struct Listing {
    files: Vec<SkillFile>,
    looked_at: usize,
    left_out: usize,
    notes: Vec<Remark>,
}

impl Listing {
    fn folder(&mut self, folder: &Folder, above: &str, depth: usize) {
        let mut names = match folder.names() {
            Ok(names) => names,
            Err(error) => return self.leave_out(above, &error.to_string()),
        };
        // However many there are, the one that makes it a skill is among them.
        names.sort_by_key(|name| name != super::FILE);
        for name in names.iter().filter(|name| !name.starts_with('.')) {
            self.looked_at += 1;
            if self.looked_at > ENTRIES {
                return;
            }
            let path = format!("{above}{name}");
            if clean::line(&path, clean::NAME) != path {
                self.leave_out(&path, "its name is too long, or hides characters");
                continue;
            }
            match folder.folder(name) {
                Ok(_) if depth <= 1 => self.leave_out(&path, &format!("it is more than {DEPTH} folders deep")),
                Ok(below) => self.folder(&below, &format!("{path}/"), depth - 1),
                Err(error @ ReadError::Link) => self.leave_out(&path, &error.to_string()),
                Err(_) => match folder.open_file(name, FILE) {
                    Ok(_) if self.files.len() >= FILES => self.leave_out(&path, &format!("the skill has more than {FILES} files")),
                    Ok(file) => self.files.push(SkillFile { path, size: file.size() }),
                    Err(error) => self.leave_out(&path, &error.to_string()),
                },
            }
        }
    }

    fn leave_out(&mut self, path: &str, why: &str) {
        self.left_out += 1;
        if self.left_out <= NOTES {
            self.notes.push(Remark::new(None, &format!("{} is not offered: {why}", clean::line(path, clean::NAME))));
        }
    }
}
