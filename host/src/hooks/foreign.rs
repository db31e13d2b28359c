//! `hooks.json`, as agents of others have it: which of its entries mean something here.
//!
//! The rule it keeps: every entry is accounted for - it can run as a hook, it cannot and why, or its event is unknown. Nothing
//! in the file makes anything run.
//!
//! The format is that of Claude Code's hooks reference: events, each with matchers, each with hooks of a type.

use crate::child::find;
use crate::clean;
use crate::config::HookEvent;
use crate::error::{Error, Kind};
use crate::files::{Folder, ReadError};
use palisade_policy::IdPattern;
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Largest file, in bytes, and most entries of one.
const MAX: u64 = 1024 * 1024;
const ENTRIES: usize = 1000;
/// What stands for the folder of the package.
const ROOTS: [&str; 4] = ["${CLAUDE_PLUGIN_ROOT}", "$CLAUDE_PLUGIN_ROOT", "${CLAUDE_PROJECT_DIR}", "$CLAUDE_PROJECT_DIR"];
/// Events of that agent that are none here.
const OTHERS: [&str; 22] = [
    "Stop",
    "StopFailure",
    "SubagentStart",
    "SubagentStop",
    "Notification",
    "PreCompact",
    "PostCompact",
    "PermissionRequest",
    "PermissionDenied",
    "PostToolUseFailure",
    "PostToolBatch",
    "UserPromptExpansion",
    "TaskCreated",
    "TaskCompleted",
    "TeammateIdle",
    "Setup",
    "ConfigChange",
    "InstructionsLoaded",
    "CwdChanged",
    "FileChanged",
    "WorktreeCreate",
    "WorktreeRemove",
];

/// Why an entry that means something here does not run.
pub const NOT_ALLOWED: &str = "a native command runs only where your config allows its argv and digest";

/// One entry of a `hooks.json`.
#[derive(Debug, Clone)]
pub struct Foreign {
    /// Its event, as written; text from outside.
    pub event: String,
    /// Its matcher, as written; text from outside.
    pub matcher: Option<String>,
    /// Its command line, or what it has instead; text from outside.
    pub command: String,
    /// What it could be here, or why it cannot.
    pub meaning: Result<Meaning, Refused>,
}

/// What an entry could be here.
#[derive(Debug, Clone)]
pub struct Meaning {
    /// What it would hear of.
    pub event: HookEvent,
    /// Of which tools.
    pub tools: Vec<IdPattern>,
    /// Program and arguments.
    pub argv: Vec<String>,
    /// SHA-256 over them and the files they name, in hex; or which file cannot be read.
    pub digest: Result<String, String>,
    /// How long it may take, where it says so.
    pub timeout: Option<Duration>,
}

/// Why an entry cannot run here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// There is no such event.
    Unknown(String),
    /// It means something that there is not here.
    Because(String),
}

impl Meaning {
    /// Whether its answer would count.
    #[must_use]
    pub fn is_guard(&self) -> bool {
        self.event.is_guarded()
    }
}

