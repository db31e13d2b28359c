//! The component: compiled, told apart as a plugin, a hook, a program or any other, and what it imports beside what is asked for.

use super::manifest::{Read, Subject};
use super::{Finding, Review, Row, counted};
use crate::clean;
use crate::error::{Error, Kind};
use crate::plugins::FILE;
use crate::sandbox::{Allocator, CodeCache, Compiler, Prepared, Sandbox, World};
use palisade_policy::{Capability, Limit, Limits};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What a component is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    Plugin,
    Hook,
    Functions,
    Program,
}

impl What {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Plugin => "plugin",
            Self::Hook => "hook",
            Self::Functions => "component",
            Self::Program => "program",
        }
    }

    fn summary(self) -> &'static str {
        match self {
            Self::Plugin => "a plugin: it exports palisade:plugin/tools",
            Self::Hook => "a hook: it exports palisade:plugin/hooks",
            Self::Functions => "a component of a world of its own: each function it exports is a tool",
            Self::Program => "a program: it exports wasi:cli/run",
        }
    }
}

/// A component that can be used.
pub(super) struct Made {
    pub(super) prepared: std::sync::Arc<Prepared>,
    pub(super) kind: What,
    /// Its size in bytes.
    pub(super) size: u64,
    /// How long the compiler took; `None` where it was compiled before.
    pub(super) compiled: Option<Duration>,
    pub(super) limits: Limits,
}

/// Compiles and links it, as what its manifest says or else as a hook, and adds the row of it.
///
/// # Errors
/// Where the sandbox cannot be made, or a compiler not be started.
pub(super) async fn prepare(
    review: &Review<'_>,
    subject: &Subject,
    read: &Read,
    code: Option<&CodeCache>,
    rows: &mut Vec<Row>,
) -> Result<Option<Made>, Error> {
    let limits = read.manifest.limits(&review.settings.limits);
    let sandbox = Sandbox::new(Allocator::OnDemand, &review.settings.limits, code.cloned(), Some(Compiler::new(review.compiler)));
    let name = read.manifest.name.as_str();
    let (started, took) = (Mutex::new(None), Mutex::new(None));
    let compiling = |starts: bool| {
        let mut started = started.lock().unwrap_or_else(PoisonError::into_inner);
        match review.watcher {
            Some(watcher) if starts => watcher.compiling(name),
            Some(watcher) => watcher.compiled(name),
            None => {}
        }
        if starts {
            *started = Some(Instant::now());
        } else {
            let elapsed = started.map(|started: Instant| started.elapsed());
            took.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(elapsed.unwrap_or_default());
        }
    };
    let file = || subject.folder.open_file(&read.manifest.component, limits.get(Limit::Component));
    let size = match file() {
        Ok(file) => file.size(),
        Err(error) => {
            let finding = Finding::error("component", format!("{}: {error}", read.manifest.component));
            rows.push(Row::new("component", "it cannot be read", vec![read.finding(finding, "plugin.component")]));
            return Ok(None);
        }
    };
    let mut refused: Option<Error> = None;
    let worlds: &[World] = match read.manifest.world {
        world @ (World::Plugin | World::Any) => &[world, World::Hook],
        ref world => std::slice::from_ref(world),
    };
    for world in worlds.iter().copied() {
        let Ok(file) = file() else { break };
        match sandbox.prepare(file, world, &limits, &compiling).await {
            Ok((_, prepared)) => {
                let kind = match () {
                    () if world == World::Hook => What::Hook,
                    () if prepared.is_program() => What::Program,
                    () if prepared.defines_nothing() => What::Functions,
                    () => What::Plugin,
                };
                rows.push(Row::new("component", kind.summary(), Vec::new()));
                let compiled = *took.lock().unwrap_or_else(PoisonError::into_inner);
                return Ok(Some(Made { prepared: prepared.into(), kind, size, compiled, limits }));
            }
            Err(error) if error.kind != Kind::Component => return Err(error),
            Err(error) => {
                // Only what exports the wrong thing may still be a hook; what it lacks as a plugin is what counts.
                let exports = error.message.contains("does not export");
                refused.get_or_insert(error);
                if !exports {
                    break;
                }
            }
        }
    }
    let message = refused.map_or_else(|| "it cannot be read".to_owned(), |error| error.message);
    let rule = match () {
        () if message.contains("does not export") => "world",
        () if message.contains("does not link") || message.contains("the component imports ") => "link",
        () => "component",
    };
    rows.push(Row::new("component", "it cannot be used", vec![Finding::error(rule, message).at(&read.manifest.component, None)]));
    Ok(None)
}

/// A capability, the prefix of the imports that use it, and how a request of it is told.
struct Use {
    key: &'static str,
    of: fn(&Capability) -> bool,
    imports: &'static str,
}

const USES: [Use; 4] = [
    Use { key: "fs", of: |c| matches!(c, Capability::Fs(..)), imports: "wasi:filesystem/" },
    Use { key: "net", of: |c| matches!(c, Capability::Net(_) | Capability::Auth(..)), imports: "wasi:http/" },
    Use { key: "env", of: |c| matches!(c, Capability::Env(_)), imports: "wasi:cli/environment@" },
    Use { key: "store", of: |c| matches!(c, Capability::Store), imports: "palisade:plugin/store@" },
];

/// What it imports, beside what its manifest asks for.
pub(super) fn imports(made: &Made, read: &Read) -> Row {
    let imports = made.prepared.imports();
    let findings = beside(&imports, read);
    let mut row = Row::new("imports", counted(imports.len(), "interface"), findings);
    row.figures.insert("imports".to_owned(), imports.iter().map(|import| clean::line(import, clean::NAME)).collect());
    row
}

fn beside(imports: &[String], read: &Read) -> Vec<Finding> {
    let keys = read.keys();
    let mut findings = Vec::new();
    for Use { key, of, imports: prefix } in USES {
        let mut asked = read.manifest.requests.iter().zip(&keys).filter(|(request, _)| of(&request.capability));
        let imported = imports.iter().find(|import| import.starts_with(prefix));
        match (asked.next(), imported) {
            (Some((request, place)), None) => {
                let what = format!(
                    "it asks for {} and cannot use it: the component does not import {}; take it out of `capabilities`",
                    request.capability,
                    prefix.trim_end_matches(['/', '@'])
                );
                findings.push(read.finding(Finding::error("unused-request", what), place));
            }
            (None, Some(import)) if key == "store" => {
                let what = format!("it imports {import} and does not ask for it, so every call is denied; add `store = true`");
                findings.push(Finding::error("unasked-import", what).at(FILE, read.line("capabilities")));
            }
            (None, Some(import)) if key == "net" => {
                let what = format!("it imports {import} and does not ask for `net`: it links, and every request is refused");
                findings.push(Finding::warn("unasked-import", what).at(FILE, read.line("capabilities")));
            }
            _ => {}
        }
    }
    if let Some(import) = imports.iter().find(|import| import.starts_with("wasi:sockets/")) {
        findings.push(Finding::note("refusals", format!("it imports {import} and the like: sockets link, and refuse everything")));
    }
    findings
}
