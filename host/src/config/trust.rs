//! The two questions of trust: what a profile initialises for the user's own sources, and whether the sources that a
//! workspace file names count. No profile answers the second, and no workspace file either of them.

use super::file::{ConfigFile, Source};
use super::trusted::{self, Files, TrustRecord};
use super::{Home, Options, Scope, SourceDir, Workspace};
use crate::clean;
use crate::error::{Error, Kind};
use crate::own::check_owner;
use palisade_policy::{Init, InitReport, Origin, Profile, Subsystem};
use std::sync::Arc;

/// Whether a workspace's own sources count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkspaceTrust {
    /// Whether they do.
    pub trusted: bool,
    /// The flag or record that says so, or why not.
    pub source: String,
    /// What is not as it was trusted, by its path below the workspace.
    pub changed: Vec<String>,
    /// Whether it was typed for this one command.
    pub typed: bool,
    /// What was trusted: all that is loaded must be among it. `None` where a flag trusts the workspace as it is.
    pub files: Option<Arc<Files>>,
}

impl WorkspaceTrust {
    fn none(source: &str) -> Self {
        Self { trusted: false, source: source.to_owned(), changed: Vec::new(), typed: false, files: None }
    }

    /// Who activates its sources.
    fn by(&self) -> &'static str {
        if self.typed { "--trust-workspace" } else { "the trust record" }
    }
}

pub(super) fn decide(
    options: &Options,
    home: &Home,
    workspace: &Workspace,
    file: &ConfigFile,
    source: &Source<'_>,
    named: &[SourceDir],
) -> Result<WorkspaceTrust, Error> {
    if !options.trust_workspace {
        return recorded(home, workspace, file, source, named);
    }
    check(workspace, file, source)?;
    Ok(WorkspaceTrust { trusted: true, typed: true, ..WorkspaceTrust::none("--trust-workspace") })
}

/// Trust that `palisade trust` recorded, where everything still is as it was then.
fn recorded(
    home: &Home,
    workspace: &Workspace,
    file: &ConfigFile,
    source: &Source<'_>,
    named: &[SourceDir],
) -> Result<WorkspaceTrust, Error> {
    let root = workspace.folder.path();
    let record = match TrustRecord::read(home, root) {
        Ok(Some(record)) => record,
        Ok(None) => return Ok(WorkspaceTrust::none("nobody trusted this workspace")),
        Err(error) => return Ok(WorkspaceTrust::none(&error.message)),
    };
    // Whatever is wrong with it now ends the trust, and is no error: nothing of it counts.
    if let Err(error) = check(workspace, file, source) {
        return Ok(WorkspaceTrust::none(&error.message));
    }
    let now = match trusted::files(workspace, named) {
        Ok(now) => now,
        Err(error) => return Ok(WorkspaceTrust::none(&error.message)),
    };
    let changed = record.changed(&now);
    if changed.is_empty() {
        let source = format!("the trust record of {}", record.since);
        return Ok(WorkspaceTrust { trusted: true, files: Some(Arc::new(now)), ..WorkspaceTrust::none(&source) });
    }
    let first = crate::clean::line(&changed[0], crate::clean::NAME);
    let more = if changed.len() > 1 { format!(" and {} more", changed.len() - 1) } else { String::new() };
    let source = format!("it is not as it was trusted: {first}{more}; palisade trust looks at it again");
    Ok(WorkspaceTrust { changed, ..WorkspaceTrust::none(&source) })
}

/// Whether a workspace may be trusted at all.
pub(super) fn check(workspace: &Workspace, file: &ConfigFile, source: &Source<'_>) -> Result<(), Error> {
    if let Some(why) = &workspace.unusable {
        return Err(Error::new(Kind::Config, format!("the workspace cannot be trusted: {why}")));
    }
    let what = format!("the workspace {}", workspace.folder.path().display());
    check_owner(&what, &workspace.folder.metadata().map_err(|e| Error::io(&what, &e))?)?;
    let found = [file.mcp.keys().next().map(|v| ("mcp", v.span().start))];
    match found.into_iter().flatten().next() {
        Some((key, at)) => {
            Err(source.error(at, &format!("`{key}`: this version does not run it, so it cannot be trusted; remove the key")))
        }
        None => Ok(()),
    }
}

/// What there is to initialise.
pub(super) struct Sources<'a> {
    /// The user's own plugins.
    pub(super) own: &'a [SourceDir],
    /// The user's own skills.
    pub(super) own_skills: &'a [SourceDir],
    /// How many external servers the user's config names.
    pub(super) servers: usize,
    /// The plugins that the workspace names.
    pub(super) named: &'a [SourceDir],
    /// The skills that the workspace names.
    pub(super) named_skills: &'a [SourceDir],
    /// Where the workspace names external servers.
    pub(super) listed: Option<Origin>,
    /// How many hooks the user's config names.
    pub(super) own_hooks: usize,
    /// Where the workspace names the first hook.
    pub(super) named_hooks: Option<Origin>,
}