/// The entries of a `hooks.json`, or of the one in a folder.
///
/// # Errors
/// [`Kind::Config`] where it cannot be read, or is no such file at all.
pub fn read(path: &Path) -> Result<Vec<Foreign>, Error> {
    let shown = clean::line(&path.display().to_string(), clean::NAME);
    let refuse = |why: &str| Error::new(Kind::Config, format!("{shown}: {why}"));
    let (file, root) = place(path);
    let (folder, name) = file.parent().zip(file.file_name().and_then(|name| name.to_str())).ok_or_else(|| refuse("it is no file"))?;
    let bytes = Folder::open(folder).and_then(|folder| folder.read(name, MAX)).map_err(|e| match e {
        ReadError::Missing => refuse("there is no hooks.json"),
        other => refuse(&other.to_string()),
    })?;
    let value: Value = serde_json::from_slice(&bytes).map_err(|e| refuse(&format!("it is not JSON: {e}")))?;
    let events = value.get("hooks").unwrap_or(&value).as_object().ok_or_else(|| refuse("`hooks` is no object of events"))?;
    let mut found = Vec::new();
    for (event, groups) in events.iter().filter(|(event, _)| !matches!(event.as_str(), "description" | "$schema")) {
        let broken = |why: &str| Foreign {
            event: event.clone(),
            matcher: None,
            command: String::new(),
            meaning: Err(heard(event).map_or_else(|refused| refused, |_| Refused::Because(why.to_owned()))),
        };
        let Some(groups) = groups.as_array() else {
            found.push(broken("it holds no list of matchers"));
            continue;
        };
        for group in groups {
            let matcher = group.get("matcher").and_then(Value::as_str).map(str::to_owned);
            let hooks = group.get("hooks").and_then(Value::as_array);
            match hooks {
                None => found.push(broken("a matcher has no list of hooks")),
                Some(hooks) => found.extend(hooks.iter().map(|hook| one(event, matcher.as_ref(), hook, &root))),
            }
        }
    }
    if found.len() > ENTRIES {
        return Err(refuse(&format!("it has {} entries; at most {ENTRIES} are read", found.len())));
    }
    Ok(found)
}

/// The file of a path, and the folder of the package it belongs to.
pub(super) fn place(path: &Path) -> (PathBuf, PathBuf) {
    if !path.is_dir() {
        let folder = path.parent().unwrap_or(path);
        let root = if folder.ends_with("hooks") { folder.parent().unwrap_or(folder) } else { folder };
        return (path.to_owned(), root.to_owned());
    }
    let inner = path.join("hooks/hooks.json");
    (if inner.exists() { inner } else { path.join("hooks.json") }, path.to_owned())
}

fn one(event: &str, matcher: Option<&String>, hook: &Value, root: &Path) -> Foreign {
    let text = |key: &str| hook.get(key).and_then(Value::as_str);
    let kind = text("type").unwrap_or("command");
    let command = text("command").unwrap_or(kind).to_owned();
    let meaning = heard(event).and_then(|heard| {
        let because = |why: String| Err(Refused::Because(why));
        if kind != "command" {
            return because(format!("a hook of the type `{}` runs in no sandbox, nor as a command", clean::line(kind, 64)));
        }
        let tools = tools(heard, matcher.map_or("", String::as_str)).map_err(Refused::Because)?;
        let argv = text("command").map_or_else(|| Err("it has no command".to_owned()), |command| words(command, root));
        let argv = argv.map_err(Refused::Because)?;
        let timeout = hook.get("timeout").and_then(Value::as_f64).filter(|seconds| (0.001..=86_400.0).contains(seconds));
        let digest = digest(&argv);
        Ok(Meaning { event: heard, tools, argv, digest, timeout: timeout.map(Duration::from_secs_f64) })
    });
    Foreign { event: event.to_owned(), matcher: matcher.cloned(), command, meaning }
}

/// The event here that means the same.
fn heard(event: &str) -> Result<HookEvent, Refused> {
    match event {
        "PreToolUse" => Ok(HookEvent::BeforeCall),
        "PostToolUse" => Ok(HookEvent::AfterCall),
        "UserPromptSubmit" => Ok(HookEvent::PromptSubmit),
        "SessionStart" => Ok(HookEvent::SessionStart),
        "SessionEnd" => Ok(HookEvent::SessionEnd),
        other if OTHERS.contains(&other) => Err(Refused::Because(format!("no event here means the same as {other}"))),
        other => Err(Refused::Unknown(format!("there is no event `{}`", clean::line(other, clean::NAME)))),
    }
}

