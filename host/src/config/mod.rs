//! Flags and files to one [`Settings`] value.
//!
//! The rule it keeps: a layer can add a deny and lower a limit; only the user's own layers (flags, user config) choose a
//! profile, grant, raise a limit or supply sources that count without trust in the workspace.
//!
//! Where the rule ends: nothing of a source is opened here; whether it may be is decided by the `init` report made here.
//!
//! Never here: what a plugin is, running anything.

mod consent;
mod file;
mod grants;
mod home;
mod hooks;
pub mod installed;
mod lock;
mod mcp;
mod read;
mod secrets;
mod sources;
mod stores;
mod trust;
mod trusted;

pub use crate::own::make_folder;
pub use consent::{Consent, Consents, now};
pub(crate) use file::{LimitsTable, Placed, Source};
pub(crate) use grants::Bounds;
pub use home::{Home, user_home};
pub(crate) use home::{read_private, resolve_existing};
pub use hooks::{AllowedCommand, HookEntry, HookEvent};
pub use lock::{LOCK_FILE, Locked};
pub use mcp::{Allowed, Remote, SERVERS_FILE, ServerEntry, expand, workspace_entries};
pub use secrets::{secret, secret_file};
pub use sources::{Scope, SourceDir};
pub use stores::{remove_store, store_file};
pub use trust::WorkspaceTrust;
pub(crate) use trusted::hex;
pub use trusted::{Files, TrustRecord, files as files_to_trust};

use crate::clean;
use crate::error::{Error, Kind};
use crate::files::Folder;
use file::{ConfigFile, DenyTable};
use palisade_policy::{DenyList, FolderPath, Grant, Identity, Init, InitReport, Limit, Limits, Origin, Profile, Subsystem};
use read::{read_user, read_workspace, unusable};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Largest config file, in bytes.
const FILE_MAX: u64 = 1024 * 1024;
/// Most deny entries of one file: each call is compared with every prefix.
const DENY_MAX: usize = 10_000;
/// The workspace's file.
pub const WORKSPACE_FILE: &str = "palisade.toml";

/// What a person typed, or a program that uses the library set.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// `--profile`.
    pub profile: Option<String>,
    /// `--workspace`; the current folder where it is `None`.
    pub workspace: Option<PathBuf>,
    /// `--config`, instead of the user's file.
    pub config: Option<PathBuf>,
    /// `--trust-workspace`.
    pub trust_workspace: bool,
    /// A deny list made in code.
    pub deny: DenyList,
    /// `--deny-tool`.
    pub deny_tools: Vec<String>,
    /// `--deny-prefix`.
    pub deny_prefixes: Vec<String>,
    /// `--plugin`: folders of one plugin.
    pub plugins: Vec<PathBuf>,
    /// `--plugin-dir`: folders of plugin folders.
    pub plugin_dirs: Vec<PathBuf>,
    /// `--grant`, in the short form.
    pub grants: Vec<String>,
    /// Reads no file of the workspace, as a server does once one of them cannot be read: the user's own still counts.
    pub workspace_unread: bool,
    /// Limits that a person typed: they may raise what the user's config says, and never what a workspace lowered.
    pub limits: Vec<(Limit, u64)>,
}

/// The folder the agent works on.
#[derive(Debug)]
pub struct Workspace {
    /// Held open; its path is canonical.
    pub folder: Folder,
    /// Why nothing is read from it and `@workspace` does not resolve, where that is so.
    pub unusable: Option<String>,
}

impl Workspace {
    /// Where a folder of a capability is. Below the workspace no link is followed, or whoever writes the workspace would
    /// choose what a grant reaches.
    ///
    /// # Errors
    /// One sentence.
    pub fn resolve(&self, path: &FolderPath) -> Result<PathBuf, String> {
        match path {
            FolderPath::Workspace(_) if self.unusable.is_some() => Err("@workspace does not resolve here".to_owned()),
            FolderPath::Workspace(rest) if rest.is_empty() => Ok(self.folder.path().to_owned()),
            FolderPath::Workspace(rest) => self.folder.folder(rest).map(|f| f.path().to_owned()).map_err(|e| e.to_string()),
            FolderPath::Absolute(path) => {
                let resolved = std::fs::canonicalize(path).map_err(|e| e.to_string())?;
                if resolved.is_dir() { Ok(resolved) } else { Err("it is not a folder".to_owned()) }
            }
        }
    }
}

