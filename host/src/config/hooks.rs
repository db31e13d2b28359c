//! `[[hooks]]`: which components hear of what happens, and whose answer counts.
//!
//! The rule it keeps: what a guard guards stands in its entry, so that one that cannot be loaded still denies exactly that.
//! A guard of the user's own that the profile withholds is one that cannot be loaded.

use super::file::{HookTable, Placed, Source};
use super::{Scope, SourceDir, absolute};
use crate::error::Error;
use palisade_policy::{IdPattern, Init, Origin};
use std::path::PathBuf;

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
    let on = tables.iter().filter(|table| table.get_ref().enabled);
    on.map(|table| entry(source, table.get_ref(), scope)).collect()
}

fn entry(source: &Source<'_>, table: &HookTable, scope: Scope) -> Result<HookEntry, Error> {
    let refuse = |placed: &Placed, key: &str, why: &str| source.error(placed.span().start, &format!("`hooks.{key}`: {why}"));
    let guard = match table.kind.get_ref().as_str() {
        "guard" => true,
        "observer" => false,
        _ => return Err(refuse(&table.kind, "kind", "it is \"guard\" or \"observer\"")),
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
        return Err(refuse(&table.kind, "events", "it names no event, so the hook would never be called"));
    }
    events.sort_unstable();
    events.dedup();
    let tools = match &table.tools {
        None => vec![IdPattern::All],
        Some(written) => {
            if written.is_empty() || !events.iter().any(|event| event.has_tool()) {
                return Err(refuse(&table.kind, "tools", "it can match nothing: it is empty, or no event of this hook has a tool"));
            }
            let parse = |pattern: &Placed| IdPattern::parse(pattern.get_ref()).map_err(|why| refuse(pattern, "tools", &why));
            written.iter().map(parse).collect::<Result<_, _>>()?
        }
    };
    let at = table.dir.span().start;
    let folder = match scope {
        Scope::Workspace => PathBuf::from(table.dir.get_ref().trim_start_matches("./").trim_end_matches('/')),
        _ => absolute(table.dir.get_ref()).ok_or_else(|| refuse(&table.dir, "dir", "write an absolute path, or one from ~/"))?,
    };
    let dir = SourceDir { folder, single: true, scope, origin: source.origin(at) };
    Ok(HookEntry { dir, guard, events, tools, withheld: None })
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