/// The tools of a matcher: the names by which that agent knows the tools of MCP servers, one of them or a few.
fn tools(event: HookEvent, matcher: &str) -> Result<Vec<IdPattern>, String> {
    if !event.has_tool() || matches!(matcher, "" | "*" | ".*") {
        return Ok(vec![IdPattern::All]);
    }
    let shown = clean::line(matcher, clean::NAME);
    let mut found = Vec::new();
    for name in matcher.trim_matches(['^', '$', '(', ')']).split('|') {
        let Some(rest) = name.strip_prefix("mcp__") else {
            if !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
                return Err(format!("its matcher `{shown}` is a pattern with no counterpart here"));
            }
            // A tool of that agent itself, which never comes here.
            continue;
        };
        // Palisade itself as a server of that agent, or a server that is behind the gate here.
        let rest = rest.strip_prefix("palisade__").unwrap_or(rest);
        let pattern = match rest.split_once("__") {
            _ if matches!(rest, "palisade" | "*" | ".*") => "*".to_owned(),
            Some((source, "*" | ".*")) => format!("{source}/*"),
            None => format!("{rest}/*"),
            Some((source, tool)) => format!("{source}/{tool}"),
        };
        let pattern = IdPattern::parse(&pattern).map_err(|_| format!("its matcher `{shown}` is a pattern with no counterpart here"))?;
        found.push(pattern);
    }
    if found.is_empty() { Err(format!("its matcher `{shown}` names no tool that passes here")) } else { Ok(found) }
}

/// The words of a command line. There is no shell: what only one could do is refused.
fn words(command: &str, root: &Path) -> Result<Vec<String>, String> {
    let root = root.to_str().ok_or("its folder's path is not text")?;
    let mark = "\u{1}";
    let marked = ROOTS.iter().fold(command.to_owned(), |text, name| text.replace(name, mark));
    if let Some(found) = for_a_shell(&marked) {
        return Err(format!("it needs a shell (`{}`), and none is run", found.escape_default()));
    }
    let words = shlex::split(&marked).filter(|words| !words.is_empty()).ok_or("its quotes are not closed, or it is empty")?;
    Ok(words.into_iter().map(|word| word.replace(mark, root)).collect())
}

/// The first character that means something to a shell where it stands.
fn for_a_shell(command: &str) -> Option<char> {
    let (mut quote, mut escaped) = (None, false);
    for c in command.chars() {
        let plain = std::mem::take(&mut escaped);
        match (quote, c) {
            _ if plain => {}
            (None | Some('"'), '\\') => escaped = true,
            (None, '\'' | '"') => quote = Some(c),
            (Some(open), close) if open == close => quote = None,
            (None, c) if "|&;<>()$`*?[]{}~!#\n".contains(c) => return Some(c),
            (Some('"'), '$' | '`') => return Some(c),
            _ => {}
        }
    }
    None
}

