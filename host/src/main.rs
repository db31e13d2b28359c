//! The `palisade` command.

mod cli;

fn main() -> std::process::ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let first = arguments.next();
    match first.as_deref().and_then(std::ffi::OsStr::to_str) {
        Some(palisade::sandbox::COMPILER_ARGUMENT) => {
            let rest: Vec<String> = arguments.map(|a| a.to_string_lossy().into_owned()).collect();
            palisade::sandbox::compiler_main(&rest)
        }
        Some(palisade::child::SUPERVISOR_ARGUMENT) => palisade::child::supervisor_main(&arguments.collect::<Vec<_>>()),
        Some(palisade::child::LAUNCHER_ARGUMENT) => palisade::child::launcher_main(&arguments.collect::<Vec<_>>()),
        _ => cli::main(),
    }
}