/// All that was decided before anything is loaded.
#[derive(Debug)]
pub struct Settings {
    /// Palisade's own folders.
    pub home: Home,
    /// The workspace.
    pub workspace: Arc<Workspace>,
    /// Whether its sources count.
    pub workspace_trust: WorkspaceTrust,
    /// The profile in use.
    pub profile: Profile,
    /// All layers, united.
    pub deny: DenyList,
    /// All layers, lowered.
    pub limits: Limits,
    /// Which of them the workspace lowered, and how far.
    pub(crate) lowered: Vec<(Limit, u64)>,
    /// What may be read of plugins.
    pub plugin_dirs: Vec<SourceDir>,
    /// What may be read of skills.
    pub skill_dirs: Vec<SourceDir>,
    /// External MCP servers that may be started.
    pub servers: Vec<ServerEntry>,
    /// Entries of `.mcp.json` that cannot be, by their names.
    pub broken_servers: Vec<(String, Error)>,
    /// Hooks, in the order in which they are asked: the user's own, then the workspace's.
    pub hooks: Vec<HookEntry>,
    /// Plugins that were added: their names, the identity each must have, and where that stands.
    pub pins: Vec<(String, Identity, Origin)>,
    /// What the workspace's lock says of plugins.
    pub lock: Vec<Locked>,
    /// What a person granted, with folders resolved.
    pub grants: Vec<Grant>,
    /// The four subsystems.
    pub init: InitReport,
    /// Sources left unread although their subsystem runs for others.
    pub withheld: Option<Init>,
    /// What withholds a plugin that was not added, where all others are the workspace's.
    pub others: Option<Init>,
    /// Where sessions of this workspace are kept.
    pub session_dir: PathBuf,
    /// What no grant may reach.
    pub(crate) bounds: Bounds,
    /// The flags that named workspace and config: a command to paste needs them too.
    pub(crate) places: Vec<(&'static str, PathBuf)>,
    /// The user's config.
    pub(crate) config: PathBuf,
    /// What a person should know.
    pub warnings: Vec<String>,
}

impl Settings {
    /// The user's config, which need not be there.
    #[must_use]
    pub fn config_file(&self) -> &Path {
        &self.config
    }

    /// The folders of plugins and skills that the workspace names and that count: what trust in it is about.
    #[must_use]
    pub fn workspace_dirs(&self) -> Vec<SourceDir> {
        let all = self.plugin_dirs.iter().chain(&self.skill_dirs).chain(self.hooks.iter().map(|hook| &hook.dir));
        all.filter(|dir| dir.scope == Scope::Workspace).cloned().collect()
    }

    /// The user's own files that decide what is loaded, whether they are there or not.
    pub(crate) fn own_files(&self) -> Vec<PathBuf> {
        let state = &self.home.state;
        let mut files = vec![self.config.clone(), state.join("grants.json"), installed::registry(&self.home)];
        files.extend(self.servers.iter().map(|entry| entry.accepted_file(&self.home)));
        files
    }

    /// Reads the config files and merges them with the options.
    ///
    /// # Errors
    /// [`Kind::Usage`] for what was typed, [`Kind::Config`] for what a file holds or who can write it.
    pub fn resolve(options: &Options, home: Home) -> Result<Self, Error> {
        let root = options.workspace.clone().unwrap_or_else(|| PathBuf::from("."));
        let folder = Folder::open(&root).map_err(|e| {
            Error::new(Kind::NotFound, format!("the workspace {}: {e}", root.display())).hint("name a folder with --workspace")
        })?;
        let workspace = Arc::new(Workspace { unusable: unusable(folder.path(), &home)?, folder });
        let user_path = options.config.clone().unwrap_or_else(|| home.config.clone());
        let (user_bytes, user_resolved) = read_user(&user_path, options.config.is_some(), &workspace)?;
        let user_name = shown(&user_path, workspace.folder.path());
        let user = Source::new(&user_name, &user_bytes, Kind::Config)?;
        let workspace_bytes = if options.workspace_unread { Vec::new() } else { read_workspace(&workspace)? };
        let file = Source::new(WORKSPACE_FILE, &workspace_bytes, Kind::Config)?;
        Merge { options, home, workspace, user_path: user_resolved, user, file }.settings()
    }
}

struct Merge<'a> {
    options: &'a Options,
    home: Home,
    workspace: Arc<Workspace>,
    user_path: PathBuf,
    user: Source<'a>,
    file: Source<'a>,
}

