//! A place for a review: a home and a workspace nobody else uses, and the host that runs in them.
//!
//! It lies in the user's cache, is held while the review goes on and removed at its end; what a killed review left the next
//! one removes.

use super::generate::HOSTILE_NAMES;
use super::manifest::{Read, Subject};
use super::{Review, private_home};
use crate::config::{Options, Settings};
use crate::error::{Error, Kind};
use crate::files::Folder;
use crate::host::{Host, LoadOptions};
use crate::own::make_folder;
use crate::plugins::{FILE, bare_manifest};
use crate::sandbox::{Allocator, CodeCache};
use crate::scratch::OfACall;
use palisade_policy::{Access, Capability, FolderPath, Grant, Limit, Limits, Origin};
use std::path::PathBuf;

/// Longest time of one call, in milliseconds: less than a call may have, so that one that does not end holds up the others no
/// longer, and more than an interpreter needs for half a mebibyte on a busy machine, for which two seconds were too few.
const TIME: u64 = 10_000;
/// A folder of the scratch workspace, where the whole workspace is asked for to write.
const BELOW: &str = "scratch";

/// Everything that is removed after.
pub(super) struct Place {
    scratch: OfACall,
    limits: Limits,
}

impl Place {
    /// Makes one.
    ///
    /// # Errors
    /// Where the user's cache cannot be written.
    pub(super) fn make(settings: &Settings) -> Result<Self, Error> {
        let own = settings.home.cache.join("check");
        make_folder(&own)?;
        let scratch = OfACall::make(&own).map_err(|why| Error::new(Kind::Io, format!("a place for the review: {why}")))?;
        let place = Self { scratch, limits: settings.limits.clone() };
        place.fill().map_err(|e| Error::io("the scratch workspace", &e))?;
        Ok(place)
    }

    fn path(&self, below: &str) -> PathBuf {
        self.scratch.path().join(below)
    }

    /// Largest component that is read.
    pub(super) fn most(&self) -> u64 {
        self.limits.get(Limit::Component)
    }

    /// A few files as a workspace has them, some with names that nobody likes.
    fn fill(&self) -> std::io::Result<()> {
        let workspace = self.path("workspace");
        std::fs::create_dir_all(workspace.join(BELOW))?;
        std::fs::create_dir_all(workspace.join("src/deep/er"))?;
        std::fs::write(workspace.join("README.md"), "# A workspace\n\nSome *text*, a [link](https://example.com) and `code`.\n")?;
        std::fs::write(workspace.join("data.csv"), "city,height\nBern,542\nChur,593\n")?;
        std::fs::write(workspace.join("empty"), "")?;
        std::fs::write(workspace.join("binary"), [0, 159, 146, 150, 255, 0])?;
        std::fs::write(workspace.join("src/deep/er/data.json"), "{\"a\": [1, 2, {\"b\": null}]}\n")?;
        HOSTILE_NAMES.iter().try_for_each(|name| std::fs::write(workspace.join(name), "a file of this name\n"))
    }

    /// A folder for a component that has no manifest.
    ///
    /// # Errors
    /// Where it cannot be written, or its file's name makes none for a source.
    pub(super) fn bare(&self, file: &str, component: &[u8]) -> Result<Folder, Error> {
        let folder = self.path("plugin");
        let manifest = bare_manifest(file)?;
        let write = || {
            std::fs::create_dir_all(&folder)?;
            std::fs::write(folder.join(FILE), manifest)?;
            std::fs::write(folder.join(file), component)
        };
        write().map_err(|e| Error::io("a folder for the component", &e))?;
        Folder::open(&folder).map_err(|e| Error::new(Kind::Io, e.to_string()))
    }

    /// A host of this one plugin, in this place.
    ///
    /// # Errors
    /// A grant that was typed is none, or the sandbox cannot be made.
    pub(super) async fn host(&self, review: &Review<'_>, subject: &Subject, read: &Read, code: Option<&CodeCache>) -> Result<Host, Error> {
        let mut limits: Vec<(Limit, u64)> = Limit::ALL.iter().map(|limit| (*limit, self.limits.get(*limit))).collect();
        limits.iter_mut().filter(|(limit, _)| *limit == Limit::Time).for_each(|(_, value)| *value = (*value).min(TIME));
        let options = Options {
            profile: Some("trusted".to_owned()),
            workspace: Some(self.path("workspace")),
            plugins: vec![subject.folder.path().to_owned()],
            grants: self.grants(read, review.grants).map_err(|e| Error::io("the scratch workspace", &e))?,
            limits,
            ..Options::default()
        };
        let settings = Settings::resolve(&options, private_home(&self.path("home"))?)?;
        let load = LoadOptions {
            allocator: Allocator::OnDemand,
            compiler: Some(review.compiler),
            watcher: review.watcher,
            code,
            ..LoadOptions::default()
        };
        Host::load(settings, load).await
    }

    /// What can be granted here, and what a person typed beside it.
    fn grants(&self, read: &Read, typed: &[String]) -> std::io::Result<Vec<String>> {
        let name = read.manifest.name.as_str();
        let mut grants = Vec::new();
        for request in &read.manifest.requests {
            match &request.capability {
                Capability::Fs(access, FolderPath::Workspace(rest)) => {
                    let below = if rest.is_empty() && *access == Access::Write { BELOW } else { rest.as_str() };
                    // Nobody may write there.
                    if below.split('/').any(|part| part == ".git") {
                        continue;
                    }
                    std::fs::create_dir_all(self.path("workspace").join(below))?;
                    let below = if below.is_empty() { String::new() } else { format!("/{below}") };
                    grants.push(format!("{name}:fs:{access}:@workspace{below}"));
                }
                Capability::Store => grants.push(format!("{name}:store")),
                Capability::Fs(_, FolderPath::Absolute(_)) | Capability::Net(_) | Capability::Env(_) | Capability::Auth(..) => {}
            }
        }
        // The workspace of whoever typed it is not the one here.
        let elsewhere = |text: &&String| {
            let grant = Grant::parse_short(text, Origin::Flag("--grant")).map(|grant| grant.capability);
            !matches!(grant, Ok(Capability::Fs(_, FolderPath::Workspace(_)) | Capability::Store))
        };
        grants.extend(typed.iter().filter(elsewhere).cloned());
        Ok(grants)
    }
}

/// What a request needs that was not granted, as a row that is skipped says it.
pub(super) fn needs(missing: &[Capability]) -> String {
    let all = missing.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ");
    format!("it needs {all}, which only a person grants: --grant NAME:CAPABILITY")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named_as_it_would_be_granted() {
        let missing: Vec<Capability> = ["net:https://a.example", "env:LANG"].iter().map(|text| text.parse().unwrap()).collect();
        assert!(needs(&missing).starts_with("it needs net:https://a.example and env:LANG, "));
    }
}
