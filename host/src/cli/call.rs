//! `palisade call`.

use super::{Context, output, signals};
use palisade::policy::{Limit, Verdict};
use palisade::record::CallRecord;
use palisade::sandbox::Run;
use palisade::{Error, ToolCall};
use std::io::Read;
use std::process::ExitCode;

#[derive(clap::Args)]
pub struct CallArgs {
    /// The tool, as source/tool
    id: String,
    /// Its arguments as a JSON object, or - for standard input
    #[arg(default_value = "{}")]
    json: String,
}

pub async fn run(context: &Context, args: CallArgs) -> Result<ExitCode, Error> {
    signals::survive_full_files()?;
    let host = context.one_shot(args.id.split_once('/').map(|(source, _)| source)).await?;
    let arguments = if args.json == "-" { read_stdin(host.limits().get(Limit::Arguments))? } else { args.json.into_bytes() };
    let call = ToolCall { id: args.id, arguments: arguments.into() };
    let run = Run { progress: None, cancelled: Some(context.cancelled.clone()) };
    let record = host.call(call, Verdict::pass(), run, |decision| context.out.decided(decision)).await?;
    context.out.ended(&record);
    finish(context, &record)
}

fn finish(context: &Context, record: &CallRecord) -> Result<ExitCode, Error> {
    if context.out.json || record.error.is_none() {
        context.out.payload(record, || output::result(record))?;
    } else if let (Some(error), None) = (&record.error, &record.denial) {
        context.out.fail(&Error::new(error.kind, error.message.clone()));
    }
    Ok(ExitCode::from(record.exit_code()))
}

/// One byte more than may be there, so that the gate sees that it is too much.
fn read_stdin(max: u64) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    std::io::stdin().lock().take(max.saturating_add(1)).read_to_end(&mut bytes).map_err(|e| Error::io("standard input", &e))?;
    Ok(bytes)
}
