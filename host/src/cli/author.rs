//! `palisade plugin new` and `plugin build`.

use super::Context;
use palisade::author::{self, Built, Compilers, Language, Order, Sdk, Sources, WATCH};
use palisade::config::Home;
use palisade::policy::quoted;
use palisade::{Error, Kind, clean};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// After a change, until the sources have been the same twice: somebody is still writing.
const SETTLE: Duration = Duration::from_millis(200);

#[derive(Clone, Copy, clap::ValueEnum)]
enum Lang {
    Rust,
    Js,
    Python,
}

impl From<Lang> for Language {
    fn from(lang: Lang) -> Self {
        match lang {
            Lang::Rust => Self::Rust,
            Lang::Js => Self::JavaScript,
            Lang::Python => Self::Python,
        }
    }
}

#[derive(clap::Args)]
pub struct NewArgs {
    /// The plugin's name, as text-stats
    name: String,
    /// Its folder (default: ./NAME)
    dir: Option<PathBuf>,
    /// What it is written in
    #[arg(long, value_enum)]
    lang: Lang,
}

#[derive(clap::Args)]
pub struct BuildArgs {
    /// The plugin's folder
    #[arg(default_value = ".")]
    dir: PathBuf,
    /// What it is written in, where its folder leaves that open
    #[arg(long, value_enum)]
    lang: Option<Lang>,
    /// Build again whenever a source changes, until Ctrl-C; with --format json each build prints a line
    #[arg(long)]
    watch: bool,
    /// Install what is missing of the toolchain, where a command can
    #[arg(long)]
    install: bool,
    /// JavaScript and Python: import the host alone; no clock, random numbers or files
    #[arg(long)]
    pure: bool,
}

pub fn new(context: &Context, args: NewArgs) -> Result<ExitCode, Error> {
    let sdk = Sdk::unpacked(&Home::from_environment()?)?;
    if let Some(repaired) = &sdk.repaired {
        context.out.warn(repaired);
    }
    let language = Language::from(args.lang);
    let dir = args.dir.unwrap_or_else(|| PathBuf::from(&args.name));
    let made = author::scaffold(&args.name, language, &dir, &sdk)?;
    let folder = made.folder.display().to_string();
    let document = json!({"created": folder, "name": args.name, "lang": language.name(), "files": made.files, "sdk": sdk.of(language)});
    context.out.payload(&document, || clean::line(&folder, clean::TEXT))?;
    context.out.note(&format!("next: cd {} && palisade plugin build", quoted(&dir.display().to_string())));
    Ok(ExitCode::SUCCESS)
}

pub async fn build(context: &Context, args: BuildArgs) -> Result<ExitCode, Error> {
    let home = Home::from_environment()?;
    let order = Order {
        folder: args.dir,
        language: args.lang.map(Language::from),
        install: args.install,
        pure: args.pure,
        quiet: context.out.is_quiet(),
    };
    let mut compilers = Compilers::new(context.cancelled.clone());
    if !args.watch {
        tell(context, &author::build(&order, &home, &mut compilers).await?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut first = true;
    loop {
        let started = Instant::now();
        let seen = Sources::of(&order.folder);
        match author::build(&order, &home, &mut compilers).await {
            Ok(built) => {
                tell(context, &built)?;
                context.out.note(&format!("built in {:.1} s; watching {}", started.elapsed().as_secs_f32(), order.folder.display()));
            }
            // What no change of a source mends.
            Err(error) if error.kind == Kind::Cancelled || (first && matches!(error.kind, Kind::NotFound | Kind::Usage)) => {
                return Err(error);
            }
            Err(error) => failed(context, &order.folder, &error),
        }
        first = false;
        changed(&order.folder, seen, &mut compilers).await?;
    }
}

/// Waits until the sources are others, and nobody writes them any more.
async fn changed(folder: &Path, seen: Sources, compilers: &mut Compilers) -> Result<(), Error> {
    let mut now = Sources::of(folder);
    while now == seen {
        compilers.pause(WATCH).await?;
        now = Sources::of(folder);
    }
    loop {
        compilers.pause(SETTLE).await?;
        let again = Sources::of(folder);
        if again == now {
            return Ok(());
        }
        now = again;
    }
}

fn tell(context: &Context, built: &Built) -> Result<(), Error> {
    built.notes.iter().for_each(|note| context.out.warn(note));
    let folder = built.folder.display().to_string();
    context.out.payload(&json!({"built": folder, "component_bytes": built.bytes}), || clean::line(&folder, clean::TEXT))
}

fn failed(context: &Context, folder: &Path, error: &Error) {
    let last = if folder.join("dist").exists() { "dist is still what was built last" } else { "there is no dist yet" };
    let hint = error.hint.as_ref().map(|hint| format!("; {hint}")).unwrap_or_default();
    // No level of quiet takes it away.
    context.out.say(&clean::line(&format!("not built: {}{hint}; {last}", error.message), clean::TEXT));
}
