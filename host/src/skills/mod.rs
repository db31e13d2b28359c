//! The skill subsystem: find folders with a `SKILL.md`, read them, hand over their components to load like any plugin's.
//!
//! The rule it keeps: only folders that the settings name are searched, no link is followed, and a skill that cannot be used is
//! set aside alone. A text is a text: nothing in it runs, and nothing in it grants.
//!
//! Where the rule ends: what `allowed-tools` leaves is decided by the gate, how a component runs is the sandbox's business.
//!
//! Never here: sessions, the command line, a decision.

mod document;
mod files;
mod yaml;

pub use document::{AllowedTools, Remark};
pub use files::SkillFile;

use crate::clean;
use crate::config::{Scope, Settings, SourceDir};
use crate::error::{Error, Kind};
use crate::files::{Folder, ReadError};
use crate::plugins::{self, Bundled, Quarantined};
use crate::sources::{self, Place, Sort};
use document::Document;
use palisade_policy::{Origin, Subsystem};
use sha2::{Digest, Sha256};
use std::path::Path;
use std::sync::Arc;

/// The file that makes a folder a skill.
pub const FILE: &str = "SKILL.md";
/// Most skills: the folder of each is held open.
const SKILLS: usize = 500;
const SKILL: Sort = Sort { file: FILE, noun: "skill", bare: false };

/// A skill that can be used.
#[derive(Debug)]
pub struct Skill {
    /// Its name.
    pub name: String,
    /// What it is for; cleaned for a model, as all its texts.
    pub description: String,
    /// Under which terms.
    pub license: Option<String>,
    /// What it needs.
    pub compatibility: Option<String>,
    /// What its author added.
    pub metadata: Vec<(String, String)>,
    /// The tools it is content with, where it says so.
    pub allowed: Option<AllowedTools>,
    /// What an agent reads.
    pub text: String,
    /// Who named it.
    pub scope: Scope,
    /// Its folder, as an operator reads it.
    pub shown: String,
    /// What was in its folder when it was loaded.
    pub files: Vec<SkillFile>,
    /// Whether it brings a component.
    pub brings_tools: bool,
    /// What the format does not allow.
    pub findings: Vec<Remark>,
    /// What a reader should know besides.
    pub notes: Vec<Remark>,
    folder: Folder,
}

impl Skill {
    /// A line of its `SKILL.md`, as where a rule came from.
    #[must_use]
    pub fn origin(&self, line: usize) -> Origin {
        Origin::File { name: format!("{}/{FILE}", self.shown), line }
    }

    /// Its text, and whose it is.
    #[must_use]
    pub fn labelled(&self) -> String {
        format!("[from the skill {} in {}/{FILE}]\n\n{}", self.name, self.shown, self.text)
    }

    /// One of its files, read now; of a trusted workspace only the bytes that were trusted.
    ///
    /// # Errors
    /// [`Kind::NotFound`] where it was not there when the skill was loaded, or cannot be read any more.
    pub fn read(&self, settings: &Settings, path: &str) -> Result<Vec<u8>, Error> {
        let refuse =
            |why: &str| Error::new(Kind::NotFound, format!("{} of the skill {}: {why}", clean::line(path, clean::NAME), self.name));
        if !self.files.iter().any(|file| file.path == path) {
            return Err(refuse("there is no such file"));
        }
        let bytes = self.folder.read(path, files::FILE).map_err(|e| refuse(&e.to_string()))?;
        if self.scope == Scope::Workspace {
            sources::as_trusted(settings, self.folder.path(), path, &Sha256::digest(&bytes).into())?;
        }
        Ok(bytes)
    }

    fn bundled(&self) -> Result<Option<Bundled>, ReadError> {
        if !self.brings_tools {
            return Ok(None);
        }
        let place = Place { folder: self.folder.again()?, component: None, shown: self.shown.clone(), scope: self.scope };
        Ok(Some(Bundled { place, skill: self.name.clone() }))
    }
}

/// What finding gave.
#[derive(Debug, Default)]
pub struct Found {
    /// The skills, in the order of their names.
    pub skills: Vec<Arc<Skill>>,
    /// What cannot be used.
    pub quarantined: Vec<Quarantined>,
}

