//! The `palisade` command.

mod cli;

fn main() -> std::process::ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_some_and(|first| first == palisade::sandbox::COMPILER_ARGUMENT) {
        let rest: Vec<String> = arguments.map(|a| a.to_string_lossy().into_owned()).collect();
        return palisade::sandbox::compiler_main(&rest);
    }
    cli::main()
}
