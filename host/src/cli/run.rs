//! `palisade run`.

use super::{Context, signals};
use palisade::config::{Home, Settings};
use palisade::policy::Limit;
use palisade::sandbox::{Allocator, Run};
use palisade::session::{self, ActiveSkill, Prompt, RunResult, Session, StopReason, TurnResult};
use palisade::{Error, Kind, LoadOptions, clean};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

/// Largest file of prompts, in bytes.
const PROMPTS: u64 = 4 * 1024 * 1024;
/// A session makes one call at a time; a few slots keep a dropped one from being waited for.
const SLOTS: u32 = 4;

#[derive(clap::Args)]
pub struct RunArgs {
    /// Prompts, one turn each; - reads them from standard input, one a line
    prompt: Vec<String>,
    /// A file of prompts, one a line
    #[arg(long, value_name = "FILE")]
    prompts: Option<PathBuf>,
    /// Let prompts from a file or standard input call tools directly, as /source/tool {json}
    #[arg(long)]
    allow_calls: bool,
    /// Most turns of this session
    #[arg(long, value_name = "N")]
    max_turns: Option<u64>,
    /// Most tokens of this session: words in and out
    #[arg(long, value_name = "N")]
    max_budget_tokens: Option<u64>,
    /// Most tools listed for a prompt
    #[arg(long, value_name = "N", default_value_t = session::LISTED)]
    limit: usize,
    /// Activate a skill: its text is part of the report, and its allowed-tools narrow what is called
    #[arg(long, value_name = "NAME")]
    skill: Option<String>,
    /// Also write the report as Markdown
    #[arg(long, value_name = "FILE.md")]
    report: Option<PathBuf>,
}

pub async fn run(context: &Context, args: RunArgs) -> Result<ExitCode, Error> {
    signals::survive_full_files()?;
    let prompts = prompts(&args)?;
    let mut options = context.options.clone();
    let typed = [(Limit::Turns, args.max_turns), (Limit::Tokens, args.max_budget_tokens)];
    options.limits.extend(typed.into_iter().filter_map(|(limit, value)| Some((limit, value?))));
    let settings = Settings::resolve(&options, Home::from_environment()?)?;
    let compiler = super::compiler();
    let skill = args.skill.as_deref();
    let load = LoadOptions { allocator: Allocator::Pool(SLOTS), compiler: Some(&compiler), skill, ..LoadOptions::default() };
    let host = context.load(settings, load).await?;
    let mut session = Session::stored(Arc::new(host))?.listing(args.limit);
    let mut failed = None;
    session.begin(&|event| context.out.event(&event)).await;
    for (text, direct_calls) in &prompts {
        let run = Run { progress: None, cancelled: Some(context.cancelled.clone()) };
        let prompt = Prompt { text, direct_calls: *direct_calls };
        match session.turn(prompt, run, &|event| context.out.event(&event)).await {
            Ok(true) => {}
            Ok(false) => break,
            // What ran is still shown; the run ends here.
            Err(error) => {
                failed = Some(error);
                break;
            }
        }
    }
    session.end(&|event| context.out.event(&event)).await;
    let (result, stored) = session.finish();
    context.out.payload(&result, || text(&result))?;
    let report = args.report.as_ref().map_or(Ok(()), |path| write_report(path, &result));
    let failed = failed.or(stored.err()).or(report.err());
    match failed {
        Some(error) => Err(error),
        None => Ok(ExitCode::from(match result.stop_reason {
            StopReason::MaxTurnsReached | StopReason::MaxBudgetReached => 5,
            StopReason::Cancelled => Kind::Cancelled.exit_code(),
            StopReason::Running | StopReason::Completed => 0,
        })),
    }
}