impl Found {
    /// The skill of a name.
    ///
    /// # Errors
    /// [`Kind::Quarantined`] with what broke it, or [`Kind::NotFound`] with why none is read, where that is so.
    pub fn named(&self, settings: &Settings, name: &str) -> Result<Arc<Skill>, Error> {
        if let Some(skill) = self.skills.iter().find(|skill| skill.name == name) {
            return Ok(skill.clone());
        }
        let shown = clean::line(name, clean::NAME);
        if let Some(broken) = self.quarantined.iter().find(|q| q.key == name) {
            return Err(Error::new(Kind::Quarantined, format!("the skill {shown} is not available: {}", broken.error.message)));
        }
        let init = settings.init.of(Subsystem::SkillInit);
        let why = if init.enabled { String::new() } else { format!("; skills: {}", init.reason) };
        let error = Error::new(Kind::NotFound, format!("there is no skill {shown}{why}"));
        Err(error.hint(init.remedy.clone().unwrap_or_else(|| "palisade skill list".to_owned())))
    }

    /// The components they bring.
    pub(crate) fn bundled(&mut self) -> Vec<Bundled> {
        let mut bundled = Vec::new();
        for skill in &self.skills {
            match skill.bundled() {
                Ok(more) => bundled.extend(more),
                Err(error) => {
                    let error = Error::new(Kind::Manifest, format!("{}: {error}", skill.shown));
                    self.quarantined.push(Quarantined { source: skill.name.clone(), key: skill.name.clone(), error });
                }
            }
        }
        bundled
    }
}

/// The skills that the settings allow to read.
#[must_use]
pub fn find(settings: &Settings) -> Found {
    find_in(settings, &settings.skill_dirs)
}

/// The skills of a folder a person named: it is one, or its subfolders are.
#[must_use]
pub fn find_folder(settings: &Settings, folder: &Path) -> Found {
    let origin = Origin::Flag("the command line");
    find_in(settings, &[SourceDir { folder: folder.to_owned(), single: false, scope: Scope::Flag, origin }])
}

fn find_in(settings: &Settings, dirs: &[SourceDir]) -> Found {
    let (mut all, mut quarantined) = (Vec::new(), Vec::new());
    sources::places(settings, dirs, SKILL, &mut quarantined, |place, quarantined| {
        let (shown, key) = (place.shown.clone(), place.key());
        let read = match all.len() {
            SKILLS.. => Err(Error::new(Kind::Manifest, format!("{shown}: more than {SKILLS} skills are not read"))),
            _ => read(settings, place),
        };
        match read {
            Ok(skill) => all.push(skill),
            Err(error) => quarantined.push(Quarantined { source: shown, key, error }),
        }
    });
    let facts = |skill: &Skill| sources::Facts { name: skill.name.clone(), shown: skill.shown.clone(), scope: skill.scope };
    let skills = sources::one_of_each_name(all, SKILL, facts, &mut quarantined);
    Found { skills: skills.into_iter().map(Arc::new).collect(), quarantined }
}

fn read(settings: &Settings, place: Place) -> Result<Skill, Error> {
    let file = format!("{}/{FILE}", place.shown);
    let refuse = |why: String| Error::new(Kind::Manifest, format!("{file}: {why}"));
    let bytes = place.folder.read(FILE, document::FILE).map_err(|e| refuse(e.to_string()))?;
    if place.scope == Scope::Workspace {
        sources::as_trusted(settings, place.folder.path(), FILE, &Sha256::digest(&bytes).into())?;
    }
    let document = Document::parse(&bytes, &place.key()).map_err(|(line, why)| match line {
        Some(line) => Error::new(Kind::Manifest, clean::line(&format!("{file}:{line}: {why}"), clean::TEXT)),
        None => refuse(why),
    })?;
    let Document { name, description, license, compatibility, metadata, allowed, text, findings, mut notes } = document;
    let (files, left_out) = files::list(&place.folder);
    notes.extend(left_out);
    let Place { folder, shown, scope, component: _ } = place;
    let brings_tools = folder.has(plugins::FILE);
    Ok(Skill {
        name,
        description,
        license,
        compatibility,
        metadata,
        allowed,
        text,
        scope,
        shown,
        files,
        brings_tools,
        findings,
        notes,
        folder,
    })
}
