//! `palisade serve`.

use super::{Context, pipes, signals};
use palisade::config::{Home, HookEvent};
use palisade::mcp::{self, Guard};
use palisade::{Error, Kind, Watched, keep_fresh};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use tokio::sync::watch;

#[derive(clap::Args)]
pub struct ServeArgs {
    /// Serve over HTTP on this loopback address, as 127.0.0.1:8000, instead of standard input and output
    #[arg(long, value_name = "ADDR")]
    pub http: Option<SocketAddr>,
    /// Let everybody on this machine in
    #[arg(long, requires = "http")]
    http_no_token: bool,
}

pub async fn run(context: &Context, args: ServeArgs) -> Result<ExitCode, Error> {
    if context.options.trust_workspace {
        let what = "serve does not take --trust-workspace: a server outlives the command it was typed for";
        return Err(Error::new(Kind::Usage, what).hint("name the plugins with --plugin-dir"));
    }
    signals::survive_full_files()?;
    let stop = context.cancelled.clone();
    // What cannot be listened on is said before anything is loaded.
    let listener = match args.http {
        Some(address) => Some(mcp::listen(address).await?),
        None => None,
    };
    let home = Home::from_environment()?;
    let (settings, watched) = Watched::settings(&context.options, &home)?;
    let host = Arc::new(context.server_of(settings).await?);
    if host.tools().all(|tool| host.admit(tool).is_err()) {
        context.out.warn(&mcp::instructions(&host));
    }
    let out = context.out.clone();
    host.prefetch(move |error| out.warn(&error.message));
    let out = context.out.clone();
    let events: mcp::Events = Box::new(move |event| out.concurrent(&event));
    let (fresh, hosts) = watch::channel(host);
    let session = uuid::Uuid::new_v4().to_string();
    let told = async |event: HookEvent| {
        let host = hosts.borrow().clone();
        host.observe_session(event, &session).await.iter().for_each(|line| context.out.warn(line));
    };
    told(HookEvent::SessionStart).await;
    let out = context.out.clone();
    // On this thread, which has nothing else to do: what is loaded again holds up no call.
    let fresh = keep_fresh(fresh, watched, context.options.clone(), home.clone(), super::compiler(), move |told| out.warn(told));
    let serving = async {
        match listener {
            Some(listener) => {
                let address = listener.local_addr().map_err(|e| Error::io("the listener", &e))?;
                let (guard, who) = if args.http_no_token {
                    (Guard::Nobody, "without a token: everybody on this machine may call its tools".to_owned())
                } else {
                    let (guard, path) = Guard::token(&home)?;
                    (guard, format!("Authorization: Bearer, and the token in {}", path.display()))
                };
                context.out.say(&format!("listening on http://{address}{} ({who})", mcp::PATH));
                mcp::serve_http(hosts.clone(), listener, guard, stop.clone(), events).await
            }
            None => {
                let (input, output) = pipes::both();
                mcp::serve(hosts.clone(), input, output, stop.clone(), events).await
            }
        }
    };
    tokio::pin!(serving, fresh);
    let served = tokio::select! {
        served = &mut serving => served,
        // It ends only when nobody is served any more.
        () = &mut fresh => serving.await,
    };
    told(HookEvent::SessionEnd).await;
    served?;
    Ok(ExitCode::from(if *stop.borrow() { Kind::Cancelled.exit_code() } else { 0 }))
}
