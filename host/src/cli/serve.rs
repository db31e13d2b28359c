//! `palisade serve`.

use super::{Context, signals};
use palisade::{Error, Kind, mcp};
use std::process::ExitCode;
use std::sync::Arc;

pub async fn run(context: &Context) -> Result<ExitCode, Error> {
    if context.options.trust_workspace {
        let what = "serve does not take --trust-workspace: a server outlives the command it was typed for";
        return Err(Error::new(Kind::Usage, what).hint("name the plugins with --plugin-dir"));
    }
    signals::survive_full_files()?;
    let stop = context.cancelled.clone();
    let host = Arc::new(context.server().await?);
    if host.tools().all(|tool| host.admit(tool).is_err()) {
        context.out.warn(&mcp::instructions(&host));
    }
    let out = context.out.clone();
    let events: mcp::Events = Box::new(move |event| out.concurrent(&event));
    mcp::serve(host, tokio::io::stdin(), tokio::io::stdout(), stop.clone(), events).await?;
    Ok(ExitCode::from(if *stop.borrow() { Kind::Cancelled.exit_code() } else { 0 }))
}