/// What a profile withholds.
pub(super) fn withheld_by_profile(profile: &Profile) -> Init {
    Init {
        enabled: false,
        reason: format!("the profile `{}` withholds it", profile.name),
        withheld: true,
        origin: profile.origin.clone(),
        remedy: Some("--profile trusted".to_owned()),
    }
}

/// The report on the four subsystems, what stays withheld of one that runs, and what withholds a plugin that is none of
/// those that were added, where no other is the user's own.
pub(super) fn init(
    profile: &Profile,
    trust: &WorkspaceTrust,
    trustable: &Result<(), Error>,
    sources: &Sources<'_>,
    file: &ConfigFile,
    source: &Source<'_>,
) -> (InitReport, Option<Init>, Option<Init>) {
    let Sources { own, own_skills, servers, named, named_skills, listed, own_hooks, named_hooks } = sources;
    let at = |found: Option<usize>| found.map(|at| source.origin(at));
    let named_at = |subsystem| match subsystem {
        Subsystem::PluginInit => named.first().map(|dir| dir.origin.clone()),
        Subsystem::SkillInit => named_skills.first().map(|dir| dir.origin.clone()),
        Subsystem::McpPrefetch => at(file.mcp.keys().next().map(|v| v.span().start)).or_else(|| listed.clone()),
        Subsystem::SessionHooks => named_hooks.clone(),
    };
    let by_profile = |subsystem| profile.subsystems.contains(&subsystem);
    let why = match &trustable {
        Err(error) => format!("the workspace names sources and cannot be trusted ({})", clean::line(&error.message, clean::TEXT)),
        Ok(()) if !trust.changed.is_empty() => format!("the workspace names sources, and {}", trust.source),
        Ok(()) => "the workspace names sources and is not trusted".to_owned(),
    };
    let withheld_by_trust = |origin: &Origin| Init {
        enabled: false,
        reason: format!("{why}; nothing of them was read"),
        withheld: true,
        origin: origin.clone(),
        // What no flag activates either has none.
        remedy: trustable.as_ref().ok().map(|()| "--trust-workspace".to_owned()),
    };
    let by_profile_alone = |what: &str| Init {
        enabled: true,
        reason: format!("the profile `{}` initialises it{what}", profile.name),
        withheld: false,
        origin: profile.origin.clone(),
        remedy: None,
    };
    let report = Subsystem::ALL.map(|subsystem| match (by_profile(subsystem), named_at(subsystem)) {
        // Nothing of a server is read, started or contacted without a profile that says so.
        (false, _) if subsystem == Subsystem::McpPrefetch => withheld_by_profile(profile),
        (_, Some(origin)) if trust.trusted => {
            Init { enabled: true, reason: format!("{} activates what {origin} names", trust.by()), withheld: false, origin, remedy: None }
        }
        (true, _) if subsystem == Subsystem::PluginInit && !own.is_empty() => by_profile_alone(""),
        (true, _) if subsystem == Subsystem::SkillInit && !own_skills.is_empty() => by_profile_alone(""),
        (true, _) if subsystem == Subsystem::McpPrefetch && *servers > 0 => by_profile_alone(""),
        (true, _) if subsystem == Subsystem::SessionHooks && *own_hooks > 0 => by_profile_alone(""),
        (true, Some(origin)) => withheld_by_trust(&origin),
        (true, None) => by_profile_alone(match subsystem {
            Subsystem::PluginInit => ", and no plugin is configured",
            Subsystem::SkillInit => ", and no skill is configured",
            Subsystem::McpPrefetch => ", and no MCP server is configured",
            Subsystem::SessionHooks => ", and no hook is configured",
        }),
        (false, _) => withheld_by_profile(profile),
    });
    let report = InitReport(report);
    // Sources that were left unread of a subsystem that runs: the workspace's beside the user's own, or the other way round.
    let unread = |subsystem, own: &[SourceDir], named: &[SourceDir]| match named.first().filter(|_| report.of(subsystem).enabled) {
        Some(dir) if !trust.trusted => Some(withheld_by_trust(&dir.origin)),
        Some(_) if !by_profile(subsystem) && !own.is_empty() => Some(withheld_by_profile(profile)),
        _ => None,
    };
    let servers = listed.as_ref().filter(|_| named.is_empty() && report.of(Subsystem::PluginInit).enabled);
    let withheld = unread(Subsystem::PluginInit, own, named)
        .or_else(|| servers.filter(|_| !trust.trusted && by_profile(Subsystem::McpPrefetch)).map(withheld_by_trust))
        .or_else(|| unread(Subsystem::SkillInit, own_skills, named_skills));
    // No profile activates what the workspace names. Of what was added the names are known unread.
    let known = own.iter().all(|dir| dir.scope == Scope::Added) && own_skills.is_empty();
    let others = named.first().filter(|_| known && !trust.trusted && !report.of(Subsystem::PluginInit).enabled);
    let others = others.map(|dir| withheld_by_trust(&dir.origin));
    (report, withheld, others)
}
