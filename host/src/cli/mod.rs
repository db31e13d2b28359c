//! The command line: one file a command.
//!
//! The rule it keeps: payload on stdout, all else on stderr; the exit code says how it ended. It decides nothing and runs
//! no tool itself.

mod added;
mod audit;
mod author;
mod call;
mod check;
mod consent;
mod eager;
mod explain;
mod hook;
mod mcp;
mod output;
mod pipes;
mod plugin;
mod progress;
mod run;
mod serve;
mod session;
mod signals;
mod skill;
mod status;
mod tools;

use clap::{ArgAction, Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};
use output::Output;
use palisade::config::{Home, Options, Settings};
use palisade::sandbox::Allocator;
use palisade::{Error, Host, Kind, LoadOptions};
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use tokio::sync::watch;

/// Runs tools that other people wrote for AI agents, behind a fence.
#[derive(Parser)]
#[command(name = "palisade", version, max_term_width = 100)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

#[derive(Args)]
struct Global {
    /// Level of trust: untrusted (the default), trusted, or one of your own
    // The last one counts, before and after the command alike.
    #[arg(long, global = true, value_name = "NAME", overrides_with = "profile")]
    profile: Option<String>,
    /// Folder the agent works on (default: the current one)
    #[arg(long, global = true, value_name = "DIR")]
    workspace: Option<PathBuf>,
    /// Config file, instead of your own
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// For this command, let the sources count that the workspace's palisade.toml names
    #[arg(long, global = true)]
    trust_workspace: bool,
    /// Deny a tool: its id, bare name or MCP name, in any letter case
    #[arg(long, global = true, value_name = "NAME")]
    deny_tool: Vec<String>,
    /// Deny every tool that starts so, in any letter case
    #[arg(long, global = true, value_name = "PREFIX")]
    deny_prefix: Vec<String>,
    /// Folder of one plugin, or a component without a manifest: FILE.wasm
    #[arg(long, global = true, value_name = "DIR")]
    plugin: Vec<PathBuf>,
    /// Folder of plugin folders
    #[arg(long, global = true, value_name = "DIR")]
    plugin_dir: Vec<PathBuf>,
    /// Allow a source one capability, e.g. search:fs:read:@workspace
    #[arg(long, global = true, value_name = "SOURCE:CAPABILITY")]
    grant: Vec<String>,
    /// How the payload is printed
    #[arg(long, global = true, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// On stderr only errors and the record of each call
    #[arg(short, long, global = true)]
    quiet: bool,
    /// More on stderr: debug lines of guests
    #[arg(short, long, global = true)]
    verbose: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
}

#[derive(Subcommand)]
enum Command {
    /// Route prompts to tools, call them, report
    Run(run::RunArgs),
    /// Call one tool
    Call(call::CallArgs),
    /// List the tools an agent would see
    Tools(tools::ToolsArgs),
    /// Show every step of the gate for a tool, without running it
    Explain(explain::ExplainArgs),
    /// Show profile, trust, subsystems and what is quarantined
    Status,
    /// Plugins
    #[command(subcommand)]
    Plugin(plugin::PluginCommand),
    /// Skills
    #[command(subcommand)]
    Skill(skill::SkillCommand),
    /// Stored sessions of this workspace
    #[command(subcommand)]
    Session(session::SessionCommand),
    /// External MCP servers
    #[command(subcommand)]
    Mcp(mcp::McpCommand),
    /// Hooks
    #[command(subcommand)]
    Hook(hook::HookCommand),
    /// The log of every decision and outcome
    #[command(subcommand)]
    Audit(audit::AuditCommand),
    /// MCP server on stdio, or over HTTP on a loopback address
    Serve(serve::ServeArgs),
    /// Trust the plugins and skills that this workspace names, as they are now, and grant what they ask for
    Trust(consent::TrustArgs),
}

/// The compiler is this very program; on Linux also when the file it was started from has been replaced.
fn compiler() -> PathBuf {
    if cfg!(target_os = "linux") { PathBuf::from("/proc/self/exe") } else { std::env::current_exe().unwrap_or_default() }
}

/// What every command gets.
struct Context {
    options: Options,
    out: Output,
    /// Turns true once somebody wants this process to end.
    cancelled: watch::Receiver<bool>,
}

impl Context {
    fn settings(&self) -> Result<Settings, Error> {
        Settings::resolve(&self.options, Home::from_environment()?)
    }

    /// Loads a host and prints what a person should know of it.
    async fn host(&self, load: LoadOptions<'_>) -> Result<Host, Error> {
        self.load(self.settings()?, load).await
    }

    /// The same for settings that a command has changed. Compiling takes long, so it can be interrupted.
    async fn load(&self, settings: Settings, load: LoadOptions<'_>) -> Result<Host, Error> {
        let mut cancelled = self.cancelled.clone();
        let progress = progress::Compiling::new(&self.out);
        // No flag and no config switches it off; a command that makes no call writes nothing.
        let load = LoadOptions { watcher: progress.as_ref().map(|p| p as _), audit: Some(palisade::audit::Sizes::default()), ..load };
        let host = tokio::select! {
            loaded = Host::load(settings, load) => loaded?,
            _ = cancelled.wait_for(|cancelled| *cancelled) => return Err(Error::new(Kind::Cancelled, "it was interrupted while plugins were loaded")),
        };
        self.out.about(&host);
        Ok(host)
    }