/// The prompts, each with whether it may call a tool directly.
fn prompts(args: &RunArgs) -> Result<Vec<(String, bool)>, Error> {
    let lines =
        |text: String| text.lines().map(str::trim).filter(|l| !l.is_empty()).map(|l| (l.to_owned(), args.allow_calls)).collect::<Vec<_>>();
    let mut prompts = Vec::new();
    for prompt in &args.prompt {
        if prompt == "-" {
            prompts.extend(lines(read("standard input", std::io::stdin().lock())?));
        } else if !prompt.trim().is_empty() {
            prompts.push((prompt.clone(), true));
        }
    }
    if let Some(path) = &args.prompts {
        let shown = path.display().to_string();
        let file = std::fs::File::open(path).map_err(|e| Error::io(&shown, &e))?;
        prompts.extend(lines(read(&shown, file)?));
    }
    if prompts.is_empty() {
        return Err(Error::new(Kind::Usage, "there is no prompt")
            .hint("give prompts as arguments, with --prompts FILE, or on standard input with -"));
    }
    Ok(prompts)
}

fn read(what: &str, from: impl Read) -> Result<String, Error> {
    let mut bytes = Vec::new();
    from.take(PROMPTS + 1).read_to_end(&mut bytes).map_err(|e| Error::io(what, &e))?;
    if bytes.len() as u64 > PROMPTS {
        return Err(Error::new(Kind::Usage, format!("{what} has more than {PROMPTS} bytes of prompts")));
    }
    String::from_utf8(bytes).map_err(|_| Error::new(Kind::Usage, format!("{what} is not UTF-8 text")))
}

fn write_report(path: &Path, result: &RunResult) -> Result<(), Error> {
    let report = session::markdown(result).map_err(|e| Error::internal("the report", &e))?;
    palisade::files::write_whole(path, &[report.as_bytes()]).map_err(|e| Error::io(format!("the report {}", path.display()), &e))
}

/// The skill before the turns, with its text as that of somebody else.
fn skill(skill: &ActiveSkill) -> String {
    let tools = match skill.tools.as_deref() {
        None => "all tools".to_owned(),
        Some([]) => "no tool".to_owned(),
        Some(tools) => tools.join(", "),
    };
    let text = clean::block(&skill.text).lines().map(|line| format!("  | {line}")).collect::<Vec<_>>().join("\n");
    format!(
        "[from the skill {} in {}, which leaves {tools}]\n{text}",
        clean::line(&skill.name, clean::NAME),
        clean::line(&skill.source, clean::NAME)
    )
}

fn text(result: &RunResult) -> String {
    let turn = |turn: &TurnResult| {
        let mut lines = vec![format!("> {}", clean::line(&turn.prompt, clean::TEXT))];
        lines.extend(turn.matched.iter().map(|m| format!("  {} (score {}): {}", m.tool, m.score, clean::line(&m.note, clean::TEXT))));
        lines.push(clean::block(&turn.output));
        lines.join("\n")
    };
    let mut parts: Vec<String> = result.skill.iter().map(skill).collect();
    parts.extend(result.turns.iter().map(turn));
    // Where no plugin is there, a person wants to know why.
    if result.init.get("plugin_init").is_some_and(|plugins| !plugins.enabled) {
        let off = result.init.iter().filter(|(_, state)| !state.enabled);
        parts.extend(off.map(|(name, state)| format!("{name}: off: {}", state.reason)));
    }
    for denial in &result.permission_denials {
        let remedy = denial.remedy.as_ref().map_or("nothing allows it".to_owned(), |r| format!("to allow it: {r}"));
        parts.push(format!(
            "denied #{}: {} by {} ({}): {}; {remedy}",
            denial.number, denial.tool, denial.rule, denial.source, denial.reason
        ));
    }
    let stop = serde_json::to_value(result.stop_reason).ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default();
    let usage = result.usage;
    parts.push(format!("{} turns, {} tokens in, {} out: {stop}", result.turns.len(), usage.input_tokens, usage.output_tokens));
    if let Some(path) = &result.session_path {
        parts.push(format!("session: {}", path.display()));
    }
    parts.join("\n")
}
