//! `[[hooks]]`: which components hear of what happens, and whose answer counts.
//!
//! The rule it keeps: what a guard guards stands in its entry, so that one that cannot be loaded still denies exactly that.
//! A guard of the user's own that the profile withholds is one that cannot be loaded.

use super::file::{CommandTable, HookTable, Placed, Source};
use super::sources::below;
use super::{Scope, SourceDir, absolute};
use crate::error::Error;
use palisade_policy::{IdPattern, Init, Origin};

/// Most entries of a file: a call waits for each guard in turn.
const MOST: usize = 64;

/// Something that happens, and that a hook may hear of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum HookEvent {
    /// A session begins.
    SessionStart,
    /// A prompt came in.
    PromptSubmit,
    /// A call is about to run.
    BeforeCall,
    /// A call ran.
    AfterCall,
    /// A call was denied.
    CallDenied,
    /// A session ends.
    SessionEnd,
}

impl HookEvent {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::SessionStart, Self::PromptSubmit, Self::BeforeCall, Self::AfterCall, Self::CallDenied, Self::SessionEnd];

    /// Its name in config and output.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::SessionStart => "session-start",
            Self::PromptSubmit => "prompt-submit",
            Self::BeforeCall => "before-call",
            Self::AfterCall => "after-call",
            Self::CallDenied => "call-denied",
            Self::SessionEnd => "session-end",
        }
    }

    /// Whether something can still be denied when it happens.
    #[must_use]
    pub fn is_guarded(self) -> bool {
        matches!(self, Self::PromptSubmit | Self::BeforeCall)
    }

    /// Whether it is about a tool.
    #[must_use]
    pub fn has_tool(self) -> bool {
        matches!(self, Self::BeforeCall | Self::AfterCall | Self::CallDenied)
    }
}

/// A hook, as it is configured.
#[derive(Debug, Clone)]
pub struct HookEntry {
    /// The folder of its component and manifest.
    pub dir: SourceDir,
    /// Whether its answer counts.
    pub guard: bool,
    /// What it hears of, in the order of [`HookEvent::ALL`].
    pub events: Vec<HookEvent>,
    /// The tools it hears of, where the event has one.
    pub tools: Vec<IdPattern>,
    /// What withholds it, where the profile does: nothing of it is read.
    pub withheld: Option<Init>,
    /// The commands that may run, where it stands for those of a `hooks.json` at [`SourceDir::folder`]. What they hear of stands
    /// there; until it is read, any of them may be a guard of everything.
    pub commands: Option<Vec<AllowedCommand>>,
}

/// A native command that a person lets run as a hook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowedCommand {
    /// Program and arguments.
    pub argv: Vec<String>,
    /// SHA-256 over them and the files they name, in hex.
    pub digest: String,
}

impl HookEntry {
    /// Where it is configured.
    #[must_use]
    pub fn origin(&self) -> &Origin {
        &self.dir.origin
    }

    /// Whether it hears of an event, about a tool where the event has one.
    #[must_use]
    pub fn hears(&self, event: HookEvent, id: &str) -> bool {
        self.events.contains(&event) && (!event.has_tool() || self.tools.iter().any(|pattern| pattern.matches(id)))
    }
}

/// The hooks of a file that are not switched off.
pub(super) fn entries(source: &Source<'_>, tables: &[toml::Spanned<HookTable>], scope: Scope) -> Result<Vec<HookEntry>, Error> {
    if let Some(more) = tables.get(MOST) {
        return Err(source.error(more.span().start, &format!("`hooks`: more than {MOST} entries")));
    }
    let one = |table: &toml::Spanned<HookTable>| match &table.get_ref().from {
        Some(from) => commands(source, table.get_ref(), from, scope),
        None => entry(source, table, scope),
    };
    // One that is switched off is read too: what is wrong with it is said before somebody counts on it.
    let all = tables.iter().map(|table| Ok((table.get_ref().enabled, one(table)?))).collect::<Result<Vec<_>, Error>>()?;
    Ok(all.into_iter().filter(|(enabled, _)| *enabled).map(|(_, entry)| entry).collect())
}