    /// A host for a single call: nothing is reserved that only many calls pay back. The process ends with it, and what the
    /// system takes back at once is not taken apart piece by piece.
    async fn one_shot(&self, only: Option<&str>) -> Result<&'static Host, Error> {
        let compiler = compiler();
        let load = LoadOptions { allocator: Allocator::OnDemand, only, compiler: Some(&compiler), ..LoadOptions::default() };
        Ok(Box::leak(Box::new(self.host(load).await?)))
    }

    /// A host for many calls.
    async fn server(&self) -> Result<Host, Error> {
        self.server_of(self.settings()?).await
    }

    /// The same for settings that were read before.
    async fn server_of(&self, settings: Settings) -> Result<Host, Error> {
        self.load(settings, LoadOptions { compiler: Some(compiler().as_path()), ..LoadOptions::default() }).await
    }
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let cli = match parse(std::env::args_os().collect()) {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    let global = cli.global;
    let out = Output::new(global.format == Format::Json, global.quiet, global.verbose);
    let options = Options {
        profile: global.profile,
        workspace: global.workspace,
        config: global.config,
        trust_workspace: global.trust_workspace,
        deny_tools: global.deny_tool,
        deny_prefixes: global.deny_prefix,
        plugins: global.plugin,
        plugin_dirs: global.plugin_dir,
        grants: global.grant,
        ..Options::default()
    };
    match runtime(&cli.command) {
        Ok(runtime) => {
            let ended = runtime.block_on(async {
                let context = Context { options, out: out.clone(), cancelled: signals::watch()? };
                let ended = dispatch(&context, cli.command).await;
                // No process of theirs outlives this one.
                palisade::mcp::close_all().await;
                ended
            });
            // A thread that is stuck in a system call is not waited for.
            runtime.shutdown_background();
            ended.unwrap_or_else(|error| out.fail(&error))
        }
        Err(error) => out.fail(&Error::io("the runtime", &error)),
    }
}

/// Of a flag that can stand both before and after the command, the parser forgets what stands before; but every deny
/// counts, and so does every grant.
fn parse(args: Vec<OsString>) -> Result<Cli, clap::Error> {
    let command = Cli::command();
    let ahead = lists_ahead(&command, &args);
    let as_read = |command: clap::Command, args: Vec<OsString>| {
        let mut matches = command.try_get_matches_from(args)?;
        Cli::from_arg_matches_mut(&mut matches).map_err(|error| error.format(&mut Cli::command()))
    };
    if ahead == args {
        return as_read(command, args);
    }
    // Only a line that is right as it was typed is read in another order.
    as_read(command.clone(), args)?;
    as_read(command, ahead)
}

/// The same arguments, with all flags that make lists before the command.
fn lists_ahead(command: &clap::Command, args: &[OsString]) -> Vec<OsString> {
    let lists = command.get_arguments().filter(|flag| flag.is_global_set() && matches!(flag.get_action(), ArgAction::Append));
    let lists: Vec<String> = lists.filter_map(|flag| Some(format!("--{}", flag.get_long()?))).collect();
    let mut args = args.iter().cloned();
    let (mut ahead, mut rest): (Vec<OsString>, Vec<OsString>) = (args.by_ref().take(1).collect(), Vec::new());
    while let Some(arg) = args.next() {
        let text = arg.to_string_lossy();
        if text == "--" {
            rest.push(arg);
            break;
        } else if lists.contains(&text.into_owned()) {
            ahead.push(arg);
            ahead.extend(args.next());
        } else if lists.iter().any(|flag| arg.to_string_lossy().strip_prefix(flag.as_str()).is_some_and(|value| value.starts_with('='))) {
            ahead.push(arg);
        } else {
            rest.push(arg);
        }
    }
    ahead.into_iter().chain(rest).chain(args).collect()
}

async fn dispatch(context: &Context, command: Command) -> Result<ExitCode, Error> {
    match command {
        Command::Run(args) => run::run(context, args).await,
        Command::Call(args) => call::run(context, args).await,
        Command::Tools(args) => tools::run(context, args).await,
        Command::Explain(args) => explain::run(context, args).await,
        Command::Status => status::run(context).await,
        Command::Plugin(command) => plugin::run(context, command).await,
        Command::Skill(command) => skill::run(context, command).await,
        Command::Session(command) => session::run(context, command),
        Command::Audit(command) => audit::run(context, command),
        Command::Hook(command) => hook::run(context, command).await,
        Command::Mcp(command) => mcp::run(context, command).await,
        Command::Serve(args) => serve::run(context, args).await,
        Command::Trust(args) => consent::trust(context, args).await,
    }
}

/// A server runs many calls at once; every other command waits for one thing at a time. The calls of one client stay on one
/// thread, but for those that are busy for long: to hand each to another takes longer than most of them.
fn runtime(command: &Command) -> std::io::Result<tokio::runtime::Runtime> {
    let mut builder = match command {
        Command::Serve(args) if args.http.is_none() => {
            let mut builder = tokio::runtime::Builder::new_multi_thread();
            builder.worker_threads(1);
            builder
        }
        Command::Serve(_) => tokio::runtime::Builder::new_multi_thread(),
        _ => tokio::runtime::Builder::new_current_thread(),
    };
    if matches!(command, Command::Serve(_)) {
        builder.enable_io();
    }
    palisade::sandbox::bound_file_threads(&mut builder);
    builder.enable_time().build()
}

fn usage(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        let _ = error.print();
        return ExitCode::SUCCESS;
    }
    // The command line did not parse, so its format flag is looked for by hand.
    let args: Vec<String> = std::env::args_os().map(|a| a.to_string_lossy().into_owned()).collect();
    let json = args.iter().any(|a| a == "--format=json") || args.windows(2).any(|w| w == ["--format", "json"]);
    let text = error.to_string();
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    let (message, rest) = text.split_once("\n\n").unwrap_or((text, ""));
    let mut shown = Error::new(Kind::Usage, message.trim());
    if !rest.trim().is_empty() {
        shown = shown.hint(rest.split_whitespace().collect::<Vec<_>>().join(" "));
    }
    Output::new(json, false, false).fail(&shown)
}
