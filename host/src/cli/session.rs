//! `palisade session`.

use super::Context;
use palisade::session::{SessionStore, StoredSession};
use palisade::{Error, Kind, clean};
use serde_json::{Value, json};
use std::process::ExitCode;
use std::time::SystemTime;

#[derive(clap::Subcommand)]
pub enum SessionCommand {
    /// List them, newest first
    List,
    /// Show one
    Show {
        /// Its id
        id: String,
    },
    /// Remove one
    Delete {
        /// Its id
        id: String,
    },
    /// Remove old ones
    Prune {
        /// How old, e.g. 30d
        #[arg(long, value_name = "TIME")]
        older_than: String,
    },
}

pub fn run(context: &Context, command: SessionCommand) -> Result<ExitCode, Error> {
    let store = SessionStore::new(&context.settings()?.session_dir);
    match command {
        SessionCommand::List => list(context, &store)?,
        SessionCommand::Show { id } => {
            let session = store.read(SessionStore::parse_id(&id)?)?;
            context.out.payload(&session, || shown(&session))?;
        }
        SessionCommand::Delete { id } => {
            let id = SessionStore::parse_id(&id)?;
            store.delete(id)?;
            context.out.payload(&json!({"deleted": [id]}), || format!("deleted {id}"))?;
        }
        SessionCommand::Prune { older_than } => {
            let age = humantime::parse_duration(&older_than).map_err(|e| {
                Error::new(Kind::Usage, format!("--older-than {}: {e}", clean::line(&older_than, 50))).hint("write it like 30d or 12h")
            })?;
            let removed = store.prune(age, SystemTime::now())?;
            context.out.payload(&json!({"deleted": removed}), || format!("deleted {} sessions", removed.len()))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn list(context: &Context, store: &SessionStore) -> Result<(), Error> {
    let listed = store.list()?;
    for damaged in listed.iter().filter_map(|l| l.session.as_ref().err()) {
        context.out.warn(&damaged.message);
    }
    let rows: Vec<Value> = listed
        .iter()
        .map(|l| match &l.session {
            Ok(s) => json!({"session_id": l.id, "created": s.created, "profile": s.profile, "prompts": s.prompts.len(), "denials": s.permission_denials.len(), "stop_reason": s.stop_reason}),
            Err(e) => json!({"session_id": l.id, "damaged": clean::line(&e.message, clean::TEXT)}),
        })
        .collect();
    context.out.payload(&json!({"sessions": rows}), || {
        let line = |l: &palisade::session::Listed| match &l.session {
            Ok(s) => {
                format!("{} {} {} prompts, {} denials", l.id, clean::line(&s.created, 40), s.prompts.len(), s.permission_denials.len())
            }
            Err(_) => format!("{} damaged", l.id),
        };
        if listed.is_empty() { "no sessions in this workspace".to_owned() } else { listed.iter().map(line).collect::<Vec<_>>().join("\n") }
    })
}

fn shown(session: &StoredSession) -> String {
    let mut lines = vec![
        format!("session: {}", session.session_id),
        format!("created: {}", clean::line(&session.created, 40)),
        format!("profile: {}", clean::line(&session.profile, clean::NAME)),
        format!("tokens: {} in, {} out", session.usage.input_tokens, session.usage.output_tokens),
    ];
    lines.extend(session.prompts.iter().map(|p| format!("prompt: {}", clean::line(p, clean::TEXT))));
    lines.extend(session.permission_denials.iter().map(|d| {
        format!(
            "denied: #{} {} by {} ({})",
            d.number,
            clean::line(&d.tool, clean::NAME),
            clean::line(&d.rule, 20),
            clean::line(&d.source, clean::NAME)
        )
    }));
    lines.join("\n")
}