/// An entry that stands for a `hooks.json`.
fn commands(source: &Source<'_>, table: &HookTable, from: &Placed, scope: Scope) -> Result<HookEntry, Error> {
    let at = from.span().start;
    let refuse = |why: &str| source.error(at, &format!("`hooks.from`: {why}"));
    if scope == Scope::Workspace {
        return Err(refuse("it may not stand in a workspace file").hint("native commands run for what your own config says alone"));
    }
    if table.dir.is_some() || table.kind.is_some() || table.tools.is_some() || !table.events.is_empty() {
        return Err(refuse("`dir`, `kind`, `events` and `tools` do not stand beside it: the file says what its commands hear of"));
    }
    let folder = absolute(from.get_ref()).ok_or_else(|| refuse("write an absolute path, or one from ~/"))?;
    let mut allowed = Vec::new();
    for one in &table.allow {
        let wrong = |why: &str| source.error(one.span().start, &format!("`hooks.allow`: {why}"));
        let CommandTable { argv, digest } = one.get_ref();
        let digest = digest.strip_prefix("sha256:").filter(|hex| hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_hexdigit()));
        let digest = digest.ok_or_else(|| wrong("`digest` is sha256: and 64 hex digits; palisade hook list shows it"))?;
        if argv.is_empty() {
            return Err(wrong("`argv` is empty"));
        }
        allowed.push(AllowedCommand { argv: argv.clone(), digest: digest.to_ascii_lowercase() });
    }
    let guarded = HookEvent::ALL.into_iter().filter(|event| event.is_guarded() && !allowed.is_empty()).collect();
    let dir = SourceDir { folder, single: true, scope, origin: source.origin(at) };
    let guard = !allowed.is_empty();
    Ok(HookEntry { dir, guard, events: guarded, tools: vec![IdPattern::All], withheld: None, commands: Some(allowed) })
}

fn entry(source: &Source<'_>, placed: &toml::Spanned<HookTable>, scope: Scope) -> Result<HookEntry, Error> {
    let table = placed.get_ref();
    let refuse = |placed: &Placed, key: &str, why: &str| source.error(placed.span().start, &format!("`hooks.{key}`: {why}"));
    let (Some(table_dir), Some(kind)) = (&table.dir, &table.kind) else {
        let missing = if table.dir.is_none() { "dir" } else { "kind" };
        return Err(source.error(placed.span().start, &format!("`hooks`: it has no `{missing}`")));
    };
    if let Some(allow) = table.allow.first() {
        return Err(source.error(allow.span().start, "`hooks.allow`: it stands beside `from`"));
    }
    let guard = match kind.get_ref().as_str() {
        "guard" => true,
        "observer" => false,
        _ => return Err(refuse(kind, "kind", "it is \"guard\" or \"observer\"")),
    };
    let mut events = Vec::new();
    for written in &table.events {
        let known = || HookEvent::ALL.map(HookEvent::name).join(", ");
        let event = HookEvent::ALL.into_iter().find(|event| event.name() == written.get_ref());
        let event = event.ok_or_else(|| refuse(written, "events", &format!("it names no event; there are {}", known())))?;
        if guard && !event.is_guarded() {
            let why = format!("a guard answers to prompt-submit and before-call; for {} use an observer", event.name());
            return Err(refuse(written, "events", &why));
        }
        events.push(event);
    }
    if events.is_empty() {
        return Err(refuse(kind, "events", "it names no event, so the hook would never be called"));
    }
    events.sort_unstable();
    events.dedup();
    let tools = match &table.tools {
        None => vec![IdPattern::All],
        Some(written) => {
            if written.is_empty() || !events.iter().any(|event| event.has_tool()) {
                return Err(refuse(kind, "tools", "it can match nothing: it is empty, or no event of this hook has a tool"));
            }
            let parse = |pattern: &Placed| IdPattern::parse(pattern.get_ref()).map_err(|why| refuse(pattern, "tools", &why));
            written.iter().map(parse).collect::<Result<_, _>>()?
        }
    };
    let at = table_dir.span().start;
    let folder = match scope {
        Scope::Workspace => below(table_dir.get_ref()),
        _ => absolute(table_dir.get_ref()).ok_or_else(|| refuse(table_dir, "dir", "write an absolute path, or one from ~/"))?,
    };
    let dir = SourceDir { folder, single: true, scope, origin: source.origin(at) };
    Ok(HookEntry { dir, guard, events, tools, withheld: None, commands: None })
}