impl Merge<'_> {
    fn settings(self) -> Result<Settings, Error> {
        let mut warnings = Vec::new();
        let (user, file): (ConfigFile, ConfigFile) = (self.user.parse()?, self.file.parse()?);
        self.refuse_in_workspace(&file)?;
        let (named, named_skills) = (self.workspace_sources(&file.plugins), self.workspace_sources(&file.skills));
        let (own_hooks, hooks_here) =
            (hooks::entries(&self.user, &user.hooks, Scope::User)?, hooks::entries(&self.file, &file.hooks, Scope::Workspace)?);
        let all_named: Vec<SourceDir> = named.iter().chain(&named_skills).chain(hooks_here.iter().map(|hook| &hook.dir)).cloned().collect();
        let trust = trust::decide(self.options, &self.home, &self.workspace, &file, &self.file, &all_named)?;
        let mut limits = Limits::default();
        self.user.limits(&user.limits, |limit, value| {
            limits.set(limit, value);
            Ok(())
        })?;
        let profile = self.profile(&user, &mut limits)?;
        let mut lowered = Vec::new();
        self.file.limits(&file.limits, |limit, value| {
            lowered.push((limit, value));
            limits.only_lower(limit, value)
        })?;
        for &(limit, value) in &self.options.limits {
            limits.set(limit, if lowered.iter().any(|(one, _)| *one == limit) { value.min(limits.get(limit)) } else { value });
        }
        let mut deny = self.options.deny.clone();
        for (flag, entries) in [("--deny-tool", &self.options.deny_tools), ("--deny-prefix", &self.options.deny_prefixes)] {
            for entry in entries {
                let origin = Origin::Flag(flag);
                let added = if flag == "--deny-tool" { deny.add_name(entry, origin) } else { deny.add_prefix(entry, origin) };
                added.map_err(|e| Error::new(Kind::Usage, format!("{flag}: {e}")))?;
            }
        }
        deny.unite(deny_list(&self.user, &user.deny)?);
        deny.unite(deny_list(&self.file, &file.deny)?);
        deny.unite(profile.deny.clone());

        let mut own = self.own_sources(&user)?;
        let own_skills = self.own_dirs(&user.skills, "skills.dirs")?;
        let pins = self.added(&mut own)?;
        // Only whether it is there is asked.
        let there = self.workspace.unusable.is_none() && self.workspace.folder.has(SERVERS_FILE);
        let listed = there.then(|| Origin::File { name: SERVERS_FILE.to_owned(), line: 1 });
        let trustable = trust::check(&self.workspace, &file, &self.file);
        let sources = trust::Sources {
            own: &own,
            own_skills: &own_skills,
            servers: user.mcp.len(),
            named: &named,
            named_skills: &named_skills,
            listed,
            own_hooks: own_hooks.len(),
            named_hooks: hooks_here.first().map(|hook| hook.origin().clone()),
        };
        let (init, withheld, others) = trust::init(&profile, &trust, &trustable, &sources, &file, &self.file);
        let base = match user.session.as_ref().and_then(|s| s.get_ref().dir.as_ref()) {
            Some(dir) => {
                absolute(dir.get_ref()).ok_or_else(|| self.user.error(dir.span().start, "`session.dir` is not an absolute path"))?
            }
            None => self.home.state.join("sessions"),
        };
        let all = own.iter().chain(&own_skills).chain(&all_named).chain(own_hooks.iter().map(|hook| &hook.dir));
        let mut grants = grants::Grants::new(&self.home, &base, &self.workspace, &self.user_path, all);
        let counting = |subsystem, own: Vec<SourceDir>, named: Vec<SourceDir>| {
            let runs = profile.subsystems.contains(&subsystem);
            own.into_iter().filter(|_| runs).chain(named.into_iter().filter(|_| trust.trusted)).collect()
        };
        let plugin_dirs = counting(Subsystem::PluginInit, own, named);
        let skill_dirs = counting(Subsystem::SkillInit, own_skills, named_skills);
        for text in &self.options.grants {
            grants.flag(text)?;
        }
        for text in user.grants.iter().flat_map(|g| g.get_ref()) {
            grants.stored(&self.user, text)?;
        }
        let servers = match profile.subsystems.contains(&Subsystem::McpPrefetch) {
            true => mcp::entries(&self.user, &grants)?,
            false => Vec::new(),
        };
        // The workspace's own, where both trust it: the profile with servers, and a person with this workspace.
        let here = trust.trusted && init.of(Subsystem::McpPrefetch).enabled && profile.subsystems.contains(&Subsystem::McpPrefetch);
        let (servers, broken_servers) = if here { mcp::with_workspace(servers, &self.workspace) } else { (servers, Vec::new()) };
        let withheld_hooks = (!profile.subsystems.contains(&Subsystem::SessionHooks)).then(|| trust::withheld_by_profile(&profile));
        let own_hooks = own_hooks.into_iter().map(|hook| HookEntry { withheld: withheld_hooks.clone(), ..hook });
        let hooks = own_hooks.chain(hooks_here.into_iter().filter(|_| trust.trusted)).collect();
        let lock = if self.options.workspace_unread { Vec::new() } else { lock::read(&self.workspace)? };
        let here = digest(self.workspace.folder.path());
        for consented in Consents::read(&self.home)?.grants(&here, self.workspace.folder.path()) {
            grants.consented(consented);
        }
        let (grants, unresolved, bounds) = grants.finish();
        warnings.extend(unresolved);
        if let Some(why) = &self.workspace.unusable {
            warnings.push(why.clone());
        }
        let typed = [
            ("--workspace", self.options.workspace.is_some(), self.workspace.folder.path()),
            ("--config", self.options.config.is_some(), self.user_path.as_path()),
        ];
        let places = typed.into_iter().filter(|(_, typed, _)| *typed).map(|(flag, _, path)| (flag, path.to_owned())).collect();
        let session_dir = base.join(digest(self.workspace.folder.path()));
        Ok(Settings {
            home: self.home,
            workspace: self.workspace,
            workspace_trust: trust,
            profile,
            deny,
            limits,
            lowered,
            plugin_dirs,
            skill_dirs,
            servers,
            broken_servers,
            hooks,
            pins,
            lock,
            grants,
            init,
            withheld,
            others,
            session_dir,
            bounds,
            places,
            config: self.user_path,
            warnings,
        })
    }

    /// A workspace file may narrow and name; it may not choose, grant or move.
    fn refuse_in_workspace(&self, file: &ConfigFile) -> Result<(), Error> {
        let profiles = file.profiles.keys().next().map(|name| ("profiles", name.span().start));
        let found = [
            file.profile.as_ref().map(|v| ("profile", v.span().start)),
            profiles,
            file.grants.as_ref().map(|v| ("grants", v.span().start)),
            file.session.as_ref().map(|v| ("session", v.span().start)),
        ];
        match found.into_iter().flatten().next() {
            None => Ok(()),
            Some((key, at)) => Err(self
                .file
                .error(at, &format!("`{key}` may not stand in a workspace file"))
                .hint("a workspace may deny, lower limits and name sources; put this into your own config")),
        }
    }

    fn profile(&self, user: &ConfigFile, limits: &mut Limits) -> Result<Profile, Error> {
        for name in user.profiles.keys() {
            if matches!(name.get_ref().as_str(), "trusted" | "untrusted") {
                return Err(self.user.error(name.span().start, "`profiles`: `trusted` and `untrusted` are built in; choose another name"));
            }
        }
        let (name, origin, kind) = match (&self.options.profile, &user.profile) {
            (Some(name), _) => (name.as_str(), Origin::Flag("--profile"), Kind::Usage),
            (None, Some(name)) => (name.get_ref().as_str(), self.user.origin(name.span().start), Kind::Config),
            (None, None) => return Ok(Profile::untrusted(Origin::BuiltIn)),
        };
        match name {
            "trusted" => return Ok(Profile::trusted(origin)),
            "untrusted" => return Ok(Profile::untrusted(origin)),
            _ => {}
        }
        let Some((_, table)) = user.profiles.iter().find(|(key, _)| key.get_ref() == name) else {
            let known: Vec<&str> = user.profiles.keys().map(|k| k.get_ref().as_str()).collect();
            let known = ["untrusted", "trusted"].into_iter().chain(known).collect::<Vec<_>>().join(", ");
            let hint = format!("profiles: {}", clean::line(&known, clean::TEXT));
            return Err(Error::new(kind, format!("{origin}: there is no profile `{}`", clean::line(name, clean::NAME))).hint(hint));
        };
        let mut subsystems = Vec::new();
        for written in &table.subsystems {
            let subsystem = Subsystem::from_name(written.get_ref()).ok_or_else(|| {
                let known = Subsystem::ALL.map(Subsystem::name).join(", ");
                self.user.error(written.span().start, &format!("`subsystems`: it names no subsystem; there are {known}"))
            })?;
            subsystems.push(subsystem);
        }
        self.user.limits(&table.limits, |limit, value| limits.only_lower(limit, value))?;
        Ok(Profile { name: name.to_owned(), subsystems, deny: deny_list(&self.user, &table.deny)?, origin })
    }
}

