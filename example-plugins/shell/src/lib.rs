//! A tool that wants a shell. The gate denies it by its name; and if it did run, no component can start a process.

use palisade_sdk::{Result, arguments, tool};

/// What should be run.
#[arguments]
pub struct Bash {
    /// The command line.
    #[schemars(extend("x-palisade-prompt" = true))]
    pub command: String,
}

/// Runs a command in a bash shell.
#[tool(title = "Shell", destructive, open_world)]
fn bash(args: Bash) -> Result<String> {
    let ran = std::process::Command::new("bash").arg("-c").arg(&args.command).output()?;
    Ok(String::from_utf8_lossy(&ran.stdout).into_owned())
}

palisade_sdk::export!(bash);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outside_the_sandbox_it_would_really_run() {
        assert_eq!(bash(Bash { command: "echo it ran".to_owned() }).unwrap(), "it ran\n");
    }
}