#[cfg(test)]
mod tests {
    use super::super::file::ConfigFile;
    use super::*;
    use crate::error::Kind;

    fn read(text: &str, scope: Scope) -> Result<Vec<HookEntry>, String> {
        let source = Source::new("config.toml", text.as_bytes(), Kind::Config).unwrap();
        let file: ConfigFile = source.parse().map_err(|e| e.message)?;
        entries(&source, &file.hooks, scope).map_err(|e| e.message)
    }

    #[test]
    fn an_entry_says_what_is_heard_and_whose_answer_counts() {
        let text = "[[hooks]]\ndir = \"/h/guard\"\nkind = \"guard\"\nevents = [\"before-call\", \"prompt-submit\"]\ntools = [\"a/*\"]\n\
                    [[hooks]]\ndir = \"/h/log\"\nkind = \"observer\"\nevents = [\"call-denied\"]\n\
                    [[hooks]]\ndir = \"/h/off\"\nkind = \"observer\"\nevents = [\"call-denied\"]\nenabled = false\n";
        let hooks = read(text, Scope::User).unwrap();
        assert_eq!(hooks.len(), 2);
        assert!(hooks[0].guard && !hooks[1].guard);
        assert_eq!(hooks[0].events, [HookEvent::PromptSubmit, HookEvent::BeforeCall]);
        assert!(hooks[0].hears(HookEvent::BeforeCall, "A/b") && !hooks[0].hears(HookEvent::BeforeCall, "b/a"));
        assert!(hooks[0].hears(HookEvent::PromptSubmit, "") && !hooks[0].hears(HookEvent::AfterCall, "a/b"));
        assert!(hooks[1].hears(HookEvent::CallDenied, "anything") && hooks[1].origin().to_string() == "config.toml:7");
    }

    #[test]
    fn what_could_never_be_enforced_is_refused_with_its_line() {
        let base = "[[hooks]]\ndir = \"/h\"\nkind = \"guard\"\nevents = [\"before-call\"]\n";
        for (text, line, what) in [
            (base.replace("dir = \"/h\"\n", ""), 1, "it has no `dir`"),
            (base.replace("dir", "from"), 2, "do not stand beside it"),
            ("[[hooks]]\nfrom = \"/h\"\nallow = [{ argv = [], digest = \"\" }]\n".to_owned(), 3, "`digest` is sha256"),
            (format!("{base}allow = [{{ argv = [\"a\"], digest = \"\" }}]\n"), 5, "it stands beside `from`"),
            (base.replace("guard", "gard"), 3, "`hooks.kind`"),
            (base.replace("before-call", "after-call"), 4, "use an observer"),
            (base.replace("before-call", "before"), 4, "it names no event"),
            (base.replace("\"before-call\"", ""), 3, "never be called"),
            (base.replace("\"/h\"", "\"h\""), 2, "absolute path"),
            (format!("{base}tools = [\"a\"]\n"), 5, "`a` is none of"),
            (format!("{base}tools = []\n"), 3, "can match nothing"),
            (format!("{base}order = 1\n"), 5, "`hooks"),
            (base.replace("before-call", "prompt-submit") + "tools = [\"*\"]\n", 3, "no event of this hook has a tool"),
        ] {
            let got = read(&text, Scope::User).unwrap_err();
            assert!(got.starts_with(&format!("config.toml:{line}: ")) && got.contains(what), "{text}\n{got}");
        }
    }
}