/// A code over a command: its words, and the bytes of every file they name.
pub(crate) fn digest(argv: &[String]) -> Result<String, String> {
    let mut code = Sha256::new().chain_update(b"palisade command hook, version 1");
    for (place, word) in argv.iter().enumerate() {
        code.update((word.len() as u64).to_le_bytes());
        code.update(word);
        let path = if place == 0 { find(word)?.resolved } else { PathBuf::from(word) };
        if path.is_absolute() && path.is_file() {
            let bytes = std::fs::read(&path).map_err(|e| format!("{}: {e}", clean::line(word, clean::NAME)))?;
            code.update(Sha256::digest(&bytes));
        }
    }
    Ok(crate::config::hex(&code.finalize()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(text: &str) -> Vec<Foreign> {
        let temp = tempfile::tempdir().unwrap();
        std::fs::write(temp.path().join("hooks.json"), text).unwrap();
        read(temp.path()).unwrap()
    }

    fn hook(event: &str, matcher: &str, command: &str) -> Foreign {
        let text = serde_json::json!({"hooks": {event: [{"matcher": matcher, "hooks": [{"type": "command", "command": command}]}]}});
        listed(&text.to_string()).remove(0)
    }

    #[test]
    fn an_entry_is_mapped_refused_or_of_an_unknown_event_and_never_lost() {
        let all = listed(
            r#"{"description": "x", "hooks": {
                "PreToolUse": [{"matcher": "mcp__files__.*|Bash", "hooks": [{"type": "command", "command": "/bin/true 'a b'", "timeout": 5}]},
                               {"matcher": "Bash|Edit", "hooks": [{"type": "command", "command": "/bin/true"}]}],
                "PostToolUse": [{"hooks": [{"type": "prompt", "prompt": "judge"}, {"type": "command", "command": "a && b"}]}],
                "Stop": [{"hooks": [{"type": "command", "command": "/bin/true"}]}],
                "PreToolUze": [{"hooks": [{"type": "command", "command": "/bin/true"}]}],
                "SessionStart": 7}}"#,
        );
        let said: Vec<String> = all
            .iter()
            .map(|one| match &one.meaning {
                Ok(meaning) => format!("{}: {} {:?} {:?}", one.event, meaning.event.name(), meaning.tools, meaning.argv),
                Err(Refused::Because(why) | Refused::Unknown(why)) => format!("{}: {why}", one.event),
            })
            .collect();
        let mut expected = [
            "PreToolUse: before-call [Source(\"files\")] [\"/bin/true\", \"a b\"]",
            "PreToolUse: its matcher `Bash|Edit` names no tool that passes here",
            "PostToolUse: a hook of the type `prompt` runs in no sandbox, nor as a command",
            "PostToolUse: it needs a shell (`&`), and none is run",
            "Stop: no event here means the same as Stop",
            "PreToolUze: there is no event `PreToolUze`",
            "SessionStart: it holds no list of matchers",
        ];
        expected.sort_unstable();
        let mut said: Vec<&str> = said.iter().map(String::as_str).collect();
        said.sort_unstable();
        assert_eq!(said, expected);
    }

    #[test]
    fn a_matcher_maps_to_the_same_tools_or_to_none() {
        for (matcher, tools) in [
            ("", vec!["*"]),
            ("*", vec!["*"]),
            ("mcp__palisade", vec!["*"]),
            ("mcp__palisade__.*", vec!["*"]),
            ("mcp__palisade__notes__add", vec!["notes/add"]),
            ("mcp__files__read|mcp__web__.*", vec!["files/read", "web/*"]),
            ("mcp__files", vec!["files/*"]),
        ] {
            let meaning = hook("PreToolUse", matcher, "/bin/true").meaning.unwrap();
            assert_eq!(meaning.tools.iter().map(ToString::to_string).collect::<Vec<_>>(), tools, "{matcher}");
        }
        for matcher in ["Bash", "mcp__.*__write.*", "Notebook.*"] {
            assert!(hook("PreToolUse", matcher, "/bin/true").meaning.is_err(), "{matcher}");
        }
    }

    #[test]
    fn what_only_a_shell_could_do_is_refused_and_quotes_are_none_of_it() {
        let root = Path::new("/p");
        for (command, expected) in [
            ("node -e \"a(b); c && 'd'\"", vec!["node", "-e", "a(b); c && 'd'"]),
            ("'${CLAUDE_PLUGIN_ROOT}/x y' --a='$HOME'", vec!["/p/x y", "--a=$HOME"]),
            ("a \\; \"b\\\"c\"", vec!["a", ";", "b\"c"]),
        ] {
            assert_eq!(words(command, root).unwrap(), expected, "{command}");
        }
        for command in ["a; b", "a | b", "a > b", "$HOME/a", "\"$HOME/a\"", "`a`", "a *.rs", "~/a", "a &", "a 'b", "", "a\nb", "'a'; b"] {
            assert!(words(command, root).is_err(), "{command}");
        }
    }

    #[test]
    fn a_digest_is_over_the_words_and_the_files_they_name() {
        let temp = tempfile::tempdir().unwrap();
        let script = temp.path().join("check.sh").display().to_string();
        let of = |argv: &[&str]| digest(&argv.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>());
        std::fs::write(&script, "one").unwrap();
        let first = of(&["/bin/sh", &script]).unwrap();
        assert_eq!(of(&["/bin/sh", &script]).unwrap(), first);
        assert_ne!(of(&["/bin/sh", &script, "x"]).unwrap(), first);
        std::fs::write(&script, "two").unwrap();
        assert_ne!(of(&["/bin/sh", &script]).unwrap(), first);
        assert!(of(&["no-such-program-anywhere"]).is_err());
        assert!(of(&["./relative"]).is_err());
    }
}