fn deny_list(source: &Source<'_>, table: &DenyTable) -> Result<DenyList, Error> {
    let mut list = DenyList::default();
    if let Some(entry) = table.names.iter().chain(&table.prefixes).nth(DENY_MAX) {
        return Err(source.error(entry.span().start, &format!("`deny`: more than {DENY_MAX} entries")));
    }
    let refuse = |at: usize, key: &str, e| source.error(at, &format!("`deny.{key}`: {e}"));
    for name in &table.names {
        let at = name.span().start;
        list.add_name(name.get_ref(), source.origin(at)).map_err(|e| refuse(at, "names", e))?;
    }
    for prefix in &table.prefixes {
        let at = prefix.span().start;
        list.add_prefix(prefix.get_ref(), source.origin(at)).map_err(|e| refuse(at, "prefixes", e))?;
    }
    Ok(list)
}

/// An absolute path as written in a user's file, with `~/` for home.
fn absolute(written: &str) -> Option<PathBuf> {
    let path = match written.strip_prefix("~/") {
        Some(rest) => user_home()?.join(rest),
        None => PathBuf::from(written),
    };
    path.is_absolute().then_some(path)
}

/// A path as an operator reads it: relative to the workspace, or from `~/`.
#[must_use]
pub fn shown(path: &Path, workspace: &Path) -> String {
    if let Ok(below) = path.strip_prefix(workspace) {
        return below.display().to_string();
    }
    match user_home().and_then(|h| path.strip_prefix(h).ok()) {
        Some(below) => format!("~/{}", below.display()),
        None => path.display().to_string(),
    }
}

/// The name under which things of a workspace are kept: a digest, so that no path is in a file name.
#[must_use]
pub fn digest(workspace: &Path) -> String {
    use sha2::{Digest, Sha256};
    use std::os::unix::ffi::OsStrExt;
    hex(&Sha256::digest(workspace.as_os_str().as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_that_is_not_there_is_named_in_one_clean_line() {
        let temp = tempfile::tempdir().unwrap();
        let root = temp.path().canonicalize().unwrap();
        let (home, workspace) = (root.join("home"), root.join("workspace"));
        for folder in [&home, &workspace] {
            make_folder(folder).unwrap();
        }
        let home = Home::at(&home).unwrap();
        std::fs::write(&home.config, "profile = \"a\\u001b[31mb\\nc\"\n[profiles.\"d\\u0007e\"]\n").unwrap();
        let options = Options { workspace: Some(workspace), ..Options::default() };
        let error = Settings::resolve(&options, home).unwrap_err();
        assert!(error.message.ends_with("there is no profile `ab c`"), "{}", error.message);
        assert_eq!(error.hint.as_deref(), Some("profiles: untrusted, trusted, de"));
    }
}
